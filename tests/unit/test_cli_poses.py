"""`phototwin compare-poses` on every layout that holds poses."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from tests.captures import DOTS, Rig, llff_rows, write
from workers.cli_poses import compare_poses
from workers.geometry.cameras import Cameras, write_cameras
from workers.geometry.colmap import from_opengl, write_model

RIG = Rig()
NAMES = tuple(f"photo_{index:02d}.png" for index in range(RIG.views))

app = typer.Typer()
app.command()(compare_poses)


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def figures(*arguments: object) -> dict[str, Any]:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def refusal(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 1, result.stdout
    assert not result.stdout
    said: str = result.stderr
    assert said.startswith("phototwin: ")
    assert said.count("\n") == 1, "one sentence"
    told = json.loads(call(*arguments, "--json").stdout)["error"]["message"]
    assert told in said
    return said


def elsewhere() -> NDArray[np.float64]:
    """The rig's cameras in another world, at half the size."""
    world = np.eye(4)
    world[:3, :3] = Rotation.from_euler("xyz", [30, 100, -60], degrees=True).as_matrix()
    world[:3, 3] = [3, 1, -2]
    c2w: NDArray[np.float64] = world @ RIG.c2w
    c2w[:, :3, 3] *= 0.5
    return c2w


def cameras(c2w: NDArray[np.float64]) -> Cameras:
    intrinsics = np.tile([RIG.fx, RIG.fy, RIG.cx, RIG.cy], (RIG.views, 1))
    return Cameras(NAMES, intrinsics, RIG.width, RIG.height, c2w)


def llff(folder: Path) -> Path:
    write(folder, RIG, layout="llff", masks=None)
    rows = llff_rows(RIG)
    c2w = elsewhere()
    rows[:, :15].reshape(-1, 3, 5)[:, :, :4] = np.stack(
        [-c2w[:, :3, 1], c2w[:, :3, 0], c2w[:, :3, 2], c2w[:, :3, 3]], axis=2
    )
    np.save(folder / "poses_bounds.npy", rows)
    return folder


def run_folder(folder: Path) -> Path:
    (folder / "dataset").mkdir(parents=True)
    numbered = replace(cameras(elsewhere()), names=tuple(f"{index}.png" for index in range(RIG.views)))
    world = {"up": None, "scale": None, "to_normalised": np.eye(4)}
    sources = [f"images/{name}" for name in NAMES]
    sizes, crops = np.full((8, 2), 64), np.tile([0.0, 0, 64, 64], (8, 1))
    write_cameras(folder / "dataset/cameras.json", numbered, sources, sizes, crops, world)
    return folder


def labels(folder: Path) -> str:
    rows = ["dataset,scene,image_path,rotation_matrix,translation_vector"]
    for name, rotation, translation in zip(NAMES, *from_opengl(elsewhere()), strict=True):
        numbers = ";".join(map(str, rotation.ravel())), ";".join(map(str, translation))
        rows.append(f"heritage,wall,heritage/wall/images/{name},{numbers[0]},{numbers[1]}")
    rows.append("haiper,bike,haiper/bike/images/photo_00.png,1;0;0;0;1;0;0;0;1,0;0;0")
    folder.mkdir(exist_ok=True)
    (folder / "train_labels.csv").write_text("\n".join(rows))
    return f"{folder / 'train_labels.csv'}#heritage/wall"


def others(folder: Path) -> dict[str, object]:
    """The cameras of `elsewhere` in every layout but the reference's own."""
    run = run_folder(folder / "run")
    write_model(folder / "sparse", cameras(elsewhere()), DOTS, np.zeros((5, 3), np.uint8))
    zipped = shutil.make_archive(str(folder / "zipped"), "zip", llff(folder / "llff"))
    return {
        "llff": folder / "llff",
        "zip": zipped,
        "run": run,
        "dataset": run / "dataset",
        "cameras.json": run / "dataset/cameras.json",
        "colmap": folder / "sparse",
        "labels": labels(folder / "labels"),
    }


def test_every_layout_is_the_same_trajectory(tmp_path: Path) -> None:
    capture = write(tmp_path / "capture", RIG, masks=None)
    for layout, other in others(tmp_path).items():
        found = figures(capture, other)
        assert found["matched"] == 8, layout
        assert found["ate"] == pytest.approx(0, abs=1e-6), layout
        assert found["rotation_deg"] == pytest.approx(0, abs=1e-4), layout
        assert found["rpe"]["translation"] == pytest.approx(0, abs=1e-6), layout
        assert found["scale"] == pytest.approx(2), layout
        assert found["mAA"] == 1.0, layout


def test_nothing_beside_the_capture_is_changed(tmp_path: Path) -> None:
    capture = write(tmp_path / "capture", RIG, masks=None)
    shutil.make_archive(str(tmp_path / "zipped"), "zip", llff(tmp_path / "llff"))
    before = sorted(tmp_path.rglob("*"))
    figures(capture, tmp_path / "zipped.zip")
    assert sorted(tmp_path.rglob("*")) == before


def test_poses_are_read_without_their_pictures(tmp_path: Path) -> None:
    capture = write(tmp_path / "capture", RIG, masks=None)
    bare = tmp_path / "truth.json"
    shutil.copy(capture / "transforms.json", bare)
    assert figures(capture, bare)["matched"] == 8


def test_the_scale_of_the_reference_decides_what_a_metre_is(tmp_path: Path) -> None:
    """An error of 0.3 units is within none of the thresholds' steps, or all, as the unit is 1 m or 1 mm."""
    capture = write(tmp_path / "capture", RIG, masks=None)
    moved = json.loads((capture / "transforms.json").read_text())
    for sign, frame in zip([1, -1] * 4, moved["frames"], strict=True):
        frame["transform_matrix"][1][3] += sign * 0.05
    (tmp_path / "moved.json").write_text(json.dumps(moved))
    assumed = figures(capture, tmp_path / "moved.json")
    listing = json.loads((capture / "transforms.json").read_text())
    (capture / "transforms.json").write_text(json.dumps({**listing, "metres_per_unit": 0.001}))
    told = figures(capture, tmp_path / "moved.json")
    assert 0 < assumed["mAA"] < 0.95
    assert told["mAA"] == 1.0
    assert told["ate"] == assumed["ate"]


def test_unregistered_images_count_in_maa(tmp_path: Path) -> None:
    capture = write(tmp_path / "capture", RIG, masks=None)
    few = cameras(elsewhere()).select(range(5))
    write_model(tmp_path / "sparse", few, DOTS, np.zeros((5, 3), np.uint8))
    found = figures(capture, tmp_path / "sparse")
    assert found["matched"] == 5
    assert found["mAA"] == pytest.approx(10 / 28)


def test_out_leaves_a_picture_and_the_differences(tmp_path: Path) -> None:
    capture = write(tmp_path / "capture", RIG, masks=None)
    turned = elsewhere()
    turned[2, :3, :3] @= Rotation.from_euler("y", 20, degrees=True).as_matrix()
    write_model(tmp_path / "sparse", cameras(turned), DOTS, np.zeros((5, 3), np.uint8))
    result = call(capture, tmp_path / "sparse", "--out", tmp_path / "poses")
    assert result.exit_code == 0, result.stderr
    assert "8 of 8" in result.stdout
    picture = cv2.imread(str(tmp_path / "poses/trajectories.png"))
    assert picture is not None
    assert picture.std() > 5
    document = json.loads((tmp_path / "poses/difference.json").read_text())
    assert [image["image"] for image in document["images"]] == [f"images/{name}" for name in NAMES]
    for index, image in enumerate(document["images"]):
        assert image["rotation_deg"] == pytest.approx(20 if index == 2 else 0, abs=1e-4)
    turn = Rotation.from_euler("y", 20, degrees=True).as_matrix()
    assert np.array(document["images"][2]["difference"])[:3, :3] == pytest.approx(turn, abs=1e-6)
    there = np.array(document["similarity"]) @ turned[0] @ [0, 0, 0, 1]
    assert there[:3] == pytest.approx(RIG.c2w[0, :3, 3], abs=1e-6)


def test_what_cannot_be_compared_is_one_sentence(tmp_path: Path) -> None:
    capture = write(tmp_path / "capture", RIG, masks=None)
    scene = labels(tmp_path)
    names = replace(cameras(RIG.c2w), names=tuple(f"other_{index}.png" for index in range(8)))
    write_model(tmp_path / "renamed", names, DOTS, np.zeros((5, 3), np.uint8))
    write_model(tmp_path / "two", cameras(RIG.c2w).select([0, 1]), DOTS, np.zeros((5, 3), np.uint8))
    (tmp_path / "broken.json").write_text('{"frames": [{"file_path": "a", "transform_matrix": [1]}]}')
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "empty").mkdir()
    assert "none of the 8 and 8 images" in refusal(capture, tmp_path / "renamed")
    assert "only 2 of the 8 and 2" in refusal(capture, tmp_path / "two")
    assert "heritage/wall, haiper/bike" in refusal(capture, scene.partition("#")[0])
    assert "heritage/wall, haiper/bike" in refusal(capture, scene + "s")
    assert "does not exist" in refusal(capture, tmp_path / "nowhere")
    assert "No such file" in refusal(capture, tmp_path / "nowhere.csv")
    assert "not 4x4 numbers" in refusal(capture, tmp_path / "broken.json")
    assert "list.json" in refusal(capture, tmp_path / "list.json")
    assert "empty" in refusal(capture, tmp_path / "empty")

"""Poses from photos alone, and better ones for what a phone tracked: the whole stage, on photos of a box on a
table whose cameras are known."""

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from contracts.errors import PosesNotFound, TooFewImages
from tests import captures, tabletop
from workers.geometry.errors import NumericError
from workers.geometry.similarity import align_cameras, moved, scale_of
from workers.prepare import compute, poses
from workers.prepare.capture import Capture, Lens, Shot, World
from workers.prepare.compute import DEFAULTS
from workers.prepare.poses import posed
from workers.prepare.sfm.estimate import Estimate, estimate, refine
from workers.reconstruct import compute as reconstruct
from workers.segment import compute as segment

Array = NDArray[np.float64]

RIG = tabletop.rig(10)
DISTANCE = float(np.median(np.linalg.norm(RIG.c2w[:, :3, 3], axis=1)))
LENS = Lens((RIG.width, RIG.height), (RIG.fx, RIG.fy), (RIG.cx, RIG.cy))


def prepared(folder: Path, **parameters: Any) -> dict[str, Any]:
    """What the stage says of the upload in the folder, beside which it leaves `dataset/`."""
    (folder / "dataset").mkdir()
    return compute.run(folder, folder / "dataset", DEFAULTS | parameters, lambda *_: None)


def noise(folder: Path, count: int, size: tuple[int, int] = (360, 480)) -> list[str]:
    """Photos of nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"photo_{index:02d}_else.png" for index in range(count)]
    for index, name in enumerate(names):
        pixels = np.random.default_rng(index).normal(128, 250, size)
        Image.fromarray(cv2.GaussianBlur(pixels, (0, 0), 4).clip(0, 255).astype(np.uint8)).save(folder / name)
    return names


def images(folder: Path) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads((folder / "dataset" / "cameras.json").read_text())["images"]
    return listed


def off(listed: list[dict[str, Any]]) -> tuple[float, float, Array]:
    """Trajectory error in percent of the cameras' distance, the largest turn in degrees, and the similarity
    from the dataset's world to the true one."""
    found = np.array([each["c2w"] for each in listed])
    true = RIG.c2w[[int(each["source"][6:8]) for each in listed]]
    similarity = align_cameras(found, true).similarity
    return *error(moved(similarity, found), true), similarity


def error(found: Array, true: Array) -> tuple[float, float]:
    apart = np.linalg.norm(found[:, :3, 3] - true[:, :3, 3], axis=1)
    turns = [cv2.Rodrigues(a[:3, :3].T @ b[:3, :3])[0] for a, b in zip(found, true, strict=True)]
    largest = float(np.degrees(np.linalg.norm(turns, axis=1).max()))
    return 100 * float(np.sqrt((apart**2).mean())) / DISTANCE, largest


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("plain")
    tabletop.write(folder / "upload", RIG)
    return folder, prepared(folder)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], list[str]]:
    """Some photos lie on their side, and say so; two show something else."""
    folder = tmp_path_factory.mktemp("mixed")
    tabletop.write(folder / "upload", RIG, lying=(1, 4, 5))
    names = noise(folder / "upload", 2)
    return folder, prepared(folder), names


def test_photos_alone_tell_where_they_were_taken_from(plain: tuple[Path, dict[str, Any]]) -> None:
    folder, said = plain
    told = said["metrics"]["poses"]
    assert told["registered"] == told["photos"] == len(images(folder)) == RIG.views
    assert told["how"] == "estimated"
    shift, turn, similarity = off(images(folder))
    assert shift < 0.3
    assert turn < 0.3
    up = similarity[:3, :3] @ [0, 1, 0] / scale_of(similarity)
    assert said["metrics"]["world"]["up"] == (0.0, 1.0, 0.0)
    assert said["metrics"]["world"]["scale"] is None
    assert np.degrees(np.arccos(up[1])) < 1
    for each in images(folder):  # the photo is cut to a square, and enlarged
        assert each["fx"] * each["crop"][2] / each["w"] == pytest.approx(RIG.fx, rel=0.01)
    rows = np.load(folder / "dataset" / "poses_bounds.npy")
    assert rows.shape == (RIG.views, 17)
    # The nearest that is seen is the table's edge or the box, the farthest the table behind it, well beyond
    # what a sphere about the object would say.
    near, far = rows[:, 15] * scale_of(similarity), rows[:, 16] * scale_of(similarity)
    assert (near > 0.3 * DISTANCE).all()
    assert (near < DISTANCE).all()
    assert (far > 1.2 * DISTANCE).all()
    assert np.median(far) < 2.5 * DISTANCE  # in some photos a false point lies behind everything
    assert any("50 and more" in warning for warning in said["warnings"])
    assert not any("contradicts" in warning for warning in said["warnings"])


def test_the_same_photos_give_the_same_bytes(plain: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "upload").symlink_to(plain[0] / "upload")
    prepared(tmp_path)
    for name in ("cameras.json", "poses_bounds.npy"):
        assert (tmp_path / "dataset" / name).read_bytes() == (plain[0] / "dataset" / name).read_bytes()


def test_photos_of_something_else_are_left_out_and_named(
    mixed: tuple[Path, dict[str, Any], list[str]],
) -> None:
    folder, said, names = mixed
    assert said["metrics"]["poses"]["registered"] == RIG.views
    assert len(images(folder)) == RIG.views
    (warning,) = [warning for warning in said["warnings"] if "could be placed" in warning]
    assert warning.startswith(f"{RIG.views} of {RIG.views + 2} photos")
    assert all(name in warning for name in names)


def test_photos_stored_on_their_side_give_the_same_cameras(
    mixed: tuple[Path, dict[str, Any], list[str]],
) -> None:
    shift, turn, _ = off(images(mixed[0]))
    assert shift < 0.3
    assert turn < 0.3


def test_poses_that_were_sent_are_ignored_where_asked_for_and_the_lens_is_not(tmp_path: Path) -> None:
    tabletop.write(tmp_path / "upload", RIG)
    lies = np.roll(RIG.c2w, 5, axis=0)
    frames: list[dict[str, object]] = [
        {"file_path": f"photo_{index:02d}.png", "transform_matrix": pose.tolist()}
        for index, pose in enumerate(lies)
    ]
    captures.write_transforms(tmp_path / "upload", RIG, frames, metres_per_unit=2.0)
    said = prepared(tmp_path, ignore_poses=True)
    shift, turn, _ = off(images(tmp_path))
    assert shift < 0.3
    assert turn < 0.3
    assert said["metrics"]["world"]["scale"] is None
    for each in images(tmp_path):
        assert each["fx"] * each["crop"][2] / each["w"] == pytest.approx(RIG.fx, rel=1e-9)


def test_a_few_photos_without_poses_are_too_few(tmp_path: Path) -> None:
    noise(tmp_path / "upload", 5)
    with pytest.raises(TooFewImages) as caught:
        prepared(tmp_path)
    assert caught.value.params == {"found": 5, "needed": 8}


def test_photos_that_share_nothing_are_rejected_in_a_sentence(tmp_path: Path) -> None:
    noise(tmp_path / "upload", 12, (120, 160))
    with pytest.raises(PosesNotFound) as caught:
        prepared(tmp_path)
    assert caught.value.params["total"] == 12
    assert "of 12 photos" in caught.value.sentence
    assert "30 photos" in caught.value.action
    assert not re.search(r"[{}]", caught.value.sentence + caught.value.action)


def test_a_single_photo_has_a_mask_and_no_pose(tmp_path: Path) -> None:
    tabletop.write(tmp_path / "upload", tabletop.rig(1))
    said = prepared(tmp_path)
    assert said["metrics"]["posed"] is False
    assert images(tmp_path)[0]["c2w"] is None
    assert not (tmp_path / "dataset" / "poses_bounds.npy").exists()
    (tmp_path / "masks").mkdir()
    asked = {"segmenter": "multiview", "threshold": 0.5, "weights": {}, "hints": []}
    segment.run(tmp_path, tmp_path / "masks", asked, lambda *_: None)
    assert (tmp_path / "masks" / "photo_00.png").exists()
    chosen = {"profile": "preview", "method": "auto", "seed": 0, "holdout": 0}
    made = reconstruct.run(tmp_path, tmp_path, chosen, lambda *_: None)
    assert made["metrics"]["method"] == "single-view"
    with pytest.raises(NumericError) as caught:
        reconstruct.run(tmp_path, tmp_path, chosen | {"method": "surface"}, lambda *_: None)
    assert caught.value.code == "too_few_images"


@cache
def photos() -> list[NDArray[np.uint8]]:
    return [tabletop.photo(RIG, index)[0] for index in range(RIG.views)]


def tracked(folder: Path, c2w: Array, **more: Any) -> Capture:
    shots = []
    for index, pose in enumerate(c2w):
        name = f"photo_{index:02d}.png"
        Image.fromarray(photos()[index]).save(folder / name)
        shots.append(Shot(name, folder / name, lens=LENS, c2w=pose))
    return replace(Capture(shots, World((0.0, 1.0, 0.0), 1.0), tracked=True), **more)


def shaken(degrees: float) -> Array:
    """The poses turned by about so much, and moved by as much of their distance."""
    rng = np.random.default_rng(0)
    poses = RIG.c2w.copy()
    for pose in poses:
        pose[:3, :3] = pose[:3, :3] @ cv2.Rodrigues(np.radians(degrees) * rng.standard_normal(3))[0]
        pose[:3, 3] += DISTANCE * np.radians(degrees) * rng.standard_normal(3)
    return poses


def test_poses_of_a_phone_are_made_better_and_keep_their_world(tmp_path: Path) -> None:
    given = shaken(0.7)
    done = posed(tracked(tmp_path, given), DEFAULTS, tmp_path, lambda *_: None)
    found = np.array([shot.c2w for shot in done.shots])
    assert done.metrics["poses"]["how"] == "refined"
    assert done.world == World((0.0, 1.0, 0.0), 1.0)
    before, after = error(given, RIG.c2w), error(found, RIG.c2w)  # as they are, not aligned
    assert after[0] < 0.5 * before[0]
    assert after[1] < 0.5 * before[1]
    back = align_cameras(found, given).similarity
    assert scale_of(back) == pytest.approx(1, abs=0.005)
    assert np.abs(back[:3] - np.eye(4)[:3]).max() < 0.005
    before, after = (
        error(moved(align_cameras(each, RIG.c2w).similarity, each), RIG.c2w) for each in (given, found)
    )
    assert after[0] < 0.1 * before[0]


def test_poses_that_are_good_already_stay_as_they_are(tmp_path: Path) -> None:
    capture = tracked(tmp_path, shaken(0.01))
    done = posed(capture, DEFAULTS, tmp_path, lambda *_: None)
    assert done.metrics["poses"]["how"] == "given"
    for shot, before in zip(done.shots, capture.shots, strict=True):
        assert shot.c2w is not None
        assert before.c2w is not None
        assert shot.c2w.tobytes() == before.c2w.tobytes()


@pytest.mark.parametrize(("by_phone", "asked"), [(False, "auto"), (True, "never")])
def test_poses_are_not_touched_where_nobody_asked(tmp_path: Path, by_phone: bool, asked: str) -> None:
    capture = tracked(tmp_path, shaken(0.7), tracked=by_phone)
    parameters = DEFAULTS | {"refine_poses": asked}
    assert posed(capture, parameters, tmp_path, lambda *_: None) is capture


def test_poses_that_fit_better_but_contradict_much_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def doubtful(*arguments: Any) -> Estimate:
        found = refine(*arguments)
        return replace(found, map=replace(found.map, agreement=0.65))

    monkeypatch.setattr(poses, "refine", doubtful)
    done = posed(tracked(tmp_path, shaken(0.7)), DEFAULTS, tmp_path, lambda *_: None)
    assert done.metrics["poses"]["how"] == "given"


def test_a_map_that_contradicts_what_photos_share_is_told(
    plain: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def doubtful(*arguments: Any) -> Estimate:
        found = estimate(*arguments)
        return replace(found, map=replace(found.map, agreement=0.5))

    monkeypatch.setattr(poses, "estimate", doubtful)
    (tmp_path / "upload").symlink_to(plain[0] / "upload")
    assert any("contradicts" in warning for warning in prepared(tmp_path)["warnings"])

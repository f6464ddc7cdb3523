"""The reconstruct stage's files: what it reads, what it writes, and how it judges itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.unit.scenes import ball, scene
from workers.geometry.cameras import write_cameras
from workers.geometry.errors import NumericError
from workers.geometry.images import read_rgb, write_png
from workers.geometry.mesh import icosphere
from workers.reconstruct.compute import run
from workers.reconstruct.contact_sheet import contact_sheet, spread
from workers.reconstruct.dataset import read_dataset, split
from workers.reconstruct.methods.model import Scene, TexturedMesh
from workers.reconstruct.obj import write_obj
from workers.reconstruct.quality import compare, renderer, view_losses


def _write(folder: Path, capture: Scene, to_normalised: Any = None) -> None:
    """The stage's inputs, as prepare and segment leave them."""
    (folder / "dataset" / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for name, image, mask in zip(capture.cameras.names, capture.images, capture.masks, strict=True):
        write_png(folder / "dataset" / "images" / name, image)
        write_png(folder / "masks" / name, mask.astype(np.uint8) * 255)
    size = [capture.cameras.width, capture.cameras.height]
    world = {
        "up": None,
        "scale": None,
        "to_normalised": np.eye(4) if to_normalised is None else to_normalised,
    }
    names, count = list(capture.cameras.names), len(capture.cameras)
    path = folder / "dataset" / "cameras.json"
    write_cameras(path, capture.cameras, names, [size] * count, [[0, 0, *size]] * count, world)


def _square() -> TexturedMesh:
    """The square -1..1 of z = 0, looking up z, its texture red at the lower left and blue elsewhere."""
    kd = np.full((16, 16, 3), (20, 40, 220), np.uint8)
    kd[12:, :4] = (220, 40, 20)  # stored top row first: the last rows are at v = 0
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32)
    return TexturedMesh(
        vertices=corners[[0, 1, 2, 0, 2, 3]],  # a seam along the diagonal
        faces=np.array([[0, 1, 2], [3, 4, 5]], np.int32),
        normals=np.tile(np.array([0, 0, 1], np.float32), (6, 1)),
        uv=((corners[[0, 1, 2, 0, 2, 3], :2] + 1) / 2).astype(np.float32),
        kd=kd,
        ks=np.full_like(kd, (255, 153, 0)),
        normal_map=np.full_like(kd, (128, 128, 255)),
    )


def _sphere() -> TexturedMesh:
    """The unit ball in one grey."""
    vertices, faces = icosphere(4)
    kd = np.full((4, 4, 3), 90, np.uint8)
    uv = np.full((len(vertices), 2), 0.5, np.float32)
    return TexturedMesh(vertices, faces, vertices, uv, kd, kd, kd)


def test_a_known_texel_is_found_again_in_the_obj(tmp_path: Path) -> None:
    mesh = _square()
    write_obj(tmp_path, mesh, mesh.vertices.astype(np.float64) * 1000 + 5)
    lines = [line.split() for line in (tmp_path / "mesh.obj").read_text().splitlines()]
    position = np.array([line[1:] for line in lines if line[0] == "v"], float)
    texture = np.array([line[1:] for line in lines if line[0] == "vt"], float)
    assert len(position) == 4  # one for each place, though the seam repeats two vertices
    assert len(texture) == 6
    corners = [[int(i) - 1 for i in c.split("/")] for line in lines if line[0] == "f" for c in line[1:]]
    where = {tuple(position[v]): texture[t] for v, t, _ in corners}
    u, v = where[(-995.0, -995.0, 5.0)]
    image = read_rgb(tmp_path / "texture_kd.png")
    assert image[int((1 - v) * 15.99), int(u * 15.99)].tolist() == [220, 40, 20]
    u, v = where[(1005.0, 1005.0, 5.0)]
    assert image[int((1 - v) * 15.99), int(u * 15.99)].tolist() == [20, 40, 220]
    assert "map_Kd texture_kd.png" in (tmp_path / "mesh.mtl").read_text()


def test_the_dataset_is_read_into_the_normalised_frame(tmp_path: Path) -> None:
    capture = scene(ball, 5, 64)
    shift = np.diag([2.0, 2, 2, 1])
    shift[:3, 3] = 1, 2, 3
    _write(tmp_path, capture, shift)
    (tmp_path / "masks" / "003.png").unlink()  # thrown out by a person
    data = read_dataset(tmp_path)
    assert data.scene.cameras.names == ("000.png", "001.png", "002.png", "004.png")
    assert np.array_equal(data.scene.images[3], capture.images[4])
    assert np.array_equal(data.scene.masks[3], capture.masks[4])
    assert data.scene.cameras.centres[0] == pytest.approx(2 * capture.cameras.centres[0] + [1, 2, 3])
    assert data.scene.frames[0].tolist() == [0, 0, 64, 64]


@pytest.mark.parametrize(
    ("damage", "code", "params"),
    [
        ("no masks", "masks_missing", {}),
        ("one mask", "too_few_images", {"found": 1, "needed": 2}),
        ("torn image", "image_unreadable", {"file": "001.png"}),
        ("small mask", "size_mismatch", {"file": "001.png"}),
    ],
)
def test_what_cannot_be_used_has_a_code_and_a_sentence(
    tmp_path: Path, damage: str, code: str, params: dict[str, Any]
) -> None:
    _write(tmp_path, scene(ball, 3, 64))
    if damage == "torn image":
        (tmp_path / "dataset" / "images" / "001.png").write_bytes(b"no picture")
    elif damage == "small mask":
        write_png(tmp_path / "masks" / "001.png", np.zeros((8, 8), np.uint8))
    else:
        for mask in sorted((tmp_path / "masks").iterdir())[damage == "one mask" :]:
            mask.unlink()
    with pytest.raises(NumericError, match=r"\w+ \w+ \w+") as caught:
        read_dataset(tmp_path)
    assert (caught.value.code, caught.value.params) == (code, params)


def test_every_nth_photo_is_held_out_where_there_are_many() -> None:
    used, held = split(32, 8)
    assert held.tolist() == [4, 12, 20, 28]
    assert sorted([*used, *held]) == list(range(32))
    assert len(split(23, 8)[1]) == 0
    assert len(split(32, 0)[1]) == 0


def test_a_model_is_compared_with_photos_by_outline_and_colour() -> None:
    capture = scene(ball, 4, 96)
    grey = Scene(
        np.where(capture.masks[..., None], np.uint8(90), np.uint8(0)).repeat(3, axis=-1)[..., :3],
        capture.masks,
        capture.cameras,
        capture.frames,
    )
    found = compare(renderer(_sphere()), grey)
    overlap, noise = found.silhouette_iou, found.psnr
    assert overlap > 0.98
    assert noise > 15
    masks = capture.masks & (np.arange(96) < 48)  # half of each outline
    overlap = compare(
        renderer(_sphere()), Scene(grey.images, masks, grey.cameras, grey.frames)
    ).silhouette_iou
    assert overlap == pytest.approx(0.5, abs=0.02)


def test_the_contact_sheet_shows_photo_over_render_from_spread_views() -> None:
    capture = scene(ball, 12, 64)
    chosen = spread(capture.cameras, np.zeros(3, np.float32), 4)
    assert len(set(chosen)) == 4
    towards = capture.cameras.centres[chosen] / 4
    assert (towards @ towards.T - 2 * np.eye(4)).max() < 0.5  # at least 60 degrees apart
    sheet = contact_sheet(_sphere(), capture, np.array([], np.int64))
    tile = (sheet.shape[1] // 6, sheet.shape[0])
    assert tile == (320, 2 * 320 + 2 * 28)
    assert np.ptp(sheet[28 + 160, 160 - 40 : 160 + 40].astype(int), axis=0).max() > 60  # the pattern
    render = sheet[-160, 160]
    assert render.max() - render.min() <= 1  # our grey


def test_the_stage_leaves_a_mesh_in_the_world_and_says_how_good_it_is(tmp_path: Path) -> None:
    capture = scene(ball, 12, 96, offset=3.0)
    from_world = np.diag([0.25, 0.25, 0.25, 1])
    _write(tmp_path / "in", capture, from_world)
    seen: list[float] = []
    parameters = {"profile": "preview", "method": "auto", "seed": 0, "holdout": 8}
    result = run(tmp_path / "in", tmp_path / "out", parameters, lambda part, info: seen.append(part))
    metrics = result["metrics"]
    assert json.loads(json.dumps(metrics)) == metrics
    assert metrics["method"] == "surface"
    assert metrics["views_held_out"] == 0
    assert metrics["training_silhouette_iou"] > 0.95
    assert result["warnings"] == []
    assert seen == sorted(seen)
    assert seen[-1] == 1
    lines = (tmp_path / "out" / "mesh.obj").read_text().splitlines()
    vertices = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
    assert np.linalg.norm(vertices - 3, axis=1) == pytest.approx(1, abs=0.08)
    assert cv2.imread(str(tmp_path / "out" / "contact_sheet.png")) is not None


def test_an_unknown_method_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(NumericError, match="no method magic") as caught:
        run(tmp_path, tmp_path, {"method": "magic"}, lambda part, info: None)
    assert caught.value.code == "method_unavailable"
    assert "surface" in str(caught.value.params["available"])


def test_few_photos_from_one_side_are_a_warning(tmp_path: Path) -> None:
    capture = scene(ball, 24, 64)
    _write(tmp_path / "in", capture.select(np.arange(4)))
    parameters = {"profile": "preview", "holdout": 0}
    warnings = run(tmp_path / "in", tmp_path / "out", parameters, lambda part, info: None)["warnings"]
    assert warnings[0].startswith("Only 4 photos")


def test_losses_are_the_published_formula() -> None:
    """Half of a picture is object; there the render is 100 grey levels too dark, elsewhere a quarter of it is
    covered that should not be."""
    render, photo = np.zeros((4, 4, 4), np.uint8), np.full((4, 4, 3), 200, np.uint8)
    mask = np.zeros((4, 4), bool)
    mask[:2] = True
    render[:2] = (100, 100, 100, 255)
    render[2] = (50, 50, 50, 128)
    image, cover = view_losses(render, photo, mask)

    def tone(code: float) -> float:
        mapped = np.log(((code / 255 + 0.055) / 1.055) ** 2.4 + 1)
        return float(1.055 * mapped ** (1 / 2.4) - 0.055)

    assert image == pytest.approx(0.5 * (tone(200) - tone(100)))
    assert cover == pytest.approx(0.25 * (128 / 255) ** 2)

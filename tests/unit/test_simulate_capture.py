"""The simulator's promises: the same seed the same bytes, and a capture that agrees with its truth."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from PIL import Image
from trimesh.visual import ColorVisuals

from workers.simulate.capture import simulate
from workers.simulate.shape import Shape, bounding_sphere, distance, distance_grid, random_shape

VIEWS = 5
SIZE = (180, 240)


@pytest.fixture(scope="module")
def textured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("textured")
    simulate(out, views=VIEWS, seed=3, size=SIZE)
    return out


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain")
    simulate(out, views=2, seed=3, plain=True, masks=False, size=SIZE)
    return out


def silhouette(mesh: trimesh.Trimesh, camera: dict[str, Any], pose: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(h, w): the mesh's faces filled where the pinhole projects them, 4 times as fine, then voted."""
    local = (mesh.vertices - pose[:3, 3]) @ pose[:3, :3]  # V,3 in the camera's frame, looking along -z
    fine = 4
    u = fine * (camera["cx"] - camera["fl_x"] * local[:, 0] / local[:, 2])
    v = fine * (camera["cy"] + camera["fl_y"] * local[:, 1] / local[:, 2])
    corners = np.stack([u, v], -1)[mesh.faces]
    shift = 8  # fixed-point bits; OpenCV's pixel centres are at whole numbers
    picture = np.zeros((camera["h"] * fine, camera["w"] * fine), np.uint8)
    for triangle in np.round((corners - 0.5) * 2**shift).astype(np.int32):
        cv2.fillConvexPoly(picture, triangle, 255, shift=shift)
    return cv2.resize(picture, (camera["w"], camera["h"]), interpolation=cv2.INTER_AREA) >= 128


def files(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def random_shapes() -> list[Shape]:
    return [random_shape(np.random.default_rng(seed)) for seed in range(12)]


def test_the_same_seed_gives_the_same_bytes(textured: Path, tmp_path: Path) -> None:
    simulate(tmp_path, views=VIEWS, seed=3, size=SIZE)
    assert files(tmp_path) == files(textured)


def test_another_seed_gives_another_capture(textured: Path, tmp_path: Path) -> None:
    simulate(tmp_path, views=2, seed=4, size=SIZE)
    ours, theirs = files(tmp_path), files(textured)
    for name in ("capture/images/photo_000.jpg", "capture/masks/photo_000.png", "truth/mesh.ply"):
        assert ours[name] != theirs[name]


def test_masks_are_the_truth_seen_from_the_poses(textured: Path) -> None:
    mesh = trimesh.load_mesh(textured / "truth/mesh.ply")
    camera = json.loads((textured / "capture/transforms.json").read_text())
    assert len(camera["frames"]) == VIEWS
    for frame in camera["frames"]:
        mask = np.array(Image.open(textured / "capture" / frame["mask_path"])) > 0
        soft = np.array(Image.open(textured / "truth" / frame["mask_path"]))
        expected = silhouette(mesh, camera, np.array(frame["transform_matrix"]))
        assert (mask & expected).sum() / (mask | expected).sum() > 0.97
        assert np.array_equal(mask, soft >= 128)


def test_the_object_is_never_cut_off_and_fills_the_frame(textured: Path) -> None:
    for path in sorted((textured / "truth/masks").iterdir()):
        mask = np.array(Image.open(path)) > 0
        assert mask.sum() == mask[1:-1, 1:-1].sum()
        rows = np.flatnonzero(mask.any(1))
        assert 0.3 < (rows[-1] - rows[0] + 1) / SIZE[1] < 0.6


def test_the_mesh_is_one_watertight_solid_with_one_handle(textured: Path) -> None:
    mesh = trimesh.load_mesh(textured / "truth/mesh.ply")
    assert mesh.is_watertight
    assert mesh.volume > 0  # faces look outwards
    assert mesh.body_count == 1
    assert mesh.euler_number == 0  # 2 - 2 genus
    assert mesh.bounds[0][1] == pytest.approx(0.0, abs=1e-4)
    assert 0.18 < mesh.extents[1] < 0.22


@pytest.mark.parametrize("s", random_shapes())
def test_every_seed_keeps_the_bowl_and_the_hole(s: Shape) -> None:
    beside_the_knob = s.knob_radius + 0.006
    assert distance(s, beside_the_knob, s.height - 0.02, 0.0) > 0  # in the bowl
    assert distance(s, 0.0, s.bowl_y - s.bowl_radius - 0.01, 0.0) < 0  # in its floor
    assert distance(s, 0.0, s.knob_y, 0.0) < 0
    hole = np.linspace(s.handle_x - 0.01, s.handle_x + s.handle_ring - s.handle_tube - 0.003, 15)
    clear = [min(distance(s, x, s.handle_y, z) for z in np.linspace(-0.1, 0.1, 81)) for x in hole]
    assert max(clear) > 0.005  # a finger's way through the handle


@pytest.mark.parametrize("s", random_shapes())
def test_the_bounding_sphere_holds_the_object(s: Shape) -> None:
    axes = [np.linspace(low, low + 0.32, 81) for low in (-0.12, -0.02, -0.16)]
    inside = np.argwhere(distance_grid(s, *axes) <= 0)
    points = np.stack([axes[i][inside[:, i]] for i in range(3)], -1)
    centre, radius = bounding_sphere(s)
    assert np.linalg.norm(points - centre, axis=1).max() < radius < 0.16


def test_plain_has_one_colour_and_the_same_shape(textured: Path, plain: Path) -> None:
    matte = trimesh.load_mesh(plain / "truth/mesh.ply", process=False)
    painted = trimesh.load_mesh(textured / "truth/mesh.ply", process=False)
    assert isinstance(matte.visual, ColorVisuals)
    assert isinstance(painted.visual, ColorVisuals)
    assert np.ptp(matte.visual.vertex_colors, axis=0).max() == 0
    assert np.ptp(painted.visual.vertex_colors[:, :3], axis=0).min() > 60
    assert np.array_equal(matte.vertices, painted.vertices)


def test_the_truth_stays_out_of_the_capture(textured: Path, plain: Path) -> None:
    assert sorted(p.name for p in textured.iterdir()) == ["capture", "truth"]
    assert sorted(p.name for p in (textured / "capture").iterdir()) == ["images", "masks", "transforms.json"]
    assert sorted(p.name for p in (plain / "capture").iterdir()) == ["images", "transforms.json"]
    frames = json.loads((plain / "capture/transforms.json").read_text())["frames"]
    assert all("mask_path" not in frame for frame in frames)


def test_photos_tell_how_they_were_taken(textured: Path) -> None:
    with Image.open(textured / "capture/images/photo_001.jpg") as photo:
        exif = photo.getexif()
        details = exif.get_ifd(0x8769)
        assert photo.size == SIZE
    assert exif[0x0110] == "phototwin simulator"
    assert exif[0x0112] == 1
    assert details[0x9003] == "2024:05:17 14:30:02"
    assert details[0xA405] == 34


def test_no_views_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one view"):
        simulate(tmp_path, views=0)

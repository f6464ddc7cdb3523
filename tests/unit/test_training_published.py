"""Shapes as Occupancy Networks and 3D-R2N2 lay them out: what they are read as, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.unit.training_shapes import (
    BRACKET,
    KEPT,
    SIDE,
    VIEWS,
    bracket,
    bracket_voxels,
    camera,
    check_distances,
    check_seen,
    drawn,
    write_binvox,
    write_occnet,
    write_r2n2,
)
from workers.geometry.cameras import Cameras
from workers.geometry.mesh import volume
from workers.training.occnet import cut_out, from_occnet, rotation
from workers.training.r2n2 import from_r2n2, read_binvox, seen_from, surface_of
from workers.training.reading import BadShape


@pytest.mark.parametrize("packed", [True, False])
def test_occnet_is_seen_where_its_cameras_have_it(tmp_path: Path, packed: bool) -> None:
    write_occnet(tmp_path, [camera(*view, roll=12) for view in VIEWS], packed)
    found = from_occnet(tmp_path, KEPT, np.random.default_rng(0))
    assert [each.shape[0] for each in found] == [3, 3, 1500, 1500, 1500, 1500]
    check_seen(found, 0.97)
    check_distances(found, 0.012)
    assert np.abs(found.even).max() > 0.7  # beyond the cube that the file tells of
    again = from_occnet(tmp_path, KEPT, np.random.default_rng(0))
    for a, b in zip(found, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_cameras_signs_do_not_matter_but_a_mirror_does() -> None:
    view = camera(35, 28, roll=-20)
    focal, _, x, y = view.intrinsics[0]
    up = view.w2c()[0, :3]  # y up, z towards the viewer
    down = np.diag([1, -1, -1]) @ up
    usual = np.array([[focal, 0, x], [0, focal, y], [0, 0, 1]])
    flipped = np.array([[focal, 0, -x], [0, -focal, -y], [0, 0, -1]])
    surface = bracket()[0].astype(np.float64)
    for projection in (usual @ down, flipped @ up, -usual @ down, 3 * usual @ down):
        np.testing.assert_allclose(rotation(projection, surface), up[:, :3], atol=1e-9)
    with pytest.raises(BadShape, match="mirrors"):
        rotation(usual @ np.diag([-1, 1, 1]) @ down, surface)


def test_what_is_not_white_is_cut_out_with_what_it_encloses() -> None:
    rows, columns = np.mgrid[:60, :80]
    away = np.hypot(rows - 30, columns - 40)
    picture = np.full((60, 80, 3), 255, np.uint8)
    picture[(away < 20) & (away > 8)] = 100, 250, 250
    picture[2, 3] = 0
    np.testing.assert_array_equal(cut_out(picture)[..., 3] > 0, away < 20)
    assert not cut_out(np.full((60, 80, 3), 250, np.uint8))[..., 3].any()


def test_pictures_in_which_white_hides_the_outline_are_left_out(tmp_path: Path) -> None:
    def partly(view: Cameras) -> NDArray[np.uint8]:
        picture = drawn(view)
        if view is views[0]:
            picture[:, : SIDE // 2, :3] = 252
        return picture

    views = [camera(*view) for view in VIEWS]
    write_occnet(tmp_path / "a", views, pictures=partly)
    check_seen(from_occnet(tmp_path / "a", KEPT, np.random.default_rng(0)), 0.97)
    write_occnet(tmp_path / "b", views[:1], pictures=partly)
    with pytest.raises(BadShape, match="no picture in img_choy2016"):
        from_occnet(tmp_path / "b", KEPT, np.random.default_rng(0))


def test_damaged_arrays_are_named(tmp_path: Path) -> None:
    def refuse(why: str) -> None:
        with pytest.raises(BadShape, match=why):
            from_occnet(tmp_path, KEPT, np.random.default_rng(0))

    refuse("pointcloud.npz cannot be read")
    write_occnet(tmp_path, [camera(*VIEWS[0])])
    points = tmp_path / "points.npz"
    whole = points.read_bytes()
    points.write_bytes(whole[: len(whole) // 2])
    refuse("points.npz cannot be read")
    np.savez(points, points=np.zeros((9, 3)), occupancies=np.zeros(1, np.uint8))
    refuse("points.npz does not say of each point")
    np.savez(points, points=np.zeros((9, 2)), occupancies=np.zeros(9))
    refuse("points of points.npz is not as it should be")
    points.write_bytes(whole)
    np.savez(tmp_path / "img_choy2016" / "cameras.npz", nothing=0)
    refuse("cameras.npz cannot be read")
    (tmp_path / "img_choy2016" / "cameras.npz").unlink()
    refuse("cameras.npz cannot be read")


def test_r2n2_is_seen_where_its_angles_have_it(tmp_path: Path) -> None:
    model = write_r2n2(tmp_path, "02691156/a", VIEWS)
    found = from_r2n2(model, KEPT, np.random.default_rng(0))
    check_seen(found, 0.95)
    check_distances(found, 0.02)  # corners are cut at half a voxel
    for azimuth, elevation in VIEWS:
        turn = camera(azimuth, elevation).w2c()[0, :3, :3]
        np.testing.assert_allclose(seen_from(azimuth, elevation), turn, atol=1e-12)


def test_voxels_come_back_along_their_axes(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).random((7, 7, 7)) < 0.3
    write_binvox(tmp_path / "a.binvox", voxels)
    np.testing.assert_array_equal(read_binvox(tmp_path / "a.binvox"), voxels)
    vertices, faces = surface_of(bracket_voxels())
    np.testing.assert_allclose(vertices.max(0), BRACKET.max((0, 1)), atol=1e-6)
    # All edges that stick out are cut off by half a voxel.
    true = float(np.prod(np.ptp(BRACKET, axis=1), axis=1).sum() - 8 * 6 * 8 / 32**3)
    assert 0.95 * true < volume(vertices, faces) < true


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is no binvox file"),
        (b"#binvox 1\ndim 2 2 2\ntranslate 0 0 0\nscale 1\n", "is no binvox file"),
        (b"#binvox 1\ndim 2 2 3\ntranslate 0 0 0\nscale 1\ndata\n\x01\x0c", "is not as wide"),
        (b"#binvox 1\ndim 9000 9000 9000\ntranslate 0 0 0\nscale 1\ndata\n\x01\x0c", "is not as wide"),
        (b"#binvox 1\ndim 2 2 2\ntranslate 0 0 0\nscale 1\ndata\n", "is damaged"),
        (b"#binvox 1\ndim 2 2 2\ntranslate 0 0 0\nscale 1\ndata\n\x01", "is damaged"),
        (b"#binvox 1\ndim 2 2 2\ntranslate 0 0 0\nscale 1\ndata\n\x01\x07", "is damaged"),
        (b"#binvox 1\ndim 2 2 2\ntranslate 0 0 0\nscale 1\ndata\n\x01\x09", "is damaged"),
        (b"#binvox 1\ndim 2 2 2\ntranslate 0 0 0\nscale 1\ndata\n\x02\x08", "is damaged"),
    ],
)
def test_damaged_voxels_are_named(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "a.binvox").write_bytes(content)
    with pytest.raises(BadShape, match=f"a.binvox {why}"):
        read_binvox(tmp_path / "a.binvox")


def test_r2n2_says_what_is_missing(tmp_path: Path) -> None:
    model = write_r2n2(tmp_path, "c/a", VIEWS[:1])

    def refuse(why: str) -> None:
        with pytest.raises(BadShape, match=why):
            from_r2n2(model, KEPT, np.random.default_rng(0))

    metadata = model / "rendering" / "rendering_metadata.txt"
    metadata.write_text("")
    refuse("rendering_metadata.txt tells of no picture")
    metadata.write_text("x y z\n")
    refuse("rendering_metadata.txt cannot be read")
    metadata.write_text("35 28 10 0.8 25\n")
    refuse("turned in their plane")
    metadata.write_text("35 28 0 0.8 25\n")
    Image.new("RGB", (9, 9)).save(model / "rendering" / "00.png")
    refuse("no alpha")
    write_binvox(tmp_path / "ShapeNetVox32" / "c" / "a" / "model.binvox", np.zeros((4, 4, 4), bool))
    refuse("empty")

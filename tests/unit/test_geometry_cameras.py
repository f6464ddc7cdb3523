"""Cameras: projection by hand, LLFF there and back, similarity invariance, cameras.json."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from workers.geometry.cameras import Cameras, from_llff, photo_frames, read_cameras, to_llff, write_cameras
from workers.geometry.errors import NumericError


def _cameras() -> Cameras:
    c2w = np.tile(np.eye(4), (2, 1, 1))
    c2w[0, 2, 3] = 5
    c2w[1] = [[0, 0, 1, 4], [1, 0, 0, 2], [0, 1, 0, 3], [0, 0, 0, 1]]
    return Cameras(("a.png", "b.png"), np.array([[100, 110, 32, 30], [90, 95, 31, 33.0]]), 64, 60, c2w)


def test_a_point_up_and_right_lands_up_and_right_of_the_centre() -> None:
    u, v, w = _cameras().projection()[0] @ [1, 2, 0, 1]
    assert (u / w, v / w, w) == pytest.approx((32 + 100 / 5, 30 - 110 * 2 / 5, 5))


def test_clip_space_agrees_with_pixels_and_bounds_depth() -> None:
    cameras = _cameras()
    for depth, expected in ((2, -1), (9, 1)):
        x, y, z, w = cameras.clip(2, 9)[0] @ [0.3, 0.2, 5 - depth, 1]
        u, v, _ = cameras.projection()[0] @ [0.3, 0.2, 5 - depth, 1] / depth
        assert (z / w, w) == pytest.approx((expected, depth))
        assert ((x / w + 1) * 32, (1 - y / w) * 30) == pytest.approx((u, v))


def test_similarity_moves_points_and_cameras_alike() -> None:
    cameras = _cameras()
    similarity = np.array([[0, -3, 0, 1], [3, 0, 0, 2], [0, 0, 3, -1], [0, 0, 0, 1.0]])
    point = np.array([0.3, 0.1, -0.4, 1])
    before = cameras.projection() @ point
    moved = cameras.transformed(similarity)
    assert moved.projection() @ (similarity @ point) == pytest.approx(3 * before)
    assert moved.c2w[:, :3, :3] @ moved.c2w[:, :3, :3].transpose(0, 2, 1) == pytest.approx(
        np.tile(np.eye(3), (2, 1, 1))
    )


def test_llff_columns_are_down_right_backwards_and_come_back() -> None:
    cameras = _cameras()
    rows = to_llff(cameras, 1.0, [8.0, 9.0])
    assert rows[0, :15].reshape(3, 5)[:, :3] == pytest.approx(np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]))
    c2w, height, width, focal, near, far = from_llff(rows)
    assert c2w == pytest.approx(cameras.c2w)
    assert (height[0], width[0], focal[1], near[1], far[1]) == (60, 64, 90, 1, 9)


def test_scaling_an_image_scales_its_pixels() -> None:
    point = [0.3, 0.2, 0, 1]
    small, large = _cameras().projection()[1] @ point, _cameras().scaled(128, 180).projection()[1] @ point
    assert large == pytest.approx(small * [2, 3, 1])


def test_cameras_json_comes_back(tmp_path: Path) -> None:
    cameras, world = _cameras(), {"up": None, "scale": 0.5, "to_normalised": np.eye(4)}
    path = tmp_path / "cameras.json"
    write_cameras(path, cameras, ["1.jpg", "2.jpg"], [[56, 60]] * 2, [[-4, 0, 64, 60], [0, 0, 64, 60]], world)
    found, entry = read_cameras(path)
    assert found.names == cameras.names
    assert np.array_equal(found.c2w, cameras.c2w)
    assert np.array_equal(found.intrinsics, cameras.intrinsics)
    assert entry["scale"] == 0.5
    assert photo_frames(path).tolist() == [[4, 0, 60, 60], [0, 0, 56, 60]]


def test_a_single_picture_without_a_pose_is_a_world_of_its_own(tmp_path: Path) -> None:
    """One unit wide at the origin, upright; of several without poses there is no telling."""
    path = tmp_path / "cameras.json"
    unknown = np.full((4, 4), np.nan)
    world = {"up": None, "scale": None, "to_normalised": None}
    alone = replace(_cameras().select([0]), c2w=unknown[None])
    write_cameras(path, alone, ["1.jpg"], [[64, 60]], [[0, 0, 64, 60]], world)
    found, entry = read_cameras(path)
    assert np.array_equal(found.c2w[0, :3, :3], np.eye(3))
    x, y, w = found.projection()[0] @ np.array([[0, 0, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1.0]]).T
    assert (x / w)[1] - (x / w)[0] == pytest.approx(found.width)
    assert (y / w)[2] < (y / w)[0]
    assert np.array(entry["to_normalised"]).shape == (4, 4)
    two = replace(_cameras().select([0, 1]), c2w=np.stack([unknown, unknown]))
    write_cameras(path, two, ["1.jpg", "2.jpg"], [[64, 60]] * 2, [[0, 0, 64, 60]] * 2, world)
    with pytest.raises(NumericError) as caught:
        read_cameras(path)
    assert caught.value.code == "poses_missing"


def test_no_images_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "cameras.json"
    path.write_text('{"images": [], "world": {}}')
    with pytest.raises(NumericError, match="no image"):
        read_cameras(path)

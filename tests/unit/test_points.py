"""Clouds of points out of depth maps, and their files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tests.unit.scenes import ball, pattern, scene
from workers.geometry.grid import Grid
from workers.geometry.mesh import icosphere
from workers.reconstruct.cloud import write_cloud
from workers.reconstruct.methods.model import Cloud, Scene
from workers.reconstruct.methods.surface.points import point_cloud
from workers.reconstruct.methods.surface.silhouettes import cut_to_object
from workers.render.depth import depth_maps

SIZE = 128
PIXEL = 1 / SIZE
HALF = np.full(3, 0.5)
GRID = Grid.around(-HALF, HALF, 40)
OUTSIDE = np.linalg.norm(GRID.points(np.ones(GRID.shape, bool)), axis=1).reshape(GRID.shape) - 0.5
FIELD = OUTSIDE.astype(np.float32)


@pytest.fixture(scope="module")
def photos() -> Scene:
    """A ball of diameter 1."""
    return scene(ball, count=40, size=200).transformed(np.diag([0.5, 0.5, 0.5, 1]))


@pytest.fixture(scope="module")
def cut(photos: Scene) -> Scene:
    return cut_to_object(photos, HALF, SIZE)


@pytest.fixture(scope="module")
def depth(cut: Scene) -> NDArray[np.float32]:
    directions, faces = icosphere(5)
    return np.asarray(depth_maps((directions / 2).astype(np.float32), faces, cut.cameras), np.float32)


def _cloud(photos: Scene, cut: Scene, depth: NDArray[np.float32]) -> Cloud:
    return point_cloud(depth, np.ones_like(depth), cut, photos.cameras, FIELD, GRID)


def _radii(cloud: Cloud) -> NDArray[np.float32]:
    return np.asarray(np.linalg.norm(cloud.points, axis=1))


def test_a_ball_is_covered_once(photos: Scene, cut: Scene, depth: NDArray[np.float32]) -> None:
    cloud = _cloud(photos, cut, depth)
    assert _radii(cloud) == pytest.approx(0.5, abs=0.2 * PIXEL)
    cells = np.floor(cloud.points / PIXEL).astype(int)
    assert len(np.unique(cells, axis=0)) > 0.99 * len(cells)
    assert len(cloud.points) < 1.5 * np.pi * SIZE**2  # the cells that a ball's surface meets
    directions, _ = icosphere(5)
    nearest = cKDTree(cloud.points).query(directions / 2)[0]
    assert np.mean(nearest < 1.5 * PIXEL) > 0.99
    assert (cloud.normals * cloud.points).sum(1) * 2 == pytest.approx(1, abs=0.01)
    error = np.abs(cloud.colours - np.clip(pattern(2 * cloud.points), 0, 255))
    assert np.median(error) < 6


def test_noise_is_averaged_out(photos: Scene, cut: Scene, depth: NDArray[np.float32]) -> None:
    noise = np.random.default_rng(0).normal(0, 0.3 * PIXEL, depth.shape).astype(np.float32)
    cloud = _cloud(photos, cut, np.where(depth > 0, depth + noise, 0))
    assert np.abs(_radii(cloud) - 0.5).mean() < 0.25 * 0.3 * PIXEL


def test_what_fewer_than_three_views_show_is_no_point(
    photos: Scene, cut: Scene, depth: NDArray[np.float32]
) -> None:
    """Views next to each other put a disc before the ball."""
    first = 20
    towards = cut.cameras.centres / np.linalg.norm(cut.cameras.centres, axis=1, keepdims=True)
    near = np.argsort(-(towards @ towards[first]))[:3]
    for views, shown in ((near[:2], False), (near, True)):
        discs = depth.copy()
        for view in views:
            discs[view] = _disc(cut, view, 0.6 * towards[first])
        raised = _radii(_cloud(photos, cut, discs)) > 0.55
        assert (raised.sum() > 100) == raised.any() == shown


def _disc(cut: Scene, view: int, middle: NDArray[np.float64]) -> NDArray[np.float32]:
    """(h,w) depth of a disc around `middle` that faces the origin; 0 elsewhere."""
    square = np.eye(4)
    square[:3] = cut.cameras.projection()[view]
    inverse = np.linalg.inv(square)[:3]
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ inverse[:, :3].T
    depth = ((middle - inverse[:, 3]) @ middle) / (rays @ middle)
    away = np.linalg.norm(inverse[:, 3] + depth[..., None] * rays - middle, axis=-1)
    return np.where(away < 0.15, depth, 0).astype(np.float32)


def test_sightings_are_of_views_before_the_point(
    photos: Scene, cut: Scene, depth: NDArray[np.float32]
) -> None:
    cloud = _cloud(photos, cut, depth)
    point, view = cloud.sightings.T
    assert np.array_equal(np.unique(point), np.arange(len(cloud.points)))
    assert np.bincount(point).min() >= 2
    towards = cloud.cameras.centres[view] - cloud.points[point]
    assert (towards * cloud.normals[point]).sum(1).min() > -0.05  # at the rim, by a pixel


def test_no_confidence_is_an_empty_cloud(photos: Scene, cut: Scene, depth: NDArray[np.float32]) -> None:
    cloud = point_cloud(depth, np.zeros_like(depth), cut, photos.cameras, FIELD, GRID)
    assert cloud.points.shape == cloud.normals.shape == cloud.colours.shape == (0, 3)
    assert cloud.sightings.shape == (0, 2)


def test_one_thread_gives_the_same_bytes(photos: Scene, cut: Scene, depth: NDArray[np.float32]) -> None:
    many = _cloud(photos, cut, depth)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        one = _cloud(photos, cut, depth)
    finally:
        numba.set_num_threads(threads)
    for name in ("points", "normals", "colours", "sightings"):
        assert getattr(one, name).tobytes() == getattr(many, name).tobytes()


def test_files_say_what_the_cloud_says(
    photos: Scene, cut: Scene, depth: NDArray[np.float32], tmp_path: Path
) -> None:
    """In a world of another size, that leans. COLMAP projects the points to where they are seen."""
    lean = np.array([[0.8, 0, 0.6, 1], [0, 1, 0, 2], [-0.6, 0, 0.8, 3], [0, 0, 0, 1]]) @ np.diag(
        [3.0, 3, 3, 1]
    )
    cloud = _cloud(photos, cut, depth).transformed(lean)
    assert np.linalg.norm(cloud.points - [1, 2, 3], axis=1) == pytest.approx(1.5, abs=0.01)
    assert np.linalg.norm(cloud.normals, axis=1) == pytest.approx(1, abs=1e-5)
    write_cloud(tmp_path, cloud)
    read: Any = trimesh.load(tmp_path / "points.ply")
    np.testing.assert_array_equal(read.vertices.astype(np.float32), cloud.points)
    np.testing.assert_array_equal(read.colors[:, :3], cloud.colours)
    found = read.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_array_equal(np.stack([found[name] for name in ("nx", "ny", "nz")], 1), cloud.normals)
    # Not here: pycolmap takes over a process's signals.
    script = f"""
import numpy as np, pycolmap
model = pycolmap.Reconstruction({str(tmp_path / "colmap")!r})
errors = [
    np.linalg.norm(
        model.images[seen.image_id].project_point(point.xyz)
        - model.images[seen.image_id].points2D[seen.point2D_idx].xy
    )
    for point in model.points3D.values() for seen in point.track.elements
]
print(model.num_images(), model.num_points3D(), len(errors), max(errors))
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    images, points, sightings, error = said.split()
    assert int(images) == 40
    assert 0.4 * 20_000 < int(points) <= 20_000
    assert int(sightings) >= 2 * int(points)
    assert float(error) < 0.001

"""Refinement of method `surface`: a surface that is off comes back to the masks and the photos."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import scipy.sparse as sparse
from numpy.typing import NDArray

from tests.unit.scenes import ball, dimpled, scene
from workers.geometry.manifold import defects
from workers.geometry.mesh import edges, icosphere, vertex_normals
from workers.reconstruct.methods.model import Scene
from workers.reconstruct.methods.surface import refinement
from workers.reconstruct.methods.surface.contours import contours
from workers.reconstruct.methods.surface.masks import signed_distances
from workers.reconstruct.methods.surface.patches import agreement, curvatures
from workers.reconstruct.methods.surface.refinement import refined

Float = NDArray[np.float32]

_HALF = np.ones(3)
_SIZE = 200
_PIXEL = 4 / (1.3 * _SIZE)  # length of a pixel at the object's middle


@pytest.fixture(scope="module")
def capture() -> Scene:
    return scene(dimpled, size=_SIZE)


def _mesh(radius: NDArray[np.floating] | float = 1.0) -> tuple[Float, NDArray[np.int32]]:
    directions, faces = icosphere(4)
    return (directions * (dimpled(directions) * radius)[:, None]).astype(np.float32), faces


def _bumps(directions: Float) -> Float:
    return np.sin(directions @ np.array([3, -4, 2], np.float32)) * np.sin(directions[:, 1] * 5)


def _off(vertices: Float) -> NDArray[np.float64]:
    """(V,) pixels that vertices stand out over the dimpled ball."""
    radius = np.linalg.norm(vertices, axis=1)
    return np.asarray(
        (radius - dimpled((vertices / radius[:, None]).astype(np.float32))) / _PIXEL, np.float64
    )


def _spread(off: NDArray[np.float64]) -> float:
    return float(np.sqrt((off**2).mean()))


def _blank(capture: Scene) -> Scene:
    return replace(capture, images=np.full_like(capture.images, 90))


def test_outlines_bring_a_surface_without_texture_to_the_masks(capture: Scene) -> None:
    vertices, faces = _mesh(1 + 1.5 * _PIXEL)
    moved, same = refined(_blank(capture), _HALF, vertices, faces, _SIZE)
    assert np.array_equal(same, faces)
    outside = moved[:, 0] < 0.5  # away from the hollow, whose ground no outline shows
    assert _off(vertices)[outside].mean() > 1.4
    assert abs(_off(moved)[outside].mean()) < 0.2


def test_photos_bring_the_ground_of_a_hollow_back(capture: Scene) -> None:
    directions, _ = icosphere(4)
    across = np.arccos(np.clip(directions[:, 0], -1, 1))
    ground = across < 0.2
    vertices, faces = _mesh(1 + 2 * _PIXEL * np.exp(-((across / 0.25) ** 2)))
    moved, _ = refined(capture, _HALF, vertices, faces, _SIZE)
    without, _ = refined(_blank(capture), _HALF, vertices, faces, _SIZE)
    assert _spread(_off(moved)[ground]) < 0.6 * _spread(_off(vertices)[ground])
    assert _spread(_off(without)[ground]) > 0.85 * _spread(_off(vertices)[ground])


def test_bumps_go_and_the_mesh_stays_closed(capture: Scene) -> None:
    directions, _ = icosphere(4)
    vertices, faces = _mesh(1 + _PIXEL * _bumps(directions))
    moved, same = refined(capture, _HALF, vertices, faces, _SIZE)
    assert _spread(_off(moved)) < 0.5 * _spread(_off(vertices))
    assert defects(same) == 0


def test_masks_that_disagree_are_not_carved_to(capture: Scene) -> None:
    vertices, faces = _mesh()
    masks = capture.masks.copy()
    masks[3, :, : _SIZE // 2] = False  # half the object is missing in one of 24
    masks[9, _SIZE // 2 - 20 : _SIZE // 2 + 20] = True
    moved, _ = refined(replace(capture, masks=masks), _HALF, vertices, faces, _SIZE)
    unharmed, _ = refined(capture, _HALF, vertices, faces, _SIZE)
    assert np.abs(moved - unharmed).max() < 0.5 * _PIXEL


def test_what_no_photo_shows_stays(capture: Scene) -> None:
    above = np.flatnonzero(capture.cameras.centres[:, 2] > 1.5)
    vertices, faces = _mesh()
    moved, _ = refined(capture.select(above), _HALF, vertices, faces, _SIZE)
    below = vertices[:, 2] < -0.8
    assert np.linalg.norm(moved - vertices, axis=1)[below].max() < 0.3 * _PIXEL


def test_the_result_is_the_same_each_time(capture: Scene) -> None:
    vertices, faces = _mesh(1.01)
    first, second = (refined(capture, _HALF, vertices, faces, _SIZE)[0] for _ in range(2))
    assert np.array_equal(first, second)


def test_faces_that_would_fold_do_not_move() -> None:
    vertices, faces = icosphere(2)
    pushed = vertices.copy()
    pushed[7] *= -1
    kept, back = refinement._unfolded(vertices, pushed, faces)
    assert np.array_equal(kept, vertices)
    assert back[7]


def test_outlines_move_with_vertices_as_their_growth_says(capture: Scene) -> None:
    distances = signed_distances(capture.masks, capture.frames)
    pixels = 1 / _PIXEL
    residuals, growths = [], []
    for radius in (1.0, 1 + _PIXEL):
        vertices, faces = _mesh(radius)
        normals = vertex_normals(vertices, faces)
        found, depth = contours(vertices, normals, faces, capture.cameras, distances, capture.frames, pixels)
        residuals.append(found.residual.mean())
        growths.append(found.growth.sum(1).mean())
        assert (depth > 0).sum() > 1000
    assert residuals[1] - residuals[0] == pytest.approx(np.mean(growths), rel=0.1)
    assert abs(residuals[0]) < 0.15


def test_curvatures_of_a_ball() -> None:
    directions, faces = icosphere(4)
    corner, _ = edges(faces)
    both = np.concatenate([corner, corner[:, ::-1]])
    adjacency = sparse.csr_array((np.ones(len(both)), both.T), shape=(len(directions),) * 2)
    found = curvatures(2 * directions, directions, adjacency)
    expected = (directions[:, :, None] * directions[:, None] - np.eye(3)) / 2
    assert found == pytest.approx(expected, abs=0.04)


def test_patches_say_how_far_the_surface_is_off() -> None:
    capture = scene(ball, size=_SIZE)
    grey = capture.images.astype(np.float32).mean(-1) / np.float32(255)
    directions, _ = icosphere(3)
    shapes = (directions[:, :, None] * directions[:, None] - np.eye(3, dtype=np.float32)).astype(np.float32)
    slopes = np.zeros(len(directions), np.float32)
    views = (grey, np.full_like(grey, 100), capture.masks)
    for off in (-0.5, 0.0, 0.5):
        points = ((1 + off * _PIXEL) * directions).astype(np.float32)
        found = agreement(points, directions, shapes, slopes, views, capture.cameras, 1 / _PIXEL)
        textured = found.texture > np.median(found.texture)
        assert np.median(found.move[textured]) == pytest.approx(-off, abs=0.1)


def test_masks_too_small_and_too_large_leave_the_surface_between(capture: Scene) -> None:
    vertices, faces = _mesh()
    disc = np.ones((5, 5), np.uint8)
    worn = [
        (cv2.dilate if i % 4 else cv2.erode)(mask.astype(np.uint8), disc) > 0
        for i, mask in enumerate(capture.masks)
    ]
    masks = np.where((np.arange(len(worn)) % 2 > 0)[:, None, None], capture.masks, np.stack(worn))
    moved, _ = refined(_blank(replace(capture, masks=masks)), _HALF, vertices, faces, _SIZE)
    assert _spread(_off(moved)) < 0.8

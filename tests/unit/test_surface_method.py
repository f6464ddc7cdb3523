"""Method `surface` on scenes rendered by our own rasteriser, whose truth is a formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.geometry.errors import NumericError
from workers.geometry.grid import Grid
from workers.geometry.mesh import icosphere, volume
from workers.reconstruct.methods.model import Scene, Settings
from workers.reconstruct.methods.surface import reconstruct
from workers.reconstruct.methods.surface.aggregate import aggregate, decide
from workers.reconstruct.methods.surface.hull import hull_distance
from workers.reconstruct.methods.surface.masks import signed_distances
from workers.reconstruct.methods.surface.mending import mended
from workers.reconstruct.methods.surface.silhouettes import object_box
from workers.reconstruct.methods.surface.texture import padded
from workers.render.depth import clip_positions
from workers.render.rasterizer import interpolate, rasterize

Float = NDArray[np.float32]


def _ring(count: int, distance: float, centre: NDArray[np.float64], size: int, focal: float) -> Cameras:
    """Cameras on a Fibonacci spiral around `centre`, looking at it."""
    k = np.arange(count)
    height = 0.9 - 1.8 * (k + 0.5) / count
    turn = k * np.pi * (3 - 5**0.5)
    radius = np.sqrt(1 - height**2)
    back = np.stack([radius * np.cos(turn), radius * np.sin(turn), height], axis=1)
    right = np.cross([0, 0, 1.0], back)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    c2w = np.tile(np.eye(4), (count, 1, 1))
    c2w[:, :3] = np.stack([right, np.cross(back, right), back, centre + distance * back], axis=2)
    intrinsics = np.tile([focal, focal, size / 2, size / 2], (count, 1))
    return Cameras(tuple(f"{i:03d}.png" for i in range(count)), intrinsics, size, size, c2w)


def _pattern(points: Float) -> Float:
    """Colours in [0,255], smooth and busy."""
    axes = np.array([[1, 2, 0.5], [-2, 1, 1], [0.5, -1, 2]], np.float32)
    waves = [np.sin(points @ axis * 23) for axis in axes]
    mixed = waves[1][..., None] * waves[0][..., None]
    colours: Float = (127 + 60 * np.stack(waves, axis=-1) + 50 * mixed).astype(np.float32)
    return colours


def _scene(shape: Callable[[Float], Float], count: int = 24, size: int = 160, offset: float = 0.0) -> Scene:
    """A star-shaped object r = shape(direction), textured by `_pattern`, its middle off the origin."""
    directions, faces = icosphere(6)
    centre = np.full(3, offset)
    vertices = (directions * shape(directions)[:, None] + centre).astype(np.float32)
    cameras = _ring(count, 4.0, centre, size, 1.3 * size)
    images, masks = np.zeros((count, size, size, 3), np.uint8), np.zeros((count, size, size), bool)
    clip = clip_positions(vertices, cameras)
    for i in range(count):
        rast = rasterize(clip[i : i + 1], faces, (size, size))
        masks[i] = rast[0, ..., 3] > 0
        points = interpolate((vertices - centre).astype(np.float32), rast, faces)[0][masks[i]]
        images[i][masks[i]] = np.clip(_pattern(points), 0, 255)
    return Scene(images, masks, cameras, np.tile([0, 0, size, size], (count, 1)))


def _ball(directions: Float) -> Float:
    return np.ones(len(directions), np.float32)


def _dimpled(directions: Float) -> Float:
    """A ball with a hollow 0.25 deep on one side, which no silhouette shows."""
    across = np.arccos(np.clip(directions[:, 0], -1, 1))
    hollow: Float = (1 - 0.25 * np.exp(-((across / 0.35) ** 2))).astype(np.float32)
    return hollow


def _quiet(fraction: float, info: dict[str, Any]) -> None:
    pass


def test_the_hull_of_a_ball_is_the_ball() -> None:
    scene = _scene(_ball, count=40)
    grid = Grid.around(np.full(3, -1.1), np.full(3, 1.1), 48)
    field = hull_distance(signed_distances(scene.masks, scene.frames), scene.cameras, grid)
    truth = np.linalg.norm(grid.points(np.ones(grid.shape, bool)), axis=1).reshape(grid.shape) - 1
    assert not ((field > 0.02) & (truth < 0)).any()  # the hull holds the object
    assert ((field < 0) & (truth > 0.06)).sum() < 0.01 * (truth < 0).sum()


def test_the_box_is_found_wherever_the_object_is() -> None:
    low, high = object_box(_scene(_ball, offset=7.0))
    assert low == pytest.approx(6, abs=0.12)
    assert high == pytest.approx(8, abs=0.12)


def test_a_sphere_comes_back_closed_and_coloured() -> None:
    fractions: list[float] = []
    mesh = reconstruct(_scene(_ball), Settings("preview"), lambda part, info: fractions.append(part))
    radii = np.linalg.norm(mesh.vertices, axis=1)
    assert np.abs(radii - 1).mean() < 0.01
    assert volume(mesh.vertices, mesh.faces) == pytest.approx(4 / 3 * np.pi, rel=0.03)
    assert (mesh.normals * mesh.vertices).sum(1).mean() > 0.99
    assert mesh.uv.min() >= 0
    assert mesh.uv.max() <= 1
    texel = np.stack([(1 - mesh.uv[:, 1]), mesh.uv[:, 0]], axis=1) * len(mesh.kd)
    found = mesh.kd[tuple(np.clip(texel.astype(int), 0, len(mesh.kd) - 1).T)]
    assert np.abs(found - np.clip(_pattern(mesh.vertices), 0, 255)).mean() < 12
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_a_hollow_no_silhouette_shows_is_dug_out() -> None:
    mesh = reconstruct(_scene(_dimpled, count=36, size=224), Settings("preview"), _quiet)
    directions = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    bottom = np.linalg.norm(mesh.vertices[directions[:, 0] > 0.99], axis=1)
    assert np.median(bottom) == pytest.approx(0.755, abs=0.04)


def test_the_same_input_gives_the_same_bytes() -> None:
    scene = _scene(_ball, count=12, size=96)
    first, second = (reconstruct(scene, Settings("preview"), _quiet) for _ in range(2))
    assert first.vertices.tobytes() == second.vertices.tobytes()
    assert first.uv.tobytes() == second.uv.tobytes()
    assert first.kd.tobytes() == second.kd.tobytes()


def test_a_part_one_mask_misses_is_put_back() -> None:
    scene = _scene(_ball, count=24)
    missing = scene.masks.copy()
    missing[3, :, :70] = False
    mistaken = Scene(scene.images, missing, scene.cameras, scene.frames)
    repaired = mended(mistaken, np.full(3, 1.05)).masks
    assert (repaired[3] & scene.masks[3]).sum() > 0.97 * scene.masks[3].sum()
    assert (repaired[5] == scene.masks[5]).mean() > 0.99


def test_masks_that_do_not_meet_are_an_error() -> None:
    scene = _scene(_ball, count=8, size=96)
    masks = np.zeros_like(scene.masks)
    masks[::2, :20, :20] = True
    masks[1::2, -20:, -20:] = True
    with pytest.raises(NumericError, match="on every mask"):
        reconstruct(Scene(scene.images, masks, scene.cameras, scene.frames), Settings("preview"), _quiet)
    with pytest.raises(NumericError, match="0 of 8 masks"):
        reconstruct(
            Scene(scene.images, masks & False, scene.cameras, scene.frames), Settings("preview"), _quiet
        )


def test_aggregation_carries_an_answer_over_a_gap() -> None:
    cost = np.ones((9, 9, 12), np.float32)
    cost[:, :3, 5] = cost[:, 6:, 5] = 0  # the middle columns know nothing
    valid = np.ones((9, 9), bool)
    plane, confidence = np.empty((9, 9), np.float32), np.empty((9, 9), np.float32)
    decide(aggregate(cost, valid, 0.05, 0.3), valid, 0.02, plane, confidence)
    assert plane == pytest.approx(5, abs=0.01)
    decide(np.ones_like(cost), valid, 0.02, plane, confidence)
    assert confidence.max() < 0.5


def test_padding_repeats_the_nearest_colour() -> None:
    image, known = np.zeros((5, 5, 3), np.uint8), np.zeros((5, 5), bool)
    image[0, 0], image[4, 4] = 10, 200
    known[0, 0] = known[4, 4] = True
    full = padded(image, known)
    assert full[1, 0, 0] == 10
    assert full[3, 4, 0] == 200

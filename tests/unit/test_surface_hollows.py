"""Where method `surface` takes its hull for a surface, and where for a lid over a hollow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.scenes import ball, scene
from workers.geometry.grid import Grid, zero_surface
from workers.reconstruct.methods.model import Scene
from workers.reconstruct.methods.surface import _hollows
from workers.reconstruct.methods.surface.fusion import fuse
from workers.reconstruct.methods.surface.hollows import Hull, hull_with_rims, seen
from workers.reconstruct.methods.surface.hull import hull_distance
from workers.reconstruct.methods.surface.masks import signed_distances
from workers.render.depth import depth_maps

Float = NDArray[np.float32]

_HALF = np.full(3, 0.525)
_OPENING = np.array([0.5, 0, 0])


def _cup(directions: Float) -> Float:
    """A ball with a deep, wide hollow on one side."""
    across = np.arccos(np.clip(directions[:, 0], -1, 1))
    return np.where(across < 0.7, 0.5 / np.cos(across * 0.7), 1).astype(np.float32)


def _unit(taken: Scene) -> Scene:
    return replace(taken, cameras=taken.cameras.transformed(np.diag([0.5, 0.5, 0.5, 1])))


def _hull(taken: Scene) -> Hull:
    grid = Grid.around(-_HALF, _HALF, 64)
    distance = hull_distance(signed_distances(taken.masks, taken.frames), taken.cameras, grid)
    return hull_with_rims(distance, grid, taken)


def _at(hull: Hull, values: Float, point: NDArray[np.floating]) -> float:
    index = np.round((point - hull.grid.origin) / hull.grid.spacing).astype(int)
    return float(values[tuple(index)])


def test_the_lid_over_an_opening_is_hollow_and_round_places_are_not() -> None:
    cup = _hull(_unit(scene(_cup, 60)))
    assert _at(cup, cup.distance, 0.65 * _OPENING) < 0  # the hull is shut where the object is open
    assert _at(cup, cup.hollow, 0.75 * _OPENING) > 0.6
    whole = _hull(_unit(scene(ball, 60)))
    for hull, side in ((cup, [0, 0.5, 0]), (cup, [0, 0, -0.5]), (cup, [-0.5, 0, 0]), (whole, _OPENING)):
        assert _at(hull, hull.hollow, np.array(side)) < 0.1
    assert 10 * whole.lids < cup.lids
    assert 0.01 < cup.lids < 0.1


def test_hollows_are_told_of_where_another_profile_would_help() -> None:
    """Hardly any, few photos whose outlines leave hollows anyway, and the profile that looks for them: no
    word.
    """
    assert "profile high" in _hollows(0.15, 40, "standard")[0]
    assert _hollows(0.05, 40, "standard") == _hollows(0.15, 8, "standard") == _hollows(0.15, 40, "high") == []


def test_values_are_looked_up_where_the_depths_are() -> None:
    taken = _unit(scene(ball, 8))
    hull = _hull(taken)
    right = taken.cameras.c2w[0, :3, 0]
    along = (hull.grid.points(np.ones(hull.grid.shape, bool)) @ right).reshape(hull.grid.shape)
    depth = depth_maps(*zero_surface(hull.distance, hull.grid), taken.cameras)
    found = seen(along.astype(np.float32), hull.grid, depth, taken.cameras)
    assert (found[depth == 0] == 0).all()
    shown = depth[0, 80] > 0
    x = (np.arange(160) + 0.5 - taken.cameras.intrinsics[0, 2]) / taken.cameras.intrinsics[0, 0]
    expected = x[shown] * depth[0, 80, shown]
    assert np.abs(found[0, 80, shown] - expected).max() < hull.grid.spacing


@pytest.mark.parametrize(("hollow", "through"), [(0.0, False), (1.0, True)])
def test_one_that_sees_through_a_lid_outvotes_those_that_take_it_for_surface(
    hollow: float, through: bool
) -> None:
    taken = _unit(scene(ball, 24))
    plain = _hull(taken)
    share = np.full_like(plain.hollow, hollow)
    hull = Hull(plain.grid, plain.distance, np.zeros_like(plain.support), share)
    depth = depth_maps(*zero_surface(plain.distance, plain.grid), taken.cameras)
    confidence = (depth > 0).astype(np.float32)
    depth[0, 60:100, 60:100] += 0.3
    towards = taken.cameras.c2w[0, :3, 2]
    fused = fuse(hull, depth, confidence, taken.cameras, 0.1, 32.0)
    assert (_at(hull, fused, 0.46 * towards) > 0) is through


@pytest.mark.parametrize(("hollow", "free"), [(0.0, False), (1.0, True)])
def test_what_was_found_free_over_a_hollow_stays_free(hollow: float, free: bool) -> None:
    taken = _unit(scene(ball, 24))
    plain = _hull(taken)
    hull = Hull(plain.grid, plain.distance, np.zeros_like(plain.support), np.full_like(plain.hollow, hollow))
    nothing = np.zeros(taken.masks.shape, np.float32)
    towards = taken.cameras.c2w[0, :3, 2]
    at = hull.grid.points(np.ones(hull.grid.shape, bool))
    dug = 0.2 - np.linalg.norm(at - 0.45 * towards, axis=1).reshape(hull.grid.shape)
    before = np.maximum(hull.distance, dug).astype(np.float32)
    fused = fuse(hull, nothing, nothing, taken.cameras, 0.1, 32.0, before)
    assert (_at(hull, fused, 0.4 * towards) > 0) is free
    assert _at(hull, fused, -0.4 * towards) < 0

"""Masks of method `surface`: cut by frames, contradicting each other, mended."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.scenes import ball, scene
from workers.geometry.grid import Grid
from workers.reconstruct.methods.surface.doubts import doubts
from workers.reconstruct.methods.surface.fusion import fuse
from workers.reconstruct.methods.surface.hollows import Hull
from workers.reconstruct.methods.surface.masks import beyond, signed_distances
from workers.reconstruct.methods.surface.mending import colour_evidence, mended

_HALF = np.full(3, 1.05)


def test_the_distance_is_zero_between_the_last_pixel_inside_and_the_first_outside() -> None:
    mask = np.zeros((1, 40, 40), bool)
    mask[0, :, 10:30] = True
    distance = signed_distances(mask, np.array([[0, 0, 40, 40]]))[0, 20]
    assert distance[[5, 15]] == pytest.approx([4.5, -5.5], abs=0.05)
    assert distance[9] + distance[10] == pytest.approx(0, abs=0.05)


def test_beyond_the_frame_that_cuts_it_the_object_may_widen() -> None:
    mask = np.zeros((20, 20), bool)
    mask[6:10, 8] = mask[6:10, 12] = True  # two prongs, cut at row 6
    mask[:6] = True  # padding says nothing
    wide = beyond(mask, np.array([0, 6, 20, 20]))
    assert np.flatnonzero(wide[5]).tolist() == list(range(7, 14))
    assert np.flatnonzero(wide[2]).tolist() == list(range(4, 17))
    assert np.flatnonzero(wide[7]).tolist() == [8, 12]
    assert not wide[12:].any()


def test_masks_that_fit_together_are_beyond_doubt() -> None:
    capture = scene(ball)
    assert doubts(capture, _HALF)[1].sum() == 0
    assert np.array_equal(mended(capture, _HALF).masks, capture.masks)


def test_the_masks_that_miss_a_part_are_to_blame_and_mended() -> None:
    capture = scene(ball)
    missing = capture.masks.copy()
    missing[3, :, :70] = False
    found = mended(replace(capture, masks=missing), _HALF).masks
    assert doubts(replace(capture, masks=missing), _HALF)[1].argmax() == 3
    assert (found[3] & capture.masks[3]).sum() > 0.97 * capture.masks[3].sum()
    assert np.array_equal(np.delete(found, 3, 0), np.delete(capture.masks, 3, 0))


def test_a_colour_speaks_for_the_side_it_is_found_on_and_a_shadow_for_the_object() -> None:
    image = np.full((60, 60, 3), (40, 90, 200), np.uint8)  # a blue backdrop
    image[:, 30:] = (200, 180, 160)
    image[20:30, 20:30] = (100, 90, 80)  # the object again, in shadow
    mask = np.zeros((60, 60), bool)
    mask[:, 30:] = True
    unsure = np.zeros_like(mask)
    unsure[15:35, 15:30] = True
    evidence = colour_evidence(image, mask, unsure, 15)
    assert evidence[25, 25] > 5
    assert evidence[16, 17] < -5
    assert evidence[25, 45] > 5


def _plate(thickness: int) -> tuple[Grid, NDArray[np.float32]]:
    grid = Grid((-0.5, -0.5, -0.5), 1 / 47, (48, 48, 48))
    level = np.abs(np.arange(48) - 23.5) - thickness / 2
    return grid, np.broadcast_to(level * grid.spacing, grid.shape).astype(np.float32)


@pytest.mark.parametrize(("thickness", "kept"), [(2, False), (24, True)])
def test_without_support_what_is_thin_goes_and_what_is_thick_stays(thickness: int, kept: bool) -> None:
    grid, field = _plate(thickness)
    cameras = scene(ball, 2).cameras
    nothing = np.zeros((2, cameras.height, cameras.width), np.float32)
    hull = Hull(grid, field, np.zeros_like(field), np.zeros_like(field))
    fused = fuse(hull, nothing, nothing, cameras, 0.05, 1.0)
    assert bool((fused[24, 24] < 0).any()) is kept
    if kept:
        # A voxel on each side may go: with no view at all, nothing says exactly where the surface is.
        assert (fused[24, 24] < 0).sum() == pytest.approx(thickness, abs=2)

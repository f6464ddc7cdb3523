"""Registration of method `surface`: known errors of poses and masks are found, exact captures left alone."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.scenes import dimpled, scene
from workers.geometry.mesh import icosphere
from workers.reconstruct.methods.model import Scene
from workers.reconstruct.methods.surface import registration
from workers.reconstruct.methods.surface.masks import signed_distances
from workers.reconstruct.methods.surface.outlines import edge_offsets, resized
from workers.reconstruct.methods.surface.registration import registered
from workers.reconstruct.methods.surface.rims import rims

Array = NDArray[np.float64]

_HALF = np.array([1.15, 0.85, 0.65])
_DISC = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))


def _block(directions: NDArray[np.float32]) -> NDArray[np.float32]:
    """A rounded block with a dent, so that outlines tell every turn and move."""
    sides = np.abs(directions / np.array([1.1, 0.8, 0.6], np.float32))
    radius: NDArray[np.float32] = (sides**6).sum(1) ** np.float32(-1 / 6)
    dent = np.exp(-((np.arccos(np.clip(directions @ [0.8, 0.6, 0], -1, 1)) / 0.5) ** 2))
    return (radius * (1 - 0.2 * dent)).astype(np.float32)


@pytest.fixture(scope="module")
def exact() -> Scene:
    capture = scene(_block, size=200)
    return replace(capture, images=capture.images // 3 + 60 * capture.masks[..., None].astype(np.uint8))


def _shaken(capture: Scene, pixels: float) -> Scene:
    steps = pixels / capture.cameras.intrinsics[0, 0] * np.random.default_rng(3).standard_normal((24, 6))
    return replace(capture, cameras=registration._moved(capture.cameras, steps))


def _worn(capture: Scene) -> tuple[Scene, Array]:
    """Every other mask 2 pixels too large, the others as much too small, all cut from black; and by how much
    each is too small.
    """
    masks, images = capture.masks.copy(), capture.images.copy()
    for i, mask in enumerate(masks):
        change = cv2.dilate if i % 2 else cv2.erode
        mask[:] = change(mask.astype(np.uint8), _DISC) > 0
        images[i][~mask] = 0
    return replace(capture, masks=masks, images=images), np.where(np.arange(24) % 2, -2.0, 2.0)


def _pixels_off(found: Scene, true: Scene) -> float:
    points = np.random.default_rng(0).standard_normal((100, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return float(np.sqrt((registration._shift(found.cameras, true.cameras, points) ** 2).mean()))


def test_exact_poses_and_masks_are_left_alone(exact: Scene) -> None:
    assert registered(exact, _HALF).scene is exact


def test_poses_that_are_off_are_found(exact: Scene) -> None:
    shaken = _shaken(exact, 0.5)
    found = registered(shaken, _HALF)
    assert _pixels_off(shaken, exact) > 1.1
    assert _pixels_off(found.scene, exact) < 0.45
    assert np.abs(found.grown).max() < 0.5
    assert found.moved.max() < 3
    assert not found.stayed


def test_offsets_of_masks_are_found_with_poses_that_are_off(exact: Scene) -> None:
    worn, offsets = _worn(_shaken(exact, 0.5))
    found = registered(worn, _HALF)
    assert found.grown == pytest.approx(offsets, abs=1)

    def overlap(masks: NDArray[np.bool_]) -> float:
        return float((masks & exact.masks).sum() / (masks | exact.masks).sum())

    assert overlap(worn.masks) < 0.95
    assert overlap(found.scene.masks) > 0.98


def test_that_all_masks_are_too_large_alike_only_the_photos_tell(exact: Scene) -> None:
    masks = np.stack([cv2.dilate(mask.astype(np.uint8), _DISC) > 0 for mask in exact.masks])
    assert registered(replace(exact, masks=masks), _HALF).grown == pytest.approx(np.full(24, -2), abs=0.4)
    blank = replace(exact, masks=masks, images=np.zeros_like(exact.images))
    assert registered(blank, _HALF).scene is blank


def test_a_view_far_off_stays_and_is_named(exact: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = np.zeros((24, 6))
    steps[5, 0] = 4 / exact.cameras.intrinsics[0, 0]
    shaken = replace(exact, cameras=registration._moved(exact.cameras, steps))
    assert registered(shaken, _HALF).moved[5] == pytest.approx(4, abs=0.6)
    monkeypatch.setattr(registration, "_FARTHEST", 3.0)
    found = registered(shaken, _HALF)
    assert found.stayed == ("005.png",)
    assert np.array_equal(found.scene.cameras.c2w[5], shaken.cameras.c2w[5])
    assert found.moved[5] == found.grown[5] == 0


def test_residuals_change_with_poses_as_rims_say(exact: Scene) -> None:
    directions, faces = icosphere(5)
    vertices = directions * _block(directions)[:, None]
    distances = signed_distances(exact.masks, exact.frames)
    before = rims(vertices, faces, exact, distances)
    assert np.abs(before.residual).mean() < 0.3
    for axis in range(6):
        steps = np.zeros((24, 6))
        steps[:, axis] = 0.5 / exact.cameras.intrinsics[0, 0]
        moved = replace(exact, cameras=registration._moved(exact.cameras, steps))
        after = rims(vertices, faces, moved, distances)
        change = _means(after.residual, after.view) - _means(before.residual, before.view)
        expected = _means((before.turning * steps[before.view]).sum(1), before.view)
        assert change == pytest.approx(expected, abs=0.1)


def _means(values: Array, view: NDArray[np.int64]) -> Array:
    return np.asarray(np.bincount(view, values) / np.bincount(view))


def _cut_out(offset: float) -> tuple[Scene, NDArray[np.float32]]:
    """Two photos before black, their masks `offset` pixels too large and colours taken away beyond; and the
    distances to those masks. Pixels the object covers a little of have its full colour.
    """
    capture = scene(dimpled, 2)
    distances = signed_distances(capture.masks, capture.frames)
    shown, masks = (resized(capture, distances, np.full(2, by)) for by in (0.7, offset))
    images = np.repeat((150 * (shown & masks))[..., None], 3, axis=3).astype(np.uint8)
    return replace(capture, images=images, masks=masks), signed_distances(masks, capture.frames)


@pytest.mark.parametrize("offset", [1.5, 3.0])
def test_a_photo_that_was_cut_out_too_large_shows_its_own_edge(offset: float) -> None:
    assert edge_offsets(*_cut_out(offset)) == pytest.approx(np.full(2, -offset), abs=0.4)


def test_photos_cut_out_along_the_shownor_within_and_whole_ones_tell_nothing() -> None:
    assert np.isnan(edge_offsets(*_cut_out(0))).all()
    assert np.isnan(edge_offsets(*_cut_out(-2))).all()
    large, distances = _cut_out(3)
    whole = np.where(large.images > 0, large.images, np.uint8(30)).astype(np.uint8)
    assert np.isnan(edge_offsets(replace(large, images=whole), distances)).all()

"""Masks judged by each other: a striped ball on a table whose true masks are known, some of them spoilt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from contracts import errors
from tests.unit.test_multiview import SIZE, Capture, around, photographed
from workers.geometry.errors import NumericError
from workers.segment.verdicts import Verdict, kept, verdicts

Mask = NDArray[np.bool_]
VIEWS = 16


@pytest.fixture(scope="module")
def capture() -> Capture:
    return photographed(around(VIEWS))


def judged(capture: Capture, masks: Mask) -> list[Verdict]:
    return verdicts(masks, capture.images, capture.frames, capture.cameras)


def named(found: list[Verdict]) -> list[str]:
    return [each.verdict for each in found]


def test_true_masks_are_good(capture: Capture) -> None:
    found = judged(capture, capture.masks)
    assert set(named(found)) == {"good"}
    for each in found:
        assert each.reasons == ()
        assert each.agreement is not None
        assert each.agreement > 0.97
        assert each.border == 0
        assert each.area == pytest.approx(1, abs=0.03)
        assert each.edge > 0.85


def half(mask: Mask) -> Mask:
    across = np.flatnonzero(mask.any(0))
    left: Mask = mask & (np.arange(SIZE) < across.mean())
    return left


def block(mask: Mask) -> Mask:
    wider = mask.copy()
    wider[20:60, 5:50] = True
    return wider


def shifted(mask: Mask) -> Mask:
    width = np.ptp(np.flatnonzero(mask.any(0)))
    return np.roll(mask, round(0.25 * width), axis=1)


def elsewhere(mask: Mask) -> Mask:
    other = np.zeros_like(mask)
    other[8:40, 80:120] = True
    return other


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (half, "less than the other photos say"),
        (block, "more than the other photos say"),
        (shifted, "than the other photos say"),
        (elsewhere, "not what the other photos show"),
        (np.zeros_like, "not found"),
        (np.ones_like, "whole photo"),
        (np.logical_not, "not what the other photos show"),
    ],
)
@pytest.mark.parametrize("where", [(3,), (1, 6, 7, 13)])
def test_spoilt_masks_are_bad_and_the_others_stay_good(
    capture: Capture, spoil: Callable[[Mask], Mask], reason: str, where: tuple[int, ...]
) -> None:
    masks = capture.masks.copy()
    for i in where:
        masks[i] = spoil(masks[i])
    found = judged(capture, masks)
    assert {i for i, each in enumerate(found) if each.verdict == "bad"} == set(where)
    assert all(each.verdict == "good" for i, each in enumerate(found) if i not in where)
    for i in where:
        assert reason in " ".join(found[i].reasons)


def test_the_figures_tell_how_much_is_missing_or_too_much(capture: Capture) -> None:
    masks = capture.masks.copy()
    masks[2], masks[9] = half(masks[2]), block(masks[9])
    found = judged(capture, masks)
    assert found[2].agreement == pytest.approx(0.5, abs=0.15)
    assert found[2].area == pytest.approx(0.5, abs=0.15)
    added = masks[9].sum() / capture.masks[9].sum()
    assert found[9].agreement == pytest.approx(1 / added, abs=0.1)
    assert found[9].area == pytest.approx(added, rel=0.1)


def test_cameras_a_little_off_make_no_mask_bad(capture: Capture) -> None:
    intrinsics = capture.cameras.intrinsics.copy()
    intrinsics[:, 2:] += np.random.default_rng(0).normal(0, 4 * SIZE / 512, (VIEWS, 2))
    off = capture._replace(cameras=replace(capture.cameras, intrinsics=intrinsics))
    assert "bad" not in named(judged(off, off.masks))


def test_a_wire_is_not_lost_by_cameras_that_are_off() -> None:
    cameras = around(VIEWS)
    turn = np.linspace(0, 2 * np.pi, 200)
    wire = 0.5 * np.stack([np.cos(turn), np.sin(turn), np.sin(3 * turn), np.full(200, 2)], axis=1)
    masks = np.zeros((VIEWS, SIZE, SIZE), np.uint8)
    for mask, projection in zip(masks, cameras.projection(), strict=True):
        x, y, depth = projection @ wire.T
        cv2.polylines(mask, [np.round(np.stack([x, y], 1) / depth[:, None]).astype(np.int32)], True, 1, 2)
    intrinsics = cameras.intrinsics.copy()
    intrinsics[:, 2:] += np.random.default_rng(0).normal(0, 1.5, (VIEWS, 2))
    frames = np.tile([0, 0, SIZE, SIZE], (VIEWS, 1))
    images = np.repeat((200 * masks).astype(np.uint8)[..., None], 3, axis=-1)
    found = verdicts(masks > 0, images, frames, replace(cameras, intrinsics=intrinsics))
    assert "bad" not in named(found)


def test_few_photos_of_which_one_is_bad() -> None:
    capture = photographed(around(8))
    masks = capture.masks.copy()
    masks[4] = half(masks[4])
    found = judged(capture, masks)
    assert [i for i, each in enumerate(found) if each.verdict == "bad"] == [4]


def test_what_the_photo_cuts_off_is_no_fault_of_the_mask(capture: Capture) -> None:
    frames, masks = capture.frames.copy(), capture.masks.copy()
    for i in (0, 5, 10):
        middle = round(float(np.flatnonzero(masks[i].any(0)).mean()))
        frames[i, 2] = middle
        masks[i, :, middle:] = False
    found = judged(capture._replace(frames=frames), masks)
    assert "bad" not in named(found)
    assert all(found[i].border > 0.2 for i in (0, 5, 10))
    assert found[1].border == 0


def test_an_outline_along_no_edge_is_doubtful(capture: Capture) -> None:
    images = capture.images.copy()
    images[6] = np.random.default_rng(0).integers(0, 256, images[6].shape, np.uint8)
    found = judged(capture._replace(images=images), capture.masks)
    assert found[6].verdict == "doubtful"
    assert "edges" in found[6].reasons[0]
    assert found[6].edge == pytest.approx(0.5, abs=0.1)


def test_without_cameras_masks_are_compared_with_their_neighbours(capture: Capture) -> None:
    masks = capture.masks.copy()
    masks[4] = half(half(masks[4]))
    found = verdicts(masks, capture.images, capture.frames, None)
    assert [i for i, each in enumerate(found) if each.verdict == "doubtful"] == [4]
    assert "times as large" in found[4].reasons[0]
    assert found[4].agreement is None
    alone = verdicts(masks[:1], capture.images[:1], capture.frames[:1], None)
    assert alone[0].verdict == "good"
    assert alone[0].area == pytest.approx(1)


def test_coming_nearer_step_by_step_is_no_jump(capture: Capture) -> None:
    away = np.hypot(*(np.mgrid[:SIZE, :SIZE] - SIZE / 2))
    masks = away < np.geomspace(10, 50, VIEWS)[:, None, None]
    images = np.repeat((200 * masks).astype(np.uint8)[..., None], 3, axis=-1)
    assert set(named(verdicts(masks, images, capture.frames, None))) == {"good"}


def marked(bad: int, good: int) -> list[Verdict]:
    each = [Verdict("bad", ("No.",), 0.1, 0.0, 1.0, 0.9)] * bad
    return each + [Verdict("doubtful", ("Maybe.",), 0.9, 0.0, 1.0, 0.9)] * good


@pytest.mark.parametrize(("bad", "good"), [(0, 1), (0, 3), (1, 6), (6, 6), (10, 10)])
def test_bad_masks_are_left_out_where_enough_remain(bad: int, good: int) -> None:
    names = [str(i) for i in range(bad + good)]
    assert kept(marked(bad, good), names) == list(range(bad, bad + good))


@pytest.mark.parametrize(("bad", "good"), [(1, 0), (1, 3), (1, 5), (7, 6), (11, 10)])
def test_where_too_few_remain_the_photos_to_take_again_are_named(bad: int, good: int) -> None:
    names = [f"IMG_{i}" for i in range(bad + good)]
    with pytest.raises(NumericError) as failed:
        kept(marked(bad, good), names)
    told = errors.from_code(failed.value.code, str(failed.value), **failed.value.params)
    assert type(told) is errors.MasksBad
    assert f"In {bad} of {bad + good} photos" in told.sentence
    assert "IMG_0" in told.sentence
    assert "{" not in told.sentence + told.action
    assert ("more" in told.sentence) == (bad > 5)

"""The object of one photo, by nothing but the photo."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from workers.segment.single import segment
from workers.segment.single.background import salience

HEIGHT, WIDTH = 150, 200
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def photo(middle: tuple[int, int] = (105, 70), contrast: float = 1.0, seed: int = 0) -> tuple[Image, Mask]:
    """A red ellipse with a dark band on a cloudy table, and its mask; stains of another colour lie around."""
    random = np.random.default_rng(seed)
    mask = cv2.ellipse(np.zeros((HEIGHT, WIDTH), np.uint8), middle, (32, 42), 20, 0, 360, 1, -1) > 0
    clouds = cv2.GaussianBlur(random.normal(0, 60, (HEIGHT, WIDTH, 1)), (0, 0), 4)[..., None] * 2
    shown = np.array([120.0, 130.0, 110.0]) + clouds
    for x, y in ((20, 140), (185, 20), (175, 130)):
        shown[cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), (x, y), 9, 1, -1) > 0] = [60, 90, 160]
    own = np.where(np.abs(np.arange(HEIGHT) - middle[1]) < 8, 30.0, 1.0)[:, None, None]
    own = np.where(own > 1, np.array([60.0, 30.0, 40.0]), np.array([200.0, 60.0, 50.0]))
    shown = np.where(mask[..., None], contrast * own + (1 - contrast) * shown, shown)
    noisy = shown + random.normal(0, 3, shown.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), mask


@cache
def found(middle: tuple[int, int], contrast: float = 1.0) -> tuple[float, float]:
    """Overlap with the truth, and the confidence."""
    image, mask = photo(middle, contrast)
    inside, confidence = alone(image)
    return overlap(inside > 0.5, mask), confidence


def alone(image: Image) -> tuple[NDArray[np.float32], float]:
    """Of a photo on which nobody marked anything."""
    return segment(image, np.zeros(image.shape[:2], np.float32), lambda part, step: None)


def overlap(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))


def test_what_stands_out_is_high_and_the_background_low() -> None:
    image, mask = photo()
    likely = salience(image, 250)
    assert likely.shape == mask.shape
    assert likely.min() >= 0
    assert likely.max() <= 1
    around = cv2.dilate(mask.astype(np.uint8), np.ones((31, 31), np.uint8)) > cv2.dilate(
        mask.astype(np.uint8), np.ones((9, 9), np.uint8)
    )
    assert np.median(likely[mask]) > 0.8
    assert likely[around].mean() < 0.1


def test_a_patch_at_the_side_is_background_though_its_colour_is_rare() -> None:
    image, mask = photo()
    image[60:110, :25] = [220, 200, 30]
    likely = salience(image, 250)
    assert likely[60:110, :25].mean() < 0.5 * likely[mask].mean()


def test_a_wall_behind_the_table_is_background_too() -> None:
    image, mask = photo()
    wall = (np.arange(HEIGHT) < 45)[:, None] & ~mask
    image[wall] = (0.3 * image[wall] + np.array([0, 20, 140])).astype(np.uint8)
    likely = salience(image, 250)
    assert likely[wall].mean() < 0.14 * likely[mask].mean()


@pytest.mark.parametrize("middle", [(105, 70), (75, 85)])
def test_the_object_is_found(middle: tuple[int, int]) -> None:
    right, confidence = found(middle)
    assert right > 0.94
    assert 0.85 < confidence <= 1


@pytest.mark.parametrize("middle", [(75, 85), (105, 70)])
def test_where_findings_differ_the_one_most_are_like_is_taken(middle: tuple[int, int]) -> None:
    right, confidence = found(middle, 0.15)
    assert right > 0.95
    assert 0.4 < confidence < 0.9


def test_small_holes_are_closed_and_large_ones_are_not() -> None:
    image, mask = photo()
    clear, _ = photo(contrast=0.0)
    small, large = np.zeros((2, HEIGHT, WIDTH), bool)
    small[90:96, 100:106], large[40:58, 95:115] = True, True
    image[small | large] = clear[small | large]
    inside, _ = alone(image)
    assert (inside[small] > 0.5).all()
    assert (inside[large] > 0.5).mean() < 0.2
    assert overlap(inside > 0.5, mask & ~large) > 0.93


def test_the_mask_is_of_the_photos_size_whole_and_reported() -> None:
    image, mask = photo()
    double = np.asarray(cv2.resize(image, (2 * WIDTH, 2 * HEIGHT)), np.uint8)
    parts: list[float] = []
    inside, _ = segment(double, np.zeros(double.shape[:2], np.float32), lambda part, step: parts.append(part))
    assert inside.shape == (2 * HEIGHT, 2 * WIDTH)
    assert inside.dtype == np.float32
    assert inside.min() >= 0
    assert inside.max() <= 1
    count, _ = cv2.connectedComponents((inside > 0.5).astype(np.uint8))
    assert count == 2  # the background and one part
    large = cv2.resize(mask.astype(np.uint8), (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_NEAREST) > 0
    assert overlap(inside > 0.5, large) > 0.93
    assert parts == sorted(parts)
    assert parts[-1] == 1.0


def test_what_was_marked_is_the_object_and_what_was_marked_otherwise_is_not() -> None:
    image, mask = photo()
    stain = np.zeros((HEIGHT, WIDTH), bool)
    stain[124:136, 169:181] = True
    marked = np.where(stain, np.float32(1), np.where(mask, np.float32(-1), np.float32(0)))
    inside, _ = segment(image, marked, lambda part, step: None)
    assert (inside[stain] > 0.5).all()
    assert not (inside[mask] > 0.5).any()


def test_nothing_to_see_is_told_by_low_confidence() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    _, unsure = alone(noise)
    _, sure = found((105, 70))
    assert unsure < 0.6 < sure


def test_an_even_picture_is_no_error() -> None:
    inside, confidence = alone(np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    assert inside.shape == (HEIGHT, WIDTH)
    assert np.isfinite(inside).all()
    assert 0 <= confidence <= 1

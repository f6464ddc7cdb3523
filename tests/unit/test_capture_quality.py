"""What is told of a capture before anything is made of it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from workers.prepare.quality import metrics
from workers.prepare.quality.advice import advice
from workers.prepare.quality.coverage import Coverage, coverage, in_words
from workers.prepare.quality.photos import Photo, blurred, photo_quality
from workers.prepare.quality.picture import coverage_picture

Array = NDArray[np.float64]
UP = np.array([0.0, 0.0, 1.0])
GOOD = Photo(blur=0.1, white=0.0, black=0.0, brightness=110.0)


def _camera(azimuth: float, elevation: float, distance: float = 3.0) -> Array:
    """(4,4) in degrees, looking at the origin from the front, -y, turned to the right."""
    a, e = np.radians([azimuth, elevation])
    back = np.array([np.sin(a) * np.cos(e), -np.cos(a) * np.cos(e), np.sin(e)])
    right = np.array([np.cos(a), np.sin(a), 0])
    c2w = np.eye(4)
    c2w[:3] = np.stack([right, np.cross(back, right), back, distance * back], axis=1)
    return c2w


def _ring(elevation: float, start: float = 0, end: float = 360, step: float = 15) -> list[Array]:
    return [_camera(azimuth, elevation) for azimuth in np.arange(start, end, step)]


def _covered(cameras: list[Array]) -> Coverage:
    return coverage(np.stack(cameras), np.zeros(3), UP)


def test_all_round_and_from_the_top_is_all_of_the_upper_half() -> None:
    covered = _covered([*_ring(10), *_ring(40), *_ring(70), _camera(0, 89)])
    assert covered.upper > 0.98
    assert covered.whole == pytest.approx(0.5 + 0.5 * np.sin(np.radians(10)), abs=0.03)
    assert np.degrees(covered.gap) < 25


def test_one_photo_sees_a_cap_of_twenty_degrees() -> None:
    covered = _covered([_camera(0, 60)])
    assert covered.upper == pytest.approx(1 - np.cos(np.radians(20)), abs=0.003)
    assert covered.whole == pytest.approx(covered.upper / 2, abs=0.003)


@pytest.mark.parametrize(
    ("cameras", "words"),
    [
        (_ring(25), "above"),
        (_ring(60), "lower down"),
        ([_camera(0, 20), *_ring(20, -75, 76), *_ring(60, -75, 76)], "behind"),
        ([_camera(0, 20), *_ring(20, 0, 181), *_ring(60, 0, 181)], "the left"),
        ([_camera(0, 20), *_ring(20, -180, 1), *_ring(60, -180, 1)], "the right"),
    ],
)
def test_the_gap_is_told_in_words(cameras: list[Array], words: str) -> None:
    assert _covered(cameras).gap_from == words


def test_words_for_directions() -> None:
    """Right, back, up."""
    assert in_words(np.array([0, -1.0, 0])) == "the front"
    assert in_words(np.array([1.0, 0, 0])) == "the right"
    assert in_words(np.array([-0.7, 0.7, 0.1])) == "behind on the left"
    assert in_words(np.array([-0.75, 0, 0.66])) == "the left and above"
    assert in_words(np.array([0.1, 0, -0.99])) == "below"


def test_any_world_tells_the_same() -> None:
    cameras = np.stack([*_ring(20, 0, 181), *_ring(60, 0, 181)])
    turned = np.eye(4)
    turned[:3, :3], _ = cv2.Rodrigues(np.array([0.7, -1.1, 0.4]))
    turned[:3, 3] = 5, -2, 3
    here = coverage(cameras, np.zeros(3), UP)
    there = coverage(turned @ cameras, turned[:3, 3], turned[:3, :3] @ UP)
    np.testing.assert_allclose(there.directions, here.directions, atol=1e-9)
    assert there.gap_from == here.gap_from
    # Where up is not known, it is where the photographers' heads were.
    assert coverage(np.stack(_ring(20)), np.zeros(3), None).directions[:, 2] == pytest.approx(
        np.sin(np.radians(20))
    )


def test_cameras_that_look_elsewhere_see_nothing() -> None:
    away = _camera(180, 20)
    away[:3, [0, 2]] *= -1
    covered = _covered([away, _camera(0, 20)])
    assert covered.directions == pytest.approx(_covered([_camera(0, 20)]).directions)
    assert covered.gap_from != "the front"
    lost = _camera(0, 20)
    lost[:3, [0, 2]] *= -1
    nothing = _covered([lost])
    assert nothing.upper == nothing.whole == 0
    coverage_picture(nothing)


def test_a_first_photo_from_straight_above_has_its_front_below() -> None:
    covered = _covered([_camera(0, 90), _camera(90, 10)])
    np.testing.assert_allclose(covered.directions[0], [0, 0, 1], atol=1e-9)
    assert covered.directions[1][0] == pytest.approx(np.cos(np.radians(10)))


def test_the_picture_shows_what_is_seen() -> None:
    picture = coverage_picture(_covered(_ring(30, 0, 181)))
    assert picture.shape == (620, 920, 3)

    def seen(side: int, elevation: float) -> bool:
        red, green, _ = picture[310, 310 + side * round(268 * (90 - elevation) / 120)].astype(int).tolist()
        return bool(green > red)

    assert [seen(1, elevation) for elevation in (54, 47, 13, 6, -20)] == [False, True, True, False, False]
    assert not any(seen(-1, elevation) for elevation in (54, 47, 35, 13, 6))
    # The first photo, in front, and another one.
    assert picture[310 + 134, 310].tolist() == [214, 92, 20]
    assert picture[310, 310 + 134].tolist() == [32, 84, 156]


def _photos(count: int = 12) -> list[NDArray[np.uint8]]:
    """Texture of many scales, each photo of another contrast."""
    rng = np.random.default_rng(0)
    photos = []
    for _ in range(count):
        layers = [cv2.resize(rng.normal(size=(n, n)), (384, 512)) for n in (16, 48, 128, 384)]
        photos.append(np.clip(120 + rng.uniform(10, 40) * sum(layers), 0, 255).astype(np.uint8))
    return [np.repeat(photo[..., None], 3, axis=2) for photo in photos]


@pytest.mark.parametrize("along", ["x", "y", "all"])
def test_blurred_photos_are_found_whatever_they_show(along: str) -> None:
    photos = _photos()
    kernel = {"x": (9, 1), "y": (1, 9)}
    for i in (2, 7):
        blur = (
            cv2.GaussianBlur(photos[i], (0, 0), 2) if along == "all" else cv2.blur(photos[i], kernel[along])
        )
        photos[i] = np.asarray(blur, np.uint8)
    found = blurred([photo_quality(photo) for photo in photos])
    assert np.flatnonzero(found).tolist() == [2, 7]


def test_blur_of_all_photos_is_found() -> None:
    photos = [np.asarray(cv2.GaussianBlur(photo, (0, 0), 4), np.uint8) for photo in _photos(6)]
    assert blurred([photo_quality(photo) for photo in photos]).all()


def test_an_outline_is_not_sharpness() -> None:
    """A blurred object before a background that was cut out."""
    sharp, soft = _photos(1)[0], cv2.GaussianBlur(_photos(1)[0], (0, 0), 3)
    mask = np.zeros(sharp.shape[:2], np.uint8)
    cv2.circle(mask, (190, 250), 90, 255, -1)
    cut = [np.where(mask[..., None] > 0, image, 0).astype(np.uint8) for image in (sharp, soft)]
    before, after = (photo_quality(image, mask) for image in cut)
    assert after.blur > 3 * before.blur


def test_exposure() -> None:
    photo = _photos(1)[0].astype(float)
    assert not photo_quality(photo.astype(np.uint8)).over_exposed
    assert photo_quality(np.clip(photo * 3, 0, 255).astype(np.uint8)).over_exposed
    dark = photo_quality((photo / 12).astype(np.uint8))
    assert dark.under_exposed
    assert not dark.over_exposed
    # Of the object alone, where it is known: here, on black.
    mask = np.zeros(photo.shape[:2], np.uint8)
    mask[240:280, 180:220] = 255
    on_black = np.where(mask[..., None] > 0, photo, 0).astype(np.uint8)
    assert not photo_quality(on_black, mask).under_exposed
    assert photo_quality(on_black).under_exposed


FRONT = _covered([_camera(0, 20), *_ring(20, -60, 61)])
ROUND = _covered([*_ring(10), *_ring(45), _camera(0, 80)])


@pytest.mark.parametrize(
    ("covered", "counts", "said"),
    [
        (ROUND, (60, 60, 0, 0, 0), "Nothing to add: the object was seen from all sides but below."),
        (_covered(_ring(25)), (60, 60, 2, 0, 0), "Take fifteen more photos of the object from above."),
        (FRONT, (60, 60, 0, 0, 0), "photos of the object from behind (the first photo shows its front)."),
        (ROUND, (60, 30, 0, 0, 0), "30 of 60 photos could not be placed"),
        (ROUND, (60, 60, 25, 0, 0), "25 of 60 photos are blurred"),
        (ROUND, (60, 60, 0, 40, 3), "40 of 60 photos are too bright"),
        (ROUND, (60, 60, 0, 3, 40), "40 of 60 photos are too dark"),
        (ROUND, (16, 16, 0, 0, 0), "Take ten more photos, from all around the object."),
    ],
)
def test_the_advice_is_what_costs_most(
    covered: Coverage, counts: tuple[int, int, int, int, int], said: str
) -> None:
    assert said in advice(covered, *counts)


def test_metrics_name_the_photos() -> None:
    photos = [GOOD, Photo(0.9, 0, 0, 110), Photo(0.1, 0.5, 0, 240), Photo(0.1, 0, 0.9, 3)]
    told = metrics(["a.jpg", "b.jpg", "c.jpg", "d.jpg"], photos, ROUND, taken=5)
    assert told["blurred"] == ["b.jpg"]
    assert told["over_exposed"] == ["c.jpg"]
    assert told["under_exposed"] == ["d.jpg"]
    assert told["registered"] == "4 of 5"
    assert told["coverage"]["upper"] == pytest.approx(ROUND.upper, abs=1e-3)
    assert told["advice"].endswith(".")

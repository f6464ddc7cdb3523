"""Which frames are kept, on views of a plane whose motion is known."""

import cv2
import numpy as np
import pytest

from tests.unit import videos
from workers.prepare.readers.video.selection import LEAST, MOST, Meter


def measured(places: list[float], blurred: list[int] | None = None) -> Meter:
    meter = Meter()
    for view in videos.views(places, blurred or []):
        meter.add(np.asarray(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY), np.uint8))
    return meter


def test_frames_are_spread_evenly_in_motion_and_not_in_time() -> None:
    slow, fast = np.linspace(0, 1, 100), np.linspace(1, 3, 40)[1:]
    places = [*slow, *fast]
    kept = measured(places).choose(24)
    assert 20 <= len(kept) <= 26
    gaps = np.diff([places[frame] for frame in kept])
    assert gaps.max() < 2.1 * 3 / 24
    among_slow = sum(frame < 100 for frame in kept) / len(kept)
    assert among_slow == pytest.approx(1 / 3, abs=0.1), "in time it would be 0.72"


def test_motion_is_measured_in_sides_of_the_picture() -> None:
    places = list(np.linspace(0, 2, 80))
    assert measured(places).position[-1] == pytest.approx(2, rel=0.1)


def test_windows_never_span_more_than_what_can_be_matched() -> None:
    places = list(np.linspace(0, 4, 160))
    kept = measured(places).choose(20)
    assert 4 / MOST - 3 <= len(kept) <= 4 / MOST + 3


def test_a_long_walk_gives_twice_the_number_and_no_more() -> None:
    kept = measured(list(np.linspace(0, 7, 140))).choose(10)
    assert 17 <= len(kept) <= 20


def test_the_sharpest_of_each_window_is_kept() -> None:
    places = list(np.linspace(0, 3, 120))
    shaken = [frame for frame in range(120) if frame % 5 != 2]
    kept = measured(places, shaken).choose(15)
    assert len(kept) >= 12
    assert not set(kept) & set(shaken)


def test_standing_still_gives_one_frame_though_the_hand_trembles() -> None:
    rng = np.random.default_rng(1)
    places = [*np.linspace(0, 1, 40), *(1 + rng.uniform(-0.005, 0.005, 100)), *np.linspace(1, 2, 40)]
    meter = measured(places)
    kept = meter.choose(30)
    assert sum(42 <= frame < 138 for frame in kept) <= 1
    assert len(kept) >= 24
    times = [0.1 * frame for frame in range(len(places))]
    ((start, end),) = meter.standing(times)
    assert (start, end) == pytest.approx((4, 14), abs=0.6)


def test_of_doubles_one_is_kept_and_of_all_that_differ_each() -> None:
    places = [place for place in np.linspace(0, 1.5, 25) for _ in range(3)]
    kept = measured(places).choose(60)
    assert [frame // 3 for frame in kept] == list(range(25))


def test_of_two_that_are_the_same_picture_in_neighbouring_windows_the_sharper_is_kept() -> None:
    way = [0, 0.9 * LEAST, 1.1 * LEAST, 2.1 * LEAST]
    for sharpness, kept in (([1.0, 2, 3, 1], [2, 3]), ([1.0, 3, 2, 1], [1, 3])):
        assert Meter(sharpness, sharpness, way, way).choose(60) == kept


def test_the_noise_of_a_still_picture_is_no_motion() -> None:
    rng = np.random.default_rng(2)
    (view,) = videos.views([0.5])
    meter = Meter()
    for _ in range(40):
        noisy = np.clip(view + rng.normal(0, 6, view.shape), 0, 255).astype(np.uint8)
        meter.add(np.asarray(cv2.cvtColor(noisy, cv2.COLOR_RGB2GRAY), np.uint8))
    assert len(meter.choose(60)) == 1


def test_there_and_back_again_differs_all_along() -> None:
    places = [*np.linspace(0, 0.06, 8), *np.linspace(0.05, 0, 7)]
    assert len(measured(places).choose(60)) == 15


def test_a_turning_object_before_a_still_wall_moves() -> None:
    wall, turning = videos.plane(videos.WIDTH), videos.views(list(np.linspace(0, 2, 60)))
    meter = Meter()
    for view in turning:
        seen = wall.copy()
        seen[60:140, 80:170] = view[60:140, 80:170]
        meter.add(np.asarray(cv2.cvtColor(seen, cv2.COLOR_RGB2GRAY), np.uint8))
    assert len(meter.choose(20)) >= 15


def test_blurred_stretches_are_found_and_single_frames_are_not() -> None:
    shaken = [*range(30, 42), 70]
    meter = measured(list(np.linspace(0, 3, 100)), shaken)
    times = [0.1 * frame for frame in range(100)]
    assert meter.blurred(times) == [pytest.approx((3.0, 4.1))]
    assert measured(list(np.linspace(0, 3, 100))).blurred(times) == []


def test_a_blurred_stretch_has_several_frames_and_lasts() -> None:
    detail = [0.4] * 10 + [0.1] * 4 + [0.4] * 10
    meter = Meter(detail=detail)
    assert meter.blurred([0.1 * frame for frame in range(24)]) == [pytest.approx((1.0, 1.3))]
    assert meter.blurred([0.05 * frame for frame in range(24)]) == []
    assert Meter(detail=[0.4] * 10 + [0.1] * 2 + [0.4] * 10).blurred(list(range(22))) == []

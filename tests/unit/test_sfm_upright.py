"""Photos that lie on their sides: how they are turned, and cameras from them."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit import corners
from workers.geometry.similarity import align_cameras, moved
from workers.prepare.sfm.estimate import Estimate, Photos, estimate
from workers.prepare.sfm.features import Features, sift
from workers.prepare.sfm.plugs import Plugs
from workers.prepare.sfm.upright import quarter_turns, turned, turned_back, turned_size

Array = NDArray[np.float64]
QUARTERS = [0, 1, 0, 2, 0, 3, 0, 0, 1, 2]


@pytest.fixture(scope="module")
def straight() -> tuple[list[corners.Grey], Array]:
    c2w = corners.walk(len(QUARTERS))
    return [corners.photo(pose) for pose in c2w], c2w


@pytest.fixture(scope="module")
def askew(straight: tuple[list[corners.Grey], Array]) -> corners.Turned:
    return corners.turned(*straight, QUARTERS)


def unturnable(grey: corners.Grey, size: tuple[int, int]) -> Features:
    """SIFT whose descriptors take the photo to be upright."""
    finder = cv2.SIFT.create(2000, contrastThreshold=0.002)
    places = {
        point.pt: cv2.KeyPoint(point.pt[0], point.pt[1], point.size, 0.0) for point in finder.detect(grey)
    }
    points, found = finder.compute(grey, list(places.values()))
    xy = np.array([point.pt for point in points]) + 0.5
    unit = np.sqrt(found / found.sum(1, keepdims=True)).astype(np.float32)
    return Features(xy, unit, np.zeros(len(xy), np.float32), size)


def mapped(photos: corners.Turned, plugs: Plugs) -> Estimate:
    taken = Photos(photos.greys, photos.sizes, photos.cameras, photos.camera_of)
    return estimate(taken, "incremental", plugs, 2, lambda _part, _step: None)


def errors(found: Estimate, c2w: Array) -> tuple[float, float]:
    """The largest of places, in units of the room, and of turns, in degrees."""
    ok = found.map.registered
    aligned = moved(align_cameras(found.map.c2w[ok], c2w[ok]).similarity, found.map.c2w[ok])
    away = np.linalg.norm(aligned[:, :3, 3] - c2w[ok][:, :3, 3], axis=1)
    traces = np.einsum("nij,nij->n", aligned[:, :3, :3], c2w[ok][:, :3, :3])
    return float(away.max()), float(np.degrees(np.arccos(((traces - 1) / 2).clip(-1, 1))).max())


@pytest.mark.parametrize("most", [0, 1, 2, 3])
def test_photos_are_turned_as_most_of_them_are(straight: tuple[list[corners.Grey], Array], most: int) -> None:
    quarters = [(turn + most) % 4 for turn in QUARTERS]
    photos = corners.turned(*straight, quarters)
    order = np.random.default_rng(most).permutation(len(QUARTERS))
    with ThreadPoolExecutor(2) as pool:
        found = quarter_turns([photos.greys[index] for index in order], pool)
    assert found == [-QUARTERS[index] % 4 for index in order]


def test_a_photo_that_shares_nothing_with_others_stays_as_it_is(askew: corners.Turned) -> None:
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 255, (300, 400)).astype(np.uint8)
    strange = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2.0), np.uint8)
    with ThreadPoolExecutor(2) as pool:
        found = quarter_turns([askew.greys[1], strange, askew.greys[0], askew.greys[2]], pool)
    assert found == [3, 0, 0, 0]


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_features_go_back_to_where_they_are_in_the_photo(quarters: int) -> None:
    photo = np.full((60, 100), 40, np.uint8)
    photo[20:23, 70:73] = 250
    size = 200, 120  # the photo's own is twice as large
    (y,), (x,) = (np.unique(axis) for axis in np.nonzero(cv2.erode(photo, np.ones((3, 3))) > 200))
    there = turned(photo, quarters)
    spot = np.argwhere(cv2.erode(there, np.ones((3, 3))) > 200)[0][::-1]
    features = Features(
        2 * (spot[None] + 0.5),
        np.ones((1, 4), np.float32),
        np.zeros(1, np.float32),
        turned_size(size, quarters),
    )
    back = turned_back(features, quarters)
    np.testing.assert_allclose(back.xy, [[2 * (x + 0.5), 2 * (y + 0.5)]])
    assert back.size == size


def test_angles_are_those_of_the_photo_itself(straight: tuple[list[corners.Grey], Array]) -> None:
    grey = straight[0][0]
    own = sift(grey, corners.SIZE)
    back = turned_back(sift(turned(grey, 1), corners.SIZE[::-1]), 1)
    apart = np.linalg.norm(own.xy[:, None] - back.xy[None], axis=2)
    same = np.flatnonzero(apart.min(1) < 0.05)
    difference = (back.angles[apart[same].argmin(1)] - own.angles[same] + 180) % 360 - 180
    assert len(same) > 0.8 * len(own)
    assert np.median(np.abs(difference)) < 0.5


def test_turned_photos_give_the_same_cameras(askew: corners.Turned) -> None:
    found = mapped(askew, Plugs(find=unturnable, upright=True))
    assert found.map.registered.all()
    away, turn = errors(found, askew.c2w)
    assert away < 0.005
    assert turn < 0.3


def test_features_that_find_themselves_in_any_turn_need_not_be_turned(askew: corners.Turned) -> None:
    found = mapped(askew, Plugs())
    assert found.map.registered.all()
    away, turn = errors(found, askew.c2w)
    assert away < 0.005
    assert turn < 0.3

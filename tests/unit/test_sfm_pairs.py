"""Which photos are matched, what is found to be the same in them, and which pairs are trusted first."""

import itertools

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from workers.prepare.sfm.features import Features, sift
from workers.prepare.sfm.matching import matched, verified
from workers.prepare.sfm.pairs import Pairs, near, nearest, vlad, worth_matching
from workers.prepare.sfm.skeleton import strongest

Array = NDArray[np.float64]
SIZE = 640, 480


def features(xy: Array, vectors: Array) -> Features:
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return Features(xy, unit, np.zeros(len(xy), np.float32), SIZE)


def along_a_wall(count: int, step: float = 0.3) -> list[Features]:
    """Photos along a wall of a thousand things, each with what is next to it."""
    rng = np.random.default_rng(0)
    things = rng.standard_normal((1000, 16)) * 0.2 + np.repeat(rng.standard_normal((50, 16)), 20, axis=0)
    photos = []
    for photo in range(count):
        seen = (np.arange(120) + int(photo * step * 20)) % 1000
        photos.append(
            features(rng.uniform(0, 480, (120, 2)), things[seen] + 0.02 * rng.standard_normal((120, 16)))
        )
    return photos


def undescribed() -> NDArray[np.float32]:
    raise AssertionError("nobody needs to know what they look like")


def test_few_photos_are_all_matched() -> None:
    assert worth_matching(4, False, undescribed) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert len(worth_matching(36, False, undescribed)) == 36 * 35 // 2


def connected(pairs: Pairs, count: int) -> bool:
    reached = {0}
    for _ in range(count):
        reached |= {photo for pair in pairs for photo in pair if reached & set(pair)}
    return len(reached) == count


def test_of_many_those_that_look_alike_are_matched() -> None:
    photos = along_a_wall(90)
    mixed = np.random.default_rng(1).permutation(90)
    pairs = worth_matching(90, False, lambda: vlad([], [photos[index] for index in mixed]))
    assert len(pairs) <= 12 * 90
    assert connected(pairs, 90)
    assert all(one < other for one, other in pairs)
    apart = [abs(int(mixed[one]) - int(mixed[other])) for one, other in pairs]
    # Each shares 120 things with itself and 6 fewer with each further one.
    assert np.mean(np.array(apart) < 20) > 0.95


def test_neighbours_in_time_are_matched_where_there_is_one() -> None:
    """Whatever they look like: here each is like those a hundred before and after it."""
    rng = np.random.default_rng(2)
    vectors = np.repeat(rng.standard_normal((20, 8)), 5, axis=0).reshape(20, 5, 8).transpose(1, 0, 2)
    looks = vectors.reshape(100, 8).astype(np.float32)
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    following = {(i, i + ahead) for ahead in (1, 2, 3, 4) for i in range(100 - ahead)}
    ordered = worth_matching(100, True, lambda: looks)
    assert following <= set(ordered)
    assert ordered == sorted(set(ordered))
    assert not following <= set(worth_matching(100, False, lambda: looks))


def test_the_nearest_are_those_most_alike() -> None:
    angles = np.radians([0, 10, 25, 90, 95])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert nearest(vectors, 1) == [(0, 1), (1, 2), (3, 4)]


def test_posed_photos_are_matched_with_those_that_look_the_same_way() -> None:
    c2w = np.tile(np.eye(4), (60, 1, 1))
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    c2w[:, 0, 2], c2w[:, 2, 2] = np.sin(angles), np.cos(angles)
    pairs = near(c2w)
    steps = {min(other - one, 60 - other + one) for one, other in pairs}
    assert steps == set(range(1, 9))
    assert len(near(c2w[:5])) == 10


def two_views(wrong: float) -> tuple[Features, Features, NDArray[np.bool_]]:
    """Of 400 points in space, by cameras 0.5 apart, and which of the second's features lie where the same
    point is; so large a share are `wrong`, though they look right."""
    rng = np.random.default_rng(4)
    points = rng.uniform([-1, -1, 3], [1, 1, 6], (400, 3))
    turn, _ = cv2.Rodrigues(np.array([0.02, -0.1, 0.05]))
    matrix = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])
    homogeneous = points @ matrix.T, (points @ turn.T + [0.5, 0.05, 0.1]) @ matrix.T
    one, other = (each[:, :2] / each[:, 2:] for each in homogeneous)
    right = rng.permutation(400) >= wrong * 400
    other[~right] = rng.uniform(0, 480, ((~right).sum(), 2))
    vectors = rng.standard_normal((400, 32))
    return features(one, vectors), features(other, vectors + 0.05 * rng.standard_normal((400, 32))), right


def test_matches_are_each_others_nearest() -> None:
    one, other, _ = two_views(0.0)
    order = np.random.default_rng(5).permutation(400)
    mixed = Features(other.xy[order], other.descriptors[order], other.angles, SIZE)
    found = matched(one, mixed)
    assert len(found) == 400
    np.testing.assert_array_equal(order[found[:, 1]], found[:, 0])


def test_what_is_there_twice_is_not_matched() -> None:
    one, other, _ = two_views(0.0)
    rng = np.random.default_rng(6)
    again = other.descriptors[:100] + 0.001 * rng.standard_normal((100, 32)).astype(np.float32)
    again /= np.linalg.norm(again, axis=1, keepdims=True)
    twice = Features(
        np.concatenate([other.xy, other.xy[:100] + 50]),
        np.concatenate([other.descriptors, again]),
        np.zeros(500, np.float32),
        SIZE,
    )
    found = matched(one, twice)
    assert len(found) > 290
    assert (found[:, 0] < 100).sum() < 20
    back = matched(twice, one)
    assert len(back) > 290
    assert len(np.unique(back[:, 1])) == len(back)
    nothing = Features(np.zeros((1, 2)), np.ones((1, 32), np.float32), np.zeros(1, np.float32), SIZE)
    assert matched(one, nothing).shape == (0, 2)


@pytest.mark.parametrize("wrong", [0.2, 0.5, 0.7])
def test_one_geometry_is_found_among_wrong_matches(wrong: float) -> None:
    one, other, right = two_views(wrong)
    matches = matched(one, other)
    assert len(matches) == 400
    kept = verified(one, other, matches, pixel=1.0)
    assert right[matches[:, 0]].sum() == right.sum()
    assert np.isin(np.flatnonzero(right), kept[:, 0]).mean() > 0.97
    # What lies on its epipolar line by chance cannot be told.
    assert (~right[kept[:, 0]]).sum() < 0.06 * (~right).sum() + 1


def test_no_geometry_is_found_where_there_is_none() -> None:
    one, other, _ = two_views(1.0)
    found = verified(one, other, matched(one, other), pixel=1.0)
    assert len(found) < 0.1 * 400
    few = matched(one, other)[:10]
    assert verified(one, other, few, pixel=1.0).shape == (0, 2)


def ring(count: int) -> dict[tuple[int, int], int]:
    """Matches of photos around a table whose pattern repeats: many with neighbours, fewer with the next, and
    in more pairs than not about 40 that are wrong."""
    rng = np.random.default_rng(7)
    support = {}
    for one, other in itertools.combinations(range(count), 2):
        steps = min(other - one, count - other + one)
        support[one, other] = {1: 300, 2: 180}.get(steps, int(rng.integers(30, 50)))
    return support


@pytest.mark.parametrize("partners", [2, 3, 5])
def test_pairs_that_are_wide_apart_are_not_trusted(partners: int) -> None:
    trusted = strongest(ring(24), 24, partners)
    assert {min(other - one, 24 - other + one) for one, other in trusted} <= {1, 2}
    assert connected(trusted, 24)


def test_the_weakly_tied_stay_tied() -> None:
    """By the forest, though beside what others have it is little."""
    support = {**ring(24), (0, 24): 20, (5, 24): 18, (26, 27): 60}
    trusted = strongest(support, 28, 3)
    assert (0, 24) in trusted
    assert (26, 27) in trusted
    assert (5, 24) in trusted  # of its best partner's matches it has more than half
    assert not any(25 in pair for pair in trusted)
    tree = strongest(support, 28, 0)
    assert len(tree) == 25
    assert (5, 24) not in tree


def test_features_lie_where_they_are() -> None:
    """Blobs about fractions of a pixel, in a photo twice as large as what is looked at."""
    y, x = np.mgrid[:100, :120] + 0.5
    middles = np.array([[30.2, 40.7], [70.5, 60.5], [90.9, 20.3]])
    blobs = [np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 3.0**2)) for u, v in middles]
    found = sift((200 * np.sum(blobs, axis=0)).astype(np.uint8), (240, 200))
    apart = np.linalg.norm(found.xy[:, None] - 2 * middles[None], axis=2)
    assert np.median(apart.min(0)) < 0.1
    assert np.median(apart.min(1)) < 0.1

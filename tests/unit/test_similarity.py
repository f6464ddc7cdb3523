"""The similarity between two sets of cameras."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from workers.geometry.errors import NumericError
from workers.geometry.similarity import align_cameras, moved, scale_of, umeyama

Array = NDArray[np.float64]


def a_similarity() -> Array:
    similarity = np.eye(4)
    similarity[:3, :3] = 2.5 * Rotation.from_euler("xyz", [50, -120, 10], degrees=True).as_matrix()
    similarity[:3, 3] = [4, -3, 7]
    return similarity


def cameras(count: int = 40, seed: int = 0) -> Array:
    c2w = np.tile(np.eye(4), (count, 1, 1))
    c2w[:, :3, :3] = Rotation.random(count, rng=np.random.default_rng(seed)).as_matrix()
    c2w[:, :3, 3] = np.random.default_rng(seed + 1).normal(size=(count, 3))
    return c2w


def noisy(c2w: Array, sigma: float, seed: int = 5) -> Array:
    result = c2w.copy()
    result[:, :3, 3] += sigma * np.random.default_rng(seed).normal(size=(len(c2w), 3))
    return result


def test_umeyama_finds_a_known_similarity_exactly() -> None:
    points, similarity = cameras()[:, :3, 3], a_similarity()
    found = umeyama(points, points @ similarity[:3, :3].T + similarity[:3, 3])
    assert found == pytest.approx(similarity, abs=1e-12)


def test_umeyama_never_mirrors() -> None:
    points = cameras()[:, :3, 3]
    found = umeyama(points, points * [1, 1, -1])
    assert np.linalg.det(found[:3, :3]) > 0
    assert umeyama(points * [1, 1, 0], points * [1, 1, 0]) == pytest.approx(np.eye(4), abs=1e-12)


def test_umeyama_is_the_least_squares_fit() -> None:
    rng = np.random.default_rng(3)
    points = rng.normal(size=(20, 3))
    goal = points @ (2 * Rotation.from_rotvec([0.1, 1, 0.3]).as_matrix()).T + 0.2 * rng.normal(size=(20, 3))
    best = umeyama(points, goal)

    def cost(similarity: Array) -> float:
        return float(((points @ similarity[:3, :3].T + similarity[:3, 3] - goal) ** 2).sum())

    for _ in range(50):
        nudge = np.eye(4)
        turn = Rotation.from_rotvec(1e-3 * rng.normal(size=3)).as_matrix()
        nudge[:3, :3] = (1 + 1e-3 * rng.normal()) * turn
        nudge[:3, 3] = 1e-3 * rng.normal(size=3)
        assert cost(nudge @ best) > cost(best)


def test_weights_count_like_repeated_points() -> None:
    points, goal = cameras(6)[:, :3, 3], noisy(cameras(6), 0.3)[:, :3, 3]
    weights = np.array([1.0, 3, 2, 1, 1, 4])
    repeats = weights.astype(int)
    assert umeyama(points, goal, weights) == pytest.approx(
        umeyama(points.repeat(repeats, 0), goal.repeat(repeats, 0)), abs=1e-12
    )


def test_points_on_a_line_are_refused() -> None:
    line = np.outer(np.arange(5.0), [1, 2, 3])
    with pytest.raises(NumericError) as caught:
        umeyama(line, line)
    assert caught.value.code == "poses_degenerate"


@pytest.mark.parametrize("wild", [0, 1, 12])
def test_wild_cameras_neither_count_nor_go_unnoticed(wild: int) -> None:
    source, similarity = cameras(), a_similarity()
    target = noisy(moved(similarity, source), 0.01)
    target[:wild, :3, 3] += 20 * np.random.default_rng(9).normal(size=(wild, 3))
    alignment = align_cameras(source, target)
    assert np.flatnonzero(~alignment.inliers).tolist() == list(range(wild))
    kept = slice(wild, None)
    assert alignment.similarity == pytest.approx(
        umeyama(source[kept, :3, 3], target[kept, :3, 3]), abs=1e-10
    ), "least squares over all others"


def test_plain_noise_makes_nobody_wild() -> None:
    source = cameras()
    target = noisy(source, 0.05)
    alignment = align_cameras(source, target)
    assert alignment.inliers.all()
    assert alignment.similarity == pytest.approx(umeyama(source[:, :3, 3], target[:, :3, 3]), abs=1e-12)


def test_a_drift_of_some_is_no_wildness() -> None:
    """Most cameras are exact and the others a little off: all of them count, as in any published ATE."""
    source = cameras()
    target = source.copy()
    target[28:, :3, 3] += [0.08, 0, 0]
    alignment = align_cameras(source, target)
    assert alignment.inliers.all()
    assert alignment.similarity == pytest.approx(umeyama(source[:, :3, 3], target[:, :3, 3]), abs=1e-12)


def test_the_same_cameras_give_the_same_alignment() -> None:
    source, target = cameras(), noisy(cameras(), 0.1)
    assert (align_cameras(source, target).similarity == align_cameras(source, target).similarity).all()


@pytest.mark.parametrize("across", [0.0, 1e-4])
def test_on_a_line_the_orientations_tell_the_turn_about_it(across: float) -> None:
    source = cameras(12)
    source[:, :3, 3] = np.outer(np.linspace(0, 3, 12), [0.6, 0, 0.8]) + across * source[:, :3, 3]
    target = noisy(moved(a_similarity(), source), across)
    alignment = align_cameras(source, target)
    assert alignment.similarity == pytest.approx(a_similarity(), abs=1e-9 + 20 * across)


def test_cameras_at_one_place_are_refused() -> None:
    source = cameras(5)
    still = source.copy()
    still[:, :3, 3] = [1, 2, 3]
    for pair in ((source, still), (still, source)):
        with pytest.raises(NumericError) as caught:
            align_cameras(*pair)
        assert caught.value.code == "poses_degenerate"


def test_two_cameras_are_too_few() -> None:
    with pytest.raises(NumericError) as caught:
        align_cameras(cameras(2), cameras(2))
    assert caught.value.code == "too_few_images"


def test_moved_cameras_keep_looking_at_the_same_points() -> None:
    c2w, similarity = cameras(4), a_similarity()
    there = moved(similarity, c2w)
    seen = c2w @ [0, 0, -2, 1]  # two units in front of each camera
    again = there @ [0, 0, -2 * scale_of(similarity), 1]
    assert again == pytest.approx(seen @ similarity.T)
    assert there[:, :3, :3] @ there[:, :3, :3].swapaxes(1, 2) == pytest.approx(np.tile(np.eye(3), (4, 1, 1)))

"""Quaternions against scipy's, and the mean rotation by what defines it."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from workers.geometry.rotations import (
    angle,
    conjugate,
    from_matrix,
    from_vector,
    mean,
    product,
    to_matrix,
    to_vector,
)

RANDOM = Rotation.random(50, random_state=1)
OTHERS = Rotation.random(50, random_state=2)


def alike(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether quaternions are the same rotations, of whatever sign."""
    return bool(np.allclose(np.abs((left * right).sum(axis=-1)), 1, atol=1e-12))


def test_a_quarter_turn_about_z_takes_x_to_y() -> None:
    turn = np.array([0, 0, np.sqrt(0.5), np.sqrt(0.5)])
    assert to_matrix(turn) @ [1, 0, 0] == pytest.approx([0, 1, 0])
    assert to_vector(turn) == pytest.approx([0, 0, np.pi / 2])
    assert product(turn, turn) == pytest.approx([0, 0, 1, 0])
    assert product(turn, conjugate(turn)) == pytest.approx([0, 0, 0, 1])


def test_i_times_j_is_k_and_j_times_i_is_not() -> None:
    i, j, k = np.eye(4)[:3]
    assert product(i, j) == pytest.approx(k)
    assert product(j, i) == pytest.approx(-k)


def test_random_rotations_agree_with_scipy() -> None:
    a, b = RANDOM.as_quat(), OTHERS.as_quat()
    assert alike(product(a, b), (RANDOM * OTHERS).as_quat())
    assert to_matrix(3 * a) == pytest.approx(RANDOM.as_matrix())
    assert alike(from_matrix(RANDOM.as_matrix()), a)
    assert to_vector(a) == pytest.approx(RANDOM.as_rotvec())
    assert alike(from_vector(RANDOM.as_rotvec()), a)
    assert angle(RANDOM.as_matrix(), OTHERS.as_matrix()) == pytest.approx((RANDOM.inv() * OTHERS).magnitude())


def test_half_turns_and_no_turn_come_back() -> None:
    for vector in ([np.pi, 0, 0], [0, 0, np.pi], [0, 0, 0], [1e-9, 0, 0]):
        matrix = to_matrix(from_vector(vector))
        assert to_matrix(from_matrix(matrix)) == pytest.approx(matrix)
        assert np.linalg.norm(to_vector(from_vector(vector))) == pytest.approx(np.linalg.norm(vector))


def test_the_nearest_rotation_to_a_bent_matrix_is_that_of_its_svd() -> None:
    bent = RANDOM.as_matrix() + np.random.default_rng(3).normal(0, 0.1, (50, 3, 3))
    u, _, vt = np.linalg.svd(bent)
    assert to_matrix(from_matrix(bent)) == pytest.approx(u @ vt)


def test_the_mean_does_not_mind_signs_and_beats_every_neighbour() -> None:
    rng = np.random.default_rng(4)
    spread = (Rotation.from_rotvec(rng.normal(0, 0.4, (20, 3))) * RANDOM[0]).as_quat()
    weights = rng.uniform(0.1, 2, 20)
    found = mean(spread, weights)
    assert alike(found, mean(spread * rng.choice([-1, 1], (20, 1)), weights))

    def cost(quaternion: np.ndarray) -> float:
        apart = to_matrix(quaternion) - to_matrix(spread)
        return float((weights * (apart**2).sum(axis=(1, 2))).sum())

    for step in rng.normal(0, 0.01, (30, 3)):
        assert cost(found) < cost(product(from_vector(step), found))


def test_without_weights_all_count_alike() -> None:
    a, b = from_vector([0, 0.4, 0]), from_vector([0, 0.8, 0])
    assert to_vector(mean([a, -b])) == pytest.approx([0, 0.6, 0])
    assert to_vector(mean([a, b], [1, 0])) == pytest.approx([0, 0.4, 0])

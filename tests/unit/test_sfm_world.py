"""Which way is up, and how large a world is, that structure from motion made without knowing either."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from workers.geometry.similarity import moved
from workers.prepare.sfm.world import held_upright, sensible, support

Array = NDArray[np.float64]
UP = np.array([0.0, 0.0, 1.0])
TURN = cv2.Rodrigues(np.array([0.7, -1.1, 0.4]))[0]


def looking(eyes: Array, target: Array, rolls: Array) -> Array:
    """(N,4,4) OpenGL, z being up, each rolled by so many degrees."""
    poses = []
    for eye, roll in zip(eyes, np.radians(rolls), strict=True):
        back = (eye - target) / np.linalg.norm(eye - target)
        right = np.cross(UP, back)
        right /= np.linalg.norm(right)
        up = np.cross(back, right)
        pose = np.eye(4)
        pose[:3, 0] = np.cos(roll) * right + np.sin(roll) * up
        pose[:3, 1] = np.cos(roll) * up - np.sin(roll) * right
        pose[:3, 2], pose[:3, 3] = back, eye
        poses.append(pose)
    return np.array(poses)


def around(count: int = 30, roll: float = 3.0) -> Array:
    """A walk around a thing on a table, held by hand: rolled by so many degrees or so."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    heights = 0.8 + 0.3 * np.sin(5 * angles)
    eyes = np.stack([2 * np.cos(angles), 2 * np.sin(angles), heights], axis=1)
    return looking(eyes, np.array([0, 0, 0.2]), roll * rng.standard_normal(count))


def table(noise: float = 0.002) -> Array:
    """(P,3): a table at z = 0, a thing on it, and a little that is nowhere."""
    rng = np.random.default_rng(1)
    flat = np.concatenate([rng.uniform(-1, 1, (600, 2)), np.zeros((600, 1))], axis=1)
    thing = rng.standard_normal((400, 3)) * 0.1 + [0, 0, 0.3]
    thing = thing[thing[:, 2] > 0]
    stray = rng.uniform([-1, -1, 0], [1, 1, 1], (40, 3))
    return np.concatenate([flat, thing, stray]) + noise * rng.standard_normal((640 + len(thing), 3))


def degrees(one: Array | None, other: Array) -> float:
    assert one is not None
    return float(np.degrees(np.arccos(np.clip(one @ other / np.linalg.norm(one), -1, 1))))


def elsewhere(c2w: Array, points: Array) -> tuple[Array, Array, Array]:
    """In a frame of another turn, size and origin; and what is up there."""
    similarity = np.eye(4)
    similarity[:3, :3], similarity[:3, 3] = 7 * TURN, [3, -2, 5]
    return moved(similarity, c2w), points @ (7 * TURN).T + [3, -2, 5], TURN @ UP


@pytest.mark.parametrize("roll", [3.0, 180.0], ids=["upright", "rolled at random"])
def test_a_table_says_what_is_up(roll: float) -> None:
    c2w, points, up = elsewhere(around(roll=roll), table())
    target = 7 * TURN @ [0, 0, 0.2] + [3, -2, 5]
    held = held_upright(c2w)
    assert (held is None) == (roll > 90)
    assert degrees(support(c2w, points, target, 14.0, held), up) < 2
    frame = sensible(c2w, points, target)
    assert frame.up
    assert degrees(frame.similarity[:3, :3].T @ [0, 1, 0], up) < 2
    there = moved(frame.similarity, c2w)
    np.testing.assert_allclose(np.median(np.linalg.norm(there[:, :3, 3], axis=1)), 1)
    np.testing.assert_allclose(frame.similarity[:3, :3] @ target + frame.similarity[:3, 3], 0, atol=1e-12)
    assert there[0, 2, 3] > 0
    assert abs(there[0, 0, 3]) < 1e-9 + np.tan(np.radians(2))


def test_photos_held_upright_say_it_where_nothing_is_stood_on() -> None:
    rng = np.random.default_rng(2)
    c2w, points, up = elsewhere(around(), rng.standard_normal((500, 3)) * 0.3)
    target = np.array([3.0, -2, 5])
    held = held_upright(c2w)
    assert degrees(held, up) < 2
    assert support(c2w, points, target, 14.0, held) is None
    frame = sensible(c2w, points, target)
    assert frame.up
    assert degrees(frame.similarity[:3, :3].T @ [0, 1, 0], up) < 2


def test_photos_rolled_at_random_say_nothing() -> None:
    rng = np.random.default_rng(3)
    c2w = around(roll=180)
    assert held_upright(c2w) is None
    points = rng.standard_normal((500, 3)) * 0.3
    frame = sensible(c2w, points, np.zeros(3))
    assert not frame.up
    turn = frame.similarity[:3, :3] * np.median(np.linalg.norm(c2w[:, :3, 3], axis=1))
    np.testing.assert_allclose(turn, np.eye(3), atol=1e-12)


def wall(angles: Array) -> tuple[Array, Array]:
    """A relief on a wall, y = 0, and photos from before it, so far to the right."""
    rng = np.random.default_rng(4)
    eyes = np.stack([2 * np.sin(angles), -2 * np.cos(angles), 0.3 * np.sin(4 * angles)], axis=1)
    flat = np.stack([rng.uniform(-1, 1, 700), np.zeros(700), rng.uniform(-1, 1, 700)], axis=1)
    relief = flat[:200] * 0.3 - [0, 0.1, 0]
    return eyes, np.concatenate([flat, relief]) + 0.002 * rng.standard_normal((900, 3))


@pytest.mark.parametrize(
    ("roll", "side"), [(2.0, 0.0), (2.0, 0.5), (180.0, 0.5)], ids=["upright", "from a side", "rolled"]
)
def test_a_wall_is_not_taken_for_a_table(roll: float, side: float) -> None:
    eyes, points = wall(np.linspace(-0.6, 0.6, 30) + side)
    c2w = looking(eyes, np.zeros(3), roll * np.random.default_rng(5).standard_normal(30))
    held = held_upright(c2w)
    assert support(c2w, points, np.zeros(3), 2.0, held) is None
    frame = sensible(c2w, points, np.zeros(3))
    assert frame.up == (roll < 90)
    if frame.up:
        assert degrees(frame.similarity[:3, :3].T @ [0, 1, 0], UP) < 3


def test_cameras_side_by_side_say_what_is_up_as_they_were_held() -> None:
    eyes = np.stack([np.linspace(-0.3, 0.3, 12), np.full(12, -40.0), np.zeros(12)], axis=1)
    c2w = looking(eyes, np.zeros(3), np.random.default_rng(6).standard_normal(12))
    assert degrees(held_upright(c2w), UP) < 2


def test_too_few_points_are_no_table() -> None:
    assert support(around(), table()[:40], np.zeros(3), 2.0, None) is None
    rng = np.random.default_rng(7)
    thing = rng.uniform([-0.2, -0.2, 0.05], [0.2, 0.2, 0.8], (400, 3))
    thin = np.concatenate([thing, table()[:60]])
    assert support(around(), thin, np.zeros(3), 2.0, UP) is None
    assert degrees(support(around(), np.concatenate([thin, table()[60:200]]), np.zeros(3), 2.0, UP), UP) < 2

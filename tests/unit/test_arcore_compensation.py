"""Drift taken out of poses that are known, with anchors that behave as well or as badly as phones' do."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from workers.geometry.rotations import from_matrix, from_vector, product, to_matrix
from workers.prepare.readers.arcore.anchors import Anchors
from workers.prepare.readers.arcore.compensation import Compensation, compensate
from workers.prepare.readers.arcore.published import published

Array = NDArray[np.float64]

FRAMES = 40


@dataclass(frozen=True)
class Walk:
    """truth: (N, 4, 4) cameras; recorded: the same in each frame's world; worlds: (N, 4, 4)."""

    truth: Array
    recorded: Array
    worlds: Array
    anchors: Anchors

    def error(self, c2w: Array) -> float:
        """Root mean square distance in metres after the best rigid alignment."""
        have, want = c2w[:, :3, 3], self.truth[:, :3, 3]
        a, b = have - have.mean(0), want - want.mean(0)
        u, _, vt = np.linalg.svd(b.T @ a)
        rotation = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
        return float(np.sqrt(((b - a @ rotation.T) ** 2).sum(axis=1).mean()))


def walk(
    seed: int,
    *,
    anchors: int = 5,
    jumps: tuple[int, ...] = (9, 18, 27),
    drift: float = 1e-3,
    noise: float = 1e-3,
    scales: tuple[float, ...] = (),
    created: tuple[int, ...] = (),
) -> Walk:
    """drift and noise are standard deviations in metres, and in units of 0.1 degrees a millimetre; scales
    multiply the noise of the first anchors; created are the frames in which the first anchors begin.
    """
    rng = np.random.default_rng(seed)
    angles = np.linspace(0, 9, FRAMES)
    places = np.stack([0.5 * np.cos(angles), 0.3 + 0.1 * np.sin(3 * angles), 0.5 * np.sin(angles)], axis=1)
    back = places / np.linalg.norm(places, axis=1, keepdims=True)
    right = np.cross([0, 1, 0], back)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    truth = np.tile(np.eye(4), (FRAMES, 1, 1))
    truth[:, :3] = np.stack([right, np.cross(back, right), back, places], axis=2)
    worlds = np.tile(np.eye(4), (FRAMES, 1, 1))
    for k in range(1, FRAMES):
        size = 0.04 if k in jumps else drift
        step = np.eye(4)
        step[:3, :3] = to_matrix(from_vector(rng.normal(0, size * 1.7, 3)))
        step[:3, 3] = rng.normal(0, size, 3)
        worlds[k] = step @ worlds[k - 1]

    current = np.zeros((FRAMES, anchors, 7))
    begin = np.array([*created, *[0] * anchors][:anchors])
    for j in range(anchors):
        scale = [*scales, *[1.0] * anchors][j] * noise
        place, turn = rng.uniform(-0.3, 0.3, 3), from_vector(rng.normal(0, 1, 3))
        for k in range(FRAMES):
            known = place + rng.normal(0, scale, 3)
            seen = product(from_vector(rng.normal(0, scale * 1.7, 3)), turn)
            current[k, j, :3] = worlds[k, :3, :3] @ known + worlds[k, :3, 3]
            current[k, j, 3:] = product(from_matrix(worlds[k, :3, :3]), seen)
    tracked = np.arange(FRAMES)[:, None] >= begin
    names = tuple(f"anchor-{j}" for j in range(anchors))
    initial = current[begin, np.arange(anchors)]
    return Walk(truth, worlds @ truth, worlds, Anchors(names, initial, current, tracked, begin))


def changed(of: Walk, change: Callable[[Anchors], None]) -> Walk:
    """The walk with its anchors changed in place."""
    anchors = replace(of.anchors, current=of.anchors.current.copy(), tracked=of.anchors.tracked.copy())
    change(anchors)
    return replace(of, anchors=anchors)


def removed(of: Walk, result: Compensation) -> float:
    return 1 - of.error(result.c2w) / of.error(of.recorded)


@pytest.mark.parametrize("seed", range(4))
def test_almost_all_of_the_drift_goes_and_much_less_by_the_published_way(seed: int) -> None:
    of = walk(seed, scales=(3.5,), created=(12, 20))
    result = compensate(of.recorded, of.anchors)
    assert removed(of, result) > 0.95
    assert of.error(published(of.recorded, of.anchors)) > 5 * of.error(result.c2w)
    assert result.c2w[0] == pytest.approx(of.recorded[0])


def test_jumps_are_told_with_their_size_at_the_camera() -> None:
    of = walk(0)
    jumps = compensate(of.recorded, of.anchors).jumps
    assert [jump.frame for jump in jumps] == [9, 18, 27]
    for jump in jumps:
        unjumped = of.worlds[jump.frame - 1] @ of.truth[jump.frame]
        moved = np.linalg.norm(unjumped[:3, 3] - of.recorded[jump.frame, :3, 3])
        assert jump.metres == pytest.approx(moved, rel=0.2)
        cosine = (np.trace(unjumped[:3, :3].T @ of.recorded[jump.frame, :3, :3]) - 1) / 2
        assert jump.degrees == pytest.approx(np.degrees(np.arccos(cosine)), rel=0.2)


def test_a_noisy_anchor_is_found_and_its_noise_measured() -> None:
    result = compensate((of := walk(1, scales=(4.0,))).recorded, of.anchors)
    assert result.noisy.tolist() == [True, False, False, False, False]
    assert result.noise[0, 0] == pytest.approx(4e-3, rel=0.4)
    assert result.noise[1:, 0] == pytest.approx([1e-3] * 4, rel=0.6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("noise", [1e-3, 5e-3])
def test_where_nothing_drifts_the_anchors_noise_does_no_harm(seed: int, count: int, noise: float) -> None:
    of = walk(seed, anchors=count, noise=noise, drift=0, jumps=())
    assert of.error(compensate(of.recorded, of.anchors).c2w) < 0.02 * noise


@pytest.mark.parametrize("drift", [2e-4, 1e-3, 5e-3, 2e-2])
@pytest.mark.parametrize("count", [1, 3])
def test_drift_of_any_size_is_never_made_worse(drift: float, count: int) -> None:
    for seed in range(3):
        of = walk(seed, anchors=count, drift=drift, jumps=())
        assert of.error(compensate(of.recorded, of.anchors).c2w) < 1.05 * of.error(of.recorded)


@pytest.mark.parametrize("count", [2, 4])
def test_an_anchor_that_is_moved_is_left_out_from_there_on(count: int) -> None:
    def move(anchors: Anchors) -> None:
        anchors.current[25:, 0, :3] += (0.05, 0.03, -0.02)

    result = compensate((of := changed(walk(2, anchors=count), move)).recorded, of.anchors)
    assert np.argwhere(result.left_out).tolist() == [[k, 0] for k in range(25, FRAMES)]
    assert removed(of, result) > 0.9


def test_single_sightings_that_disagree_are_left_out_and_no_others() -> None:
    rng = np.random.default_rng(5)
    wrong = {(int(k), int(rng.integers(5))) for k in rng.choice(FRAMES, 12, replace=False)}

    def disturb(anchors: Anchors) -> None:
        for k, j in wrong:
            anchors.current[k, j, :3] += rng.choice([-0.06, 0.06], 3)

    result = compensate((of := changed(walk(3), disturb)).recorded, of.anchors)
    assert {(int(k), int(j)) for k, j in np.argwhere(result.left_out)} == wrong
    assert removed(of, result) > 0.95


def test_frames_without_anchors_keep_the_last_correction() -> None:
    def lose(anchors: Anchors) -> None:
        anchors.tracked[15:18] = False
        anchors.current[15:18] = np.nan

    result = compensate((of := changed(walk(4), lose)).recorded, of.anchors)
    assert np.flatnonzero(result.carried).tolist() == [15, 16, 17]
    assert removed(of, result) > 0.9
    assert not result.used[15:18].any()


def test_frames_before_the_first_anchor_are_in_its_world() -> None:
    of = walk(4, created=(3,) * 5)
    result = compensate(of.recorded, of.anchors)
    assert np.flatnonzero(result.carried).tolist() == [0, 1, 2]
    assert result.c2w[:3] == pytest.approx(of.recorded[:3])
    assert removed(of, result) > 0.9


def test_anchors_that_take_turns_carry_the_correction_through() -> None:
    def relay(anchors: Anchors) -> None:
        for j in range(5):  # two at a time
            anchors.tracked[:, j] &= (np.arange(FRAMES) >= 8 * j) & (np.arange(FRAMES) < 8 * j + 16)

    of = changed(walk(5, created=(0, 8, 16, 24, 32)), relay)
    assert removed(of, compensate(of.recorded, of.anchors)) > 0.9


def test_without_anchors_poses_stay_as_they_were() -> None:
    of = walk(6)
    empty = Anchors(
        (), np.zeros((0, 7)), np.zeros((FRAMES, 0, 7)), np.zeros((FRAMES, 0), bool), np.zeros(0, int)
    )
    paused = replace(of.anchors, tracked=np.zeros_like(of.anchors.tracked))
    for anchors in (empty, paused):
        result = compensate(of.recorded, anchors)
        assert np.array_equal(result.c2w, of.recorded)
        assert result.carried.all()
        assert result.jumps == []

"""How a phone's idea of its world has moved during a session, found from its anchors and taken out of its
poses.

An anchor stays where it is in the real world; what its pose does is the world's drift and jumps, and the
anchor's own noise. So per frame one rigid motion is sought that takes all anchors from where they are now to
where they were in the first frame's world: in the sense of least squares, of their places and rotations
together, each anchor weighted by its own noise. That noise, the anchors' places in the first frame's world
(known at once only for those of the first frame) and the anchors that disagree with the rest depend on the
motions in turn, and are found with them by iteration, as in generalised Procrustes analysis (Gower 1975).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.geometry.rotations import from_matrix, from_vector, to_matrix, to_vector
from workers.prepare.readers.arcore.anchors import Anchors, inverse, rigid
from workers.prepare.readers.arcore.fitting import difference, fit, sums, variance
from workers.prepare.readers.arcore.smoothing import smooth

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

ROUNDS = 12
FINEST = np.array([5e-4, np.radians(0.05)])
"""Metres and radians: what anchors' poses differ by less says nothing."""
START = np.array([2e-3, np.radians(0.2)])
"""What the noise of anchors is thought to be at first: of a few millimetres."""
MEDIAN_NORM = 1.538
"""Of three independent standard normal values: the median of their norm."""
DISAGREES = 5.0
"""Times the noise expected of an anchor against the others; beyond that it is left out of the frame."""
NOISY = 2.5
"""Times the median noise of all anchors."""
JUMP = 6.0
"""Times the median step from frame to frame: beyond that the world did not drift, it jumped."""
SMALLEST_JUMP = np.array([0.01, np.radians(0.5)])
"""Metres and radians: what is worth telling."""


@dataclass(frozen=True)
class Jump:
    """Before `frame` the world moved by so much, at the camera's place."""

    frame: int
    metres: float
    degrees: float


@dataclass(frozen=True)
class Compensation:
    """c2w: (N, 4, 4) cameras in the first frame's world. used: (N, M) anchors that the frame's correction
    rests on; left_out: (N, M) those that disagree with the rest. noise: (M, 2) metres and radians, NaN where
    nothing is known of it. noisy: (M,). carried: (N,) frames without any valid anchor, which keep the last
    correction.
    """

    c2w: Array
    used: Flags
    left_out: Flags
    noise: Array
    noisy: Flags
    jumps: list[Jump]
    carried: Flags


def compensate(cameras: Array, anchors: Anchors) -> Compensation:
    """cameras: (N, 4, 4) OpenGL camera-to-world, each in the world of its frame."""
    tracked = anchors.tracked
    unknown = np.full((len(anchors.names), 2), np.nan)
    if not tracked.any():
        none, every = np.zeros_like(tracked), np.ones(len(cameras), bool)
        return Compensation(cameras, none, none, unknown, np.zeros(len(unknown), bool), [], every)
    current = rigid(np.where(tracked[..., None], anchors.current, [0, 0, 0, 0, 0, 0, 1.0]))  # N,M,4,4
    motions = guess = _first_guess(current, tracked)
    used, noise = tracked, np.tile(START, (len(anchors.names), 1))
    for _ in range(ROUNDS):
        places = _places(motions, current, used)
        noise, known = _noise(places, current, used, noise)
        used = _agreeing(places, current, tracked, noise, guess)
        motions = fit(sums(places, current, used, noise).all())
    motions, broken = _smoothed(motions, _places(motions, current, used), current, used, noise)
    motions = inverse(motions[:1]) @ motions
    typical = np.median(noise[known], axis=0) if known.any() else np.inf
    return Compensation(
        c2w=motions @ cameras,
        used=used,
        left_out=tracked & ~used,
        noise=np.where(known[:, None], noise, unknown),
        noisy=known & _any(noise > NOISY * typical),
        jumps=_jumps(motions, cameras, broken),
        carried=~_any(used),
    )


def _first_guess(current: Array, tracked: Flags) -> Array:
    """(N, 4, 4) motions, frame by frame: the correction that one anchor asks for and that the others like
    best. Of just two, the one that asks for less of a change. New anchors are placed by it, and so are those
    that have moved: a jump of the world must not make the others look as if they had.
    """
    motions = np.tile(np.eye(4), (len(current), 1, 1))
    places = np.tile(np.eye(4), (current.shape[1], 1, 1))
    known = np.zeros(current.shape[1], bool)
    for k, here in enumerate(current):
        motions[k] = motions[max(k - 1, 0)]
        if (both := tracked[k] & known).any():
            wishes = places[both] @ inverse(here[both])  # C,4,4
            apart = difference(places[both], wishes[:, None] @ here[both]) / START  # C,C,2
            change = difference(places[both], motions[k] @ here[both]) / START  # C,2
            dislike = change.sum(axis=1) if len(wishes) == 2 else np.median(apart.sum(axis=2), axis=1)
            motions[k] = wishes[dislike.argmin()]
        seen = motions[k] @ here
        stays = known & (difference(places, seen) < DISAGREES * START).all(axis=1)
        places = np.where((tracked[k] & ~stays)[:, None, None], seen, places)
        known |= tracked[k]
    return motions


def _places(motions: Array, current: Array, used: Flags) -> Array:
    """(M, 4, 4) where the anchors are in the first frame's world: the mean of those sightings that are not
    far from their median.
    """
    seen = motions[:, None] @ current
    places = np.tile(np.eye(4), (current.shape[1], 1, 1))
    for j, mask in enumerate(used.T):
        if mask.any():
            sightings = seen[mask, j]
            off = np.linalg.norm(sightings[:, :3, 3] - np.median(sightings[:, :3, 3], axis=0), axis=1)
            mean = sightings[off <= 3 * np.median(off) + FINEST[0]].mean(axis=0)
            places[j, :3, 3] = mean[:3, 3]
            places[j, :3, :3] = to_matrix(from_matrix(mean[:3, :3]))
    return places


def _noise(places: Array, current: Array, used: Flags, before: Array) -> tuple[Array, Flags]:
    """(M, 2) how well each anchor repeats in the eyes of the others, whose own noise `before` is taken off;
    and (M,) whether anything is known of it. Few sightings count beside START as if that were three.
    """
    rest = sums(places, current, used, before).others()
    doubt = variance(rest, places[:, :3, 3])
    apart = (difference(places, fit(rest) @ current) / MEDIAN_NORM) ** 2
    noise, known = before.copy(), np.zeros(len(before), bool)
    for j, mask in enumerate((used & np.isfinite(doubt[..., 0])).T):
        count = mask.sum()
        known[j] = count > 0
        if known[j]:
            own = np.maximum(np.median(apart[mask, j], axis=0) - np.median(doubt[mask, j], axis=0), 0)
            own = (count * own + 3 * START**2) / (count + 3)
            noise[j] = np.maximum(np.sqrt((own + before[j] ** 2) / 2), FINEST)  # halfway, lest it swing
    return noise, known


def _agreeing(places: Array, current: Array, tracked: Flags, noise: Array, guess: Array) -> Flags:
    """(N, M) the tracked anchors but those that disagree with the rest of their frame: the worst goes first.
    Of two that disagree with each other, that which the first guess of the motions (N, 4, 4) fits less.
    """
    used, rows = tracked.copy(), np.arange(len(tracked))
    change = (difference(places, guess[:, None] @ current) / START).sum(axis=2)
    while len(rows):
        rest = sums(places, current[rows], used[rows], noise).others()
        expected = noise**2 + variance(rest, places[:, :3, 3])
        apart = (difference(places, fit(rest) @ current[rows]) / np.sqrt(expected)).max(axis=2) * used[rows]
        pair = used[rows].sum(axis=1) == 2
        worst = np.where(pair[:, None], change[rows] * used[rows], apart).argmax(axis=1)
        bad = apart.max(axis=1) > DISAGREES
        rows = rows[bad]
        used[rows, worst[bad]] = False
    return used


def _smoothed(
    motions: Array, places: Array, current: Array, used: Flags, noise: Array
) -> tuple[Array, Flags]:
    """The motions (N, 4, 4) without the anchors' noise, as far as it can be told from the world's drift; and
    (N,) where the world jumped.
    """
    known = _any(used)
    pivot = np.average(places[:, :3, 3], axis=0, weights=used.sum(axis=0))
    doubt = variance(sums(places, current, used, noise).all(), pivot)
    shift = motions[:, :3, :3] @ pivot + motions[:, :3, 3]
    turn = to_vector(from_matrix(motions[:, :3, :3]))
    frames = np.flatnonzero(known)
    steps = np.stack(
        [np.linalg.norm(np.diff(value[frames], axis=0), axis=1) for value in (shift, turn)], axis=1
    )
    unsure = np.sqrt(doubt[frames[1:]] + doubt[frames[:-1]])
    far = (steps > JUMP * np.median(steps, axis=0)) & (steps > DISAGREES * unsure)
    broken = np.zeros(len(motions), bool)
    broken[frames[1:]] = _any(far)
    result = np.tile(np.eye(4), (len(motions), 1, 1))
    result[:, :3, :3] = to_matrix(from_vector(smooth(turn, doubt[:, 1], broken)))
    result[:, :3, 3] = smooth(shift, doubt[:, 0], broken) - result[:, :3, :3] @ pivot
    return result, broken


def _jumps(motions: Array, cameras: Array, broken: Flags) -> list[Jump]:
    jumps = []
    for k in np.flatnonzero(broken):
        size = difference(motions[k] @ cameras[k], motions[k - 1] @ cameras[k])
        if (size > SMALLEST_JUMP).any():
            jumps.append(Jump(int(k), float(size[0]), float(np.degrees(size[1]))))
    return jumps


def _any(flags: Flags) -> Flags:
    """(N,) of (N, M)."""
    return np.asarray(flags.any(axis=1))

"""A frame that makes sense for cameras whose own has no meaning: y up, the origin where they look, and their
median distance from there as the unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_ON_PLANE = 0.01  # of the cameras' distance
_SHARE = 0.2  # of the points, that make a plane one to stand on
_OVER = 0.95  # of the cameras and points are over it
_TILT = np.cos(np.radians(25))  # of its normal from where the photos are up
_TRIALS = 600
_LEVEL = 0.97  # cosine: photos agree that well on what is up, or it is not known


@dataclass(frozen=True)
class Frame:
    """similarity (4,4): the map's frame to the one that makes sense. up: whether y is known to be up."""

    similarity: Array
    up: bool


def sensible(c2w: Array, points: Array, target: Array) -> Frame:
    """Of cameras (N,4,4) OpenGL, sparse points (P,3), and the point that the cameras look at (3,)."""
    distance = float(np.median(np.linalg.norm(c2w[:, :3, 3] - target, axis=1)))
    held = held_upright(c2w)
    plane = support(c2w, points, target, distance, held)
    up = plane if plane is not None else held
    similarity = np.eye(4)
    if up is not None:
        similarity[:3, :3] = _upright(up, c2w)
    similarity[:3, :3] /= distance
    similarity[:3, 3] = -similarity[:3, :3] @ target
    return Frame(similarity, up is not None)


def held_upright(c2w: Array) -> Array | None:
    """(3,) the direction that is up if all photos were taken upright: across from what is right in them. None
    where they were turned in different ways."""
    mean = c2w[:, :3, 1].mean(0)
    values, vectors = np.linalg.eigh(c2w[:, :3, 0].T @ c2w[:, :3, 0])
    axis = vectors[:, 0]
    if values[0] > (1 - _LEVEL**2) * len(c2w) or np.linalg.norm(mean) < 1e-3:
        return None
    if values[1] < 0.05 * len(
        c2w
    ):  # the cameras stand side by side: then their own up, made level, is as good
        axis = mean / np.linalg.norm(mean)
    return np.asarray(axis * np.sign(axis @ mean))


def support(c2w: Array, points: Array, target: Array, distance: float, held: Array | None) -> Array | None:
    """(3,) the normal of the plane that the object stands on, by RANSAC: one with many points on it, with all
    else over it; where photos are known to be upright, a level one."""
    close = points[np.linalg.norm(points - target, axis=1) < distance]
    if len(close) < 50:
        return None
    rng = np.random.default_rng(0)
    best, normal = 0, None
    for _ in range(_TRIALS):
        a, b, c = close[rng.choice(len(close), 3, replace=False)]
        across = np.cross(b - a, c - a)
        length = np.linalg.norm(across)
        if length < 1e-12:
            continue
        across = across / length
        across *= np.sign(across @ (c2w[:, :3, 3].mean(0) - a)) or 1.0
        if held is not None and across @ held < _TILT:
            continue
        height = (close - a) @ across
        on = int((np.abs(height) < _ON_PLANE * distance).sum())
        over = (c2w[:, :3, 3] - a) @ across > 0
        above = height > -2 * _ON_PLANE * distance
        if on > best and over.mean() >= _OVER and above.mean() >= _OVER:
            best, normal, through = on, across, a
    if normal is None or best < _SHARE * len(close):
        return None
    if held is None and not _looked_down_on(c2w, normal):
        return None
    on = np.abs((close - through) @ normal) < _ON_PLANE * distance
    _, _, axes = np.linalg.svd(close[on] - close[on].mean(0), full_matrices=False)
    return np.asarray(axes[2] * np.sign(axes[2] @ normal))


def _looked_down_on(c2w: Array, normal: Array) -> bool:
    """As one looks at a table from around it, and not at a wall, whose normal all cameras face."""
    down = c2w[:, :3, 2] @ normal
    around = c2w[:, :3, 2] - np.outer(down, normal)
    all_round = np.linalg.norm(around.mean(0)) < 0.3
    aslant = np.median(np.linalg.norm(around, axis=1)) > 0.4
    return bool(all_round and aslant and (down > 0.1).mean() > _OVER)


def _upright(up: Array, c2w: Array) -> Array:
    """(3,3) rotation that takes `up` to +y and the first camera to the side of +z."""
    back = c2w[0, :3, 2] - (c2w[0, :3, 2] @ up) * up
    if np.linalg.norm(back) < 1e-6:
        back = -(c2w[0, :3, 1] - (c2w[0, :3, 1] @ up) * up)
    back = back / np.linalg.norm(back)
    return np.stack([np.cross(up, back), up, back])

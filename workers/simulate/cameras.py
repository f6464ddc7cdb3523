"""The walk around the object: a phone held upright by hand, on three rings of growing height.

Poses are OpenGL camera-to-world: columns right, up, backwards, place; metres.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RINGS = ((14.0, 0.42), (40.0, 0.33), (68.0, 0.25))  # elevation in degrees, share of the views


class Lens(NamedTuple):
    """A pinhole: focal length, principal point and size in pixels; pixel centres at +0.5."""

    f: float
    cx: float
    cy: float
    w: int
    h: int


def random_lens(rng: np.random.Generator, size: tuple[int, int]) -> Lens:
    """A phone's main camera for photos of size (w, h); narrower ones keep the field of view across."""
    w, h = size
    f = min(0.95 * h, 1.267 * w) * rng.uniform(0.995, 1.005)
    return Lens(f, w * (0.5 + rng.uniform(-0.006, 0.006)), h * (0.5 + rng.uniform(-0.006, 0.006)), w, h)


def look_at(eye: NDArray[np.float64], target: NDArray[np.float64], roll: float) -> NDArray[np.float64]:
    """(4, 4) pose at eye (3,) looking at target (3,), but not straight down, rolled by so many radians."""
    back = (eye - target) / np.linalg.norm(eye - target)
    right = np.cross([0.0, 1.0, 0.0], back)
    right /= np.linalg.norm(right)
    up = np.cross(back, right)
    pose = np.eye(4)
    pose[:3, 0] = math.cos(roll) * right + math.sin(roll) * up
    pose[:3, 1] = math.cos(roll) * up - math.sin(roll) * right
    pose[:3, 2] = back
    pose[:3, 3] = eye
    return pose


def walk(
    rng: np.random.Generator, views: int, centre: NDArray[np.float64], radius: float
) -> NDArray[np.float64]:
    """(views, 4, 4) poses around a sphere of centre (3,) and radius in metres, whole in any `random_lens`.

    In focal lengths: the nearest, 3.1 radii away, spans 0.34 to either side, the aim is off by at most 0.03
    and the principal point by 0.01, and half the picture's width is 0.39.
    """
    ends = np.round(np.cumsum([share for _, share in RINGS]) * views).astype(int)
    counts = np.diff(ends, prepend=0)
    poses = []
    for (elevation, _), count in zip(RINGS, counts, strict=True):
        start = rng.uniform(0, 2 * math.pi)
        for i in range(count):
            azimuth = start + 2 * math.pi * (i + rng.uniform(-0.2, 0.2)) / count
            tilt = math.radians(elevation + rng.uniform(-3.5, 3.5))
            away = radius * rng.uniform(3.1, 3.6)
            aside = math.cos(tilt)
            to = np.array([aside * math.cos(azimuth), math.sin(tilt), aside * math.sin(azimuth)])
            aim = centre + rng.uniform(-0.0075, 0.0075, 3)
            poses.append(look_at(centre + away * to, aim, math.radians(rng.uniform(-4, 4))))
    return np.array(poses)

"""Light that a part may stand in: a soft surrounding and a few large lamps, no two alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.render.environment import irradiance, texel_directions

Float = NDArray[np.float32]
Array = NDArray[np.float64]

SIZE = 16
"""Of the cube maps."""


def light(rng: np.random.Generator, azimuth: float) -> Float:
    """(6,SIZE,SIZE,3) linear radiance, y up; a white ball in it is 1 bright in the mean.

    azimuth: from where it is looked at, about +y from +z, in radians: the first lamp is not far behind.
    """
    towards = texel_directions(SIZE).astype(np.float64)
    up = towards[:, 1:2]
    above, below = _tint(rng, 0.25) * rng.uniform(0.4, 1.2), _tint(rng, 0.3) * rng.uniform(0.05, 0.7)
    level = _tint(rng, 0.25) * rng.uniform(0.2, 0.9)
    found = level + (above - level) * np.clip(up, 0, 1) + (below - level) * np.clip(-2 * up, 0, 1)
    for _ in range(4):  # walls, furniture, what else stands around
        found *= 1 + rng.uniform(-0.6, 0.8) * _spot(
            towards, _unit(rng.standard_normal(3)), rng.uniform(0, 0.6), 0.5
        )
    found = found / found.mean()
    for k in range(int(rng.integers(1, 4))):
        turn = azimuth + (rng.uniform(-1.7, 1.7) if k == 0 else rng.uniform(-np.pi, np.pi))
        high = np.radians(rng.uniform(15, 80))
        middle = np.array([np.sin(turn) * np.cos(high), np.sin(high), np.cos(turn) * np.cos(high)])
        lamp = _spot(towards, middle, np.cos(np.radians(rng.uniform(9, 28))), rng.uniform(0.02, 0.1))
        strength = np.exp(rng.uniform(np.log(0.3), np.log(3))) / (1 if k == 0 else 2)
        found = found + strength * lamp / max(lamp.mean(), 1e-3) * _tint(rng, 0.15)
    cube: Float = found.reshape(6, SIZE, SIZE, 3).astype(np.float32)
    cube /= irradiance(cube).mean()
    return cube


def _spot(towards: Array, middle: Array, width: float, soft: float) -> Array:
    """(N,1) from 1 within a cone, of that cosine, around `middle` to 0 outside of it."""
    return np.clip((towards @ middle - width) / soft, 0, 1)[:, None]


def _tint(rng: np.random.Generator, most: float) -> Array:
    """(3,) about 1, from warm to cold, a little towards green or magenta."""
    warm, green = rng.uniform(-most, most), rng.uniform(-most, most) / 4
    return np.array([1 + warm, 1 + green, 1 - warm])


def _unit(vector: Array) -> Array:
    unit: Array = vector / np.linalg.norm(vector)
    return unit

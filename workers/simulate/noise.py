"""Value noise: the grain of every procedural surface. Points are in cells: one cell is one bump."""

import math

from numba import njit


@njit(cache=True, fastmath=True)
def hashed(i: int, j: int, k: int) -> float:
    """A number in [0, 1) that looks random, the same for the same three integers."""
    h = (i * 374761393 + j * 668265263 + k * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 15)) * 668265263) & 0xFFFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFFFF) / 16777216.0


@njit(cache=True, fastmath=True)
def noise(x: float, y: float, z: float) -> float:
    """Smooth noise in [0, 1] at a point, from the eight corners of its cell."""
    i, j, k = math.floor(x), math.floor(y), math.floor(z)
    u, v, w = x - i, y - j, z - k
    i, j, k = int(i), int(j), int(k)
    u, v, w = u * u * (3 - 2 * u), v * v * (3 - 2 * v), w * w * (3 - 2 * w)
    low = (hashed(i, j, k) * (1 - u) + hashed(i + 1, j, k) * u) * (1 - v)
    low += (hashed(i, j + 1, k) * (1 - u) + hashed(i + 1, j + 1, k) * u) * v
    high = (hashed(i, j, k + 1) * (1 - u) + hashed(i + 1, j, k + 1) * u) * (1 - v)
    high += (hashed(i, j + 1, k + 1) * (1 - u) + hashed(i + 1, j + 1, k + 1) * u) * v
    return low * (1 - w) + high * w


@njit(cache=True, fastmath=True)
def ramp(low: float, high: float, value: float) -> float:
    """0 below low, 1 above high, a smooth step between them."""
    t = min(max((value - low) / (high - low), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@njit(cache=True, fastmath=True)
def blend(
    a: tuple[float, float, float], b: tuple[float, float, float], t: float
) -> tuple[float, float, float]:
    """The colour a share t of the way from a to b."""
    return a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t

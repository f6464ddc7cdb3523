"""The light: a blurred room around everything, and three soft lamps in it.

Each lamp is a spherical Gaussian, radiance a·exp(k(cos − 1)), whose irradiance facing it is about 2πa/k
(Wang et al. 2009, "All-frequency rendering of dynamic, spatially-varying reflectance").
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from workers.simulate.noise import blend, noise


class Room(NamedTuple):
    """Linear RGB radiances of floor, wall and ceiling (3,) each; lamps (L, 7): unit direction to it,
    irradiance RGB facing it, sharpness k; offset moves the blotches on the walls."""

    floor: NDArray[np.float64]
    wall: NDArray[np.float64]
    ceiling: NDArray[np.float64]
    lamps: NDArray[np.float64]
    offset: float


def random_room(rng: np.random.Generator) -> Room:
    """A living room by day: a window to one side, a ceiling light, a small lamp opposite the window."""

    def lamp(
        azimuth: float, elevation: float, colour: tuple[float, float, float], sharpness: float
    ) -> list[float]:
        across = math.cos(elevation)
        strength = rng.uniform(0.9, 1.1)
        to = (across * math.cos(azimuth), math.sin(elevation), across * math.sin(azimuth))
        return [*to, *(strength * c for c in colour), sharpness]

    window = rng.uniform(0, 2 * math.pi)
    lamps = [
        lamp(window, rng.uniform(0.6, 0.8), (1.45, 1.52, 1.62), 40.0),
        lamp(window + rng.uniform(1.5, 2.5), rng.uniform(1.15, 1.35), (0.70, 0.63, 0.53), 60.0),
        lamp(window + rng.uniform(3.3, 4.3), rng.uniform(0.45, 0.65), (0.42, 0.33, 0.23), 160.0),
    ]
    warm = rng.uniform(0.95, 1.05)
    return Room(
        floor=np.array([0.13 * warm, 0.105, 0.085]),
        wall=np.array([0.23 * warm, 0.22, 0.205 / warm]),
        ceiling=np.array([0.28, 0.28, 0.285]),
        lamps=np.array(lamps),
        offset=float(rng.uniform(0, 100)),
    )


@njit(cache=True, fastmath=True)
def _rgb(colour: NDArray[np.float64]) -> tuple[float, float, float]:
    return colour[0], colour[1], colour[2]


@njit(cache=True, fastmath=True)
def radiance(room: Room, dx: float, dy: float, dz: float, rough: float) -> tuple[float, float, float]:
    """Linear RGB seen along a unit direction; rough is 1 / sharpness of the look (0: as in a mirror)."""
    up = min(max((dy + 0.10) / 0.22, 0.0), 1.0)
    high = min(max((dy - 0.45) / 0.3, 0.0), 1.0)
    # furniture and doors, far out of focus
    blot = 0.35 + 1.2 * noise(3.0 * dx + room.offset, 2.2 * dy, 3.0 * dz)
    tint = 0.85 + 0.3 * noise(2.3 * dx, 1.5 * dy + room.offset, 2.3 * dz)
    lit = blot * (1 - high) + high
    red, green, blue = blend(_rgb(room.floor), _rgb(room.wall), up)
    red, green, blue = blend((red, green, blue), _rgb(room.ceiling), high)
    red, green, blue = red * lit * tint, green * lit, blue * lit * (2 - tint)
    for lamp in room.lamps:
        sharp = lamp[6] / (1.0 + rough * lamp[6])
        facing = dx * lamp[0] + dy * lamp[1] + dz * lamp[2]
        if sharp * (facing - 1.0) > -12.0:
            glow = sharp / (2 * math.pi) * math.exp(sharp * (facing - 1.0))
            red, green, blue = red + glow * lamp[3], green + glow * lamp[4], blue + glow * lamp[5]
    return red, green, blue


@njit(cache=True, fastmath=True)
def ambient(room: Room, ny: float) -> tuple[float, float, float]:
    """Irradiance RGB without lamps for a normal of height ny: walls and ceiling above, table below."""
    above = blend(_rgb(room.wall), _rgb(room.ceiling), 0.5)
    red, green, blue = blend((0.20, 0.18, 0.15), above, 0.5 + 0.5 * ny)
    return math.pi * red, math.pi * green, math.pi * blue

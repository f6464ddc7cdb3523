"""The object's colours: a hand-painted glaze with detail from the jar's size down to half a millimetre."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from workers.simulate.noise import blend, hashed, noise, ramp
from workers.simulate.shape import Shape, parts


class Paint(NamedTuple):
    """palette (5, 3): linear RGB albedos of ground, wash, motif, bowl and glossy glaze; offset moves the
    noise; plain: the first colour everywhere, nothing glossy."""

    palette: NDArray[np.float64]
    offset: float
    plain: bool


PALETTES = (
    ((0.72, 0.62, 0.45), (0.10, 0.30, 0.42), (0.58, 0.14, 0.06), (0.62, 0.52, 0.20), (0.03, 0.10, 0.16)),
    ((0.66, 0.66, 0.58), (0.05, 0.12, 0.45), (0.70, 0.40, 0.05), (0.25, 0.50, 0.55), (0.16, 0.03, 0.03)),
    ((0.62, 0.50, 0.36), (0.14, 0.34, 0.14), (0.50, 0.08, 0.16), (0.66, 0.60, 0.48), (0.05, 0.11, 0.05)),
    ((0.68, 0.56, 0.50), (0.36, 0.12, 0.34), (0.08, 0.36, 0.38), (0.70, 0.48, 0.16), (0.13, 0.05, 0.02)),
)
PLAIN = (0.52, 0.49, 0.44)


def random_paint(rng: np.random.Generator, plain: bool) -> Paint:
    """A palette with each colour shifted a little; draws as much from rng whether plain or not."""
    palette = np.array(PALETTES[int(rng.integers(len(PALETTES)))])
    palette = palette * rng.uniform(0.88, 1.12, palette.shape)
    plain_colour = np.array(PLAIN) * rng.uniform(0.9, 1.1, 3)
    if plain:
        palette[:] = plain_colour
    return Paint(palette, float(rng.uniform(0, 50)), plain)


@njit(cache=True, fastmath=True)
def _colour(p: Paint, i: int) -> tuple[float, float, float]:
    return p.palette[i, 0], p.palette[i, 1], p.palette[i, 2]


@njit(cache=True, fastmath=True)
def _motif(s: Shape, angle: float, y: float) -> float:
    """Share 0..1 of the motif's colour here: lozenges on the belly, bands, teeth under the rim."""
    turn = s.waves * 2 * angle / (2 * math.pi)
    cell = abs(turn - math.floor(turn) - 0.5) * 2
    lozenge = cell + abs(y - s.belly_y + 0.004) / 0.014
    ink = ramp(0.44, 0.50, lozenge) * (1 - ramp(0.82, 0.88, lozenge))
    for height in (s.belly_y + 0.029, s.belly_y + 0.034, s.waist_y + 0.006):
        ink = max(ink, 1 - ramp(0.0009, 0.0015, abs(y - height)))
    teeth = s.height - 0.003 - 0.013 * cell
    return max(ink, ramp(teeth - 0.0004, teeth + 0.0004, y))


@njit(cache=True, fastmath=True)
def albedo(s: Shape, p: Paint, x: float, y: float, z: float) -> tuple[float, float, float, float]:
    """(red, green, blue, gloss) at a surface point in metres: linear albedo; gloss 0 (matte) or 1."""
    if p.plain:
        return p.palette[0, 0], p.palette[0, 1], p.palette[0, 2], 0.0
    body, bowl, knob, handle = parts(s, x, y, z)
    o = p.offset
    fine = noise(420 * x, 420 * y + o, 420 * z)
    finest = noise(1100 * x + o, 1100 * y, 1100 * z)
    mid = noise(130 * x + o, 130 * y, 130 * z)
    broad = noise(34 * x, 34 * y + o, 34 * z) + 0.5 * (mid - 0.5)
    angle = math.atan2(z, x)
    gloss = 0.0
    if knob < 0.0006 or handle < min(0.0006, body + 0.0006):
        marble = ramp(0.45, 0.62, 0.55 * broad + 0.45 * mid + 0.25 * (fine - 0.5))
        colour = blend(_colour(p, 4), _colour(p, 1 if knob > handle else 2), 0.75 * marble)
        gloss = 1.0
    elif bowl < 0.0015:
        petals = math.sin(s.dimples * angle + 3.0 * math.sin(260 * (y - s.bowl_y)))
        colour = blend(_colour(p, 3), _colour(p, 1), 0.75 * ramp(-0.1, 0.25, petals))
        colour = blend(colour, _colour(p, 0), ramp(0.62, 0.7, mid))
    else:
        wash = ramp(0.46, 0.56, broad)
        colour = blend(_colour(p, 0), _colour(p, 1), wash * (0.5 + 0.5 * mid))
        colour = blend(colour, _colour(p, 2), 0.9 * _motif(s, angle, y))
    # specks of iron in the glaze: at most one in each 3.6 mm cell
    u, v, w = 280 * x + o, 280 * y, 280 * z
    i, j, k = math.floor(u), math.floor(v), math.floor(w)
    cx, cy, cz = hashed(i, j, k + 7), hashed(i, j + 7, k), hashed(i + 7, j, k)
    away = math.sqrt((u - i - cx) ** 2 + (v - j - cy) ** 2 + (w - k - cz) ** 2)
    size = 0.15 + 0.35 * hashed(i + 3, j + 5, k + 11)
    colour = blend(colour, (0.05, 0.035, 0.03), 0.8 * (1 - ramp(0.7 * size, size, away)))
    shade = 0.56 + 0.46 * fine + 0.42 * finest
    return min(colour[0] * shade, 0.9), min(colour[1] * shade, 0.9), min(colour[2] * shade, 0.9), gloss


@njit(cache=True, parallel=True, fastmath=True)
def albedo_at(s: Shape, p: Paint, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3) linear albedo at surface points (N, 3) in metres."""
    out = np.empty((len(points), 3))
    for i in prange(len(points)):
        red, green, blue, _ = albedo(s, p, points[i, 0], points[i, 1], points[i, 2])
        out[i, 0], out[i, 1], out[i, 2] = red, green, blue
    return out

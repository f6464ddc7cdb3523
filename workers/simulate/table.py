"""The table: planks under a printed sheet, painted once as a picture with the light baked in.

Texel (row, column) of level l lies at x = (column + 0.5)·2^l·TEXEL - HALF, z likewise from the row, y = 0.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from workers.simulate.noise import blend, hashed, noise, ramp
from workers.simulate.room import Room, ambient
from workers.simulate.shape import Shape, distance, safe_step

TEXELS = 2048
TEXEL = 0.0006  # m
HALF = TEXELS * TEXEL / 2
LEVELS = 7
SHEET = (0.255, 0.195)  # m: half the sheet's sides
LIGHT_TEXELS = 384  # the light changes slowly: it is worked out on a coarser grid


class Cover(NamedTuple):
    """What is printed and where: wood and inks (3, 3) linear RGB, the sheet's turn in radians and shift (2,)
    in metres, tile in metres, and an offset for the noise."""

    wood: NDArray[np.float64]
    inks: NDArray[np.float64]
    turn: float
    shift: NDArray[np.float64]
    tile: float
    offset: float


INKS = (
    ((0.04, 0.09, 0.24), (0.52, 0.13, 0.06), (0.60, 0.44, 0.12)),
    ((0.05, 0.20, 0.15), (0.46, 0.30, 0.06), (0.38, 0.07, 0.09)),
    ((0.12, 0.12, 0.13), (0.08, 0.28, 0.36), (0.55, 0.24, 0.10)),
)


def random_cover(rng: np.random.Generator) -> Cover:
    """A table between birch and walnut, with a sheet laid on it by hand."""
    tone = rng.uniform(0.55, 1.1)
    return Cover(
        wood=np.array([[0.42, 0.26, 0.14], [0.27, 0.15, 0.075], [0.12, 0.06, 0.03]]) * tone,
        inks=np.array(INKS[int(rng.integers(len(INKS)))]) * rng.uniform(0.85, 1.15, (3, 3)),
        turn=float(rng.uniform(-0.4, 0.4)),
        shift=rng.uniform([0.0, -0.02], [0.04, 0.02]),
        tile=float(rng.uniform(0.034, 0.044)),
        offset=float(rng.uniform(0, 60)),
    )


@njit(cache=True, fastmath=True)
def _wood(c: Cover, x: float, z: float) -> tuple[float, float, float]:
    plank = math.floor(z / 0.115)
    shift = c.offset + 17.3 * plank
    wave = noise(5 * x + shift, 14 * z, 3.0)
    rings = 0.5 + 0.5 * math.sin(60 * wave + 150 * (z + 0.3 * wave * x) + shift)
    grain = noise(45 * x + shift, 900 * z, 0.0)
    pores = ramp(0.70, 0.85, noise(110 * x, 1500 * z + shift, 9.0))
    light = (c.wood[0, 0], c.wood[0, 1], c.wood[0, 2])
    dark = (c.wood[1, 0], c.wood[1, 1], c.wood[1, 2])
    colour = blend(light, dark, 0.5 * rings + 0.3 * grain + 0.4 * (hashed(int(plank), 5, 1) - 0.3))
    edge = z / 0.115 - plank
    gap = 1 - ramp(0.006, 0.014, min(edge, 1 - edge))
    return blend(colour, (c.wood[2, 0], c.wood[2, 1], c.wood[2, 2]), max(0.6 * pores, 0.9 * gap))


@njit(cache=True, fastmath=True)
def _ink(c: Cover, i: int) -> tuple[float, float, float]:
    return c.inks[i, 0], c.inks[i, 1], c.inks[i, 2]


@njit(cache=True, fastmath=True)
def _mark(u: float, v: float, corner: int) -> float:
    """Ink 0 or 1 of a printed mark, a framed 6x6 pattern of random squares, at (u, v) in [0, 1)."""
    i, j = int(u * 8), int(v * 8)
    if min(i, j) == 0 or max(i, j) == 7:
        return 1.0
    return 1.0 if hashed(i, j, corner + 3) < 0.5 else 0.0


@njit(cache=True, fastmath=True)
def _print(c: Cover, u: float, v: float) -> tuple[float, float, float]:
    """The tile pattern at (u, v) in metres on the sheet: rosettes, in inks that change from tile to tile."""
    a, b = u / c.tile, v / c.tile
    i, j = math.floor(a), math.floor(b)
    p, q = a - i - 0.5, b - j - 0.5
    first = int(hashed(int(i), int(j), 1) * 3)
    away, around = math.hypot(p, q), math.atan2(q, p)
    petals = 0.27 + 0.11 * math.cos((6 + 2 * first) * around)
    colour = blend((0.74, 0.71, 0.64), _ink(c, (first + 1) % 3), ramp(0.44, 0.46, max(abs(p), abs(q))))
    colour = blend(colour, _ink(c, first), ramp(petals + 0.02, petals - 0.02, away))
    colour = blend(colour, (0.74, 0.71, 0.64), ramp(0.15, 0.13, away))
    colour = blend(colour, _ink(c, (first + 2) % 3), ramp(0.09, 0.07, away))
    diamond = 1.0 - abs(p) - abs(q)
    return blend(colour, _ink(c, (first + 2) % 3), ramp(0.17, 0.15, diamond))


@njit(cache=True, fastmath=True)
def _sheet(c: Cover, u: float, v: float) -> tuple[float, float, float]:
    """The printed sheet at (u, v) in metres from its middle, within its edges."""
    paper = (0.76, 0.74, 0.69)
    au, av = SHEET[0] - abs(u), SHEET[1] - abs(v)
    if 0.010 < au < 0.038 and 0.010 < av < 0.038:
        corner = (2 if u > 0 else 0) + (1 if v > 0 else 0)
        return blend(paper, (0.02, 0.02, 0.02), _mark((au - 0.010) / 0.028, (av - 0.010) / 0.028, corner))
    edge = min(au, av)
    if edge > 0.046:
        return _print(c, u, v)
    if 0.042 < edge < 0.044:
        return _ink(c, 0)
    # a ruler along the long sides: a stroke each 5 mm, a longer one each 2 cm
    stroke = abs(u / 0.005 - math.floor(u / 0.005 + 0.5))
    long = abs(u / 0.02 - math.floor(u / 0.02 + 0.5)) < 0.1
    if au > 0.046 and stroke < 0.1 and 0.012 < av < (0.026 if long else 0.018):
        return 0.05, 0.05, 0.05
    return paper


@njit(cache=True, fastmath=True)
def _albedo(c: Cover, x: float, z: float) -> tuple[float, float, float]:
    dx, dz = x - c.shift[0], z - c.shift[1]
    u, v = math.cos(c.turn) * dx + math.sin(c.turn) * dz, math.cos(c.turn) * dz - math.sin(c.turn) * dx
    if abs(u) < SHEET[0] and abs(v) < SHEET[1]:
        colour = _sheet(c, u, v)
        shade = 0.94 + 0.06 * noise(700 * x, 700 * z, 1.0)
    else:
        colour = _wood(c, x, z)
        beside = math.hypot(max(abs(u) - SHEET[0], 0), max(abs(v) - SHEET[1], 0))
        # the sheet is thick enough for a thin shadow
        shade = (0.88 + 0.24 * noise(600 * x, 600 * z, 2.0)) * (0.6 + 0.4 * ramp(0.0, 0.004, beside))
    return colour[0] * shade, colour[1] * shade, colour[2] * shade


@njit(cache=True, parallel=True, fastmath=True)
def _paint(c: Cover) -> NDArray[np.float32]:
    """(TEXELS, TEXELS, 4): linear albedo, the mean of 2x2 points; 1 on the table, its corners are round."""
    out = np.zeros((TEXELS, TEXELS, 4), np.float32)
    for row in prange(TEXELS):
        for column in range(TEXELS):
            x, z = (column + 0.25) * TEXEL - HALF, (row + 0.25) * TEXEL - HALF
            if math.hypot(max(abs(x) - HALF + 0.06, 0), max(abs(z) - HALF + 0.06, 0)) > 0.05:
                continue
            for i in range(4):
                colour = _albedo(c, x + 0.5 * TEXEL * (i % 2), z + 0.5 * TEXEL * (i // 2))
                for k in range(3):
                    out[row, column, k] += 0.25 * colour[k]
            out[row, column, 3] = 1.0
    return out


@njit(cache=True, fastmath=True)
def open_share(
    s: Shape, x: float, y: float, z: float, dx: float, dy: float, dz: float, sharp: float
) -> float:
    """Share 0..1 of a soft lamp, in unit direction d and so sharp, that the object leaves free at a point.

    The ray's nearest approach to the object, as an angle, against the lamp's width (Quilez, "soft shadows").
    """
    wide = 1.3 / math.sqrt(sharp)
    free, t = 1.0, 0.003
    for _ in range(40):
        up = y + dy * t
        d = distance(s, x + dx * t, up, z + dz * t)
        free = min(free, d / (wide * t))
        if free < -1.0 or t > 0.30 or up > s.height:
            break
        t += min(max(safe_step(abs(d)), 0.002), 0.03)
    return ramp(-1.0, 1.0, free)


@njit(cache=True, parallel=True, fastmath=True)
def _light(s: Shape, room: Room) -> NDArray[np.float32]:
    """(LIGHT_TEXELS, LIGHT_TEXELS, 3): irradiance on the table, in the object's soft shadows."""
    n = LIGHT_TEXELS
    out = np.empty((n, n, 3), np.float32)
    for row in prange(n):
        for column in range(n):
            x, z = (2 * (column + 0.5) / n - 1) * HALF, (2 * (row + 0.5) / n - 1) * HALF
            free = 0.0
            for i in range(12):  # wide cones over the hemisphere, as many in each part of its projection
                around, out_r = i * 2.399963, math.sqrt((i + 0.5) / 12)
                dx, dz, dy = out_r * math.cos(around), out_r * math.sin(around), math.sqrt(1 - out_r * out_r)
                free += open_share(s, x, 0.0, z, dx, dy, dz, 8.0) / 12
            red, green, blue = ambient(room, 1.0)
            red, green, blue = red * free, green * free, blue * free
            for lamp in room.lamps:
                lit = lamp[1] * open_share(s, x, 0.0, z, lamp[0], lamp[1], lamp[2], lamp[6])
                red, green, blue = red + lit * lamp[3], green + lit * lamp[4], blue + lit * lamp[5]
            out[row, column, 0], out[row, column, 1], out[row, column, 2] = red, green, blue
    return out


def bake(s: Shape, room: Room, cover: Cover) -> tuple[NDArray[np.float32], ...]:
    """LEVELS pictures (n, n, 4) float32, each half the one before: radiance times coverage, and coverage."""
    picture = _paint(cover)
    light = cv2.resize(_light(s, room), (TEXELS, TEXELS), interpolation=cv2.INTER_LINEAR)
    picture[..., :3] *= np.float32(1 / math.pi) * light.astype(np.float32)
    levels = [picture]
    for _ in range(LEVELS - 1):
        n = levels[-1].shape[0] // 2
        levels.append(cv2.resize(levels[-1], (n, n), interpolation=cv2.INTER_AREA).astype(np.float32))
    return tuple(levels)


@njit(cache=True, fastmath=True)
def _tap(level: NDArray[np.float32], u: float, v: float) -> tuple[float, float, float, float]:
    """Bilinear sample at (column, row) in texels, clamped to the picture."""
    n = level.shape[0]
    u, v = min(max(u - 0.5, 0.0), n - 1.001), min(max(v - 0.5, 0.0), n - 1.001)
    i, j = int(v), int(u)
    a, b = u - j, v - i
    w0, w1, w2, w3 = (1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b
    p, q, r, t = level[i, j], level[i, j + 1], level[i + 1, j], level[i + 1, j + 1]
    return (
        w0 * p[0] + w1 * q[0] + w2 * r[0] + w3 * t[0],
        w0 * p[1] + w1 * q[1] + w2 * r[1] + w3 * t[1],
        w0 * p[2] + w1 * q[2] + w2 * r[2] + w3 * t[2],
        w0 * p[3] + w1 * q[3] + w2 * r[3] + w3 * t[3],
    )


@njit(cache=True, fastmath=True)
def look_up(
    levels: tuple[NDArray[np.float32], ...], x: float, z: float, size: float
) -> tuple[float, float, float, float]:
    """(red, green, blue, coverage) of the table around (x, z), averaged over about size, all in metres."""
    if max(abs(x), abs(z)) > HALF:
        return 0.0, 0.0, 0.0, 0.0
    detail = min(max(math.log2(size / TEXEL), 0.0), LEVELS - 1.001)
    fine = int(detail)
    share = detail - fine
    u, v = (x + HALF) / TEXEL / 2.0**fine, (z + HALF) / TEXEL / 2.0**fine
    a = _tap(levels[fine], u, v)
    b = _tap(levels[fine + 1], u / 2, v / 2)
    red, green, blue = blend((a[0], a[1], a[2]), (b[0], b[1], b[2]), share)
    return red, green, blue, a[3] + (b[3] - a[3]) * share

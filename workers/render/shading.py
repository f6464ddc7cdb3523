"""How a surface of glTF's metallic-roughness material looks under a cube-map light, for use in kernels.

Radiance = (1 - metalness) kd (1 - 0.04 A - B) E + (F0 A + B) S, with F0 = 0.04 (1 - metalness) + kd
metalness; E is the mean of the light over the hemisphere weighted by the cosine, S the light prefiltered for
the roughness in the mirrored direction, leaning to the normal, A and B the split sum of roughness and cosine
to the view (Karis 2013). The light's brightest parts are lamps of their own: see `workers.render.lamps`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.geometry.kernels import Real, kernel
from workers.render.environment import ROUGHNESS, Prefilter, leaning, split_sum
from workers.render.lamps import COUNT, lamps_of, sent_on

Float = NDArray[np.float32]

DIELECTRIC = 0.04  # reflectance of what is not metal, seen head on
lean_at = kernel(leaning)


class Probe(NamedTuple):
    """A light as kernels take it; see `Prefilter` for levels (T,3), table, starts and sizes. All levels but
    the first, the light itself, lack the lamps: see `Lamps` for those.
    """

    levels: Float
    table: NDArray[np.int32]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    roughness: Float
    split: Float
    cells: NDArray[np.int64]
    inside: NDArray[np.int64]
    towards: Float
    power: Float
    angle: Float


def probe(prefilter: Prefilter, light: Float, split: Float | None = None, lamps: int = COUNT) -> Probe:
    """Of a flat light (6 R R,3). split: of `split_sum`, where it is at hand already. lamps: how many of them
    to take out of the levels.
    """
    brightest = lamps_of(prefilter, light, lamps)
    rest = light.copy()
    rest[brightest.inside] = 0
    levels = prefilter.levels(rest)
    levels[: len(light)] = light
    return Probe(
        levels,
        prefilter.table,
        prefilter.table_starts,
        np.array(prefilter.sizes),
        np.array(ROUGHNESS, np.float32),
        split_sum() if split is None else split,
        *brightest,
    )


def by_light(prefilter: Prefilter, light: Probe, levels: Float, power: Float, coarse: Float) -> Float:
    """(6 R R,3) gradient by a flat light, from those by its probe's levels (T,3) and lamps' power (B,3), and
    by the light halved twice (C,3).
    """
    first = 6 * prefilter.sizes[0] ** 2
    rest = levels.copy()
    rest[:first] = 0
    found = prefilter.transposed(rest)
    found[light.inside] = 0
    halves = [levels[:first], np.zeros((first // 4, 3), np.float32), coarse.copy()]
    halves[2][light.cells] += power * light.angle[:, None]
    return found + prefilter.raised(halves)


@kernel
def on_cube(x: Real, y: Real, z: Real) -> tuple[int, Real, Real]:
    """Face of the cube that a direction meets, and s, t in [-1,1] on it."""
    ax, ay, az = np.abs(x), np.abs(y), np.abs(z)
    if ax >= ay and ax >= az:
        return (0, -z / ax, -y / ax) if x > 0 else (1, z / ax, -y / ax)
    if ay >= az:
        return (2, x / ay, z / ay) if y > 0 else (3, x / ay, -z / ay)
    return (4, x / az, -y / az) if z > 0 else (5, -x / az, -y / az)


@kernel
def corners(
    light: Probe, level: int, face: int, s: Real, t: Real, index: NDArray[np.int64], weight: Float
) -> None:
    """The four texels (4,) around a point of a face, and their bilinear weights (4,); seamless."""
    size = light.sizes[level]
    x = (s + 1) * np.float32(0.5) * size + np.float32(0.5)
    y = (t + 1) * np.float32(0.5) * size + np.float32(0.5)
    column, row = min(int(x), size), min(int(y), size)
    right, down = np.float32(x - column), np.float32(y - row)
    first = light.starts[level] + (face * (size + 2) + row) * (size + 2) + column
    index[0], index[1] = light.table[first], light.table[first + 1]
    index[2], index[3] = light.table[first + size + 2], light.table[first + size + 3]
    weight[0], weight[1] = (1 - right) * (1 - down), right * (1 - down)
    weight[2], weight[3] = (1 - right) * down, right * down


@kernel
def level_of(light: Probe, roughness: Real) -> tuple[int, Real, Real]:
    """The level below a roughness, the part of the way to the next one, and that part's slope."""
    level = 0
    while level < len(light.roughness) - 2 and roughness > light.roughness[level + 1]:
        level += 1
    slope = 1 / (light.roughness[level + 1] - light.roughness[level])
    part = (roughness - light.roughness[level]) * slope
    if part < 0 or part > 1:
        return level, min(max(part, np.float32(0)), np.float32(1)), np.float32(0)
    return level, part, slope


@kernel
def split_at(light: Probe, roughness: Real, cosine: Real, out: Float) -> None:
    """A, B, their slopes with roughness, and with the cosine, into `out` (6,)."""
    size = light.split.shape[0]
    x = min(max(cosine * size - np.float32(0.5), np.float32(0)), np.float32(size - 1.001))
    y = min(max(roughness * size - np.float32(0.5), np.float32(0)), np.float32(size - 1.001))
    column, row = int(x), int(y)
    right, down = x - column, y - row
    for k in range(2):
        upper = light.split[row, column, k] * (1 - right) + light.split[row, column + 1, k] * right
        lower = light.split[row + 1, column, k] * (1 - right) + light.split[row + 1, column + 1, k] * right
        out[k] = upper + (lower - upper) * down
        out[2 + k] = (lower - upper) * size
        above = light.split[row, column + 1, k] - light.split[row, column, k]
        below = light.split[row + 1, column + 1, k] - light.split[row + 1, column, k]
        out[4 + k] = (above + (below - above) * down) * size


@kernel
def mirrored(
    light: Probe,
    roughness: Real,
    normal: Float,
    towards: Float,
    along: Real,
    index: NDArray[np.int64],
    weight: Float,
    out: Float,
) -> tuple[int, Real, Real]:
    """S for a view `towards` (3,) the camera, whose cosine to the normal (3,) is `along`, into `out` (3,);
    where the middle of what is mirrored meets the cube. index (4,), weight (4,): room to work in.
    """
    level, part, _ = level_of(light, roughness)
    lean, _ = lean_at(roughness)
    ahead = 2 * along * lean + 1 - lean
    face, s, t = on_cube(
        ahead * normal[0] - lean * towards[0],
        ahead * normal[1] - lean * towards[1],
        ahead * normal[2] - lean * towards[2],
    )
    out[:] = 0
    for step in range(2):
        share = part if step else 1 - part
        corners(light, level + step, face, s, t, index, weight)
        for corner in range(4):
            for k in range(3):
                out[k] += share * weight[corner] * light.levels[index[corner], k]
    return face, s, t


@kernel
def lamps_share(level: int, part: Real, slope: Real) -> tuple[Real, Real]:
    """How much of the lamps' light is not in the levels between which a roughness lies (see `level_of`), and
    the slope of that: only what is as smooth as can be shows the lamps' true shape.
    """
    return (part, slope) if level == 0 else (np.float32(1), np.float32(0))


@kernel
def add_lamps(
    light: Probe,
    roughness: Real,
    normal: Float,
    towards: Float,
    along: Real,
    free: Float,
    hidden: Float,
    sent: Float,
    of_f0: Float,
    apart: Float,
) -> None:
    """To of_f0 (3,) and apart (3,), of which a surface mirrors F0 of_f0 + apart, what it mirrors of the
    lamps. free: (B,) how much of each lamp is seen; `hidden` (3,) is the radiance of what is in front.
    sent: (2,B) room to work in.
    """
    level, part, slope = level_of(light, roughness)
    share, _ = lamps_share(level, part, slope)
    if share <= 0:
        return
    sent_on(light.towards, light.angle, roughness, normal, towards, along, sent)
    for k in range(len(free)):
        s, f = share * sent[0, k], sent[1, k]
        for c in range(3):
            power = free[k] * light.power[k, c] + (1 - free[k]) * hidden[c] * light.angle[k]
            of_f0[c] += s * (1 - f) * power
            apart[c] += s * f * power

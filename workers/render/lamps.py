"""The brightest parts of a light, which are not looked up prefiltered: what GGX sends on of each is computed.

A prefiltered light knows no horizon and no view: beside a lamp it is wrong by far more than elsewhere.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.geometry.kernels import Real, kernel
from workers.render.environment import Prefilter, solid_angles, texel_directions

Float = NDArray[np.float32]

COUNT = 8


class Lamps(NamedTuple):
    """B cells of a light halved twice, each taken for one lamp.

    cells: (B,) their flat indices. inside: (B,16) the light's own texels in each. towards: (3,B) unit, where
    the middle of its light comes from. power: (B,3) radiance times solid angle. angle: (B,) solid angles.
    """

    cells: NDArray[np.int64]
    inside: NDArray[np.int64]
    towards: Float
    power: Float
    angle: Float


def lamps_of(prefilter: Prefilter, light: Float, count: int = COUNT) -> Lamps:
    """The brightest of a flat light (6 R R,3)."""
    size = prefilter.sizes[0]
    coarse, angles = prefilter.halves(light)[2], solid_angles(size // 4)
    cells = np.argsort(-coarse.sum(1) * angles, kind="stable")[:count]
    face, row, column = cells // (size // 4) ** 2, cells // (size // 4) % (size // 4), cells % (size // 4)
    rows, columns = (4 * at[:, None] + np.arange(4) for at in (row, column))
    inside = ((face[:, None, None] * size + rows[:, :, None]) * size + columns[:, None, :]).reshape(-1, 16)
    share = light[inside].sum(2) * solid_angles(size)[inside]
    towards = (share[:, :, None] * texel_directions(size)[inside]).sum(1)
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    return Lamps(
        cells, inside, np.ascontiguousarray(towards.T), coarse[cells] * angles[cells, None], angles[cells]
    )


@kernel
def sent_on(
    lamps: Float, angles: Float, roughness: Real, normal: Float, towards: Float, along: Real, out: Float
) -> None:
    """What a surface reflects of the power of lamps in directions (3,B), of those solid angles (B,), to a
    camera in the direction `towards` (3,), whose cosine to the normal (3,) is `along`: s (F0 (1 - f) + f).

    Into out (5,B): s, f, the slope of s with roughness, and its derivative by the normal as multiples of the
    lamp's direction and of `towards`; into out (2,B) s and f only.
    GGX with height-correlated Smith masking (Heitz 2014), Fresnel's term as Schlick's. A lamp's size widens
    the lobe but adds nothing to its tails: what these do not hold is spread by GTR of power 3 (Burley 2012).
    """
    one, half = np.float32(1), np.float32(0.5)
    squared = roughness * roughness
    width = squared * squared
    rest = one - width
    leaving = np.sqrt(width + rest * along * along)
    for k in range(lamps.shape[1]):
        raw = normal[0] * lamps[0, k] + normal[1] * lamps[1, k] + normal[2] * lamps[2, k]
        up = max(raw, np.float32(0))
        across = towards[0] * lamps[0, k] + towards[1] * lamps[1, k] + towards[2] * lamps[2, k]
        length = np.sqrt(2 * (one + across) + np.float32(1e-6))
        middle = (up + along) / length
        # Half vectors vary by half of what the lamp's directions do, and those by half its radius.
        more = angles[k] / np.float32(4 * np.pi)
        wide = width + more
        fall = middle * middle * (wide - one) + one
        core = 2 * more * wide / ((wide + one) * fall)
        dense = width + core
        arriving = np.sqrt(width + rest * up * up)
        masking = up * leaving + along * arriving
        share = half * dense / (np.float32(np.pi) * fall * fall * masking)
        grazing = one - half * length  # the cosine between half vector and view is half its length
        out[0, k] = share * up
        out[1, k] = grazing * grazing * (grazing * grazing) * grazing
        if len(out) > 2:
            by_width = one + core * (one / (wide * (wide + one)) - middle * middle / fall)
            by_width = by_width / dense - 2 * middle * middle / fall
            by_width -= (
                half * (up * (one - along * along) / leaving + along * (one - up * up) / arriving) / masking
            )
            by_middle = 2 * middle * (one - wide) / (fall * length) * (2 + core / dense)
            by_up = by_middle - (leaving + along * rest * up / arriving) / masking
            by_along = by_middle - (arriving + up * rest * along / leaving) / masking
            out[2, k] = share * up * by_width * 4 * squared * roughness
            out[3, k] = share * (one + up * by_up) if raw > 0 else np.float32(0)
            out[4, k] = share * up * by_along

"""The light that a part sends to the camera: `workers.render.shading`, with shadows and a little dirt."""

from __future__ import annotations

import numpy as np
from numba import prange
from numpy.typing import NDArray

from workers.geometry.kernels import Real, kernel, parallel_kernel
from workers.render.shading import DIELECTRIC, Probe, add_lamps, mirrored, split_at
from workers.simulate.noise import noise

Float = NDArray[np.float32]
Index = NDArray[np.int32]

LIFT = 0.008  # along the normal, in the part's longest side: so that a facet does not shade itself
BIAS = 0.004
SOFT = np.float32(
    80
)  # shadows grow over 1/80 of it behind what throws them: no jagged edges where light grazes


@kernel
def _past(clear: Real) -> Real:
    share: Real = min(max(1 + SOFT * clear, np.float32(0)), np.float32(1))
    return share


@kernel
def seen(depth: Float, turn: Float, x: Real, y: Real, z: Real) -> Real:
    """Share of a lamp's light, or a direction's, that reaches a point: of the four texels around its place in
    the `depths` (S,S), those that are not nearer.
    """
    side = len(depth)
    right = turn[0, 0] * x + turn[0, 1] * y + turn[0, 2] * z
    up = turn[1, 0] * x + turn[1, 1] * y + turn[1, 2] * z
    far = turn[2, 0] * x + turn[2, 1] * y + turn[2, 2] * z - np.float32(BIAS)
    half, last = np.float32(0.5), np.float32(side - 1.001)
    column = min(max((right + 1) * half * side - half, np.float32(0)), last)
    row = min(max((1 - up) * half * side - half, np.float32(0)), last)
    i, j = int(row), int(column)
    s, t = column - j, row - i
    upper = (1 - s) * _past(depth[i, j] - far) + s * _past(depth[i, j + 1] - far)
    lower = (1 - s) * _past(depth[i + 1, j] - far) + s * _past(depth[i + 1, j + 1] - far)
    share: Real = upper * (1 - t) + lower * t
    return share


@parallel_kernel
def shade(
    rast: Float,
    faces: Index,
    attributes: Float,
    materials: Index,
    palette: Float,
    grain: Float,
    eye: Float,
    light: Probe,
    lamp_turns: Float,
    lamp_depths: Float,
    sky: Float,
    sky_turns: Float,
    sky_depths: Float,
    out: Float,
) -> None:
    """Linear radiance and cover of (H,W) samples into out (H,W,4).

    rast: (H,W,4) of `rasterize`. attributes: (N,9) points, normals, mean of the light over the hemisphere,
    for faces (F,3). materials: (F,) rows of the palette (M,6): linear colour, roughness, metalness, brushed.
    grain: (7,) place and size of the noise, how strong it is on colour, on roughness, and the brush's.
    lamp_turns (B,3,3), lamp_depths (B,S,S): of the light's lamps; sky (D,3) and the same of it: directions
    in which it is looked how much of the surroundings is seen.
    """
    for row in prange(rast.shape[0]):
        mirror, split = np.empty(3, np.float32), np.empty(6, np.float32)
        index, weight = np.empty(4, np.int64), np.empty(4, np.float32)
        of_f0, apart, hidden = np.empty(3, np.float32), np.empty(3, np.float32), np.empty(3, np.float32)
        shaded, kd = np.empty(3, np.float32), np.empty(3, np.float32)
        lamps = np.empty(len(light.cells), np.float32)
        sent = np.empty((2, len(light.cells)), np.float32)
        at, n, d = np.empty(9, np.float32), np.empty(3, np.float32), np.empty(3, np.float32)
        for column in range(rast.shape[1]):
            triangle = int(rast[row, column, 3]) - 1
            if triangle < 0:
                continue
            u, v = rast[row, column, 0], rast[row, column, 1]
            a, b, c = faces[triangle, 0], faces[triangle, 1], faces[triangle, 2]
            for k in range(9):
                at[k] = u * attributes[a, k] + v * attributes[b, k] + (1 - u - v) * attributes[c, k]
            length = np.sqrt(at[3] ** 2 + at[4] ** 2 + at[5] ** 2) + np.float32(1e-12)
            away = np.float32(0)
            for k in range(3):
                n[k] = at[3 + k] / length
                d[k] = eye[k] - at[k]
                away += d[k] * d[k]
            away = np.sqrt(away)
            along = np.float32(0)
            for k in range(3):
                d[k] /= away
                along += n[k] * d[k]
            x, y = at[0] + np.float32(LIFT) * n[0], at[1] + np.float32(LIFT) * n[1]
            z = at[2] + np.float32(LIFT) * n[2]
            for k in range(len(lamps)):
                lamps[k] = seen(lamp_depths[k], lamp_turns[k], x, y, z)
            open_, total = np.float32(0), np.float32(1e-6)
            for k in range(len(sky)):
                up = n[0] * sky[k, 0] + n[1] * sky[k, 1] + n[2] * sky[k, 2]
                if up > 0:
                    total += up
                    open_ += up * seen(sky_depths[k], sky_turns[k], x, y, z)
            free = open_ / total
            of = palette[materials[triangle]]
            size = grain[3]
            spots = noise(at[0] * size + grain[0], at[1] * size + grain[1], at[2] * size + grain[2])
            fine = noise(
                at[0] * 5 * size + grain[1], at[1] * 5 * size + grain[2], at[2] * 5 * size + grain[0]
            )
            lines = noise(at[0] * 7 + grain[2], at[1] * 120 + grain[0], at[2] * 7 + grain[1])
            speck = np.float32(0.6 * spots + 0.4 * fine - 0.5)
            line = np.float32(lines - 0.5) * of[5] * grain[6]
            tone = (1 + 2 * grain[4] * speck + line) * (1 - np.float32(0.35) * (1 - free) * (1 - free))
            roughness = min(max(of[3] * (1 + 2 * grain[5] * speck - line), np.float32(0.1)), np.float32(1))
            metalness = of[4]
            for k in range(3):
                kd[k] = min(max(of[k] * tone, np.float32(0)), np.float32(1))
            mirrored(light, roughness, n, d, along, index, weight, mirror)
            cosine = max(along, np.float32(0.04))
            split_at(light, roughness, cosine, split)
            sharp = 2 ** (-16 * roughness - 1)
            clear = min(max((cosine + free) ** sharp - 1 + free, np.float32(0)), np.float32(1))
            rest = (1 - metalness) * (1 - np.float32(DIELECTRIC) * split[0] - split[1])
            shaded[:], hidden[:] = 0, 0
            for k in range(len(lamps)):
                up = n[0] * light.towards[0, k] + n[1] * light.towards[1, k] + n[2] * light.towards[2, k]
                share = max(up, np.float32(0)) / np.float32(np.pi)
                for k3 in range(3):
                    shaded[k3] += share * lamps[k] * light.power[k, k3]
                    hidden[k3] += share * light.power[k, k3]
            for k in range(3):
                hidden[k] = kd[k] * (at[6 + k] + hidden[k])
                glossy = mirror[k] * clear + (1 - clear) * hidden[k]
                of_f0[k], apart[k] = split[0] * glossy, split[1] * glossy
                diffuse = shaded[k] + free * at[6 + k] + (1 - free) * hidden[k]
                out[row, column, k] = rest * kd[k] * diffuse
            add_lamps(light, roughness, n, d, cosine, lamps, hidden, sent, of_f0, apart)
            for k in range(3):
                facing = np.float32(DIELECTRIC) * (1 - metalness) + kd[k] * metalness
                out[row, column, k] += facing * of_f0[k] + apart[k]
            out[row, column, 3] = 1

"""How far materials, normals and light are from explaining the photos, and which way to change them.

One pass over a batch of points computes the loss and its gradient by hand: see `workers.render.shading` for
the model. The loss is pseudo-Huber (Charbonnier et al. 1997) in the square root of radiance, which is close
to what the eye and sRGB see; where photo and model are both saturated there is none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange
from numpy.typing import NDArray

from workers.geometry.kernels import Real, kernel, parallel_kernel
from workers.reconstruct.methods.appearance.observations import Observations
from workers.reconstruct.methods.appearance.occlusion import SIZE
from workers.render.lamps import sent_on
from workers.render.shading import (
    DIELECTRIC,
    Probe,
    corners,
    lamps_share,
    lean_at,
    level_of,
    on_cube,
    split_at,
)

Float = NDArray[np.float32]

_BLOCKS = 8  # of points, each with light gradients of its own: the sum does not depend on the threads
_DELTA = 0.05  # where the loss turns from quadratic to linear
_DARK = 0.001  # radiance below which differences are noise
_SATURATED = 0.985
_LEAST_COSINE = 0.04


class Surface(NamedTuple):
    """Of V points: kd (V,3) linear base colour; ks (V,2) roughness, metalness; normals (V,3) unit;
    irradiance (V,3), of this batch only: what falls on them over pi; slope (n,3,3), its derivative by the
    normal, (0,3,3) to leave normals alone; visible (V,D), see `visible_directions`.
    """

    kd: Float
    ks: Float
    normals: Float
    visible: NDArray[np.uint8]
    irradiance: Float
    slope: Float


class Gradients(NamedTuple):
    """By the n points of a batch: kd (n,3), ks (n,2), normals (n,3), irradiance (n,3), and the diagonals of
    the Gauss-Newton matrix kd_curvature (n,3), ks_curvature (n,2). Summed over them: levels (T,3) of the
    light, power (B,3) of its lamps, ambient (3,), gain (N,3), loss (1,); while being computed those have a
    first axis of blocks.
    """

    kd: Float
    ks: Float
    normals: Float
    irradiance: Float
    kd_curvature: Float
    ks_curvature: Float
    levels: Float
    power: Float
    ambient: Float
    gain: Float
    loss: Float


def gradients(
    ids: NDArray[np.int64],
    seen: Observations,
    surface: Surface,
    ambient: Float,
    gain: Float,
    light: Probe,
    part: tuple[int, int] = (0, 1),
) -> Gradients:
    """Of the loss summed over the points `ids` (n,), each counting by its observations' weights, 1 in all.

    ambient: (3,) radiance of what is hidden by the object itself. gain: (N,3) of each photo's channels.
    part: (k, n): every n-th observation from the k-th on, standing for all.
    """
    n, normals = len(ids), len(surface.slope)
    shapes: list[tuple[int, ...]] = [(n, 3), (n, 2), (normals, 3), (n, 3), (n, 3), (n, 2)]
    shapes += [
        (_BLOCKS, *light.levels.shape),
        (_BLOCKS, *light.power.shape),
        (_BLOCKS, 3),
        (_BLOCKS, *gain.shape),
        (_BLOCKS, 1),
    ]
    out = Gradients(*[np.zeros(shape, np.float32) for shape in shapes])
    _accumulate(ids, seen, surface, ambient, gain, light, *part, out)
    summed = {name: getattr(out, name).sum(0) for name in ("levels", "power", "ambient", "gain", "loss")}
    return out._replace(**summed)


@parallel_kernel
def _accumulate(
    ids: NDArray[np.int64],
    seen: Observations,
    surface: Surface,
    ambient: Float,
    gain: Float,
    light: Probe,
    first: int,
    stride: int,
    out: Gradients,
) -> None:
    for block in prange(_BLOCKS):
        for k in range(block * len(ids) // _BLOCKS, (block + 1) * len(ids) // _BLOCKS):
            _point(k, ids[k], block, seen, surface, ambient, gain, light, first, stride, out)


@kernel
def _point(
    k: int,
    i: int,
    block: int,
    seen: Observations,
    surface: Surface,
    ambient: Float,
    gain: Float,
    light: Probe,
    first: int,
    stride: int,
    out: Gradients,
) -> None:
    """Observations of point i, the k-th of the batch."""
    near, far = np.empty(4, np.int64), np.empty(4, np.int64)
    near_share, far_share = np.empty(4, np.float32), np.empty(4, np.float32)
    split, pull, turn = np.empty(6, np.float32), np.empty(3, np.float32), np.empty(3, np.float32)
    count = len(light.cells)
    sent = np.empty((5, count), np.float32)
    of_f0, apart = np.empty((3, 2), np.float32), np.empty((3, 2), np.float32)  # and slopes with roughness
    pushed = np.empty((3, 2), np.float32)  # the gradient by what is mirrored, by F0 and without
    normal, kd, irradiance = surface.normals[i], surface.kd[i], surface.irradiance[k]
    roughness, metalness = surface.ks[i, 0], surface.ks[i, 1]
    level, part, slope = level_of(light, roughness)
    lean, lean_slope = lean_at(roughness)
    share, share_slope = lamps_share(level, part, slope)
    half = np.float32(0.5)
    for at in range(seen.start[i] + first, seen.start[i + 1], stride):
        taken, weight, towards = seen.photo[at], stride * seen.weight[at], seen.towards[at]
        along = normal[0] * towards[0] + normal[1] * towards[1] + normal[2] * towards[2]
        ahead = 2 * along * lean + 1 - lean
        x, y, z = (
            ahead * normal[0] - lean * towards[0],
            ahead * normal[1] - lean * towards[1],
            ahead * normal[2] - lean * towards[2],
        )
        bounded = max(along, np.float32(_LEAST_COSINE))
        split_at(light, roughness, bounded, split)
        of_f0[:], apart[:], pushed[:] = 0, 0, 0
        if share > 0:
            sent_on(light.towards, light.angle, roughness, normal, towards, bounded, sent)
            for b in range(count):
                if sent[0, b] <= 0:
                    continue
                by_r, f = sent[2, b] * share + sent[0, b] * share_slope, sent[1, b]
                amount = sent[0, b] * share
                for c in range(3):
                    power = _power(light, b, surface.visible[i], ambient, c)
                    of_f0[c, 0] += amount * (1 - f) * power
                    of_f0[c, 1] += by_r * (1 - f) * power
                    apart[c, 0] += amount * f * power
                    apart[c, 1] += by_r * f * power
        face, s, t = on_cube(x, y, z)
        corners(light, level, face, s, t, near, near_share)
        corners(light, level + 1, face, s, t, far, far_share)
        row = min(int((t + 1) * half * SIZE), SIZE - 1)
        column = min(int((s + 1) * half * SIZE), SIZE - 1)
        free = np.float32(surface.visible[i, (face * SIZE + row) * SIZE + column])
        even = 1 - np.float32(DIELECTRIC) * split[0] - split[1]
        even_slope = -np.float32(DIELECTRIC) * split[2] - split[3]
        even_tilt = -np.float32(DIELECTRIC) * split[4] - split[5]
        tilt = np.float32(0)
        for c in range(3):
            pull[c] = 0
            below, above = np.float32(0), np.float32(0)
            for corner in range(4):
                below += near_share[corner] * light.levels[near[corner], c]
                above += far_share[corner] * light.levels[far[corner], c]
            mirror = free * (below + (above - below) * part) + (1 - free) * ambient[c]
            facing = np.float32(DIELECTRIC) * (1 - metalness) + kd[c] * metalness
            glossy = facing * split[0] + split[1]
            diffuse = (1 - metalness) * even * irradiance[c]
            shown = kd[c] * diffuse + glossy * mirror + facing * of_f0[c, 0] + apart[c, 0]
            model, pixel = gain[taken, c] * shown, seen.colour[at, c]
            if pixel > np.float32(_SATURATED) and model > np.float32(_SATURATED):
                continue
            root = np.sqrt(max(model, np.float32(0)) + np.float32(_DARK))
            error = root - np.sqrt(pixel + np.float32(_DARK))
            robust = 1 / np.sqrt(1 + (error / np.float32(_DELTA)) ** 2)
            out.loss[block, 0] += weight * np.float32(_DELTA**2) * (1 / robust - 1)
            steep = half / root
            push = weight * error * robust * steep
            out.gain[block, taken, c] += push * shown
            push *= gain[taken, c]
            by_facing = split[0] * mirror + of_f0[c, 0]
            by_kd = diffuse + metalness * by_facing
            by_metalness = (kd[c] - np.float32(DIELECTRIC)) * by_facing - kd[c] * even * irradiance[c]
            by_roughness = (
                (facing * split[2] + split[3]) * mirror
                + glossy * free * (above - below) * slope
                + (1 - metalness) * kd[c] * even_slope * irradiance[c]
                + facing * of_f0[c, 1]
                + apart[c, 1]
            )
            pushed[c, 0], pushed[c, 1] = push * facing, push
            out.kd[k, c] += push * by_kd
            out.ks[k, 0] += push * by_roughness
            out.ks[k, 1] += push * by_metalness
            steep *= gain[taken, c]
            curvature = weight * robust * steep * steep
            out.kd_curvature[k, c] += curvature * by_kd * by_kd
            out.ks_curvature[k, 0] += curvature * by_roughness * by_roughness
            out.ks_curvature[k, 1] += curvature * by_metalness * by_metalness
            out.irradiance[k, c] += push * kd[c] * (1 - metalness) * even
            out.ambient[block, c] += push * glossy * (1 - free)
            pull[c] = push * glossy * free
            tilt += push * (facing * split[4] + split[5]) * mirror
            tilt += push * (1 - metalness) * kd[c] * even_tilt * irradiance[c]
            for corner in range(4):
                out.levels[block, near[corner], c] += pull[c] * (1 - part) * near_share[corner]
                out.levels[block, far[corner], c] += pull[c] * part * far_share[corner]
        if share > 0:
            for b in range(count):
                if sent[0, b] <= 0:
                    continue
                free_lamp, steepness = surface.visible[i, light.cells[b]] > 0, np.float32(0)
                for c in range(3):
                    reach = share * (pushed[c, 0] * (1 - sent[1, b]) + pushed[c, 1] * sent[1, b])
                    steepness += reach * _power(light, b, surface.visible[i], ambient, c)
                    if free_lamp:
                        out.power[block, b, c] += reach * sent[0, b]
                    else:
                        out.ambient[block, c] += reach * sent[0, b] * light.angle[b]
                if len(surface.slope) > 0:
                    by_view = sent[4, b] if along >= np.float32(_LEAST_COSINE) else np.float32(0)
                    for c in range(3):
                        toward = sent[3, b] * light.towards[c, b] + by_view * towards[c]
                        out.normals[k, c] += steepness * toward
        by_s, by_t = np.float32(0), np.float32(0)
        for c in range(3):
            ds, dt = _steepness(light, level, near, near_share, c)
            by_s += pull[c] * (1 - part) * ds
            by_t += pull[c] * (1 - part) * dt
            ds, dt = _steepness(light, level + 1, far, far_share, c)
            by_s += pull[c] * part * ds
            by_t += pull[c] * part * dt
        _unproject(face, s, t, by_s, by_t, max(abs(x), abs(y), abs(z)), turn)
        across = normal[0] * turn[0] + normal[1] * turn[1] + normal[2] * turn[2]
        back = towards[0] * turn[0] + towards[1] * turn[1] + towards[2] * turn[2]
        out.ks[k, 0] += lean_slope * ((2 * along - 1) * across - back)
        if len(surface.slope) > 0:
            if along < np.float32(_LEAST_COSINE):
                tilt = np.float32(0)
            for c in range(3):
                out.normals[k, c] += 2 * lean * across * towards[c] + ahead * turn[c] + tilt * towards[c]
    if len(surface.slope) > 0:
        for c in range(3):
            for axis in range(3):
                out.normals[k, axis] += out.irradiance[k, c] * surface.slope[k, c, axis]


@kernel
def _power(light: Probe, k: int, visible: NDArray[np.uint8], ambient: Float, c: int) -> Real:
    """Of lamp k in channel c, or of what hides it."""
    power: Real = light.power[k, c] if visible[light.cells[k]] > 0 else ambient[c] * light.angle[k]
    return power


@kernel
def _steepness(light: Probe, level: int, index: NDArray[np.int64], share: Float, c: int) -> tuple[Real, Real]:
    """Derivatives by s and t of a bilinear look-up of channel c."""
    scale = np.float32(0.5) * light.sizes[level]
    right, down = share[1] + share[3], share[2] + share[3]
    a, b = light.levels[index[0], c], light.levels[index[1], c]
    d, e = light.levels[index[2], c], light.levels[index[3], c]
    return scale * ((b - a) * (1 - down) + (e - d) * down), scale * ((d - a) * (1 - right) + (e - b) * right)


@kernel
def _unproject(face: int, s: Real, t: Real, by_s: Real, by_t: Real, longest: Real, out: Float) -> None:
    """Gradient (3,) by a direction of that longest component, from the gradient by its `on_cube`."""
    u, v = by_s / longest, by_t / longest
    radial = u * s + v * t
    if face == 0:
        out[0], out[1], out[2] = -radial, -v, -u
    elif face == 1:
        out[0], out[1], out[2] = radial, -v, u
    elif face == 2:
        out[0], out[1], out[2] = u, -radial, v
    elif face == 3:
        out[0], out[1], out[2] = u, radial, -v
    elif face == 4:
        out[0], out[1], out[2] = u, -v, -radial
    else:
        out[0], out[1], out[2] = -u, -v, radial

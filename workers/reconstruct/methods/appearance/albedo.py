"""Base colour of any point of the surface, solved from the photos under the light that was found."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange
from numpy.typing import NDArray

from workers.geometry.colour import LINEAR
from workers.geometry.kernels import kernel, parallel_kernel
from workers.reconstruct.methods.appearance.bake import Photos, see
from workers.reconstruct.methods.appearance.observations import linear_colour, towards_camera
from workers.reconstruct.methods.appearance.occlusion import SIZE
from workers.render.shading import DIELECTRIC, Probe, mirrored, split_at

Float = NDArray[np.float32]

_BLOCK = 2048  # points one thread takes at a time
_ROUNDS = 2  # of reweighting
_SPREAD = 0.05  # of the root of radiance: how far a photo may be off before it loses half its say
_PRIOR = 0.02  # weight of the colour a point is expected to have
_DARK, _SATURATED, _LEAST_COSINE = 0.001, 0.985, 0.04


class Points(NamedTuple):
    """M points (M,3) with unit normals (M,3), shading normals bent (M,3), ks (M,2) roughness and metalness,
    irradiance (M,3) over pi, kd (M,3) expected linear base colour, and the mesh vertex (M,) whose view of
    the surroundings they share.
    """

    position: Float
    normal: Float
    bent: Float
    ks: Float
    irradiance: Float
    kd: Float
    vertex: NDArray[np.int32]


def albedo(
    points: Points, visible: NDArray[np.uint8], photos: Photos, light: Probe, ambient: Float, gain: Float
) -> Float:
    """(M,3) linear base colour in [0,1]; the expected one where no photo shows a point.

    Radiance is linear in it: kd p + q in each photo (see `workers.render.shading`). Least squares over the
    photos in the root of radiance, reweighted by Geman and McClure's function. light: one without lamps.
    visible: (V,D) of the mesh's vertices. ambient: (3,). gain: (N,3).
    """
    out = points.kd.copy()
    _solve(
        points,
        visible,
        photos.images,
        photos.seen,
        photos.cameras.projection().astype(np.float32),
        photos.cameras.centres.astype(np.float32),
        LINEAR,
        light,
        ambient,
        gain,
        out,
    )
    return out


@parallel_kernel
def _solve(
    points: Points,
    visible: NDArray[np.uint8],
    images: NDArray[np.uint8],
    surface: Float,
    projection: Float,
    centres: Float,
    to_linear: Float,
    light: Probe,
    ambient: Float,
    gain: Float,
    out: Float,
) -> None:
    for block in prange((len(out) + _BLOCK - 1) // _BLOCK):
        samples = np.empty((len(images), 4, 3), np.float32)  # p, q, pixel, and the weight in the last row
        towards, mirror, split = np.empty(3, np.float32), np.empty(3, np.float32), np.empty(6, np.float32)
        index, share = np.empty(4, np.int64), np.empty(4, np.float32)
        for i in range(block * _BLOCK, min((block + 1) * _BLOCK, len(out))):
            count = 0
            for v in range(len(images)):
                trust, x, y = see(points.position[i], points.normal[i], surface[v], projection[v], centres[v])
                if trust <= 0:
                    continue
                sample = samples[count]
                linear_colour(images[v], to_linear, x, y, sample[2])
                cosine = towards_camera(points.position[i], points.normal[i], centres[v], towards)
                sample[3, 0] = trust / (cosine * cosine)
                _explain(
                    i, points, visible, towards, light, ambient, gain[v], index, share, mirror, split, sample
                )
                count += 1
            for _ in range(_ROUNDS):
                _reweighted(samples[:count], points.kd[i], out[i])


@kernel
def _explain(
    i: int,
    points: Points,
    visible: NDArray[np.uint8],
    towards: Float,
    light: Probe,
    ambient: Float,
    gain: Float,
    index: NDArray[np.int64],
    weight: Float,
    mirror: Float,
    split: Float,
    sample: Float,
) -> None:
    """p and q of point i seen from a direction."""
    normal, roughness, metalness = points.bent[i], points.ks[i, 0], points.ks[i, 1]
    along = normal[0] * towards[0] + normal[1] * towards[1] + normal[2] * towards[2]
    face, s, t = mirrored(light, roughness, normal, towards, along, index, weight, mirror)
    row = min(int((t + 1) * np.float32(0.5) * SIZE), SIZE - 1)
    column = min(int((s + 1) * np.float32(0.5) * SIZE), SIZE - 1)
    free = np.float32(visible[points.vertex[i], (face * SIZE + row) * SIZE + column])
    split_at(light, roughness, max(along, np.float32(_LEAST_COSINE)), split)
    even = (1 - metalness) * (1 - np.float32(DIELECTRIC) * split[0] - split[1])
    for c in range(3):
        glossy = free * mirror[c] + (1 - free) * ambient[c]
        sample[0, c] = gain[c] * (even * points.irradiance[i, c] + metalness * split[0] * glossy)
        sample[1, c] = gain[c] * (np.float32(DIELECTRIC) * (1 - metalness) * split[0] + split[1]) * glossy


@kernel
def _reweighted(samples: Float, expected: Float, kd: Float) -> None:
    """One round: `kd` (3,) from the samples (n,4,3), weighted by how well they agree with it as it is."""
    above, below = np.zeros(3, np.float32), np.zeros(3, np.float32)
    for k in range(len(samples)):
        p, q, pixel = samples[k, 0], samples[k, 1], samples[k, 2]
        off = np.float32(0)
        for c in range(3):
            model = np.sqrt(kd[c] * p[c] + q[c] + np.float32(_DARK))
            off += (model - np.sqrt(pixel[c] + np.float32(_DARK))) ** 2
        share = 1 / (1 + off / np.float32(3 * _SPREAD * _SPREAD))
        share *= share * samples[k, 3, 0]
        for c in range(3):
            model = kd[c] * p[c] + q[c]
            if pixel[c] > np.float32(_SATURATED) and model > np.float32(_SATURATED):
                continue
            weight = share / (model + pixel[c] + np.float32(_DARK))
            above[c] += weight * p[c] * (pixel[c] - q[c])
            below[c] += weight * p[c] * p[c]
    for c in range(3):
        solved = (above[c] + np.float32(_PRIOR) * expected[c]) / (below[c] + np.float32(_PRIOR))
        kd[c] = min(max(solved, np.float32(0)), np.float32(1))

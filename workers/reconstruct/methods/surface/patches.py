"""How far a surface has to move for the photos to agree on how it looks: Gauss-Newton on small patches.

Around each vertex lies a patch that follows the surface. Every photo that shows it gives its brightness,
freed of offset and contrast. Where the patch moves along its normal, these change; the move after which they
vary least is found with the mean appearance eliminated (variable projection; cf. Furukawa and Ponce 2010,
section 4.2, who search over depth and slant).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse
from numba import prange
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.geometry.kernels import Real, kernel, parallel_kernel

Float = NDArray[np.float32]
Array = NDArray[np.float64]
Bool = NDArray[np.bool_]

_RADIUS = 2  # samples from a patch's middle to its side
_SAMPLES = (2 * _RADIUS + 1) ** 2
_SPACING = 1.2  # pixels between them
_NOISE = 0.01  # brightness: contrast below is not brought to the level of others
_LEAST_COSINE = 0.35  # between the normal and the view
_BEHIND = 0.012  # of the object's longest side: how far behind the depth map a point still counts as seen
_MARGIN = 4  # pixels from the image's sides
_FEWEST = 3  # photos that can disagree
_OFF = 0.3  # mean square by which a photo differs from the mean appearance that quarters its weight
_PASSES = 3
_BLOCK = 256  # vertices one thread takes at a time


class Agreement(NamedTuple):
    """Of V patches. move: (V,) along the normal, in pixels. texture: (V,) by how much their appearance, of
    contrast 1, changes for a pixel, squared. off: (V,) mean square by which photos differ in it. tone: (V,)
    mean brightness; swing: (V,) its mean change from photo to photo. All 0 where too few photos show a patch.
    """

    move: Float
    texture: Float
    off: Float
    tone: Float
    swing: Float


def agreement(
    vertices: Float,
    normals: Float,
    shapes: Float,
    slopes: Float,
    views: tuple[Float, Float, Bool],
    cameras: Cameras,
    pixels: float,
) -> Agreement:
    """What the photos say of the surface at the vertices (V,3) with unit `normals` (V,3).

    shapes: (V,3,3) of `curvatures`. slopes: (V,) what share of a brightness's slope over the patch is taken
    off: 1 where it moves with the view. views: brightness (N,h,w), depth (N,h,w) of the surface and where it
    is clear of edges (N,h,w). pixels: for a unit of length.
    """
    out = np.zeros((5, len(vertices)), np.float32)
    _agree(
        vertices,
        normals,
        shapes,
        slopes,
        *views,
        cameras.projection().astype(np.float32),
        cameras.centres.astype(np.float32),
        np.float32(pixels),
        out,
    )
    return Agreement(*out)


def curvatures(vertices: Float, normals: Float, adjacency: sparse.csr_array, rounds: int = 2) -> Float:
    """(V,3,3) of each vertex: x' C x / 2 is how far the surface rises over its tangent plane at x in it.

    Fitted to how the normals turn along the mesh's edges, least squares (cf. Rusinkiewicz 2004), then
    averaged with the neighbours' of `adjacency` (V,V) as many `rounds`.
    """
    count = len(vertices)
    own = np.repeat(np.arange(count), np.diff(adjacency.indptr))
    edge = (vertices[adjacency.indices] - vertices[own]).astype(np.float64)
    edge -= (edge * normals[own]).sum(1, keepdims=True) * normals[own]
    rise = -((normals[adjacency.indices] - normals[own]) * edge).sum(1)
    first = np.cross(normals, np.eye(3)[np.abs(normals).argmin(1)])
    first /= np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-12)
    second = np.cross(normals, first)
    x, y = (edge * first[own]).sum(1), (edge * second[own]).sum(1)
    terms = np.stack([x * x, 2 * x * y, y * y])
    weight = (
        1 / np.maximum(x * x + y * y, 1e-12) ** 1.5
    )  # the left side grows with length squared, its error less
    left = np.empty((count, 3, 3))
    right = np.empty((count, 3))
    for i in range(3):
        right[:, i] = np.bincount(own, weight * terms[i] * rise, count)
        for j in range(3):
            left[:, i, j] = np.bincount(own, weight * terms[i] * terms[j], count)
    left += (1e-3 * np.trace(left, axis1=1, axis2=2) + 1e-20)[:, None, None] * np.eye(3)
    a, b, c = np.linalg.solve(left, right[..., None])[..., 0].T[..., None, None]
    along, across = first[:, :, None], second[:, :, None]
    alongs, acrosses = first[:, None], second[:, None]
    tensor = (a * along * alongs + b * (along * acrosses + across * alongs) + c * across * acrosses).reshape(
        count, 9
    )
    degree = np.diff(adjacency.indptr)[:, None]
    for _ in range(rounds):
        tensor = (tensor + adjacency @ tensor) / (degree + 1)
    return np.asarray(tensor, np.float32).reshape(count, 3, 3)


@parallel_kernel
def _agree(
    vertices: Float,
    normals: Float,
    shapes: Float,
    slopes: Float,
    grey: Float,
    depth: Float,
    clear: Bool,
    projection: Float,
    centres: Float,
    pixels: Real,
    out: Float,
) -> None:
    for block in prange((len(vertices) + _BLOCK - 1) // _BLOCK):
        values = np.empty((2, len(grey), _SAMPLES), np.float32)  # appearance and its change for a pixel
        weight, tone = np.empty((2, len(grey)), np.float32), np.empty(len(grey), np.float32)
        mean, frame = np.empty((2, _SAMPLES), np.float32), np.empty((4, 3), np.float32)
        for i in range(block * _BLOCK, min((block + 1) * _BLOCK, len(vertices))):
            _frame(normals[i], shapes[i], np.float32(_SPACING) / pixels, frame)
            count = 0
            for v in range(len(grey)):
                cosine, u, w = _seen(vertices[i], normals[i], depth[v], clear[v], projection[v], centres[v])
                if cosine <= 0:
                    continue
                project = projection[v]
                tone[count] = _sample(
                    grey[v], project, u, w, vertices[i], normals[i], frame, pixels, values[:, count]
                )
                _level(values[:, count], slopes[i])
                weight[0, count] = weight[1, count] = cosine
                count += 1
            if count >= _FEWEST:
                _decide(values[:, :count], weight[:, :count], mean, out[:, i])
                _tones(tone[:count], out[:, i])


@kernel
def _frame(normal: Float, shape: Float, spacing: Real, out: Float) -> None:
    """Two steps (3,) along a patch's samples, and how far they rise: out[2] holds half of aa, ab, bb."""
    if abs(normal[0]) < np.float32(0.6):
        out[0, 0], out[0, 1], out[0, 2] = 0, normal[2], -normal[1]
    else:
        out[0, 0], out[0, 1], out[0, 2] = -normal[2], 0, normal[0]
    scale = spacing / np.sqrt(out[0, 0] ** 2 + out[0, 1] ** 2 + out[0, 2] ** 2)
    for k in range(3):
        out[0, k] *= scale
    out[1, 0] = normal[1] * out[0, 2] - normal[2] * out[0, 1]
    out[1, 1] = normal[2] * out[0, 0] - normal[0] * out[0, 2]
    out[1, 2] = normal[0] * out[0, 1] - normal[1] * out[0, 0]
    out[2] = 0
    for i in range(3):
        for j in range(3):
            half = np.float32(0.5) * shape[i, j]
            out[2, 0] += half * out[0, i] * out[0, j]
            out[2, 1] += half * out[0, i] * out[1, j]
            out[2, 2] += half * out[1, i] * out[1, j]


@kernel
def _seen(
    point: Float, normal: Float, depth: Float, clear: Bool, p: Float, centre: Float
) -> tuple[Real, Real, Real]:
    """Cosine to the view, 0 where it does not see the point, and the pixel's coordinates."""
    nothing = (np.float32(0), np.float32(0), np.float32(0))
    x, y, z = centre[0] - point[0], centre[1] - point[1], centre[2] - point[2]
    cosine = (normal[0] * x + normal[1] * y + normal[2] * z) / np.sqrt(x * x + y * y + z * z)
    away = p[2, 0] * point[0] + p[2, 1] * point[1] + p[2, 2] * point[2] + p[2, 3]
    if cosine < np.float32(_LEAST_COSINE) or away <= 0:
        return nothing
    u = (p[0, 0] * point[0] + p[0, 1] * point[1] + p[0, 2] * point[2] + p[0, 3]) / away
    v = (p[1, 0] * point[0] + p[1, 1] * point[1] + p[1, 2] * point[2] + p[1, 3]) / away
    if u < _MARGIN or v < _MARGIN or u >= depth.shape[1] - _MARGIN or v >= depth.shape[0] - _MARGIN:
        return nothing
    if not clear[int(v), int(u)] or away > depth[int(v), int(u)] + np.float32(_BEHIND):
        return nothing
    return cosine, u, v


@kernel
def _step(p: Float, u: Real, v: Real, away: Real, step: Float) -> tuple[Real, Real]:
    """By how many pixels a point at (u, v) moves for a small step (3,)."""
    x = p[0, 0] * step[0] + p[0, 1] * step[1] + p[0, 2] * step[2]
    y = p[1, 0] * step[0] + p[1, 1] * step[1] + p[1, 2] * step[2]
    z = p[2, 0] * step[0] + p[2, 1] * step[1] + p[2, 2] * step[2]
    return (x - u * z) / away, (y - v * z) / away


@kernel
def _sample(
    image: Float,
    p: Float,
    u: Real,
    v: Real,
    point: Float,
    normal: Float,
    frame: Float,
    pixels: Real,
    out: Float,
) -> Real:
    """Brightness of the patch's samples and its change for a pixel's move along the normal (2,S), bilinear;
    and its mean.
    """
    away = p[2, 0] * point[0] + p[2, 1] * point[1] + p[2, 2] * point[2] + p[2, 3]
    ux, uy = _step(p, u, v, away, frame[0])
    vx, vy = _step(p, u, v, away, frame[1])
    nx, ny = _step(p, u, v, away, normal)
    k, total = 0, np.float32(0)
    for a in range(-_RADIUS, _RADIUS + 1):
        for b in range(-_RADIUS, _RADIUS + 1):
            rise = frame[2, 0] * a * a + 2 * frame[2, 1] * a * b + frame[2, 2] * b * b
            x = u + a * ux + b * vx + rise * nx - np.float32(0.5)
            y = v + a * uy + b * vy + rise * ny - np.float32(0.5)
            x = min(max(x, np.float32(0)), np.float32(image.shape[1] - 1.001))
            y = min(max(y, np.float32(0)), np.float32(image.shape[0] - 1.001))
            left, top = int(x), int(y)
            s, t = x - left, y - top
            p00, p01 = image[top, left], image[top, left + 1]
            p10, p11 = image[top + 1, left], image[top + 1, left + 1]
            upper, lower = p00 + (p01 - p00) * s, p10 + (p11 - p10) * s
            out[0, k] = upper + (lower - upper) * t
            out[1, k] = (((p01 - p00) * (1 - t) + (p11 - p10) * t) * nx + (lower - upper) * ny) / pixels
            total += out[0, k]
            k += 1
    mean: Real = total / np.float32(_SAMPLES)
    return mean


@kernel
def _level(values: Float, slope: Real) -> None:
    """Take mean, contrast and that share of the slope off an appearance, and off its change what they do."""
    for row in values:
        flat, down, across, k = np.float32(0), np.float32(0), np.float32(0), 0
        for a in range(-_RADIUS, _RADIUS + 1):
            for b in range(-_RADIUS, _RADIUS + 1):
                flat += row[k]
                down += a * row[k]
                across += b * row[k]
                k += 1
        flat /= np.float32(_SAMPLES)
        down *= slope / np.float32(_SAMPLES * _RADIUS * (_RADIUS + 1) / 3)
        across *= slope / np.float32(_SAMPLES * _RADIUS * (_RADIUS + 1) / 3)
        k = 0
        for a in range(-_RADIUS, _RADIUS + 1):
            for b in range(-_RADIUS, _RADIUS + 1):
                row[k] -= flat + down * a + across * b
                k += 1
    square, both = np.float32(0), np.float32(0)
    for k in range(_SAMPLES):
        square += values[0, k] * values[0, k]
        both += values[0, k] * values[1, k]
    square = square / np.float32(_SAMPLES) + np.float32(_NOISE * _NOISE)
    inverse = 1 / np.sqrt(square)
    both /= np.float32(_SAMPLES) * square
    for k in range(_SAMPLES):
        values[1, k] = (values[1, k] - both * values[0, k]) * inverse
        values[0, k] *= inverse


@kernel
def _decide(values: Float, weight: Float, mean: Float, out: Float) -> None:
    """Move, texture and how much photos differ into out[:3]. weight: (2,n), the second row as given."""
    total = np.float32(0)
    for turn in range(_PASSES):
        mean[:], total = 0, np.float32(0)
        for v in range(values.shape[1]):
            total += weight[0, v]
            for k in range(_SAMPLES):
                mean[0, k] += weight[0, v] * values[0, v, k]
                mean[1, k] += weight[0, v] * values[1, v, k]
        for k in range(_SAMPLES):
            mean[0, k] /= total
            mean[1, k] /= total
        if turn == _PASSES - 1:
            break
        for v in range(values.shape[1]):
            off = np.float32(0)
            for k in range(_SAMPLES):
                off += (values[0, v, k] - mean[0, k]) ** 2
            weight[0, v] = weight[1, v] / (1 + off / np.float32(_OFF * _SAMPLES)) ** 2
    change, slope, off = np.float32(0), np.float32(0), np.float32(0)
    for v in range(values.shape[1]):
        for k in range(_SAMPLES):
            difference, by = values[0, v, k] - mean[0, k], values[1, v, k] - mean[1, k]
            change += weight[0, v] * by * by
            slope += weight[0, v] * by * difference
            off += weight[0, v] * difference * difference
    out[0] = -slope / max(change, np.float32(1e-12))
    out[1] = change / np.float32(_SAMPLES)
    out[2] = off / (total * np.float32(_SAMPLES))


@kernel
def _tones(tone: Float, out: Float) -> None:
    """Mean and mean change of the brightness (n,) into out[3:]."""
    mean, swing = np.float32(0), np.float32(0)
    for value in tone:
        mean += value
    mean /= np.float32(len(tone))
    for value in tone:
        swing += abs(value - mean)
    out[3], out[4] = mean, swing / np.float32(len(tone))

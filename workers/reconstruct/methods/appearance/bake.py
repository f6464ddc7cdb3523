"""Colours of surface points from the photos that see them, robust against highlights and stray masks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numba import prange
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.geometry.kernels import Real, kernel, parallel_kernel
from workers.reconstruct.methods.model import Scene
from workers.reconstruct.threads import each
from workers.render.depth import depth_maps

Float = NDArray[np.float32]
Index = NDArray[np.int32]

_BLOCK = 2048  # points one thread takes at a time
_LEAST_COSINE = 0.15  # between the normal and the view: flatter, a pixel smears over too much surface
_TOLERANCE = 0.012  # of the object's longest side: how far behind the depth map a point still counts as seen
_JUMP = 0.02  # of the same: a change of depth between neighbouring pixels that is an edge
_RAMP = 4.0  # pixels from an edge to full trust
_SPREAD = 18.0  # grey levels a view may be off the median before it loses half its weight


@dataclass(frozen=True)
class Photos:
    """What baking looks things up in.

    images: (N,h,w,3) uint8 sRGB. seen: (N,h,w,2) depth of the surface and trust in [0,1], 0 off the mask and
    next to edges. cameras: N, in the object's unit frame.
    """

    images: NDArray[np.uint8]
    seen: Float
    cameras: Cameras


def prepare(scene: Scene, vertices: Float, faces: Index) -> Photos:
    """Depth and trust of each photo for the surface (V,3), (F,3) it is going to colour."""
    depth = depth_maps(vertices, faces, scene.cameras)
    trust = np.empty_like(depth)
    each(_trust, scene.masks, depth, trust)
    return Photos(scene.images, np.stack([depth, trust], axis=-1), scene.cameras)


def _trust(mask: NDArray[np.bool_], depth: Float, out: Float) -> None:
    clear = (mask & (depth > 0)).astype(np.uint8)
    clear[:, 1:][np.abs(np.diff(depth, axis=1)) > _JUMP] = 0
    clear[1:][np.abs(np.diff(depth, axis=0)) > _JUMP] = 0
    out[:] = np.clip((cv2.distanceTransform(clear, cv2.DIST_L2, 5) - 1) / _RAMP, 0, 1)


def colours(points: Float, normals: Float, photos: Photos) -> tuple[Float, Float]:
    """sRGB colours (M,3) in [0,255] of surface points (M,3) with unit normals (M,3), and their weights (M,).

    A view counts with trust * cos^3, cos between the normal and the direction to the camera, where the point
    is not behind the depth map. The colour is the weighted mean after weighing each view down by its distance
    from the weighted median in brightness (Geman and McClure's function): a highlight shows in few views, so
    it goes.
    Weight 0: no view sees the point.
    """
    out = np.zeros((len(points), 3), np.float32)
    weight = np.zeros(len(points), np.float32)
    _bake(
        points,
        normals,
        photos.images,
        photos.seen,
        photos.cameras.projection().astype(np.float32),
        photos.cameras.centres.astype(np.float32),
        out,
        weight,
    )
    return out, weight


@parallel_kernel
def _bake(
    points: Float,
    normals: Float,
    images: NDArray[np.uint8],
    surface: Float,
    projection: Float,
    centres: Float,
    out: Float,
    weight: Float,
) -> None:
    for block in prange((len(points) + _BLOCK - 1) // _BLOCK):
        samples = np.empty((len(images), 5), np.float32)  # r, g, b, brightness, weight of each view
        for i in range(block * _BLOCK, min((block + 1) * _BLOCK, len(points))):
            count = 0
            for view in range(len(images)):
                seen = see(points[i], normals[i], surface[view], projection[view], centres[view])
                if seen[0] > 0:
                    _look_up(images[view], seen[1], seen[2], samples[count])
                    samples[count, 4] = seen[0]
                    count += 1
            weight[i] = _blend(samples[:count], out[i])


@kernel
def see(
    point: Float, normal: Float, surface: Float, p: Float, centre: Float
) -> tuple[np.float32, np.float32, np.float32]:
    """Weight of one view for one point, 0 where it does not see it, and the pixel coordinates.

    surface: (h,w,2) of `Photos.seen`. p: (3,4) projection.
    """
    nothing = (np.float32(0), np.float32(0), np.float32(0))
    x, y, z = centre[0] - point[0], centre[1] - point[1], centre[2] - point[2]
    along = normal[0] * x + normal[1] * y + normal[2] * z
    square = x * x + y * y + z * z
    if along <= 0 or along * along < np.float32(_LEAST_COSINE * _LEAST_COSINE) * square:
        return nothing
    w = p[2, 0] * point[0] + p[2, 1] * point[1] + p[2, 2] * point[2] + p[2, 3]
    if w <= 0:
        return nothing
    u = (p[0, 0] * point[0] + p[0, 1] * point[1] + p[0, 2] * point[2] + p[0, 3]) / w
    v = (p[1, 0] * point[0] + p[1, 1] * point[1] + p[1, 2] * point[2] + p[1, 3]) / w
    if u < 0 or v < 0 or u >= surface.shape[1] or v >= surface.shape[0]:
        return nothing
    pixel = surface[int(v), int(u)]
    if pixel[1] <= 0 or w > pixel[0] + np.float32(_TOLERANCE):
        return nothing
    cosine = along / np.sqrt(square)
    return pixel[1] * cosine * cosine * cosine, u, v


@kernel
def _look_up(image: NDArray[np.uint8], u: Real, v: Real, sample: Float) -> None:
    """Bilinear colour and brightness at pixel coordinates (centres at +0.5)."""
    height, width = image.shape[0], image.shape[1]
    x = min(max(u - np.float32(0.5), np.float32(0)), np.float32(width - 1.001))
    y = min(max(v - np.float32(0.5), np.float32(0)), np.float32(height - 1.001))
    left, top = int(x), int(y)
    s, t = x - left, y - top
    for k in range(3):
        upper = image[top, left, k] * (1 - s) + image[top, left + 1, k] * s
        lower = image[top + 1, left, k] * (1 - s) + image[top + 1, left + 1, k] * s
        sample[k] = upper * (1 - t) + lower * t
    sample[3] = np.float32(0.3) * sample[0] + np.float32(0.6) * sample[1] + np.float32(0.1) * sample[2]


@kernel
def _blend(samples: Float, out: Float) -> np.float32:
    """Robust mean of the samples (n,5) into `out` (3,); returns the sum of their weights."""
    if len(samples) == 0:
        return np.float32(0)
    total = np.float32(0)
    for i in range(len(samples)):
        total += samples[i, 4]
    # The weighted median: the first in order of brightness at which half the weight is passed.
    median, below = 0, np.float32(-1)
    passed = np.float32(0)
    while 2 * passed < total:
        least = np.float32(1e9)
        for i in range(len(samples)):
            if below < samples[i, 3] < least:
                least, median = samples[i, 3], i
        if least > np.float32(1e8):
            break
        for i in range(len(samples)):
            if samples[i, 3] == least:
                passed += samples[i, 4]
        below = least
    kept = np.float32(0)
    mean = np.zeros(3, np.float32)
    for i in range(len(samples)):
        off = np.float32(0)
        for k in range(3):
            off += (samples[i, k] - samples[median, k]) ** 2
        share = 1 / (1 + off / np.float32(3 * _SPREAD * _SPREAD))
        share *= share * samples[i, 4]
        kept += share
        for k in range(3):
            mean[k] += share * samples[i, k]
    for k in range(3):
        out[k] = mean[k] / kept
    return total

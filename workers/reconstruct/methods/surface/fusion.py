"""Depth maps fused into one truncated signed distance (Curless and Levoy 1996), kept within the visual
hull.
"""

from __future__ import annotations

import numpy as np
from numba import prange
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from workers.geometry.cameras import Cameras
from workers.geometry.kernels import Real, parallel_kernel
from workers.geometry.pixels import pixel_of
from workers.reconstruct.methods.surface.hollows import Hull

Float = NDArray[np.float32]

_PRIOR = 1.0  # the hull's vote: as much as one view that is sure, so that one view alone never digs
_PRIOR_DEPTH = 0.5  # and what it says: inside, this much of the truncation deep
_DOUBT = 0.95  # how much of the hull's vote a hollow takes away
_CALM = 4.0  # voxels, standard deviation of the smoothing where nothing supports the field
_BAND = 3.0  # voxels around the surface that are smoothed
_ENOUGH = 1.0  # confidence from stereo that halves the smoothing
_RIM_SUPPORT = 0.1  # of a rim's vote: one ragged mask protects little, a tip that many views show is kept


def fuse(
    hull: Hull,
    depth: Float,
    confidence: Float,
    cameras: Cameras,
    truncation: float,
    dig: float,
    before: Float | None = None,
    blur: float = 0.8,
) -> Float:
    """Signed distance (grid.shape), negative inside: the larger of the hull's and the blurred mean of the
    depths', smoothed where neither depths nor rims support it.

    depth: (N,h,w) along the axis; confidence: (N,h,w), the weight of its vote. truncation: in the frame's
    units; a sample deeper than that behind a depth is not spoken of by it. dig: how many votes one counts
    that sees through what is stretched over a hollow, since few photos look into one and most of those are
    not sure. before: (grid.shape) what is known already, which counts over hollows in the place of the hull.
    blur: standard deviation in voxels of the weighted smoothing.
    """
    grid = hull.grid
    mean = np.zeros(grid.shape, np.float32)
    weight = np.zeros(grid.shape, np.float32)
    _fuse(
        hull.distance,
        np.array(grid.origin, np.float32),
        np.float32(grid.spacing),
        depth,
        confidence,
        1 + np.float32(dig - 1) * hull.hollow,
        cameras.projection().astype(np.float32),
        np.float32(truncation),
        mean,
        weight,
    )
    prior = np.float32(_PRIOR) * (1 - np.float32(_DOUBT) * hull.hollow) + hull.support
    trust = weight + prior
    deep = np.float32(_PRIOR_DEPTH * truncation)
    known = -deep if before is None else np.clip(before, -deep, deep)
    value = weight * mean + prior * (hull.hollow * known - (1 - hull.hollow) * deep)
    smooth = gaussian_filter(value, blur) / gaussian_filter(trust, blur)
    support = gaussian_filter(weight + np.float32(_RIM_SUPPORT) * hull.support, blur)
    return _calmed(np.maximum(hull.distance, smooth.astype(np.float32)), support, grid.spacing)


def _calmed(field: Float, support: Float, spacing: float) -> Float:
    """The field smoothed by how little supports it: flakes and holes of a few voxels go, the rest stays.

    field, support: (shape), the support in votes; spacing: between samples. Values are cut off near the
    surface first, so that what is thin counts by its volume; twice the blur less the blur of the blur leaves
    a curved surface in its place (Tukey's twicing).
    """
    band = np.float32(_BAND * spacing)
    near = np.clip(field, -band, band)
    blurred = gaussian_filter(near, _CALM)
    calm = 2 * blurred - gaussian_filter(blurred, _CALM)
    share = support / (support + np.float32(_ENOUGH))
    result: Float = np.where(np.abs(calm) < 0.99 * band, calm + share * (near - calm), field)
    return result


@parallel_kernel
def _fuse(
    hull: Float,
    origin: Float,
    spacing: Real,
    depth: Float,
    confidence: Float,
    dig: Float,
    projection: Float,
    truncation: Real,
    mean: Float,
    weight: Float,
) -> None:
    height, width = depth.shape[1], depth.shape[2]
    for i in prange(mean.shape[0]):
        for j in range(mean.shape[1]):
            for k in range(mean.shape[2]):
                if hull[i, j, k] > 4 * spacing:
                    continue
                x, y, z = origin[0] + i * spacing, origin[1] + j * spacing, origin[2] + k * spacing
                total = np.float32(0)
                votes = np.float32(0)
                for view in range(len(depth)):
                    row, column, w = pixel_of(projection[view], x, y, z, height, width)
                    if row < 0:
                        continue
                    vote = confidence[view, row, column]
                    if vote <= 0:
                        continue
                    distance = (depth[view, row, column] - w) / truncation
                    if distance < -1:
                        continue
                    if distance >= 1:
                        vote *= dig[i, j, k]
                    total += vote * min(distance, np.float32(1))
                    votes += vote
                if votes > 0:
                    mean[i, j, k] = total / votes * truncation
                weight[i, j, k] = votes

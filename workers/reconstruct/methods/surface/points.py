"""Depth maps fused into one cloud of points: what at least three views agree on, each place told once."""

from __future__ import annotations

import numpy as np
from numba import prange
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from workers.geometry.cameras import Cameras, view_angles
from workers.geometry.grid import Grid
from workers.geometry.kernels import Real, parallel_kernel
from workers.reconstruct.methods.model import Cloud, Scene
from workers.reconstruct.methods.surface.sweep import choose_neighbours

Float = NDArray[np.float32]
Index = NDArray[np.int32]
Array = NDArray[np.float64]

_WITNESSES = 12  # views that are asked for each
_VIEWS = 3  # that must agree, the pixel's own among them
_TOLD = 2  # views that must have a point in a cell
_CLIFF = 8.0  # tolerances between the depths of adjacent pixels from which on these are not one surface


def point_cloud(
    depth: Float, confidence: Float, cut: Scene, cameras: Cameras, field: Float, grid: Grid
) -> Cloud:
    """The points that the N views of `cut` see at `depth` (N,h,w), in the unit frame.

    confidence: (N,h,w), 0 where the depth does not count. A pixel's point counts where two other views have
    their surface there too, to a pixel's width of depth, and lies at the mean of what they say (consistency
    as in Merrell et al. 2007, "Real-time visibility-based fusion of depth maps"). Points are then merged in
    cells of a pixel's width; what one view alone says of a cell is left out. cameras: N, of the whole photos,
    that the cloud keeps. field: (grid.shape) signed distance, whose gradient gives the normals: it is
    smoother than differences of depths.
    """
    pixel = 1 / cut.masks.shape[2]
    seen, votes, view, colours = _seen(depth, confidence, cut, pixel)
    place = _cells(seen, pixel)
    pairs = np.sort(place * len(depth) + view)
    cell, viewer = np.divmod(pairs[np.diff(pairs, prepend=-1) > 0], len(depth))
    kept = np.bincount(cell) >= _TOLD
    total = np.bincount(place, votes)[kept]

    def merged(values: NDArray[np.generic]) -> Array:
        sums = [np.bincount(place, votes * channel)[kept] for channel in values.T]
        return np.stack(sums, axis=1) / total[:, None]

    points = merged(seen)
    sightings = np.stack([np.cumsum(kept)[cell] - 1, viewer], axis=1)[kept[cell]]
    return Cloud(
        points.astype(np.float32),
        _normals(points, field, grid),
        np.round(merged(colours)).astype(np.uint8),
        sightings.astype(np.int32),
        cameras,
    )


def _seen(
    depth: Float, confidence: Float, cut: Scene, tolerance: float
) -> tuple[Float, Float, NDArray[np.int64], NDArray[np.uint8]]:
    """Of the M pixels that count: points (M,3), votes (M,), view (M,), in ascending order, colours (M,3)."""
    square = np.tile(np.eye(4), (len(depth), 1, 1))
    square[:, :3] = cut.cameras.projection()
    inverse = np.linalg.inv(square)
    witnesses = choose_neighbours(view_angles(cut.cameras), min(_WITNESSES, len(depth) - 1))
    warp = (square[witnesses, :3] @ inverse[:, None]).astype(np.float32)  # N,J,3,4
    mean, weight = np.zeros_like(depth), np.zeros_like(depth)
    _agreed(depth, confidence, warp, witnesses, np.float32(tolerance), mean, weight)
    points = np.concatenate([_lifted(*each) for each in zip(inverse, mean, strict=True)])
    counts = weight > 0
    return points, weight[counts], np.nonzero(counts)[0], cut.images[counts]


def _lifted(inverse: Array, depth: Float) -> Float:
    """(M,3) the points at depth (h,w) where it is not 0. inverse: (4,4) of (u w, v w, w, 1) to the frame."""
    y, x = np.nonzero(depth)
    d = depth[y, x]
    # Not by BLAS, whose rounding depends on how many threads it has.
    rays = np.stack([(x + 0.5) * d, (y + 0.5) * d, d, np.ones_like(d)])
    points: Float = np.einsum("ij,jn->ni", inverse[:3], rays).astype(np.float32)
    return points


def _cells(points: Float, side: float) -> NDArray[np.int64]:
    """For points (M,3) the number (M,) of the cell that each is in, of those that hold any."""
    cell = np.floor(points / side).astype(np.int64)
    cell -= cell.min(axis=0, initial=0)
    one = np.ravel_multi_index(tuple(cell.T), tuple(cell.max(axis=0, initial=0) + 1))
    place: NDArray[np.int64] = np.unique(one, return_inverse=True)[1]
    return place


def _normals(points: Array, field: Float, grid: Grid) -> Float:
    """(P,3) unit vectors out of what is negative in the field, at points (P,3)."""
    at = ((points - grid.origin) / grid.spacing).T
    slopes = [
        map_coordinates(np.gradient(field, axis=axis), at, order=1, mode="nearest") for axis in range(3)
    ]
    normals = np.stack(slopes, axis=1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    unit: Float = (normals / np.maximum(length, 1e-12)).astype(np.float32)
    return unit


@parallel_kernel
def _agreed(
    depth: Float,
    confidence: Float,
    warp: Float,
    witnesses: Index,
    tolerance: Real,
    mean: Float,
    weight: Float,
) -> None:
    """Depths (N,h,w) at the mean of what enough views say, and their votes in all; 0 where too few agree."""
    views, height, width = depth.shape
    for item in prange(views * height):
        view, y = item // height, item % height
        for x in range(width):
            d, votes = depth[view, y, x], confidence[view, y, x]
            if d <= 0 or votes <= 0:
                continue
            a, b = (x + np.float32(0.5)) * d, (y + np.float32(0.5)) * d
            agreeing, shift = 1, np.float32(0)
            for j in range(witnesses.shape[1]):
                m = warp[view, j]
                w = m[2, 0] * a + m[2, 1] * b + m[2, 2] * d + m[2, 3]
                if w <= 0:
                    continue
                u = (m[0, 0] * a + m[0, 1] * b + m[0, 2] * d + m[0, 3]) / w - np.float32(0.5)
                v = (m[1, 0] * a + m[1, 1] * b + m[1, 2] * d + m[1, 3]) / w - np.float32(0.5)
                if u < 0 or v < 0 or u >= width - 1 or v >= height - 1:
                    continue
                other, column, row = witnesses[view, j], int(u), int(v)
                vote = confidence[other, row, column]
                near = depth[other, row : row + 2, column : column + 2]
                low = min(min(near[0, 0], near[0, 1]), min(near[1, 0], near[1, 1]))
                high = max(max(near[0, 0], near[0, 1]), max(near[1, 0], near[1, 1]))
                if vote <= 0 or low <= 0 or high - low > np.float32(_CLIFF) * tolerance:
                    continue
                s, t = u - column, v - row
                upper = near[0, 0] * (1 - s) + near[0, 1] * s
                lower = near[1, 0] * (1 - s) + near[1, 1] * s
                farther = upper * (1 - t) + lower * t - w
                if abs(farther) < tolerance:
                    agreeing += 1
                    shift += vote * farther
                    votes += vote
            if agreeing >= _VIEWS:
                mean[view, y, x] = d + shift / votes
                weight[view, y, x] = votes

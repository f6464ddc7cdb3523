"""Votes on depth maps from other views: the same surface seen again."""

from __future__ import annotations

import numpy as np
from numba import prange
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.geometry.kernels import Real, parallel_kernel

Float = NDArray[np.float32]
Index = NDArray[np.int32]


def agreement(
    depth: Float, confidence: Float, cameras: Cameras, neighbours: Index, tolerance: float
) -> Float:
    """(N,h,w) share of `neighbours` (N,J), confidence-weighted, that put the same surface at a pixel's point.

    depth: (N,h,w) along the axis, 0 where nothing; confidence: (N,h,w). A neighbour agrees where its own
    depth at the point's projection is within `tolerance` of the point's; it has no say where the point
    projects beside its depths or behind nearer ones. A reflection is matched at the depth of the mirrored
    scene, which moves from view to view: distant neighbours do not confirm it.
    """
    square = np.tile(np.eye(4), (len(cameras), 1, 1))
    square[:, :3] = cameras.projection()
    warp = (square[neighbours, :3] @ np.linalg.inv(square)[:, None]).astype(np.float32)  # N,J,3,4
    share = np.zeros_like(depth)
    _agreement(depth, confidence, warp, neighbours, np.float32(tolerance), share)
    return share


@parallel_kernel
def _agreement(
    depth: Float, confidence: Float, warp: Float, neighbours: Index, tolerance: Real, share: Float
) -> None:
    views, height, width = depth.shape
    for item in prange(views * height):
        view, y = item // height, item % height
        for x in range(width):
            d = depth[view, y, x]
            if d <= 0 or confidence[view, y, x] <= 0:
                continue
            yes, asked = np.float32(0), np.float32(0)
            a, b = (x + np.float32(0.5)) * d, (y + np.float32(0.5)) * d
            for j in range(neighbours.shape[1]):
                m = warp[view, j]
                w = m[2, 0] * a + m[2, 1] * b + m[2, 2] * d + m[2, 3]
                if w <= 0:
                    continue
                column = int((m[0, 0] * a + m[0, 1] * b + m[0, 2] * d + m[0, 3]) / w)
                row = int((m[1, 0] * a + m[1, 1] * b + m[1, 2] * d + m[1, 3]) / w)
                if column < 0 or row < 0 or column >= width or row >= height:
                    continue
                other = neighbours[view, j]
                if depth[other, row, column] <= 0 or depth[other, row, column] < w - 8 * tolerance:
                    continue
                asked += np.float32(0.2) + confidence[other, row, column]
                if abs(depth[other, row, column] - w) < tolerance:
                    yes += np.float32(0.2) + confidence[other, row, column]
            if asked > 0:
                share[view, y, x] = yes / asked

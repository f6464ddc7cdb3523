"""The object in space: what no photo, or hardly one, shows as background."""

from __future__ import annotations

import numpy as np
from numba import prange
from numpy.typing import NDArray
from scipy import ndimage

from workers.geometry.cameras import Cameras
from workers.geometry.errors import NumericError
from workers.geometry.grid import Grid, zero_surface
from workers.geometry.kernels import parallel_kernel
from workers.render.depth import depth_maps
from workers.segment.multiview.plane import Plane

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

_MOST = 2.5  # that one photo's evidence counts
DECIDED = 100.0  # but for what a person said, which counts as it is
_SHARE = 0.12  # of the photos whose full evidence takes a sample away
_BLUR = 0.7  # samples
_NEAR = 0.5  # of the region's radius: what is farther from its middle is less likely the object
_LIFT = 0.01  # over the plane


def carve(evidence: Float, cameras: Cameras, plane: Plane | None, grid: Grid) -> Float:
    """Field of the grid's shape, negative inside the object.

    evidence (N,h,w): logarithm of how much likelier each pixel is the object; counts where it is negative. Of
    several parts that one is kept which has most of itself near 0. NumericError: "object_not_found" where
    nothing is left.
    """
    against = np.empty(grid.shape, np.float32)
    projection = cameras.projection().astype(np.float32)
    _collect(evidence, projection, np.array(grid.origin, np.float32), np.float32(grid.spacing), against)
    limit = np.float32(_SHARE * len(evidence) * _MOST)
    field = ndimage.gaussian_filter(np.minimum(against, 3 * limit), _BLUR) - limit
    place = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), -1)
    points = place * grid.spacing + np.array(grid.origin)
    if plane is not None:
        depth = plane.height + _LIFT - points @ plane.normal
        field = np.maximum(field, depth.astype(np.float32) * limit)
    parts, count = ndimage.label(field < 0)
    if count == 0:
        raise NumericError(
            "object_not_found", "there is nothing that all photos show before their background"
        )
    nearness = np.exp(-((points / _NEAR) ** 2).sum(-1))
    kept = 1 + np.argmax(ndimage.sum_labels(nearness, parts, np.arange(1, count + 1)))
    return np.where((field < 0) & (parts != kept), np.float32(1e-3), field).astype(np.float32)


@parallel_kernel
def _collect(evidence: Float, projection: Float, origin: Float, spacing: np.float32, out: Float) -> None:
    height, width = evidence.shape[1], evidence.shape[2]
    for i in prange(out.shape[0]):
        x = origin[0] + i * spacing
        for j in range(out.shape[1]):
            y = origin[1] + j * spacing
            for k in range(out.shape[2]):
                z = origin[2] + k * spacing
                total = np.float32(0)
                for v in range(len(evidence)):
                    p = projection[v]
                    w = p[2, 0] * x + p[2, 1] * y + p[2, 2] * z + p[2, 3]
                    if w <= 0:
                        continue
                    u = (p[0, 0] * x + p[0, 1] * y + p[0, 2] * z + p[0, 3]) / w
                    t = (p[1, 0] * x + p[1, 1] * y + p[1, 2] * z + p[1, 3]) / w
                    if 0 <= u < width and 0 <= t < height:
                        against = max(-evidence[v, int(t), int(u)], np.float32(0))
                        most = np.float32(_MOST) if against < np.float32(DECIDED) else against
                        total += min(against, most)
                out[i, j, k] = total


def silhouettes(field: Float, grid: Grid, cameras: Cameras) -> Bool:
    """(N,h,w) what cameras see of the inside of a field that has one."""
    shown: Bool = depth_maps(*zero_surface(field, grid), cameras) > 0
    return shown

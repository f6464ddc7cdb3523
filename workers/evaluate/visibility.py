"""Which points of a surface some camera sees, by exact rays and without a tree.

All rays of a camera start in one place, so the points are sorted into its pixels and every triangle is tested
against the points of the pixels it covers, as a rasteriser does, but at the points' own directions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numba import prange
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.geometry.kernels import kernel, parallel_kernel

Array = NDArray[np.float64]
Index = NDArray[np.int32]

_BANDS = 16  # of image rows: items of parallel work
_SLACK = 1e-6  # pixels by which rounding may move a corner, into the next pixel say
_FAT = -1e-9  # least barycentric of a hit: no ray slips through between two triangles


def visible(
    points: Array, vertices: Array, faces: Index, cameras: Iterable[Cameras], tolerance: float
) -> NDArray[np.bool_]:
    """(P,) whether some camera has the point (P,3) in its image, and nothing of the mesh (V,3), (F,3) lies
    more than `tolerance` in front of it; all in one frame and unit.
    """
    seen = np.zeros(len(points), bool)
    for group in cameras:
        for projection in group.projection():
            rest = np.flatnonzero(~seen)
            seen[rest] = _seen(
                points[rest], vertices, faces, projection, (group.width, group.height), tolerance
            )
    return seen


def _seen(
    points: Array, vertices: Array, faces: Index, projection: Array, size: tuple[int, int], tolerance: float
) -> NDArray[np.bool_]:
    """`visible` for one camera: projection (3,4), size (width, height)."""
    width, height = size
    u, v, depth = projection[:, :3] @ points.T + projection[:, 3:]
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = u / depth, v / depth
    inside = np.flatnonzero((depth > 0) & (u >= 0) & (u < width) & (v >= 0) & (v < height))
    pixel = v[inside].astype(np.int64) * width + u[inside].astype(np.int64)
    order = inside[np.argsort(pixel, kind="stable")]
    start = np.concatenate([[0], np.cumsum(np.bincount(pixel, minlength=width * height))])
    centre = -np.linalg.solve(projection[:, :3], projection[:, 3])
    length_per_depth = np.linalg.norm(points[order] - centre, axis=1) / depth[order]
    limit = depth[order] - tolerance / length_per_depth
    corners = vertices @ projection[:, :3].T + projection[:, 3]
    hidden = np.zeros(len(order), bool)
    _hide(corners, faces, width, height, (u[order], v[order], limit), start, hidden)
    seen = np.zeros(len(points), bool)
    seen[order] = ~hidden
    return seen


@kernel
def _hide_behind(
    a: Array,
    b: Array,
    c: Array,
    rows: tuple[int, int],
    width: int,
    rays: tuple[Array, Array, Array],
    start: NDArray[np.int64],
    hidden: NDArray[np.bool_],
) -> None:
    """`_hide` for one triangle of corners (3,) and the rows from the first to the last."""
    u, v, limit = rays
    top, bottom, left, right = rows[0], rows[1], 0, width - 1
    if min(a[2], b[2], c[2]) > 1e-9:
        ax, bx, cx = a[0] / a[2], b[0] / b[2], c[0] / c[2]
        ay, by, cy = a[1] / a[2], b[1] / b[2], c[1] / c[2]
        top, bottom = (
            max(top, math.floor(min(ay, by, cy) - _SLACK)),
            min(bottom, math.floor(max(ay, by, cy) + _SLACK)),
        )
        left, right = (
            max(left, math.floor(min(ax, bx, cx) - _SLACK)),
            min(right, math.floor(max(ax, bx, cx) + _SLACK)),
        )
    if top > bottom or left > right or max(a[2], b[2], c[2]) <= 0:
        return
    # Rows of the adjugate of [a b c]: e_i is barycentric i over the depth, times det.
    e0x, e0y, e0w = b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]
    e1x, e1y, e1w = c[1] * a[2] - c[2] * a[1], c[2] * a[0] - c[0] * a[2], c[0] * a[1] - c[1] * a[0]
    e2x, e2y, e2w = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
    det = e0x * a[0] + e0y * a[1] + e0w * a[2]
    if det == 0:
        return
    sign = 1.0 if det > 0 else -1.0
    for row in range(top, bottom + 1):
        for i in range(start[row * width + left], start[row * width + right + 1]):
            if hidden[i]:
                continue
            e0 = (e0x * u[i] + e0y * v[i] + e0w) * sign
            e1 = (e1x * u[i] + e1y * v[i] + e1w) * sign
            e2 = (e2x * u[i] + e2y * v[i] + e2w) * sign
            total = e0 + e1 + e2
            if total * limit[i] > abs(det) and min(e0, e1, e2) >= _FAT * total:
                hidden[i] = True


@parallel_kernel
def _hide(
    corners: Array,
    faces: Index,
    width: int,
    height: int,
    rays: tuple[Array, Array, Array],
    start: NDArray[np.int64],
    hidden: NDArray[np.bool_],
) -> None:
    """Set `hidden` (P,) where a triangle is nearer on a ray than its limit.

    corners: (V,3) homogeneous pixels u w, v w, w. rays: u, v in pixels and the limit, a depth, (P,) each.
    start: (width * height + 1,) the first ray of each pixel.
    """
    for band in prange(_BANDS):
        rows = (band * height // _BANDS, (band + 1) * height // _BANDS - 1)
        for face in range(len(faces)):
            a, b, c = corners[faces[face, 0]], corners[faces[face, 1]], corners[faces[face, 2]]
            _hide_behind(a, b, c, rows, width, rays, start, hidden)

"""Where silhouettes pass between pixels.

After Laine et al. 2020, section 3.5, but driven by edges instead of pixels: every silhouette edge looks up
the pixels it passes between, so that none is missed however small the triangles are. Edges nearer to the
vertical pass between horizontal neighbours, the others between vertical ones.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from workers.geometry.kernels import Real, kernel, parallel_kernel
from workers.render.cpu.topology import Edges
from workers.render.cpu.work import HALF, ONE, Float, Index, Long

_ITEMS = 8  # items of work at least: views, each with its edges split where they are fewer
_NEARER = 1e-5  # an edge hides a surface that lies farther by this, in z/w


def screen_of(pos: Float, height: int, width: int) -> Float:
    """(B,V,3): x and y in pixels and z/w; NaN at or behind the camera."""
    screen = np.empty((*pos.shape[:2], 3), np.float32)
    _project(pos.reshape(-1, 4), height, width, screen.reshape(-1, 3))
    return screen


def outline_crossings(screen: Float, edges: Edges, rast: Float, faces: Index) -> tuple[Index, Float, Long]:
    """Where silhouettes pass between two pixels: (N,4) the pixel inside, the one outside (of their view), and
    the edge's vertices; how far the edge lies beyond the middle between the two (N,), -0.5 to 0.5; and where
    each view's start (B+1,). Of several edges between two pixels the outermost counts.
    """
    views, height, width = rast.shape[:3]
    parts = max(1, -(-_ITEMS // views))
    counts = np.zeros(views * parts, np.int64)
    capacity = 4 * (height + width) // parts
    while True:
        found = np.empty((len(counts), capacity, 4), np.int32)
        shares = np.empty(found.shape[:2], np.float32)
        _find(screen, edges, rast, faces, counts, found, shares)
        if counts.max() <= capacity:
            break
        capacity = int(counts.max())
    stored = np.arange(capacity) < counts[:, None]
    crossings, share, view = found[stored], shares[stored], np.nonzero(stored)[0] // parts
    neighbour = crossings[:, 1] - crossings[:, 0] + width  # 0, width - 1, width + 1 or 2 width
    pair = (view * height * width + crossings[:, 0]) * (2 * width + 1) + neighbour
    order = np.lexsort((share, pair))
    order = order[np.append(pair[order[1:]] != pair[order[:-1]], True)[: len(order)]]
    return crossings[order], share[order], np.searchsorted(view[order], np.arange(views + 1))


@parallel_kernel
def _project(pos: Float, height: int, width: int, out: Float) -> None:
    for i in prange(len(pos)):
        w = pos[i, 3]
        if w > np.float32(1e-6):
            out[i, 0] = (pos[i, 0] / w + ONE) * HALF * width
            out[i, 1] = (ONE - pos[i, 1] / w) * HALF * height
            out[i, 2] = pos[i, 2] / w
        else:
            out[i] = np.nan


@kernel
def _side(a: Float, b: Float, p: Float) -> Real:
    """Twice the signed area of three points on the screen."""
    result: float = (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])
    return result


@kernel
def _plane(a: Float, b: Float, c: Float, x: Real, y: Real) -> Real:
    """z/w of a triangle's plane where the screen is at (x, y)."""
    bx, by, bz = np.float64(b[0] - a[0]), np.float64(b[1] - a[1]), np.float64(b[2] - a[2])
    cx, cy, cz = np.float64(c[0] - a[0]), np.float64(c[1] - a[1]), np.float64(c[2] - a[2])
    s, t = (x - a[0]) * cy - (y - a[1]) * cx, (y - a[1]) * bx - (x - a[0]) * by
    result: float = a[2] + (s * bz + t * cz) / (bx * cy - by * cx)
    return result


@parallel_kernel
def _find(
    screen: Float, edges: Edges, rast: Float, faces: Index, counts: Long, found: Index, shares: Float
) -> None:
    """Counts every crossing, stores those there is room for."""
    height, width, capacity = rast.shape[1], rast.shape[2], found.shape[1]
    parts = len(counts) // len(screen)
    for item in prange(len(counts)):
        view, part = item // parts, item % parts
        points = screen[view]
        n = 0
        for edge in range(part * len(edges) // parts, (part + 1) * len(edges) // parts):
            va, vb, one, other = edges[edge, 0], edges[edge, 1], edges[edge, 2], edges[edge, 3]
            a, b = points[va], points[vb]
            inside = _side(a, b, points[one])
            if math.isnan(inside) or inside == 0:
                continue
            if other >= 0 and not inside * _side(a, b, points[other]) > 0:
                continue
            dx, dy = b[0] - a[0], b[1] - a[1]
            flat = abs(dx) > abs(dy)  # vertical neighbours are blended
            along, across, slope = (0, 1, dy / dx) if flat else (1, 0, dx / dy)
            lines, limit = (width, height) if flat else (height, width)
            # Of `inside`, the derivative across the edge: which of the two neighbours lies inside.
            after = (dx if flat else -dy) * inside > 0
            first = max(math.ceil(min(a[along], b[along]) - HALF), 0)
            last = min(math.ceil(max(a[along], b[along]) - HALF), lines) - 1
            for line in range(first, last + 1):
                step = line + HALF - a[along]
                crossing = a[across] + step * slope
                before = math.floor(crossing - HALF)
                if before < 0 or before + 1 >= limit:
                    continue
                inner, outer = (before + 1, before) if after else (before, before + 1)
                share = abs(crossing - HALF - inner) - HALF
                if flat:
                    inner, outer = inner * width + line, outer * width + line
                else:
                    inner, outer = line * width + inner, line * width + outer
                if rast[view, inner // width, inner % width, 3] <= 0:
                    continue
                beyond = rast[view, outer // width, outer % width]
                if beyond[3] > 0:
                    z = a[2] + step / (b[along] - a[along]) * (b[2] - a[2]) + np.float32(_NEARER)
                    if z >= beyond[2]:
                        continue
                    # A face that goes on beyond a border shared in space but not in `faces` starts right at
                    # the edge, which is no silhouette though the pixel's centre lies deeper. (Of a face that
                    # passes the camera this plane is not known.)
                    i, j, k = faces[int(beyond[3]) - 1]
                    centre = line + HALF
                    x, y = (centre, crossing) if flat else (crossing, centre)
                    if z >= _plane(points[i], points[j], points[k], x, y):
                        continue
                if n < capacity:
                    found[item, n, 0], found[item, n, 1] = inner, outer
                    found[item, n, 2], found[item, n, 3] = va, vb
                    shares[item, n] = share
                n += 1
        counts[item] = n

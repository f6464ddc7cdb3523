"""Signed distance to a closed triangle mesh, and what lies inside it.

Distances: a tree of boxes over the triangles, split at the median (Ericson 2005, "Real-time collision
detection", sections 6.2 and 5.1.5), walked nearest box first.

Inside-ness: how often the surface winds around a point, as signed crossings of a ray along +z. Angle-weighted
pseudonormals (Baerentzen and Aanaes 2005) need the normal and the angles of the nearest feature, and slivers,
as boolean operations leave them, have neither to any precision. Here the triangles at an edge agree to the
last bit on where it is crossed, so nothing is missed or counted twice, even where the ray runs through edges
and corners or along walls; only a point within rounding of the surface can come out on the wrong side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange
from numpy.typing import NDArray

from workers.geometry.errors import NumericError
from workers.geometry.kernels import exact_kernel, kernel, parallel_kernel

Float = NDArray[np.float32]
Array = NDArray[np.float64]
Points = NDArray[np.floating]
Index = NDArray[np.integer]
Vector = tuple[float, float, float]

_LEAF = 4  # triangles of a leaf, about
_BLOCK = 256  # points: an item of parallel work
_STACK = 64  # more than any tree is deep


class _Tree(NamedTuple):
    """A full binary tree: node n has the children 2n and 2n + 1, its leaves are the nodes from L on.

    corners: (F,3,3) of the triangles, in the order of the leaves. first: (L+1,) where each leaf's begin.
    boxes: (2L,2,3) least and greatest corner of each node's box; 0 is no node, 1 the root.
    """

    corners: Array
    first: NDArray[np.int64]
    boxes: Array


def signed_distance(points: Points, vertices: Points, faces: Index) -> Float:
    """(P,) distances from points (P,3) to the nearest point of the closed mesh (V,3), (F,3), negative inside.

    In the mesh's unit, exact but for rounding. Inside is as `inside` has it, with the same errors.
    """
    tree = _closed_tree(vertices, faces)
    places: Array = np.ascontiguousarray(points, np.float64)
    distance = np.empty(len(places), np.float32)
    _distances(places, tree, distance)
    return np.where(_inside(places, tree), -distance, distance)


def inside(points: Points, vertices: Points, faces: Index) -> NDArray[np.bool_]:
    """(P,) whether the closed mesh (V,3), (F,3) winds around the points (P,3) at all, either way.

    So parts that overlap are one solid, a hollow's wall must look into it, and a mesh that looks inwards
    everywhere encloses the same. NumericError ("compute_failed") for a mesh without faces, with vertices that
    are not finite, or not closed: each directed edge, between places rather than indices, must occur as often
    as its opposite.
    """
    return _inside(np.ascontiguousarray(points, np.float64), _closed_tree(vertices, faces))


def _inside(points: Array, tree: _Tree) -> NDArray[np.bool_]:
    found = np.empty(len(points), np.bool_)
    _wound(points, tree, found)
    return found


def _closed_tree(vertices: Points, faces: Index) -> _Tree:
    if len(faces) == 0 or not np.isfinite(vertices).all():
        raise NumericError("compute_failed", "the mesh has no faces, or vertices that are not finite")
    if not _is_closed(vertices, faces):
        raise NumericError("compute_failed", "the mesh is not closed, so nothing is inside or outside of it")
    return _tree(np.asarray(vertices, np.float64)[faces])


def _is_closed(vertices: Points, faces: Index) -> bool:
    order = np.lexsort(vertices.T)
    place = np.empty(len(vertices), np.int64)  # vertices of one place, as at a seam of a texture, are one
    place[order] = np.cumsum(np.r_[False, (np.diff(vertices[order], axis=0) != 0).any(1)])
    a, b = place[faces[:, [[0, 1], [1, 2], [2, 0]]]].reshape(-1, 2).T
    _, edge = np.unique(np.minimum(a, b) * len(vertices) + np.maximum(a, b), return_inverse=True)
    return not np.bincount(edge, np.sign(b - a)).any()


def _tree(corners: Array) -> _Tree:
    """The tree over triangles (F,3,3): a node's are split at the median of their centres, along the axis on
    which these are widest apart.
    """
    count, centre = len(corners), corners.mean(1)
    depth = max(0, (count // _LEAF).bit_length() - 1)
    order = np.arange(count)
    for level in range(depth):
        start = count * np.arange((1 << level) + 1) >> level
        extent = np.maximum.reduceat(centre[order], start[:-1]) - np.minimum.reduceat(
            centre[order], start[:-1]
        )
        node = np.repeat(np.arange(1 << level), np.diff(start))
        order = order[np.lexsort((centre[order, np.argmax(extent, axis=1)[node]], node))]
    first, corners = count * np.arange((1 << depth) + 1) >> depth, corners[order]
    boxes = np.empty((2 << depth, 2, 3))
    for side, bound, of_leaf in ((0, np.minimum, corners.min(1)), (1, np.maximum, corners.max(1))):
        boxes[1 << depth :, side] = bound.reduceat(of_leaf, first[:-1])
        for level in reversed(range(depth)):
            children = boxes[2 << level : 4 << level, side]
            boxes[1 << level : 2 << level, side] = bound(children[::2], children[1::2])
    return _Tree(corners, first, boxes)


@kernel
def _minus(a: Array, b: Array) -> Vector:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


@kernel
def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@kernel
def _to_line(p: Vector, d: Vector, pd: float, dd: float, most: float) -> float:
    """Squared distance from p to the nearest of t d, t in [0,1], if less than `most`. pd, dd: p.d and d.d."""
    if dd == 0:
        return most
    t = min(max(pd / dd, 0.0), 1.0)
    x, y, z = p[0] - t * d[0], p[1] - t * d[1], p[2] - t * d[2]
    return min(most, x * x + y * y + z * z)


@kernel
def _to_triangle(p: Array, triangle: Array) -> float:
    """Squared distance from p (3,) to a triangle (3,3).

    The least of those to its sides and, where p lies above its inside, to that: each is one to a point of the
    triangle, so a sliver whose inside is lost to rounding still has its sides.
    """
    ab, ac = _minus(triangle[1], triangle[0]), _minus(triangle[2], triangle[0])
    ap, bp, cp = _minus(p, triangle[0]), _minus(p, triangle[1]), _minus(p, triangle[2])
    d1, d2, d3 = _dot(ab, ap), _dot(ac, ap), _dot(ab, bp)
    d4, d5, d6 = _dot(ac, bp), _dot(ab, cp), _dot(ac, cp)
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    best = _dot(ap, ap)
    if va > 0 and vb > 0 and vc > 0:
        v, w = vb / (va + vb + vc), vc / (va + vb + vc)
        x, y = ap[0] - v * ab[0] - w * ac[0], ap[1] - v * ab[1] - w * ac[1]
        z = ap[2] - v * ab[2] - w * ac[2]
        best = x * x + y * y + z * z
    bc = _minus(triangle[2], triangle[1])
    best = _to_line(ap, ab, d1, _dot(ab, ab), best)
    best = _to_line(ap, ac, d2, _dot(ac, ac), best)
    return _to_line(bp, bc, _dot(bp, bc), _dot(bc, bc), best)


@kernel
def _to_box(p: Array, box: Array) -> float:
    """Squared distance from p (3,) to a box (2,3)."""
    total = 0.0
    for k in range(3):
        out = max(box[0, k] - p[k], p[k] - box[1, k], 0.0)
        total += out * out
    return total


@kernel
def _nearest(p: Array, tree: _Tree, nodes: NDArray[np.int64], away: Array) -> float:
    """Squared distance from p (3,) to the nearest triangle; nodes, away: (_STACK,) to work in."""
    leaves = len(tree.first) - 1
    best, top = np.inf, 1
    nodes[0], away[0] = 1, 0.0
    while top > 0:
        top -= 1
        node = nodes[top]
        if away[top] >= best:
            continue
        if node >= leaves:
            for i in range(tree.first[node - leaves], tree.first[node - leaves + 1]):
                best = min(best, _to_triangle(p, tree.corners[i]))
            continue
        left, right = _to_box(p, tree.boxes[2 * node]), _to_box(p, tree.boxes[2 * node + 1])
        near = 1 if right < left else 0
        nodes[top], away[top] = 2 * node + 1 - near, max(left, right)
        nodes[top + 1], away[top + 1] = 2 * node + near, min(left, right)
        top += 2
    return best


@exact_kernel
def _crossing(p: Array, a: Array, b: Array) -> tuple[float, float]:
    """x and z where the line from a to b (3,) passes p's y: the same whichever end comes first."""
    if a[1] > b[1]:
        a, b = b, a
    t = (p[1] - a[1]) / (b[1] - a[1])
    x = min(max(a[0] + t * (b[0] - a[0]), min(a[0], b[0])), max(a[0], b[0]))  # never out of its box
    return x, a[2] + t * (b[2] - a[2])


@exact_kernel
def _pierced(p: Array, triangle: Array) -> int:
    """1 where the ray from p (3,) along +z leaves the solid through the triangle, -1 where it enters, else 0.

    Its sides are crossed by the line along x through p in the plane of x and y; one on either side of p is a
    hit. A side counts where y <= p's at one end only: what several triangles share is in one of them.
    """
    left_x, left_z, right_x, right_z, sense, hits = 0.0, 0.0, 0.0, 0.0, 0, 0
    for k in range(3):
        a, b = triangle[k], triangle[(k + 1) % 3]
        if (a[1] <= p[1]) == (b[1] <= p[1]):
            continue
        x, z = _crossing(p, a, b)
        if x > p[0]:
            right_x, right_z, sense, hits = x, z, (1 if a[1] <= p[1] else -1), hits + 1
        else:
            left_x, left_z = x, z
    if hits != 1:
        return 0
    height = left_z + (right_z - left_z) * ((p[0] - left_x) / (right_x - left_x))
    return sense if height > p[2] else 0


@exact_kernel
def _winding(p: Array, tree: _Tree, nodes: NDArray[np.int64]) -> int:
    """How often the surface winds around p (3,); nodes: (_STACK,) to work in."""
    leaves = len(tree.first) - 1
    total, top = 0, 1
    nodes[0] = 1
    while top > 0:
        top -= 1
        node = nodes[top]
        low, high = tree.boxes[node, 0], tree.boxes[node, 1]
        if p[0] < low[0] or p[0] > high[0] or p[1] < low[1] or p[1] > high[1] or p[2] > high[2]:
            continue
        if node >= leaves:
            for i in range(tree.first[node - leaves], tree.first[node - leaves + 1]):
                total += _pierced(p, tree.corners[i])
            continue
        nodes[top], nodes[top + 1] = 2 * node, 2 * node + 1
        top += 2
    return total


@parallel_kernel
def _distances(points: Array, tree: _Tree, out: Float) -> None:
    for block in prange((len(points) + _BLOCK - 1) // _BLOCK):
        nodes, away = np.empty(_STACK, np.int64), np.empty(_STACK, np.float64)
        for i in range(block * _BLOCK, min((block + 1) * _BLOCK, len(points))):
            out[i] = np.sqrt(_nearest(points[i], tree, nodes, away))


@parallel_kernel
def _wound(points: Array, tree: _Tree, out: NDArray[np.bool_]) -> None:
    for block in prange((len(points) + _BLOCK - 1) // _BLOCK):
        nodes = np.empty(_STACK, np.int64)
        for i in range(block * _BLOCK, min((block + 1) * _BLOCK, len(points))):
            out[i] = _winding(points[i], tree, nodes) != 0

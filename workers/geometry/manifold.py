"""Closed meshes made 2-manifold: every edge between two faces, every vertex with one ring of them.

A closed oriented surface that touches itself is cut along where it does, into the sheets that bound the solid
there (after Guéziec et al. 2001, "Cutting and stitching"), and the sheets drawn a little apart.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from workers.geometry.mesh import compacted

Float = NDArray[np.float32]
Index = NDArray[np.int32]

_APART = 0.05  # of the way from a vertex that was cut to the middle of its sheet's neighbours


def defects(faces: Index) -> int:
    """How many edges and vertices keep faces (F,3) from being a closed, oriented 2-manifold; 0 is none.

    Counted are directed edges that lack their one opposite or occur twice, and vertices with several rings.
    """
    edges = _directed(faces)
    count = int(faces.max(initial=0)) + 1
    forward, times = np.unique(edges @ [count, 1], return_counts=True)
    backward = np.unique(edges[:, ::-1] @ [count, 1])
    bad = int((times > 1).sum()) + len(np.setdiff1d(forward, backward))
    if bad:
        return bad
    rings, _ = _rings(faces, _opposites(np.zeros((count, 3), np.float32), faces))
    return rings - len(np.unique(faces))


def manifold(vertices: Float, faces: Index) -> tuple[Float, Index]:
    """The closed oriented mesh (V,3), (F,3) as a 2-manifold: `defects` of the result is 0.

    Every directed edge must occur as often as its opposite. Faces that repeat a vertex, and pairs of faces
    on the same vertices that look opposite ways, enclose nothing and go.
    """
    vertices, faces = compacted(vertices, _without_folds(faces))
    while True:
        opposite = _opposites(vertices, faces)
        count, ring = _rings(faces, opposite)
        source = np.empty(count, np.int64)
        source[ring] = faces  # the vertex each ring is of
        vertices, faces = _apart(vertices[source], source, ring), ring
        shared = _shared_edges(faces)
        if len(shared) == 0:
            return vertices, faces
        vertices, faces = _split(vertices, faces, shared)


def largest_part(vertices: Float, faces: Index) -> tuple[Float, Index]:
    """The connected part of the mesh (V,3), (F,3) that has the most faces."""
    edges = _directed(faces)
    links = sparse.coo_array((np.ones(len(edges)), tuple(edges.T)), shape=(len(vertices), len(vertices)))
    _, label = connected_components(links, directed=False)
    part = label[faces[:, 0]]
    return compacted(vertices, faces[part == np.argmax(np.bincount(part))])


def _directed(faces: Index) -> NDArray[np.int64]:
    """(3F,2) directed edges, half-edge 3f + k running from corner k of face f to corner k + 1."""
    return faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2).astype(np.int64)


def _without_folds(faces: Index) -> Index:
    """The faces without those that repeat a vertex and without pairs that cancel each other."""
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    order = np.sort(faces, axis=1)
    parity = ((faces[:, 0] < faces[:, 1]) ^ (faces[:, 1] < faces[:, 2]) ^ (faces[:, 2] < faces[:, 0])).astype(
        int
    )
    _, group = np.unique(order, axis=0, return_inverse=True)
    balance = np.bincount(group, 2 * parity - 1)  # how many more look one way than the other
    keep = np.zeros(len(faces), bool)
    for side in (0, 1):
        of_side = np.flatnonzero(parity == side)
        rank = _rank(group[of_side])
        surplus = (balance if side else -balance)[group[of_side]]
        keep[of_side] = rank < surplus
    return faces[keep]


def _rank(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many earlier entries of (M,) are equal to each."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    first = np.r_[True, ordered[1:] != ordered[:-1]]
    start = np.maximum.accumulate(np.where(first, np.arange(len(group)), 0))
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - start
    return rank


def _opposites(vertices: Float, faces: Index) -> NDArray[np.int64]:
    """(3F,) the half-edge on the other side of each; where several share an edge, the one across the solid.

    Only half-edges of opposite directions are paired. ValueError where one has none left.
    """
    edges = _directed(faces)
    count = int(faces.max(initial=0)) + 1
    key, reverse = edges @ [count, 1], edges[:, ::-1] @ [count, 1]
    by_key, by_reverse = np.argsort(key, kind="stable"), np.argsort(reverse, kind="stable")
    if not np.array_equal(key[by_key], reverse[by_reverse]):
        raise ValueError("the mesh is not closed")
    opposite = np.empty(len(edges), np.int64)
    opposite[by_reverse] = by_key
    unique, times = np.unique(key, return_counts=True)
    for value in unique[(times > 1) & (unique // count < unique % count)]:
        low, high = np.searchsorted(key[by_key], [value, value + 1])
        forward = by_key[low:high]
        low, high = np.searchsorted(reverse[by_reverse], [value, value + 1])
        backward = by_reverse[low:high]
        mates = _across(vertices, faces, forward, backward)
        opposite[forward], opposite[mates] = mates, forward
    return opposite


def _across(
    vertices: Float, faces: Index, forward: NDArray[np.int64], backward: NDArray[np.int64]
) -> NDArray[np.int64]:
    """For half-edges (K,) a -> b and (K,) b -> a of one edge: the one of the latter each of the former meets
    first when it turns about the edge through the solid.
    """
    a, b = _directed(faces)[forward[0]]
    axis = (vertices[b] - vertices[a]).astype(np.float64)
    axis /= max(float(np.linalg.norm(axis)), 1e-30)
    side = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    up = np.cross(axis, side)
    turn = []
    for half in (forward, backward):
        away = vertices[faces[half // 3, (half + 2) % 3]] - vertices[a]
        turn.append(np.arctan2(away @ up, away @ side))
    free = np.ones(len(backward), bool)
    mates = np.empty(len(forward), np.int64)
    for i in np.argsort(turn[0], kind="stable"):
        # The solid lies clockwise of a face a -> b, seen along the axis.
        gap = np.where(free, (turn[0][i] - turn[1]) % (2 * np.pi), np.inf)
        nearest = int(np.argmin(gap))
        mates[i], free[nearest] = backward[nearest], False
    return mates


def _rings(faces: Index, opposite: NDArray[np.int64]) -> tuple[int, Index]:
    """The number of rings of faces around vertices, and the ring (F,3) each corner belongs to."""
    half = np.arange(len(opposite))
    after = half - half % 3 + (half + 1) % 3
    # A half-edge starts at the same vertex in the same ring as the one after its opposite does.
    links = sparse.coo_array((np.ones(len(half)), (half, after[opposite])), shape=(len(half), len(half)))
    count, label = connected_components(links, directed=False)
    return int(count), label.reshape(-1, 3).astype(np.int32)


def _apart(vertices: Float, source: NDArray[np.int64], faces: Index) -> Float:
    """Vertices (V,3) with those that were cut, several of one source (V,), moved towards their neighbours."""
    cut = np.bincount(source)[source] > 1
    if not cut.any():
        return vertices
    edges = _directed(faces)
    degree = np.bincount(edges[:, 0], minlength=len(vertices))[:, None]
    sums = [np.bincount(edges[:, 0], vertices[edges[:, 1], k], len(vertices)) for k in range(3)]
    middle = np.stack(sums, axis=1) / np.maximum(degree, 1)
    moved = vertices + _APART * (middle - vertices)
    return np.where(cut[:, None], moved, vertices).astype(np.float32)


def _shared_edges(faces: Index) -> NDArray[np.int64]:
    """Half-edges whose directed edge occurs more than once, and those opposite to them."""
    edges = np.sort(_directed(faces), axis=1)
    _, index, times = np.unique(edges @ [int(faces.max()) + 1, 1], return_inverse=True, return_counts=True)
    return np.flatnonzero(times[index] > 2)


def _split(vertices: Float, faces: Index, shared: NDArray[np.int64]) -> tuple[Float, Index]:
    """The mesh with every pair of faces on a `shared` half-edge split at a middle of its own.

    Four faces on one edge, whose ends are in one ring each, become two pairs on edges of two middles.
    """
    opposite = _opposites(vertices, faces)
    edges = _directed(faces)
    points, triangles = list(vertices), [list(map(int, face)) for face in faces]
    chosen: dict[int, int] = {}  # at most one half-edge of a face
    for half in shared.tolist():
        mate = int(opposite[half])
        if half < mate and half // 3 not in chosen and mate // 3 not in chosen:
            chosen[half // 3], chosen[mate // 3] = half, mate
            tips = [vertices[faces[h // 3, (h + 2) % 3]] for h in (half, mate)]
            middle = vertices[edges[half]].mean(0)
            points.append(middle + np.float32(_APART) * (np.mean(tips, axis=0) - middle))
            for h in (half, mate):
                a, b, c = (int(faces[h // 3, (h + k) % 3]) for k in range(3))
                triangles[h // 3] = [a, len(points) - 1, c]
                triangles.append([len(points) - 1, b, c])
    return np.array(points, np.float32), np.array(triangles, np.int32)

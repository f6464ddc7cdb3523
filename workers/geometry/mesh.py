"""Triangle meshes as arrays: vertices (V,3) float, faces (F,3) int, counter-clockwise seen from outside."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
import scipy.sparse.linalg
from numpy.typing import NDArray

Float = NDArray[np.float32]
Index = NDArray[np.int32]


def icosphere(subdivisions: int) -> tuple[Float, Index]:
    """Unit sphere from an icosahedron split `subdivisions` times: 20 * 4^s faces, vertices exactly on the
    sphere.
    """
    golden = (1 + 5**0.5) / 2
    vertices = np.array(
        [[-1, golden, 0], [1, golden, 0], [-1, -golden, 0], [1, -golden, 0]], np.float64
    )  # the other eight are cyclic shifts of these
    vertices = np.concatenate([vertices, np.roll(vertices, 1, axis=1), np.roll(vertices, 2, axis=1)])
    vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    faces = np.array(
        [
            [0, 11, 5], [0, 5, 1], [0, 1, 7], [0, 7, 10], [0, 10, 11],
            [1, 5, 9], [5, 11, 4], [11, 10, 2], [10, 7, 6], [7, 1, 8],
            [3, 9, 4], [3, 4, 2], [3, 2, 6], [3, 6, 8], [3, 8, 9],
            [4, 9, 5], [2, 4, 11], [6, 2, 10], [8, 6, 7], [9, 8, 1],
        ]
    )  # fmt: skip
    for _ in range(subdivisions):
        corner, edge = edges(faces)
        middle = vertices[corner].sum(1)
        middle /= np.linalg.norm(middle, axis=1, keepdims=True)
        ab, bc, ca = (edge + len(vertices)).T
        a, b, c = faces.T
        faces = np.concatenate(
            [np.stack(t, 1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))]
        )
        vertices = np.concatenate([vertices, middle])
    return vertices.astype(np.float32), faces.astype(np.int32)


def edges(faces: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Undirected edges (E,2), each once, and for each face the indices (F,3) of its edges 01, 12, 20."""
    directed = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2).astype(np.int64), axis=1)
    count = int(faces.max(initial=0)) + 1
    unique, index = np.unique(directed @ [count, 1], return_inverse=True)
    return np.stack(np.divmod(unique, count), axis=1), index.reshape(-1, 3)


def vertex_normals(vertices: Float, faces: Index) -> Float:
    """(V,3) unit normals: the mean of the adjacent faces' normals weighted by area; 0 for a vertex without
    faces.
    """
    a, b, c = vertices[faces].transpose(1, 0, 2).astype(np.float64)
    area = np.cross(b - a, c - a)  # F,3, twice the area long
    normals = np.stack(
        [np.bincount(faces.ravel(), np.repeat(area[:, i], 3), len(vertices)) for i in range(3)], axis=1
    )
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return (normals / np.where(length > 0, length, 1)).astype(np.float32)


def volume(vertices: Float, faces: Index) -> float:
    """Signed volume inside a closed mesh, positive where faces look outwards (divergence theorem)."""
    a, b, c = vertices[faces].transpose(1, 0, 2).astype(np.float64)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def compacted(vertices: Float, faces: Index) -> tuple[Float, Index]:
    """The mesh without faces that repeat a vertex and without vertices no face uses."""
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    used, index = np.unique(faces, return_inverse=True)
    return vertices[used], index.reshape(-1, 3).astype(np.int32)


def smoothed(vertices: Float, faces: Index, rounds: int, strength: float = 0.5) -> Float:
    """Vertices after `rounds` of Taubin's lambda|mu smoothing with the uniform Laplacian (Taubin 1995,
    section 3).

    A step of +strength then one of -1.04 strength: noise shrinks, the volume stays.
    """
    corner, _ = edges(faces)
    mean = _adjacency(corner, len(vertices))
    mean = sparse.diags_array(1 / np.maximum(mean.sum(axis=1), 1)) @ mean  # V,V, rows sum to 1
    result = vertices.astype(np.float64)
    for _ in range(rounds):
        for step in (strength, -1.04 * strength):
            result += step * (mean @ result - result)
    return result.astype(np.float32)


def harmonic_fill(values: Float, known: NDArray[np.bool_], faces: Index) -> Float:
    """(V,C) values with the unknown vertices' replaced by the harmonic extension of the known ones.

    Solves L x = 0 at unknown vertices, L the graph Laplacian of the mesh with a faint pull to the mean of the
    known values, which decides parts that no known vertex is connected to. `known`: (V,) with at least one
    true.
    """
    if known.all():
        return values
    mean = values[known].mean(0, dtype=np.float64)
    corner, _ = edges(faces)
    adjacency = _adjacency(corner, len(values))
    pull = 1e-4
    laplacian = (sparse.diags_array(adjacency.sum(axis=1) + pull) - adjacency)[~known].tocsc()
    right = pull * mean - laplacian[:, known] @ values[known].astype(np.float64)
    result = values.copy()
    result[~known] = scipy.sparse.linalg.splu(laplacian[:, ~known]).solve(right)
    return result


def _adjacency(corner: NDArray[np.int64], count: int) -> sparse.csr_array:
    """(count,count) matrix with 1 where an edge of `corner` (E,2) joins two vertices."""
    both = np.concatenate([corner, corner[:, ::-1]])
    return sparse.csr_array((np.ones(len(both)), (both[:, 0], both[:, 1])), shape=(count, count))

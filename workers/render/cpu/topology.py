"""Which faces meet at an edge."""

from __future__ import annotations

import numpy as np

from workers.geometry.kernels import exact_kernel
from workers.render.cpu.work import Index

Edges = Index  # (E,4): an edge's two vertices, the third vertex of one face, and of the other or -1


def joined(faces: Index) -> Edges:
    """The edges of `faces` (F,3), each with the faces on its sides.

    An edge of more than two faces appears once for each pair of them, in order, and once more for a last
    one.
    """
    count = int(faces.max(initial=-1)) + 1
    edges = np.full((3 * len(faces), 4), -1, np.int32)
    return edges[: _join(faces, np.full(count, -1, np.int32), np.empty(len(edges), np.int32), edges)]


@exact_kernel
def _join(faces: Index, first: Index, following: Index, edges: Edges) -> int:
    """Fills `edges`, returns how many. first (V,), following (3F,): chains of the edges at a vertex."""
    count = 0
    for face in range(len(faces)):
        for corner in range(3):
            opposite = faces[face, corner]
            a, b = faces[face, (corner + 1) % 3], faces[face, (corner + 2) % 3]
            low, high = min(a, b), max(a, b)
            edge = first[low]
            while edge >= 0 and (edges[edge, 1] != high or edges[edge, 3] >= 0):
                edge = following[edge]
            if edge >= 0:
                edges[edge, 3] = opposite
                continue
            edges[count, 0], edges[count, 1], edges[count, 2] = low, high, opposite
            following[count] = first[low]
            first[low] = count
            count += 1
    return count

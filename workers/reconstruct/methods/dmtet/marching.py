"""Marching tetrahedra (Doi and Koide 1991), differentiable as in Shen et al. 2021, "Deep marching
tetrahedra", section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.reconstruct.methods.dmtet.lattice import LOCAL_EDGES, Lattice


@dataclass(frozen=True)
class Grid:
    """A lattice's connectivity on a device. edges: (E,2). tets: (T,4). tet_edges: (T,6). All int64."""

    edges: Tensor
    tets: Tensor
    tet_edges: Tensor

    @classmethod
    def of(cls, lattice: Lattice, device: torch.device) -> Grid:
        arrays = lattice.edges, lattice.tets, lattice.tet_edges
        return cls(*(torch.from_numpy(array).to(device) for array in arrays))


def march(points: Tensor, field: Tensor, grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
    """The surface field = 0, faces looking towards positive values.

    points: (P,3). field: (P,), negative inside.
    Returns vertices (V,3), faces (F,3) int32 and the edges that the surface crosses (V,2), each the place of
    one vertex. Closed where no point of a tetrahedron at the border is inside. Gradients reach points and
    field.
    """
    inside = field.detach() < 0
    a, b = inside[grid.edges[:, 0]], inside[grid.edges[:, 1]]
    crossing = a != b
    number = torch.cumsum(crossing, 0, dtype=torch.int32) - 1
    crossed = grid.edges[crossing]
    ends, values = points[crossed], field[crossed]
    share = values[:, :1] / (values[:, :1] - values[:, 1:])
    vertices = ends[:, 0] + share * (ends[:, 1] - ends[:, 0])
    marks = inside[grid.tets]
    code = marks[:, 0] + 2 * marks[:, 1].int() + 4 * marks[:, 2].int() + 8 * marks[:, 3].int()
    mixed = torch.nonzero((code > 0) & (code < 15))[:, 0]
    local = torch.from_numpy(_triangles()).to(field.device)[code[mixed].long()]  # M,6
    edges = torch.gather(grid.tet_edges[mixed], 1, local.clamp_min(0)).reshape(-1, 3)
    faces = number[edges[local.reshape(-1, 3)[:, 0] >= 0]]
    return vertices, faces, crossed


@cache
def _triangles() -> NDArray[np.int64]:
    """(16,6) by which points are inside (bits): the local edges of up to two triangles, -1 for none.

    Found on the tetrahedron of the axes, which is of positive volume.
    """
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float64)
    table = np.full((16, 6), -1, np.int64)
    for code in range(1, 15):
        inside = [k for k in range(4) if code >> k & 1]
        outside = [k for k in range(4) if not code >> k & 1]
        ring = [(i, o) for i in inside for o in outside]
        if len(ring) == 4:
            ring[2], ring[3] = ring[3], ring[2]  # neighbours share an inner or an outer point
        edges = [LOCAL_EDGES.index((min(pair), max(pair))) for pair in ring]
        middle = [corners[list(pair)].mean(0) for pair in ring]
        normal = np.cross(middle[1] - middle[0], middle[2] - middle[0])
        if normal @ (corners[outside].mean(0) - corners[inside].mean(0)) < 0:
            edges.reverse()
        for k in range(len(edges) - 2):
            table[code, 3 * k : 3 * k + 3] = edges[0], edges[k + 1], edges[k + 2]
    return table

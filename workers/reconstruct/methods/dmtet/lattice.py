"""A tetrahedral lattice over a box: body-centred cubic, whose tetrahedra are all congruent and nearly regular
(Labelle and Shewchuk 2007, "Isosurface stuffing", section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Long = NDArray[np.int64]

LOCAL_EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
"""Of a tetrahedron, in the order of `Lattice.tet_edges`."""


@dataclass(frozen=True)
class Lattice:
    """points: (P,3) float32. tets: (T,4), of positive volume. edges: (E,2), each once, lower point first.
    tet_edges: (T,6) edges of each tetrahedron. border: (P,) true where a point is not surrounded by
    tetrahedra. spacing: side of the cubes."""

    points: NDArray[np.float32]
    tets: Long
    edges: Long
    tet_edges: Long
    border: NDArray[np.bool_]
    spacing: float


def lattice(half: Array, cells: int) -> Lattice:
    """Over the box -half..half (3,) with `cells` cubes on its longest side, and one cube more at every end.

    Two points and twelve tetrahedra a cube. A grid that quartet calls of resolution R, as nvdiffrec's is, has
    about R / 2.4 cubes on a side.
    """
    spacing = float(2 * half.max() / cells)
    shape = np.ceil(2 * half / spacing - 1e-6).astype(int) + 2
    corner = np.arange(np.prod(shape + 1)).reshape(shape + 1)
    centre = corner.size + np.arange(np.prod(shape)).reshape(shape)
    steps = np.concatenate([np.argwhere(corner >= 0), np.argwhere(centre >= 0) + 0.5])
    tets = np.concatenate([_across(corner, centre, axis) for axis in range(3)])
    sides = np.sort(tets[:, LOCAL_EDGES], axis=2).reshape(-1, 2)
    unique, index = np.unique(sides @ [len(steps), 1], return_inverse=True)
    return Lattice(
        points=((steps - shape / 2) * spacing).astype(np.float32),
        tets=tets,
        edges=np.stack(np.divmod(unique, len(steps)), axis=1),
        tet_edges=index.reshape(-1, 6),
        border=np.asarray(((steps < 0.75) | (steps > shape - 0.75)).any(1)),
        spacing=spacing,
    )


def _across(corner: Long, centre: Long, axis: int) -> Long:
    """Of each two cubes that are neighbours along the axis, the four tetrahedra around the line between their
    centres, which share the four sides of the square between them."""
    corner, centre = np.moveaxis(corner, axis, 0)[1:-1], np.moveaxis(centre, axis, 0)
    square = [corner[:, :-1, :-1], corner[:, 1:, :-1], corner[:, 1:, 1:], corner[:, :-1, 1:]]
    ends = [centre[:-1], centre[1:]] if axis != 1 else [centre[1:], centre[:-1]]  # y, x, z is left-handed
    return np.concatenate([
        np.stack([*ends, square[k], square[(k + 1) % 4]], axis=-1).reshape(-1, 4) for k in range(4)
    ])  # fmt: skip

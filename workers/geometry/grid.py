"""Scalar fields on a box of cubic voxels, and their zero surfaces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Grid:
    """Samples at origin + spacing * (i, j, k), 0 <= (i, j, k) < shape, in the frame of `origin`."""

    origin: tuple[float, float, float]
    spacing: float
    shape: tuple[int, int, int]

    @classmethod
    def around(
        cls, low: NDArray[np.float64], high: NDArray[np.float64], longest: int, margin: int = 3
    ) -> Grid:
        """The grid over the box low..high (3,) with `longest` samples on its longest side, `margin` of them
        outside
        the box at either end."""
        spacing = float(np.max(high - low)) / (longest - 1 - 2 * margin)
        cells = np.ceil((high - low) / spacing - 1e-6).astype(int) + 2 * margin
        origin = (low + high) / 2 - cells * spacing / 2
        return cls(
            (float(origin[0]), float(origin[1]), float(origin[2])), spacing, tuple((cells + 1).tolist())
        )

    def points(self, where: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(M,3) positions of the samples where `where` (shape) is true."""
        points: NDArray[np.float64] = np.argwhere(where) * self.spacing + np.array(self.origin)
        return points


def solid(field: Float) -> Float:
    """`field` (negative inside) with one inside: its largest connected part, without enclosed bubbles.

    What is not connected to that part becomes barely outside, what cannot be reached from the border barely
    inside, so the zero surface keeps its sub-voxel place elsewhere. A field without inside is returned as it
    is.
    """
    parts, count = ndimage.label(field < 0)
    if count == 0:
        return field
    largest = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    outside, _ = ndimage.label(~np.pad(largest, 1))
    filled = (outside != outside[0, 0, 0])[1:-1, 1:-1, 1:-1]
    result = np.where((field < 0) & ~filled, np.float32(1e-3), field)
    return np.where((field >= 0) & filled, np.float32(-1e-3), result)


def zero_surface(field: Float, grid: Grid) -> tuple[Float, NDArray[np.int32]]:
    """Vertices (V,3) and faces (F,3) of the surface field = 0, faces looking towards positive values.

    Lewiner et al. 2003 (marching cubes with a topological guarantee). The field must be negative somewhere;
    where it is at the grid's border, the surface closes just outside.
    """
    closed = np.pad(field, 1, constant_values=np.float32(grid.spacing))
    vertices, faces, _, _ = measure.marching_cubes(  # type: ignore[no-untyped-call]
        closed, 0.0, gradient_direction="descent"
    )
    position = (vertices.astype(np.float64) - 1) * grid.spacing + np.array(grid.origin)
    return position.astype(np.float32), np.ascontiguousarray(faces, np.int32)

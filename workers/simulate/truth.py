"""The exact mesh of the object, to measure reconstructions against."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage import measure

from workers.simulate.paint import Paint, albedo_at
from workers.simulate.shape import Shape, bounds, distance_grid


def mesh(s: Shape, cell: float) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Vertices (V, 3) in metres and faces (F, 3), counter-clockwise from outside; cell in metres."""
    low, high = bounds(s)
    # off by an odd share of a cell, so that the flat foot lies between two layers and not in one
    axes = [np.arange(low[i] - 2.37 * cell, high[i] + 2 * cell, cell) for i in range(3)]
    grid = distance_grid(s, *axes)
    # a surface through a corner gives triangles without area: move it by a hundredth of a cell
    nudge = np.float32(0.01 * cell)
    grid[np.abs(grid) < nudge] = nudge
    vertices, faces, _, _ = measure.marching_cubes(  # type: ignore[no-untyped-call]
        grid, 0.0, spacing=(cell, cell, cell), gradient_direction="descent"
    )
    return vertices.astype(np.float64) + [axis[0] for axis in axes], faces


def encode_srgb(linear: NDArray[np.floating]) -> NDArray[np.floating]:
    """sRGB-encoded values 0..1 of linear ones, clipped as a sensor clips."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def write_ply(path: Path, s: Shape, p: Paint, cell: float) -> None:
    """Write the mesh as binary PLY: float32 vertices in metres, each with its albedo as sRGB bytes."""
    vertices, faces = mesh(s, cell)
    table = np.empty(len(vertices), [("place", "<f4", 3), ("colour", "u1", 3)])
    table["place"] = vertices
    table["colour"] = np.round(255 * encode_srgb(albedo_at(s, p, vertices)))
    corners = np.empty(len(faces), [("count", "u1"), ("corner", "<i4", 3)])
    corners["count"] = 3
    corners["corner"] = faces
    header = (
        f"ply\nformat binary_little_endian 1.0\ncomment metres, y up\nelement vertex {len(vertices)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    path.write_bytes(header.encode() + table.tobytes() + corners.tobytes())

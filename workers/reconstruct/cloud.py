"""A cloud of points as files: PLY, and a model that COLMAP and OpenMVS open."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from workers.geometry.colmap import write_model
from workers.reconstruct.methods.model import Cloud

_SPARSE = 20_000  # points of the COLMAP model, at most: it is text, and a line a sighting
_PROPERTIES = [
    *((axis, "<f4", "float") for axis in ("x", "y", "z", "nx", "ny", "nz")),
    *((channel, "u1", "uchar") for channel in ("red", "green", "blue")),
]


def write_cloud(folder: Path, cloud: Cloud) -> None:
    """Write points.ply and colmap/ into `folder`, in the cloud's frame.

    points.ply is binary, little-endian (Turk 1994): positions, unit normals, sRGB colours of all points.
    colmap/ is a text model: the cameras, and of the points an even choice with what sees each.
    """
    rows = np.empty(len(cloud.points), [(name, kind) for name, kind, _ in _PROPERTIES])
    values = np.concatenate([cloud.points, cloud.normals, cloud.colours], axis=1)
    for (name, _, _), column in zip(_PROPERTIES, values.T, strict=True):
        rows[name] = column
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    header += [f"property {kind} {name}" for name, _, kind in _PROPERTIES]
    (folder / "points.ply").write_bytes("\n".join([*header, "end_header\n"]).encode() + rows.tobytes())
    # Points come in the order of their places.
    step = -(-len(rows) // _SPARSE)
    point, view = cloud.sightings.T
    chosen = point % step == 0
    tracks = np.stack([point[chosen] // step, view[chosen]], axis=1)
    points = cloud.points[::step].astype(np.float64)
    write_model(folder / "colmap", cloud.cameras, points, cloud.colours[::step], tracks)

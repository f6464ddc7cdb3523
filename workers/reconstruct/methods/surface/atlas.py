"""A texture atlas: the surface cut into charts and laid out in the unit square."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xatlas
from numpy.typing import NDArray

from workers.render.rasterizer import interpolate, rasterize

Float = NDArray[np.float32]
Index = NDArray[np.int32]

_PADDING = 4  # texels between charts


@dataclass(frozen=True)
class Atlas:
    """source: (W,) the mesh's vertex each atlas vertex copies. faces: (F,3) of atlas vertices, in the mesh's
    order.
    uv: (W,2) in [0,1], v up. size: pixels of the texture's sides."""

    source: Index
    faces: Index
    uv: Float
    size: int

    def spread(self, attributes: Float) -> tuple[Float, NDArray[np.bool_]]:
        """Vertex attributes (V,C) at the texels' centres (size,size,C), top row first, and which texels lie
        on a
        chart."""
        flat = np.zeros((1, len(self.uv), 4), np.float32)
        flat[0, :, :2] = 2 * self.uv - 1
        flat[0, :, 3] = 1
        rast = rasterize(flat, self.faces, (self.size, self.size))
        return interpolate(attributes[self.source], rast, self.faces)[0], rast[0, :, :, 3] > 0


def unwrap(vertices: Float, faces: Index, size: int) -> Atlas:
    """Atlas of the mesh (V,3), (F,3) for a texture of size x size texels."""
    charts = xatlas.ChartOptions()
    charts.max_iterations = 1
    charts.max_cost = 4.0
    pack = xatlas.PackOptions()
    pack.resolution = size
    pack.padding = _PADDING
    pack.bilinear = True
    pack.rotate_charts_to_axis = False
    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices, faces.astype(np.uint32))
    atlas.generate(charts, pack)
    source, atlas_faces, uv = atlas[0]
    return Atlas(
        source.astype(np.int32), np.ascontiguousarray(atlas_faces, np.int32), uv.astype(np.float32), size
    )

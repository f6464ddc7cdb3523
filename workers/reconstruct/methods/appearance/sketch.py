"""A quick look at a surface on its way."""

from __future__ import annotations

from dataclasses import dataclass

import fast_simplification
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from workers.geometry.colour import encode_srgb
from workers.geometry.mesh import vertex_normals
from workers.reconstruct.methods.appearance.bake import colours, prepare
from workers.reconstruct.methods.model import Scene, Sketch
from workers.reconstruct.smaller import smaller

Float = NDArray[np.float32]
Index = NDArray[np.int32]

_FACES = 8000
_VIEWS = 12  # that its colours are taken from
_PIXELS = 256


def sketch(scene: Scene, vertices: Float, faces: Index) -> Sketch:
    """The surface (V,3), (F,3) with few triangles, each vertex in the colour some photos show it in, or else
    the nearest. In the scene's frame, where the object is one unit long.
    """
    vertices, faces = _simple(vertices, faces)
    some = np.unique(np.linspace(0, len(scene.images) - 1, _VIEWS).astype(np.int64))
    photos = prepare(smaller(scene.select(some), _PIXELS), vertices, faces)
    colour, weight = colours(vertices, vertex_normals(vertices, faces), photos)
    shown = weight > 0
    if shown.any():
        colour[~shown] = colour[_nearest(vertices[~shown], vertices, shown)]
    return Sketch(vertices, faces, np.clip(colour, 0, 255).astype(np.uint8))


@dataclass(frozen=True)
class Draft:
    """A surface with few triangles: vertices (S,3), faces (F,3). origin (S,): the vertex of the whole surface
    that each has its colour from.
    """

    vertices: Float
    faces: Index
    origin: NDArray[np.int64]

    def painted(self, linear: Float) -> Sketch:
        """In linear colours (V,3) of the whole surface's vertices."""
        colour = np.clip(255 * encode_srgb(linear[self.origin]) + 0.5, 0, 255)
        return Sketch(self.vertices, self.faces, colour.astype(np.uint8))


def draft(vertices: Float, faces: Index, known: NDArray[np.bool_]) -> Draft:
    """Of the surface (V,3), (F,3), of whose vertices those `known` (V,) have colours."""
    simple = _simple(vertices, faces)
    return Draft(*simple, _nearest(simple[0], vertices, known))


def _nearest(points: Float, vertices: Float, known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(M,) which of the `known` (V,) vertices (V,3) is nearest to each point (M,3)."""
    _, nearest = cKDTree(vertices[known]).query(points)
    return np.flatnonzero(known)[nearest]


def _simple(vertices: Float, faces: Index) -> tuple[Float, Index]:
    if len(faces) <= _FACES:
        return vertices, faces
    vertices, faces = fast_simplification.simplify(vertices, faces, target_count=_FACES)
    return np.asarray(vertices, np.float32), np.asarray(faces, np.int32)

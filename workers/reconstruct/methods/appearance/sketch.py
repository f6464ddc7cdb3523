"""A quick look at a surface on its way."""

from __future__ import annotations

import fast_simplification
import numpy as np
from numpy.typing import NDArray

from workers.geometry.mesh import vertex_normals
from workers.reconstruct.methods.appearance.bake import colours, prepare
from workers.reconstruct.methods.model import Scene, Sketch

Float = NDArray[np.float32]

_FACES = 8000
_VIEWS = 12  # that its colours are taken from
_GREY = 190


def sketch(scene: Scene, vertices: Float, faces: NDArray[np.int32]) -> Sketch:
    """The surface (V,3), (F,3) with few triangles, each vertex in the colour some photos show it in; grey
    where none does. In the scene's frame, where the object is one unit long.
    """
    if len(faces) > _FACES:
        vertices, faces = fast_simplification.simplify(vertices, faces, target_count=_FACES)
        vertices, faces = np.asarray(vertices, np.float32), np.asarray(faces, np.int32)
    some = scene.select(np.unique(np.linspace(0, len(scene.images) - 1, _VIEWS).astype(np.int64)))
    colour, weight = colours(vertices, vertex_normals(vertices, faces), prepare(some, vertices, faces))
    colour[weight == 0] = _GREY
    return Sketch(vertices, faces, np.clip(colour, 0, 255).astype(np.uint8))

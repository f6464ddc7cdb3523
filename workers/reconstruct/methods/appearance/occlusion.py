"""What of the surroundings each vertex sees past the object itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.render.environment import solid_angles, texel_directions
from workers.render.occlusion import unhidden

Float = NDArray[np.float32]

SIZE = 8  # of the cube map whose texels' directions are looked in


def visible_directions(
    vertices: Float, faces: NDArray[np.int32], normals: Float, reach: float
) -> NDArray[np.uint8]:
    """(V, 6 SIZE SIZE): 1 where nothing lies between a vertex and far away in the direction of a texel: see
    `unhidden`.
    """
    return unhidden(vertices, faces, normals, reach, texel_directions(SIZE))


def cosine_weights(normals: Float, visible: NDArray[np.uint8]) -> Float:
    """(V,D) share of each direction in what falls on a vertex, from `visible` (V,D); the rest of 1 is
    hidden.
    """
    weights = normals @ texel_directions(SIZE).T
    np.maximum(weights, 0, out=weights)
    weights *= solid_angles(SIZE) / np.float32(np.pi)
    weights *= visible
    return weights

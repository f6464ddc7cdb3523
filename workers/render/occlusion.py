"""What of its surroundings a surface sees past itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.render.rasterizer import rasterize

Float = NDArray[np.float32]

_PIXELS = 192  # of the shadow maps' sides
_BATCH = 8
_LIFT = 0.006  # of the object's longest side, along the normal: so that a facet does not shade itself
_BIAS = 0.004


def unhidden(
    vertices: Float, faces: NDArray[np.int32], normals: Float, reach: float, directions: Float
) -> NDArray[np.uint8]:
    """(V,D): 1 where nothing lies between a vertex and far away in one of the unit directions (D,3).

    By a parallel shadow map for each direction (Williams 1978). The mesh (V,3), (F,3) lies within `reach` of
    0 and is one unit long.
    """
    lifted = vertices + np.float32(_LIFT) * normals
    visible = np.empty((len(vertices), len(directions)), np.uint8)
    for start in range(0, len(directions), _BATCH):
        turns = [_turn(d) / np.float32(reach) for d in directions[start : start + _BATCH]]
        clip = np.ones((len(turns), len(vertices), 4), np.float32)
        for k, turn in enumerate(turns):
            clip[k, :, :3] = vertices @ turn.T
        rast = rasterize(clip, faces, (_PIXELS, _PIXELS))
        nearest = np.where(rast[..., 3] > 0, rast[..., 2], np.float32(2))
        for k, turn in enumerate(turns):
            x, y, z = (lifted @ turn.T).T
            column = np.clip(((x + 1) / 2 * _PIXELS).astype(int), 0, _PIXELS - 1)
            row = np.clip(((1 - y) / 2 * _PIXELS).astype(int), 0, _PIXELS - 1)
            visible[:, start + k] = z <= nearest[k, row, column] + np.float32(_BIAS)
    return visible


def _turn(direction: Float) -> Float:
    """Rotation (3,3) that takes a unit direction to -z, towards the viewer of a rasterised image."""
    other = np.eye(3)[np.abs(direction).argmin()]
    x = np.cross(other, direction)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(direction, x), -direction]).astype(np.float32)

"""Which parts of a surface the photos show: what was measured, and what had to be made up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.package.model import Model
from workers.render.depth import clip_positions
from workers.render.rasterizer import rasterize

_BATCH = 8


@dataclass(frozen=True)
class Seen:
    """share: the part of the surface that any photo shows. cover (N,h,w) bool: where each photo would show
    the object.
    """

    share: float
    cover: NDArray[np.bool_]


def seen(model: Model, cameras: Cameras) -> Seen:
    """model: in the cameras' frame. A photo shows a triangle that is the nearest at one of its pixels."""
    points, faces = model.points
    corners = points[faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    cover = np.zeros((len(cameras), cameras.height, cameras.width), bool)
    shown = np.zeros(len(faces), bool)
    clip = clip_positions(points.astype(np.float32), cameras)
    for start in range(0, len(cameras), _BATCH):
        views = slice(start, start + _BATCH)
        rast = rasterize(clip[views], faces, (cameras.height, cameras.width))
        for i, image in enumerate(rast, start):
            triangle = image[:, :, 3].astype(np.int64)
            cover[i] = triangle > 0
            shown[triangle[cover[i]] - 1] = True
    return Seen(float(areas[shown].sum() / areas.sum()), cover)

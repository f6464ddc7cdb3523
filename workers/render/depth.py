"""Depth maps of a mesh."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.render.rasterizer import interpolate, rasterize

Float = NDArray[np.float32]

_BATCH = 8  # views rasterised at once


def clip_positions(vertices: Float, cameras: Cameras) -> Float:
    """(N,V,4) clip-space positions; the near and far planes lie just around the vertices."""
    homogeneous = np.concatenate([vertices, np.ones((len(vertices), 1))], axis=1)  # V,4
    depth = homogeneous @ cameras.projection()[:, 2].T  # V,N
    far = 1.01 * max(float(depth.max()), 1e-6)
    near = 0.99 * min(max(float(depth.min()), 1e-3 * far), far)
    return np.stack([(homogeneous @ clip.T).astype(np.float32) for clip in cameras.clip(near, far)])


def depth_maps(vertices: Float, faces: NDArray[np.int32], cameras: Cameras, farthest: bool = False) -> Float:
    """(N,height,width) depth along each camera's axis at each pixel's centre, 0 where there is no surface.

    vertices: (V,3) in the cameras' world; faces: (F,3). The nearest surface, or the farthest one.
    """
    maps = np.zeros((len(cameras), cameras.height, cameras.width), np.float32)
    clip = clip_positions(vertices, cameras)
    if farthest:
        clip[:, :, 2] *= -1
    for start in range(0, len(cameras), _BATCH):
        views = slice(start, start + _BATCH)
        rast = rasterize(clip[views], faces, (cameras.height, cameras.width))
        for i, image in enumerate(rast, start):
            maps[i] = interpolate(clip[i, :, 3:], image[None], faces)[0, :, :, 0]
    return maps

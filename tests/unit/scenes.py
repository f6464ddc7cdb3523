"""Scenes rendered by our own rasteriser, whose truth is a formula."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.geometry.mesh import icosphere
from workers.reconstruct.methods.model import Scene
from workers.render.depth import clip_positions
from workers.render.rasterizer import interpolate, rasterize

Float = NDArray[np.float32]


def _ring(count: int, distance: float, centre: NDArray[np.float64], size: int, focal: float) -> Cameras:
    """Cameras on a Fibonacci spiral around `centre`, looking at it."""
    k = np.arange(count)
    height = 0.9 - 1.8 * (k + 0.5) / count
    turn = k * np.pi * (3 - 5**0.5)
    radius = np.sqrt(1 - height**2)
    back = np.stack([radius * np.cos(turn), radius * np.sin(turn), height], axis=1)
    right = np.cross([0, 0, 1.0], back)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    c2w = np.tile(np.eye(4), (count, 1, 1))
    c2w[:, :3] = np.stack([right, np.cross(back, right), back, centre + distance * back], axis=2)
    intrinsics = np.tile([focal, focal, size / 2, size / 2], (count, 1))
    return Cameras(tuple(f"{i:03d}.png" for i in range(count)), intrinsics, size, size, c2w)


def pattern(points: Float) -> Float:
    """Colours in [0,255], smooth and busy."""
    axes = np.array([[1, 2, 0.5], [-2, 1, 1], [0.5, -1, 2]], np.float32)
    waves = [np.sin(points @ axis * 23) for axis in axes]
    mixed = waves[1][..., None] * waves[0][..., None]
    colours: Float = (127 + 60 * np.stack(waves, axis=-1) + 50 * mixed).astype(np.float32)
    return colours


def scene(shape: Callable[[Float], Float], count: int = 24, size: int = 160, offset: float = 0.0) -> Scene:
    """A star-shaped object r = shape(direction), textured by `pattern`, its middle off the origin."""
    directions, faces = icosphere(6)
    centre = np.full(3, offset)
    vertices = (directions * shape(directions)[:, None] + centre).astype(np.float32)
    cameras = _ring(count, 4.0, centre, size, 1.3 * size)
    images, masks = np.zeros((count, size, size, 3), np.uint8), np.zeros((count, size, size), bool)
    clip = clip_positions(vertices, cameras)
    for i in range(count):
        rast = rasterize(clip[i : i + 1], faces, (size, size))
        masks[i] = rast[0, ..., 3] > 0
        points = interpolate((vertices - centre).astype(np.float32), rast, faces)[0][masks[i]]
        images[i][masks[i]] = np.clip(pattern(points), 0, 255)
    return Scene(images, masks, cameras, np.tile([0, 0, size, size], (count, 1)))


def ball(directions: Float) -> Float:
    return np.ones(len(directions), np.float32)


def dimpled(directions: Float) -> Float:
    """A ball with a hollow 0.25 deep on one side, which no silhouette shows."""
    across = np.arccos(np.clip(directions[:, 0], -1, 1))
    hollow: Float = (1 - 0.25 * np.exp(-((across / 0.35) ** 2))).astype(np.float32)
    return hollow

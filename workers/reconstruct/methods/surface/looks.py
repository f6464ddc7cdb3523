"""Views of a surface, with all that matching them needs to know."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import view_angles
from workers.geometry.grid import Grid, zero_surface
from workers.reconstruct.methods.model import Scene
from workers.reconstruct.methods.surface.silhouettes import cut_to_object
from workers.reconstruct.methods.surface.sweep import choose_neighbours
from workers.reconstruct.methods.surface.tones import brightness_drift, noise_level
from workers.reconstruct.threads import each
from workers.render.depth import depth_maps

Float = NDArray[np.float32]

_DARK = 4.0  # sRGB value that the logarithm of brightness starts at: sensor noise below


@dataclass(frozen=True)
class Look:
    """N views cut to the object, and what they see of a surface.

    cut: the views. grey: (N,h,w) in [0,1], the logarithm of brightness. guide: (N,h,w) depth of the surface,
    0 where nothing. neighbours: (N,J) views to compare each with. noise, drift, steady: see `noise_level` and
    `brightness_drift`.
    """

    cut: Scene
    grey: Float
    guide: Float
    neighbours: NDArray[np.int32]
    noise: Float
    drift: Float
    steady: float


def look(
    scene: Scene, half: NDArray[np.float64], size: int, field: Float, grid: Grid, neighbours: int
) -> Look:
    """Views of size x size pixels at the surface field = 0, each to be compared with so many neighbours."""
    cut = cut_to_object(scene, half, size)
    guide = depth_maps(*zero_surface(field, grid), cut.cameras)
    grey = np.stack(each(_logarithm, cut.images))
    chosen = choose_neighbours(view_angles(cut.cameras), min(neighbours, len(grey) - 1))
    drift, steady = brightness_drift(grey, guide, cut.cameras, chosen)
    return Look(cut, grey, guide, chosen, noise_level(grey, cut.masks), drift, steady)


def _logarithm(image: NDArray[np.uint8]) -> Float:
    # Grey of three rounded channels is finer than rounded grey, which counts where it is dark.
    bright = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY)
    # In the dark of a hollow a few steps are all there is.
    grey: Float = (np.log1p(bright / _DARK) / np.log1p(255 / _DARK)).astype(np.float32)
    return grey

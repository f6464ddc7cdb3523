"""How a reconstruction looks so far: a small GLB, and a render of it beside a photo."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import trimesh
from numpy.typing import NDArray

from workers.geometry.images import window_of, write_png
from workers.reconstruct.contact_sheet import seen_through
from workers.reconstruct.methods.model import Scene, Sketch
from workers.render.depth import clip_positions
from workers.render.rasterizer import interpolate, rasterize

_PIXELS = 384  # of the picture's height
_PAUSE = 5.0  # seconds from one to the next, at least: drawing one takes a fifth of a second


class Previews:
    """Writes `NNN.glb` and `NNN.png` into a folder, or nothing without one.

    scene: whose first photo is shown beside. to_world: (4,4) from its frame to the capture's world, in which
    the GLB is. clock: tells seconds.
    """

    def __init__(
        self,
        folder: Path | None,
        scene: Scene,
        to_world: NDArray[np.floating],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._to_world, self._count = folder, to_world, 0
        self._clock, self._last = clock, -np.inf
        shown = scene.masks[0] if scene.masks[0].any() else np.ones_like(scene.masks[0])
        window, size = window_of(shown), (_PIXELS, _PIXELS)
        self._camera = seen_through(window, scene.cameras.select([0])).scaled(*size)
        self._photo = cv2.resize(scene.images[0][window], size, interpolation=cv2.INTER_AREA)

    def write(self, draw: Callable[[], Sketch]) -> str | None:
        """The name of what was drawn and written; None where it is too soon after the one before."""
        if self._folder is None or self._clock() < self._last + _PAUSE:
            return None
        sketch = draw()
        self._last = self._clock()
        self._count += 1
        name = f"{self._count:03d}"
        vertices = sketch.vertices @ self._to_world[:3, :3].T + self._to_world[:3, 3]
        linear = 255 * (sketch.colours / 255.0) ** 2.2  # as glTF wants colours at vertices
        mesh = trimesh.Trimesh(vertices, sketch.faces, vertex_colors=linear.astype(np.uint8), process=False)
        mesh.export(self._folder / f"{name}.glb")
        write_png(self._folder / f"{name}.png", self._beside(sketch))
        return name

    def _beside(self, sketch: Sketch) -> NDArray[np.uint8]:
        """(h,2h,3): the object in the photo, and the sketch from the same camera."""
        clip = clip_positions(sketch.vertices, self._camera)
        rast = rasterize(clip, sketch.faces, (_PIXELS, _PIXELS))
        colour = interpolate(sketch.colours.astype(np.float32), rast, sketch.faces)[0]
        return np.concatenate([self._photo, colour.astype(np.uint8)], axis=1)

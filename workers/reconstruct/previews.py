"""How a reconstruction looks so far: a small GLB, and a render of it beside a photo."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import trimesh
from numpy.typing import NDArray

from workers.geometry.images import write_png
from workers.reconstruct.contact_sheet import window_of
from workers.reconstruct.methods.model import Scene, Sketch
from workers.render.depth import clip_positions
from workers.render.rasterizer import interpolate, rasterize

_PIXELS = 384  # of the picture's height


class Previews:
    """Writes `NNN.glb` and `NNN.png` into a folder, or nothing without one.

    scene: whose first photo is shown beside. to_world: (4,4) from its frame to the capture's world, in which
    the GLB is.
    """

    def __init__(self, folder: Path | None, scene: Scene, to_world: NDArray[np.floating]) -> None:
        self._folder, self._to_world, self._count = folder, to_world, 0
        self._camera, self._photo = scene.cameras.select([0]), scene.images[0]
        self._window = window_of(scene.masks[0]) if scene.masks[0].any() else (slice(None), slice(None))

    def write(self, sketch: Sketch) -> str | None:
        """The name of what was written."""
        if self._folder is None:
            return None
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
        size = (self._camera.height, self._camera.width)
        rast = rasterize(clip_positions(sketch.vertices, self._camera), sketch.faces, size)
        colour = interpolate(sketch.colours.astype(np.float32), rast, sketch.faces)[0]
        halves = [
            cv2.resize(picture[self._window], (_PIXELS, _PIXELS), interpolation=cv2.INTER_AREA)
            for picture in (self._photo, colour.astype(np.uint8))
        ]
        return np.concatenate(halves, axis=1)

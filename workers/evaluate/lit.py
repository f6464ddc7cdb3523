"""The renderer that shows a model as it says it looks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from workers.evaluate.errors import CannotEvaluate
from workers.evaluate.images import Renderer, base_colour
from workers.evaluate.mesh import Mesh
from workers.geometry.cameras import Cameras
from workers.render.environment import from_equirectangular
from workers.render.lit import Lit

LIGHT = "light.hdr"
_SIZE = 32


def renderer_for(model: Path, mesh: Mesh) -> tuple[Renderer, str]:
    """With the materials under the light in `light.hdr` beside the model's file, or in its folder; with the
    base colour alone where there is none. And which of the two, in words.

    The picture is equirectangular, in the frame of mesh.obj: see `to_equirectangular`. CannotEvaluate where
    it cannot be read.
    """
    path = (model if model.is_dir() else model.parent) / LIGHT
    if not path.is_file() or mesh.ks is None or mesh.colours is not None:
        return base_colour, "base colour alone"
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.ndim != 3 or not np.isfinite(picture).all():
        raise CannotEvaluate(f"{path.name} is not a readable HDR picture")
    light = from_equirectangular(picture[:, :, 2::-1].astype(np.float32), _SIZE)
    lit = Lit(_Complete(mesh), light)

    def render(_: Mesh, camera: Cameras) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        return lit(camera)

    return render, "lit by its light.hdr"


class _Complete:
    """A mesh whose material lacks nothing; one that says nothing of occlusion has none."""

    def __init__(self, mesh: Mesh) -> None:
        self.vertices, self.faces, self.normals, self.uv = mesh.vertices, mesh.faces, mesh.normals, mesh.uv
        flat = np.full((1, 1, 3), (128, 128, 255), np.uint8)
        self.kd, self.ks = mesh.kd, mesh.ks if mesh.ks is not None else flat
        self.normal_map = flat if mesh.normal_map is None else mesh.normal_map

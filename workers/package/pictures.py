"""The poster, for lists and loading screens, and the turntable."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import PIL.Image

from workers.geometry.cameras import Cameras
from workers.package.model import Array, Image, Model
from workers.package.studio import ELEVATION, Studio

POSTER_SIDE, FRAME_SIDE = 1024, 320
FRAMES, FRAME_MS = 24, 125
_QUALITY = 78


class Photographer:
    """Of one model; model, cameras: in one frame, y up. All pictures begin at one side: that of the photo
    taken most nearly from where the poster is, slightly above."""

    def __init__(self, model: Model, cameras: Cameras) -> None:
        self._studio, self._azimuth = Studio(model), _front(model, cameras)

    def poster(self) -> Image:
        """(1024,1024,3) sRGB."""
        return self._studio.portrait(self._azimuth, POSTER_SIDE)

    def turntable(self, report: Callable[[float], None]) -> bytes:
        """One turn, an animated WebP."""
        frames = []
        for turn in np.linspace(0, 2 * np.pi, FRAMES, endpoint=False):
            frames.append(PIL.Image.fromarray(self._studio.picture(self._azimuth - turn, FRAME_SIDE)))
            report(len(frames) / FRAMES)
        file = io.BytesIO()
        moving = {"save_all": True, "append_images": frames[1:], "duration": FRAME_MS, "loop": 0}
        frames[0].save(file, "WEBP", quality=_QUALITY, method=3, **moving)
        return file.getvalue()


def _front(model: Model, cameras: Cameras) -> float:
    towards: Array = cameras.centres - (model.vertices.min(axis=0) + model.vertices.max(axis=0)) / 2
    height = np.arctan2(towards[:, 1], np.hypot(towards[:, 0], towards[:, 2]))
    best = int(np.abs(height - ELEVATION).argmin())
    return float(np.arctan2(towards[best, 0], towards[best, 2]))

"""Photos at a smaller size, for looks that need no more."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.reconstruct.methods.model import Scene
from workers.reconstruct.threads import each


def smaller(scene: Scene, pixels: int) -> Scene:
    """The scene with photos of at most `pixels` pixels on their longer side; itself where they are."""
    share = pixels / max(scene.masks.shape[1:])
    if share >= 1:
        return scene
    height, width = (max(1, round(share * side)) for side in scene.masks.shape[1:])

    def shrunk(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    images = each(shrunk, scene.images)
    covers = each(lambda mask: shrunk(mask.astype(np.uint8) * 255), scene.masks)
    factor = np.array([width, height] * 2) / np.array(scene.masks.shape[:0:-1] * 2)
    frames = scene.frames * factor
    return replace(
        scene,
        images=np.stack(images),
        masks=np.stack(covers) > 127,
        cameras=scene.cameras.scaled(width, height),
        frames=np.concatenate([np.ceil(frames[:, :2]), np.floor(frames[:, 2:])], axis=1).astype(np.int64),
    )

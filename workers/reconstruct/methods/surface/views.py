"""The photos as the method looks at them: in the object's own frame, and in agreement."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.reconstruct.methods.model import Scene, Sketch
from workers.reconstruct.methods.surface.masks import signed_distances
from workers.reconstruct.methods.surface.mending import mended
from workers.reconstruct.methods.surface.profiles import Profile
from workers.reconstruct.methods.surface.registration import registered
from workers.reconstruct.methods.surface.silhouettes import to_unit_frame
from workers.reconstruct.smaller import smaller


@dataclass(frozen=True)
class Views:
    """In the object's unit frame: shape, the photos as the shape is found from them; colour, as colours are
    taken from them; half, (3,) half sides of the object's box around 0. back: (4,4) from that frame to the
    one the photos were given in. stayed: see `Registration`.
    """

    shape: Scene
    colour: Scene
    half: NDArray[np.float64]
    back: NDArray[np.floating]
    stayed: tuple[str, ...]

    def moved_back(self, vertices: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vertices (V,3) in the frame the photos were given in."""
        moved: NDArray[np.float32] = (vertices @ self.back[:3, :3].T + self.back[:3, 3]).astype(np.float32)
        return moved

    def given_back(self, sketch: Sketch) -> Sketch:
        """The sketch in that frame."""
        return replace(sketch, vertices=self.moved_back(sketch.vertices))

    def warnings(self) -> list[str]:
        """In plain sentences."""
        if not self.stayed:
            return []
        return [f"The camera positions of these photos do not fit the others: {', '.join(self.stayed)}."]


def views_of(scene: Scene, work: Profile) -> Views:
    """The views of the scene's photos that the profile asks for."""
    photos = smaller(scene, work.pixels)
    distances = signed_distances(photos.masks, photos.frames)
    shape, half, similarity = to_unit_frame(photos, distances)
    stayed: tuple[str, ...] = ()
    if work.agree:
        shape = mended(shape, half, distances)
        changed = (shape.masks != photos.masks).any((1, 2))
        if changed.any():
            distances[changed] = signed_distances(shape.masks[changed], shape.frames[changed])
        fitted = registered(shape, half, distances)
        shape, half, stayed = fitted.scene, fitted.half, fitted.stayed
    # A mask that was grown may reach where a photo is cut out, and black: no colour is taken from there.
    size = scene.masks.shape[:0:-1]
    shown = [cv2.resize(m.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0 for m in shape.masks]
    cameras = replace(scene.cameras, c2w=shape.cameras.c2w)
    colour = replace(scene, masks=np.stack(shown) & scene.masks, cameras=cameras)
    some = np.unique(np.linspace(0, len(shown) - 1, min(len(shown), work.photos)).astype(np.int64))
    return Views(shape, colour.select(some), half, np.linalg.inv(similarity), stayed)

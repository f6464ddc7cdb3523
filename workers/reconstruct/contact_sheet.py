"""One picture to judge a reconstruction by: photos above, our renders from the same cameras below."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.geometry.images import window_of
from workers.reconstruct.methods.model import Scene, TexturedMesh
from workers.render.preview import shade

Image = NDArray[np.uint8]

_VIEWS = 6
_TILE = 320  # pixels
_LABEL = 28


def contact_sheet(mesh: TexturedMesh, scene: Scene, held_out: NDArray[np.int64]) -> Image:
    """(h,w,3) uint8 sRGB: six views spread around the object, held-out ones where there are enough.

    mesh: in the frame of the scene's cameras. held_out: indices of the photos the mesh was made without.
    """
    candidates = held_out if len(held_out) >= _VIEWS else np.arange(len(scene.images))
    centre = mesh.vertices.mean(0)
    columns = []
    for i in spread(scene.cameras.select(candidates), centre, _VIEWS):
        index = int(candidates[i])
        name = scene.cameras.names[index] + (" (held out)" if index in held_out else "")
        window = window_of(scene.masks[index])
        photo = cv2.resize(scene.images[index][window], (_TILE, _TILE), interpolation=cv2.INTER_AREA)
        render = shade(mesh, seen_through(window, scene.cameras.select([index])).scaled(_TILE, _TILE))
        columns.append(np.concatenate([_label(name), photo, _label("our render"), render]))
    return np.concatenate(columns, axis=1)


def spread(cameras: Cameras, centre: NDArray[np.float32], count: int) -> list[int]:
    """At most `count` camera indices, each the farthest in direction from those before it, the first one
    first.
    """
    towards = cameras.centres - centre
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    chosen = [0]
    while len(chosen) < min(count, len(cameras)):
        nearest = (towards @ towards[chosen].T).max(1)
        chosen.append(int(np.argmin(nearest)))
    return chosen


def seen_through(window: tuple[slice, slice], cameras: Cameras) -> Cameras:
    """The cameras after their images are cut to the window."""
    rows, columns = window
    intrinsics = cameras.intrinsics - np.array([0, 0, columns.start, rows.start])
    width, height = columns.stop - columns.start, rows.stop - rows.start
    return replace(cameras, intrinsics=intrinsics, width=width, height=height)


def _label(text: str) -> Image:
    strip = np.full((_LABEL, _TILE, 3), 255, np.uint8)
    cv2.putText(strip, text, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (20, 20, 20), 1, cv2.LINE_AA)
    return strip

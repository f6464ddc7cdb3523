"""What the sender of a capture marked in its photos: a box around the object, points on it or beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.geometry.errors import NumericError

Float = NDArray[np.float32]

SURE = np.float32(1000)  # of an evidence that nothing outweighs
_TAP, _REACH = 0.012, 0.1  # of a picture's side: a finger's radius, and how far what is like that counts
_ALIKE = 6  # grey levels from pixel to pixel of what is like the point


def marked(
    hints: Sequence[Mapping[str, Any]], images: Sequence[Mapping[str, Any]], pictures: NDArray[np.uint8]
) -> Float:
    """(N,h,w) SURE on the object, -SURE beside it, 0 where nothing is said. A tap speaks for what is like it
    around it in pictures (N,h,w,3).

    hints: {"image": source, "box": [left, top, right, bottom] or None, "taps": [{"x", "y", "object"}]} each,
    in parts of the upright photo from its top left. images: as in cameras.json. An image may be named by its
    path in the upload or by its file name. NumericError: "hint_unknown_image".
    """
    told = np.zeros((len(images), images[0]["h"], images[0]["w"]), np.float32)
    for hint in hints:
        n = _index(hint["image"], images)
        image, here = images[n], told[n]
        rows, columns = np.mgrid[: here.shape[0], : here.shape[1]] + 0.5
        if hint["box"] is not None:
            (left, top), (right, bottom) = (_place(image, *hint["box"][k : k + 2]) for k in (0, 2))
            here[(columns < left) | (columns > right) | (rows < top) | (rows > bottom)] = -SURE
        for tap in hint["taps"]:
            x, y = _place(image, tap["x"], tap["y"])
            away = np.hypot(columns - x, rows - y) / max(here.shape)
            near = (away <= _TAP) | ((away <= _REACH) & _alike(pictures[n], x, y))
            here[near] = SURE if tap["object"] else -SURE
    return told


def _index(name: str, images: Sequence[Mapping[str, Any]]) -> int:
    sources = [image["source"] for image in images]
    if name in sources:
        return sources.index(name)
    alike = [n for n, source in enumerate(sources) if PurePosixPath(source).name == name]
    if len(alike) != 1:
        message = f"a hint is for {name!r:.200}, which is {'several' if alike else 'none'} of the photos"
        raise NumericError("hint_unknown_image", message, file=name[:100])
    return alike[0]


def _alike(picture: NDArray[np.uint8], x: float, y: float) -> NDArray[np.bool_]:
    """(h,w) what is reached from a pixel without a step of colour."""
    height, width = picture.shape[:2]
    found = np.zeros((height + 2, width + 2), np.uint8)
    if 0 <= x < width and 0 <= y < height:
        how = 4 | cv2.FLOODFILL_MASK_ONLY | 1 << 8
        smooth = cv2.GaussianBlur(picture, (0, 0), 1.0)
        cv2.floodFill(smooth, found, (int(x), int(y)), 0, (_ALIKE,) * 3, (_ALIKE,) * 3, how)
    return found[1:-1, 1:-1] > 0


def _place(image: Mapping[str, Any], x: float, y: float) -> tuple[float, float]:
    """Pixels in the image of a place in its photo."""
    left, top, width, height = image["crop"]
    across, down = image["source_size"]
    return (x * across - left) * image["w"] / width, (y * down - top) * image["h"] / height

"""Which way a photo's camera data is turned.

A photo is decoded upright, as its EXIF says. Its intrinsics and pose may be meant for the upright
picture or for the pixels as they are stored; the size they were given for tells.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from contracts.errors import SizeMismatch
from workers.prepare.capture import Lens
from workers.runtime.safe_input import Picture

SIZE_TOLERANCE = 0.01
"""Of the aspect ratio: resized photos are rounded to whole pixels."""

QUARTER_TURNS = {6: 1, 3: 2, 8: 3}
"""EXIF orientation -> quarter turns clockwise from stored to upright; the mirrored ones, which no
camera writes, have none."""


@dataclass(frozen=True)
class Oriented:
    """A camera for the upright picture: fx, fy, cx, cy in its pixels; c2w (4, 4) OpenGL."""

    intrinsics: tuple[float, float, float, float]
    c2w: NDArray[np.float64]


def oriented(
    lens: Lens, c2w: NDArray[np.float64], upright: tuple[int, int], orientation: int, name: str
) -> Oriented:
    """For a picture of the size `upright`, turned so as its EXIF orientation says. Raises SizeMismatch where
    the camera data fits neither the stored nor the upright picture."""
    turns = QUARTER_TURNS.get(orientation, 0)
    width, height = upright
    fx, fy = lens.focal
    if lens.size is None:
        return Oriented((fx * width, fy * width, width / 2, height / 2), c2w)
    w, h = lens.size
    cx, cy = lens.centre or (w / 2, h / 2)
    upright_size, turned_size = (_alike(w / h, ratio) for ratio in (width / height, height / width))
    if upright_size and not (lens.stored and (turns == 2 or turned_size)):
        turns = 0
    elif upright_size or (turns % 2 and turned_size):
        fx, fy, cx, cy, w, h = _turned(fx, fy, cx, cy, w, h, turns)
    else:
        raise SizeMismatch(
            f"{name} has {width} x {height} pixels, but its camera data is for {w:g} x {h:g}",
            file=name,
        )
    sx, sy = width / w, height / h
    return Oriented((fx * sx, fy * sy, cx * sx, cy * sy), _rolled(c2w, turns))


def upright_mask(mask: NDArray[np.uint8], name: str, picture: Picture) -> NDArray[np.uint8]:
    """A mask (H, W) at the upright picture's size, whichever of the two ways and however large it
    was drawn. Raises SizeMismatch where its shape fits neither."""
    width, height = picture.size
    turns = QUARTER_TURNS.get(picture.orientation, 0)
    if not _alike(mask.shape[1] / mask.shape[0], width / height) and turns % 2:
        mask = np.rot90(mask, -turns)
    if not _alike(mask.shape[1] / mask.shape[0], width / height):
        raise SizeMismatch(
            f"the mask {name} has {mask.shape[1]} x {mask.shape[0]} pixels, its photo {width} x {height}",
            file=name,
        )
    if mask.shape == (height, width):
        return mask
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _alike(a: float, b: float) -> bool:
    return abs(a - b) <= SIZE_TOLERANCE * b


def _turned(
    fx: float, fy: float, cx: float, cy: float, w: float, h: float, turns: int
) -> tuple[float, float, float, float, float, float]:
    """Intrinsics after quarter turns of the picture clockwise: (x, y) goes to (h - y, x)."""
    for _ in range(turns):
        fx, fy, cx, cy, w, h = fy, fx, h - cy, cx, h, w
    return fx, fy, cx, cy, w, h


def _rolled(c2w: NDArray[np.float64], turns: int) -> NDArray[np.float64]:
    """The picture turned clockwise is the camera turned counter-clockwise about its axis: what was
    left is up now, so the new up axis is the old -x, and the new right the old up."""
    rolled = c2w.copy()
    for _ in range(turns):
        right, up = rolled[:, 0].copy(), rolled[:, 1].copy()
        rolled[:, 0], rolled[:, 1] = up, -right
    return rolled

"""Soft masks to sharp ones: what is likely the object, in few parts, with an edge one pixel wide."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

SPECK = 0.005  # of the largest part: what is smaller is noise
HOLE = 0.001  # of the object: a smaller hole in it is none


def sharpen(soft: Float, threshold: float, *, tidy: bool = True) -> NDArray[np.uint8]:
    """(h,w) in [0,1] -> (h,w) 0 or 255, in between along the outline only, at least 128 on the object's side.

    A pixel is the object's from `threshold` on: what is ambiguous belongs to neither side, and silhouettes
    are only as good as their edges. Those keep how much of a pixel is covered, for antialiasing. tidy:
    without specks and small holes, which are noise in what a program made, and may be meant in what was sent.
    """
    solid = soft >= threshold
    if tidy:
        solid = _filled(_without_specks(solid))
    near = np.ones((3, 3), np.uint8)
    mask = solid.astype(np.uint8)
    edge = cv2.dilate(mask, near) != cv2.erode(mask, near, borderValue=1)
    covered = np.where(edge, soft, solid)
    return np.where(
        solid, np.clip(np.round(255 * covered), 128, 255), np.clip(np.round(255 * covered), 0, 127)
    ).astype(np.uint8)


def _without_specks(solid: Bool) -> Bool:
    parts, count = ndimage.label(solid, np.ones((3, 3)))
    size = np.bincount(parts.ravel(), minlength=count + 1)
    size[0] = 0
    keep = size >= SPECK * size.max()
    keep[0] = False
    kept: Bool = keep[parts]
    return kept


def _filled(solid: Bool) -> Bool:
    parts, count = ndimage.label(~solid)
    size = np.bincount(parts.ravel(), minlength=count + 1)
    small = size < HOLE * solid.sum()
    small[0] = False
    outside = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    small[outside] = False
    filled: Bool = solid | small[parts]
    return filled

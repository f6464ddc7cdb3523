"""What a mask's outline tells without other photos: whether it follows edges, and whether the photo cuts
it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Bool = NDArray[np.bool_]
Image = NDArray[np.uint8]
Box = NDArray[np.int64]

_REACH = 1  # pixels that an outline may be beside its edge


def outline_figures(mask: Bool, image: Image, frame: Box) -> tuple[float, float]:
    """The part of a mask's (h,w) outline that lies on the sides of what is photo; and how strong the edges of
    the image (h,w,3) along the rest are: the part of the photo whose steps of colour are weaker, about 0.5
    for an outline drawn blindly. Both 0 without outline, the latter 0.5 where all of it lies on the sides.

    frame (4,): left, top, right, bottom of what is photo.
    """
    left, top, right, bottom = frame
    shown = mask[top:bottom, left:right].astype(np.uint8)
    if not shown.any():
        return 0.0, 0.0
    line = (shown - cv2.erode(shown, np.ones((3, 3), np.uint8), borderValue=0)) > 0
    at_side = np.ones_like(line)
    at_side[1:-1, 1:-1] = False
    cut = float((line & at_side).sum() / line.sum())
    inner = line & ~(cv2.dilate(at_side.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)
    if not inner.any():
        return cut, 0.5
    smooth = cv2.GaussianBlur(image[top:bottom, left:right].astype(np.float32), (0, 0), 1.0)
    step = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)).max(-1)
    near = cv2.dilate(step, np.ones((2 * _REACH + 1, 2 * _REACH + 1), np.uint8))
    rank = np.searchsorted(np.sort(near.ravel()), near[inner]) / near.size
    return cut, float(rank.mean())

"""Points that can be found again in other photos: SIFT (Lowe 2004) with Hellinger-normalised descriptors
(Arandjelovic and Zisserman 2012)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

LONGEST = 640
"""Longer side in pixels at which features are looked for; larger pictures gained nothing."""
MOST = 2000
_CONTRAST = 0.002  # a plain table's few faint features are all there is to go by
_EDGE = 20


@dataclass(frozen=True)
class Features:
    """xy (F,2) float64: pixels of the photo as given, centres at +0.5. descriptors (F,D) float32, of length
    1. angles (F,): in degrees clockwise, which way each is turned; 0 where the kind of feature has none.
    size: (width, height) of the photo.
    """

    xy: NDArray[np.float64]
    descriptors: NDArray[np.float32]
    angles: NDArray[np.float32]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.xy)


def reduced(grey: NDArray[np.uint8], longest: int = LONGEST) -> NDArray[np.uint8]:
    """(H,W) at most `longest` on its longer side."""
    height, width = grey.shape
    scale = longest / max(height, width)
    if scale >= 1:
        return grey
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def sift(grey: NDArray[np.uint8], size: tuple[int, int], most: int = MOST) -> Features:
    """Of a reduced photo (h,w), whose own (width, height) is `size`."""
    # Without the last option all features lie a quarter of a pixel to the right of and below where they are.
    found, descriptors = cv2.SIFT.create(
        most, contrastThreshold=_CONTRAST, edgeThreshold=_EDGE, enable_precise_upscale=True
    ).detectAndCompute(grey, None)
    if not found:
        return Features(np.zeros((0, 2)), np.zeros((0, 128), np.float32), np.zeros(0, np.float32), size)
    # OpenCV may give a few more than asked for, and its pixel centres are at +0.
    found, descriptors = found[:most], descriptors[:most]
    scale = np.array(size) / (grey.shape[1], grey.shape[0])
    xy = (np.array([point.pt for point in found]) + 0.5) * scale
    hellinger = np.sqrt(descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1e-9))
    angles = np.array([point.angle for point in found], np.float32)
    return Features(xy, hellinger.astype(np.float32), angles, size)

"""How sharp and how well exposed each photo of a capture is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

_SIDE = 512  # pixels: photos are compared at this size
_STREAK = 9  # pixels that a photo is blurred over to see what that changes
_MARGIN = 13  # pixels, of which half are left out along an outline: what streaks and gradients reach
_EDGES = 0.98  # quantile of the gradients from which on they are edges
_WHITE, _BLACK = 250, 6  # sRGB values from and to which nothing can be told apart
# Times the capture's median, within limits: of eight captures sharp photos stay below, these same photos
# blurred (Gaussian, 2 pixels) or moved by 9 pixels lie above.
_BLURRED, _LEAST, _MOST = 2.2, 0.28, 0.55
_OVER, _UNDER = 0.2, 0.4  # shares of the pixels, white or black, from which on a photo is badly exposed
_DARK = 18.0  # and median brightness below which it is


@dataclass(frozen=True)
class Photo:
    """blur: how much of the photo's edges, in squared gradients, survives a streak of blur, along x or y,
    whichever leaves more; of sharp ones little does (after Crété et al. 2007, "The blur effect"; other than
    the gradients themselves it hardly depends on what the photo shows). white, black: shares of pixels
    without detail. brightness: median, 0 to 255.
    """

    blur: float
    white: float
    black: float
    brightness: float

    @property
    def over_exposed(self) -> bool:
        return self.white > _OVER

    @property
    def under_exposed(self) -> bool:
        return self.black > _UNDER or self.brightness < _DARK


def photo_quality(image: Image, mask: Image | None = None) -> Photo:
    """Of a photo (h,w,3) sRGB; of the object where its mask (h,w), from 128 on, is given, and else of the
    middle of the picture, where the object is.
    """
    scale = min(1.0, _SIDE / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
    shown = np.zeros(grey.shape, bool)
    height, width = grey.shape
    shown[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    if mask is not None:
        solid = (cv2.resize(mask, size, interpolation=cv2.INTER_AREA) >= 128).astype(np.uint8)
        # The outline against a background that was cut out is no detail of the photo.
        inner = cv2.erode(solid, np.ones((_MARGIN, _MARGIN), np.uint8)) > 0
        shown = inner if inner.any() else shown
    pixels = grey[shown]
    return Photo(
        blur=max(_surviving(grey, shown, (1, 0)), _surviving(grey, shown, (0, 1))),
        white=float((pixels >= _WHITE).mean()),
        black=float((pixels <= _BLACK).mean()),
        brightness=float(np.median(pixels)),
    )


def blurred(photos: Sequence[Photo]) -> NDArray[np.bool_]:
    """(N,) which photos are: beside the others of the capture, or by any standard."""
    blur = np.array([photo.blur for photo in photos])
    found: NDArray[np.bool_] = blur > np.clip(_BLURRED * np.median(blur), _LEAST, _MOST)
    return found


def _surviving(grey: Image, shown: NDArray[np.bool_], axis: tuple[int, int]) -> float:
    """Share of the edges' squared gradients along an axis (x, y) that is left after a streak along it."""
    streak = (_STREAK, 1) if axis[0] else (1, _STREAK)
    before = np.asarray(cv2.Sobel(grey, cv2.CV_32F, *axis))[shown]
    after = np.asarray(cv2.Sobel(cv2.blur(grey, streak), cv2.CV_32F, *axis))[shown]
    edge = np.abs(before) >= np.quantile(np.abs(before), _EDGES)
    energy = float((before[edge] ** 2).sum())
    # A photo without any gradient shows nothing that could be sharp.
    return float((after[edge] ** 2).sum()) / energy if energy > 0 else 1.0

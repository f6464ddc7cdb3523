"""Masks for a person to look at."""

from __future__ import annotations

import math
from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

_TILE, _LABEL, _WIDTH = 256, 20, 8  # pixels, pixels, tiles
_AROUND = 0.35  # of a photo's brightness is left where the mask is not


def outlines(photos: Mapping[str, tuple[Image, Image]]) -> Image:
    """(h,w,3) sRGB: photos (h,w,3), darkened outside their masks (h,w), the outline drawn and the name above.

    By name; at least one.
    """
    tiles = [_tile(name, photo, mask) for name, (photo, mask) in photos.items()]
    width = min(_WIDTH, len(tiles))
    tiles += [np.zeros_like(tiles[0])] * (math.ceil(len(tiles) / width) * width - len(tiles))
    rows = [np.concatenate(tiles[start : start + width], axis=1) for start in range(0, len(tiles), width)]
    return np.concatenate(rows)


def _tile(name: str, photo: Image, mask: Image) -> Image:
    small = cv2.resize(photo, (_TILE, _TILE), interpolation=cv2.INTER_AREA)
    inside = cv2.resize(mask, (_TILE, _TILE), interpolation=cv2.INTER_AREA) > 127
    shown = np.where(inside[..., None], small, small * _AROUND).astype(np.uint8)
    contours, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(shown, contours, -1, (0, 255, 0))
    label = np.full((_LABEL, _TILE, 3), 255, np.uint8)
    cv2.putText(label, name[:36], (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (20, 20, 20), 1, cv2.LINE_AA)
    return np.concatenate([label, shown])

"""Masks as signed distances."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.reconstruct.threads import each

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

_MANY_VIEWS = 12  # from which a lone view is doubted; with fewer, most of the carving is done by lone views


def signed_distances(masks: Bool, frames: NDArray[np.int64]) -> Float:
    """(N,h,w) pixels from each pixel's centre to the mask's border, negative on the object.

    Only what a mask (N,h,w) shows within its frame (N,4: left, top, right, bottom) counts; where the frame
    cuts the object, see `beyond`.
    """
    distances = np.empty(masks.shape, np.float32)
    each(_signed_distance, masks, frames, distances)
    return distances


def _signed_distance(mask: Bool, frame: NDArray[np.int64], out: Float) -> None:
    pad = max(mask.shape) // 4 if _cut(mask, frame) else 1
    wide = beyond(mask, frame, pad)
    outside = cv2.distanceTransform(1 - wide, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    inside = cv2.distanceTransform(wide, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # The border runs between pixels, half a pixel from either centre; the blur takes off the staircase.
    signed = np.where(wide > 0, 0.5 - inside, outside - 0.5).astype(np.float32)
    out[:] = cv2.GaussianBlur(signed, (0, 0), 0.8)[pad:-pad, pad:-pad]


def _cut(mask: Bool, frame: NDArray[np.int64]) -> bool:
    """Whether the object of the mask (h,w) touches its frame's sides."""
    left, top, right, bottom = frame
    shown = mask[top:bottom, left:right]
    return shown.size > 0 and bool(shown[[0, -1]].any() or shown[:, [0, -1]].any())


def beyond(mask: Bool, frame: NDArray[np.int64], pad: int = 0) -> NDArray[np.uint8]:
    """The mask (h,w) as 0 and 1 with a margin of `pad` pixels, and what may be object beyond its frame.

    Nothing is known there, so where the frame cuts the object it may go on and widen by 45 degrees: from the
    first to the last pixel of the object at that side of the frame.
    """
    left, top, right, bottom = frame + pad
    wide = np.pad(mask, pad).astype(np.uint8)
    if left >= right or top >= bottom:  # the photo shows nothing of the part that was cut from it
        return np.ones_like(wide)
    wide[:top], wide[bottom:], wide[:, :left], wide[:, right:] = 0, 0, 0, 0
    shown = wide[top:bottom, left:right].copy()
    for line, start, area in (
        (shown[0], left, wide[:top][::-1]),
        (shown[-1], left, wide[bottom:]),
        (shown[:, 0], top, wide[:, :left].T[::-1]),
        (shown[:, -1], top, wide[:, right:].T),
    ):
        at = np.flatnonzero(line)
        if len(at):
            away, along = np.ogrid[: area.shape[0], : area.shape[1]]
            area[(along >= start + at[0] - away - 1) & (along <= start + at[-1] + away + 1)] = 1
    return wide


def dissenters(views: int) -> int:
    """How many views may call a sample outside before it is taken to be, where mistakes are expected."""
    return 1 if views >= _MANY_VIEWS else 0

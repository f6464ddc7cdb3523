"""The object put back where masks miss it: a shadow taken for the background, a lost limb."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.reconstruct.methods.model import Scene
from workers.reconstruct.methods.surface.doubts import doubts

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

_WINDOW = 0.2  # of the object's longest side: how far around a pixel colours are learnt first
_STRIDE = 4  # pixels between two places that means around are taken at
_DARK = 4.0  # sRGB value that the logarithm of colours starts at: sensor noise below
_NOISE = 0.1  # standard deviation of logarithmic colour that is always allowed for
_SHADE = 0.6  # further deviation of brightness towards the dark, in shadows that the mask may have missed
_DOUBT = 4.0  # evidence for the background that a pixel needs to be left to it
_SQUARE = np.ones((3, 3), np.uint8)  # pixels: what is narrower is a rim, and stays with the mask


def mended(scene: Scene, half: NDArray[np.float64], distances: Float | None = None) -> Scene:
    """The scene with parts put back that masks miss, where the other masks prove that they miss something.

    half: (3,) half sides of the object's box around 0. distances: see `doubts`. In a mask to blame (again,
    see there), a pixel is put back where the views from other sides leave room for the object and its colour
    does not speak clearly for the background around it: a shadow taken for the background, say. Only that
    direction needs mending: what one mask wrongly adds the other views carve away, what it wrongly misses is
    cut out of the object.
    """
    room, blame = doubts(scene, half, distances)
    masks = scene.masks.copy()
    pixels = scene.cameras.magnification  # of the object's longest side
    for i in np.flatnonzero(blame > 0):
        left, top, right, bottom = scene.frames[i]
        own = (slice(top, bottom), slice(left, right))
        unsure = (room[i] & ~masks[i])[own].astype(np.uint8)
        window = 2 * int(_WINDOW * pixels[i] / 2) + 1
        evidence = colour_evidence(scene.images[i][own], masks[i][own], unsure > 0, window)
        core = cv2.morphologyEx(unsure * (evidence > -_DOUBT), cv2.MORPH_OPEN, _SQUARE)
        joined = cv2.morphologyEx(core | masks[i][own], cv2.MORPH_CLOSE, _SQUARE, iterations=3)
        masks[i][own] |= (joined > 0) & (cv2.dilate(unsure, _SQUARE, iterations=3) > 0)
    return replace(scene, masks=masks)


def colour_evidence(image: NDArray[np.uint8], mask: Bool, unsure: Bool, window: int) -> Float:
    """(h,w) log of how much likelier each pixel's colour is on the object than off it.

    image: (h,w,3). Two normal distributions of logarithmic brightness and colour differences, each of the
    pixels in a square of `window` pixels that surely are on and off the mask: not within a rim, where colours
    mix, nor `unsure` (h,w). Below its mean the object's brightness is given more spread: for shadows.
    """
    r, g, b = np.moveaxis(np.log1p(cv2.GaussianBlur(image, (0, 0), 1.0) / np.float32(_DARK)), -1, 0)
    colour = np.stack([(r + g + b) / 3, r - g, b - g], axis=2)
    inner = cv2.erode(mask.astype(np.uint8), _SQUARE)
    outer = (cv2.dilate(mask.astype(np.uint8), _SQUARE, iterations=3) == 0) & ~unsure
    cost = []
    for part, shade in ((inner, _SHADE), (outer, 0.0)):
        weight = np.repeat(part.astype(np.float32)[:, :, None], 3, axis=2)
        count = _around(weight, window)
        mean, square = (_around(weight * colour**k, window) / count for k in (1, 2))
        variance = np.maximum(square - mean**2, 0) + np.float32(_NOISE**2)
        variance[:, :, 0] += np.where(colour[:, :, 0] < mean[:, :, 0], np.float32(shade**2), 0)
        cost.append((((colour - mean) ** 2 / variance + np.log(variance)) / 2).sum(2))
    evidence: Float = cost[1] - cost[0]
    return evidence


def _around(values: Float, window: int) -> Float:
    """Means (h,w,3) in squares of `window` pixels and, faintly, in ever larger ones, for want of nearer."""
    height, width = values.shape[:2]
    small = cv2.resize(values, (-(-width // _STRIDE), -(-height // _STRIDE)), interpolation=cv2.INTER_AREA)
    total = np.full(small.shape, 1e-9, np.float32)
    for k in range(4):
        side = max(1, (window << k) // _STRIDE)
        total += np.float32(0.03**k) * cv2.blur(small, (side, side))
    spread: Float = np.asarray(cv2.resize(total, (width, height), interpolation=cv2.INTER_LINEAR))
    return spread

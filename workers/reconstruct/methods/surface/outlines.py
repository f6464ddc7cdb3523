"""Masks that are too small or too large all around: measured where a photo's own edge tells, and resized."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.reconstruct.methods.model import Scene
from workers.reconstruct.threads import each

Float = NDArray[np.float32]
Array = NDArray[np.float64]
Bool = NDArray[np.bool_]

_REACH = 5.0  # pixels to either side of a mask's border in which the photo's edge is looked for
_STEP = 0.5
_STRONG = 50.0  # grey levels a pixel, of all channels together: a stronger edge does not count for more
_PROMINENCE = 2.0  # how much stronger than usual around it the edge has to be
_STRAIGHT = 0.5  # pixels: see `edge_offsets`
_CUT = 0.75  # pixels the edge lies within the border at least where the photo was cut out along it
_VOID = 0.9  # share of black pixels beyond the border from which the photo was cut out


def edge_offsets(scene: Scene, distances: Float) -> Array:
    """(N,) pixels that the photo's own edge lies beyond the mask's border, negative within; NaN where the
    photo does not say.

    distances: (N,h,w) of `signed_distances`. The edge is where the colours change most across lines beside
    the border, on average all along it. Only photos that were cut out of black say something, and only where
    the edge lies within: at the border it may be of the cutting. (Of other photos shading and blur move the
    edge by more than masks are usually off.) Such photos hold the object's full colour also where it covers
    less of a pixel, so their edges appear half a pixel too far out.
    """
    return np.array(each(_edge_offset, scene.images, distances, scene.frames))


def _edge_offset(image: NDArray[np.uint8], distance: Float, frame: NDArray[np.int64]) -> float:
    left, top, right, bottom = frame
    if right - left < 3 or bottom - top < 3:
        return np.nan
    steps = np.arange(-_REACH, _REACH + _STEP / 2, _STEP)
    distance, image = distance[top:bottom, left:right], image[top:bottom, left:right]
    outside = image[(distance > 1) & (distance < _REACH)]
    if (outside.max(1, initial=0) == 0).mean() < _VOID:
        return np.nan
    change = np.minimum(_change(image, distance), _STRONG)
    bins = np.round((distance + _REACH) / _STEP).astype(int)
    known = (bins >= 0) & (bins < len(steps))
    count = np.bincount(bins[known], minlength=len(steps))
    if count.min() == 0:
        return np.nan
    strength = np.bincount(bins[known], change[known], len(steps)) / count
    strength = np.convolve(np.pad(strength, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    best = int(np.argmax(strength))
    if not 0 < best < len(steps) - 1 or strength[best] < _PROMINENCE * np.median(strength):
        return np.nan
    before, here, after = strength[best - 1 : best + 2]
    offset = steps[best] + _STEP * 0.5 * (before - after) / min(before - 2 * here + after, -1e-9)
    return float(offset - _STRAIGHT) if offset - _STRAIGHT < -_CUT else np.nan


def _change(image: NDArray[np.uint8], distance: Float) -> Float:
    """(h,w) change of colour for a pixel across the lines of equal distance, summed over the channels."""
    colour = cv2.GaussianBlur(image, (0, 0), 0.7).astype(np.float32)
    along = [cv2.Sobel(distance, cv2.CV_32F, *axis, ksize=3, scale=1 / 8) for axis in ((1, 0), (0, 1))]
    change = [cv2.Sobel(colour, cv2.CV_32F, *axis, ksize=3, scale=1 / 8) for axis in ((1, 0), (0, 1))]
    return np.asarray(np.abs(change[0] * along[0][..., None] + change[1] * along[1][..., None]).sum(2))


def resized(scene: Scene, distances: Float, offsets: Array) -> Bool:
    """The masks (N,h,w) grown by `offsets` (N,) pixels, shrunk where negative, within the photos' frames."""
    masks = distances < offsets[:, None, None]
    for mask, (left, top, right, bottom) in zip(masks, scene.frames, strict=True):
        mask[:top], mask[bottom:], mask[:, :left], mask[:, right:] = False, False, False, False
    return np.asarray(masks)

"""How noisy the photos are, and how much a place's brightness changes from view to view."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.reconstruct.threads import each

Float = NDArray[np.float32]
Index = NDArray[np.int32]
Bool = NDArray[np.bool_]

_BINS = 12  # of brightness, as many pixels in each
_FEWEST = 50  # pixels that a bin needs to tell anything
_ROUNDING = 0.3 / 255  # standard deviation of 8 bit grey
_CALMEST = 0.15  # the share of the pixels with least texture, which show the noise
_DEVIATION = {0.15: 0.1891, 0.5: 0.6745}  # that quantile of |x|, x normal with deviation 1
_STRIDE = 7  # pixels between the places whose brightness is followed
_SAME = 0.02  # of the object's longest side: depths that far apart are not the same place
_STEADY, _RESTLESS = 0.1, 0.2  # change from view to view, of that from place to place


def noise_level(grey: Float, masks: Bool) -> Float:
    """(N,h,w) standard deviation of the noise at each pixel, as a function of its brightness alone.

    grey: (N,h,w) in [0,1]. From the response to a kernel that smooth shading does not excite (Immerkaer
    1996), where texture does not drown it: the low quantile of each brightness.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
    square = np.ones((5, 5), np.uint8)
    inner = np.stack(each(lambda mask: cv2.erode(mask.astype(np.uint8), square) > 0, masks))
    response = np.stack(each(lambda image: np.abs(cv2.filter2D(image, -1, kernel)), grey))
    return _by_brightness(grey, grey[inner], response[inner], _CALMEST)


def brightness_drift(grey: Float, guide: Float, cameras: Cameras, neighbours: Index) -> tuple[Float, float]:
    """(N,h,w) by how much the surface at each pixel changes its brightness between neighbouring views, as a
    function of brightness alone, and how steady that is: 1 on what is matt, 0 on what reflects.

    guide: (N,h,w) depth of a surface that is the object's for the most part, 0 where nothing; neighbours:
    (N,J). Steady is what changes much less from view to view than it does between any two places.
    """
    mean = np.stack(each(lambda image: np.asarray(cv2.blur(image, (7, 7)), np.float32), grey))
    square = np.tile(np.eye(4), (len(cameras), 1, 1))
    square[:, :3] = cameras.projection()
    inverse = np.linalg.inv(square)
    tones, changes = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)]
    for i, others in enumerate(neighbours):
        y, x = (part[::_STRIDE] for part in np.nonzero(guide[i]))
        d = guide[i, y, x]
        points = np.stack([(x + 0.5) * d, (y + 0.5) * d, d, np.ones_like(d)])
        for j in others:
            u, v, w = (square[j] @ inverse[i])[:3] @ points
            inside = (w > 0) & (u >= 0) & (v >= 0) & (u < w * grey.shape[2]) & (v < w * grey.shape[1])
            u, v, w = u[inside], v[inside], w[inside]
            column, row = (u / w).astype(int), (v / w).astype(int)
            same = np.abs(guide[j, row, column] - w) < _SAME
            tones.append(mean[i, y[inside], x[inside]][same])
            changes.append(np.abs(tones[-1] - mean[j, row[same], column[same]]))
    tone, change = np.concatenate(tones), np.concatenate(changes)
    drift = _by_brightness(mean, tone, change, 0.5)
    if len(tone) == 0:
        return drift, 0.0
    places = np.median(np.abs(tone - np.random.default_rng(0).permutation(tone)))
    ratio = float(np.median(change) / max(places, _ROUNDING))
    return drift, float(np.clip((_RESTLESS - ratio) / (_RESTLESS - _STEADY), 0, 1))


def _by_brightness(grey: Float, tone: Float, size: Float, quantile: float) -> Float:
    """A standard deviation for each of `grey`, from samples of brightness `tone` (P,) and deviation `size`
    (P,): the quantile of each brightness, as for a normal distribution.
    """
    order = np.argsort(tone, kind="stable")
    bins = [part for part in np.array_split(order, _BINS) if len(part) >= _FEWEST]
    if not bins:
        return np.full_like(grey, _ROUNDING)
    centres = [np.median(tone[part]) for part in bins]
    levels = [np.quantile(size[part], quantile) / _DEVIATION[quantile] for part in bins]
    known = np.maximum(levels, _ROUNDING)
    return np.stack(each(lambda image: np.interp(image, centres, known).astype(np.float32), grey))

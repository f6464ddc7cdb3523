"""How often each colour occurs, and with how much texture around it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Float = NDArray[np.float32]
Image = NDArray[np.uint8]

_BINS = 32  # of each channel
_BLUR = 1.2  # bins
_UNSEEN = 2e-3  # share of all colours together that were not seen
_WINDOW = 5  # pixels that texture is measured in
_ROUGH = np.array(
    [3.0, 6.0, 12.0], np.float32
)  # grey levels of deviation that begin a further kind of texture
_KINDS = len(_ROUGH) + 1
_KINDS_BLUR = 0.5  # kinds


def textured(images: Image) -> Image:
    """(N,h,w,4): images (N,h,w,3), and the kind of texture around each pixel, from 0 for an even wall.

    That of the least deviation of grey in any window that holds the pixel, since a window across an outline
    says nothing of either side (Kuwahara et al. 1976).
    """
    window = np.ones((_WINDOW, _WINDOW), np.uint8)
    found = np.empty((*images.shape[:3], 4), np.uint8)
    found[..., :3] = images
    for image, kind in zip(images, found[..., 3], strict=True):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        variance = cv2.blur(grey**2, window.shape) - cv2.blur(grey, window.shape) ** 2
        kind[:] = np.searchsorted(_ROUGH**2, cv2.erode(variance, window))
    return found


def table(pixels: Image) -> Float:
    """(K,B,B,B) density, a kind and a cubic level of red, green and blue, of pixels (M,4) of `textured`; the
    same everywhere for none.
    """
    index = np.bincount(_index(pixels), minlength=_KINDS * _BINS**3)
    counts = index.reshape(_KINDS, _BINS, _BINS, _BINS).astype(np.float32)
    smooth = ndimage.gaussian_filter(counts, (_KINDS_BLUR, _BLUR, _BLUR, _BLUR), mode="nearest")
    even = max(_UNSEEN * float(smooth.sum()), 1e-3) / counts.size
    share = (smooth + even) / (smooth.sum() + even * counts.size)
    return np.asarray(share * (_BINS / 256) ** 3, np.float32)


def density(found: Float, pixels: Image) -> Float:
    """(...) of pixels (...,4), by a `table`."""
    values: Float = found.reshape(-1)[_index(pixels)]
    return values


def _index(pixels: Image) -> NDArray[np.uint32]:
    cells = pixels[..., :3].astype(np.uint32) * _BINS // 256
    kind = pixels[..., 3].astype(np.uint32)
    index: NDArray[np.uint32] = ((kind * _BINS + cells[..., 0]) * _BINS + cells[..., 1]) * _BINS + cells[
        ..., 2
    ]
    return index

"""How often each colour occurs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Float = NDArray[np.float32]
Image = NDArray[np.uint8]

_BINS = 32  # of each channel
_BLUR = 1.2  # bins
_UNSEEN = 2e-3  # share of all colours together that were not seen


def table(colours: Image) -> Float:
    """(B,B,B) density, a cubic level of red, green and blue, of the colours (M,3); the same everywhere for
    none.
    """
    cells = colours.astype(np.int64) * _BINS // 256
    index = (cells[:, 0] * _BINS + cells[:, 1]) * _BINS + cells[:, 2]
    counts = np.bincount(index, minlength=_BINS**3).reshape(_BINS, _BINS, _BINS)
    smooth = ndimage.gaussian_filter(counts.astype(np.float32), _BLUR)
    even = max(_UNSEEN * float(smooth.sum()), 1e-3) / _BINS**3
    density: Float = (smooth + even) / (smooth.sum() + even * _BINS**3) * np.float32((_BINS / 256) ** 3)
    return density


def density(found: Float, images: Image) -> Float:
    """(...) of the colours of images (...,3), by a `table`."""
    cells = images.astype(np.uint32) * _BINS // 256
    values: Float = found.reshape(-1)[(cells[..., 0] * _BINS + cells[..., 1]) * _BINS + cells[..., 2]]
    return values

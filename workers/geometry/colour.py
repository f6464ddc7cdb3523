"""sRGB transfer (IEC 61966-2-1), values in [0,1]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


def encode_srgb(linear: Float) -> Float:
    """sRGB-encoded values of linear ones, which are clipped to [0,1]."""
    clipped = np.clip(linear, 0, 1)
    curve = 1.055 * np.maximum(clipped, 0.0031308) ** (1 / 2.4) - 0.055
    encoded: Float = np.where(clipped <= 0.0031308, 12.92 * clipped, curve)
    return encoded


def decode_srgb(encoded: NDArray[np.uint8]) -> Float:
    """Linear float32 values of sRGB bytes."""
    return LINEAR[encoded]


def _table() -> Float:
    value = np.arange(256) / 255
    curve = ((np.maximum(value, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(value <= 0.04045, value / 12.92, curve).astype(np.float32)


LINEAR = _table()
"""(256,) linear value of each sRGB byte, for kernels."""

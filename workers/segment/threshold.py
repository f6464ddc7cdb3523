"""Soft masks to sharp ones."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def sharpen(alpha: NDArray[Any], threshold: float) -> NDArray[np.uint8]:
    """(H, W) uint8 alpha -> (H, W) uint8, 255 where alpha / 255 reaches `threshold`, else 0."""
    return np.where(alpha >= threshold * 255, np.uint8(255), np.uint8(0))

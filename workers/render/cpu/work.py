"""How work on pixels is split: the same way whatever the number of threads, so that results are too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import prange
from numpy.typing import NDArray

from workers.geometry.kernels import parallel_kernel

if TYPE_CHECKING:  # who has none of its tensors need not load torch, which takes two seconds
    from torch import Tensor

Float = NDArray[np.float32]
Index = NDArray[np.int32]
Long = NDArray[np.int64]

# A Python number beside a float32 makes kernels compute in float64.
ONE, HALF = np.float32(1), np.float32(0.5)

_ITEMS = 4  # items of work at least: views, each split where they are fewer


def floats(tensor: Tensor) -> Float:
    """A tensor's values, contiguous float32, shared where they are so already."""
    values: Float = np.ascontiguousarray(tensor.detach().numpy(), np.float32)
    return values


def indices(tensor: Tensor) -> Index:
    """A tensor's values, contiguous int32, shared where they are so already."""
    values: Index = np.ascontiguousarray(tensor.detach().numpy(), np.int32)
    return values


def foreground(rast: Float) -> Long:
    """(N,) flat indices over (B,height,width), ascending, of the pixels of `rast` that see a triangle."""
    views, height, width = rast.shape[:3]
    rows = rast.reshape(views * height, width, 4)
    counts = np.empty(len(rows), np.int64)
    _count(rows, counts)
    ends = np.cumsum(counts)
    pixels = np.empty(ends[-1] if len(ends) else 0, np.int64)
    _list(rows, ends - counts, pixels)
    return pixels


def split(pixels: Long, views: int, area: int) -> Long:
    """(items+1,) where items of work start in the ascending `pixels` of `views` images of `area` pixels.

    Each view is the same number of items long: `items // views`.
    """
    parts = max(1, _ITEMS // max(1, views))
    starts = np.searchsorted(pixels, np.arange(views + 1) * area)
    steps = np.arange(parts) / parts
    inner = starts[:-1, None] + (steps * np.diff(starts)[:, None]).astype(np.int64)
    return np.append(inner.ravel(), starts[-1])


@parallel_kernel
def _count(rows: Float, counts: Long) -> None:
    for row in prange(len(rows)):
        count = 0
        for column in range(rows.shape[1]):
            if rows[row, column, 3] > 0:
                count += 1
        counts[row] = count


@parallel_kernel
def _list(rows: Float, starts: Long, pixels: Long) -> None:
    for row in prange(len(rows)):
        n = starts[row]
        for column in range(rows.shape[1]):
            if rows[row, column, 3] > 0:
                pixels[n] = row * rows.shape[1] + column
                n += 1

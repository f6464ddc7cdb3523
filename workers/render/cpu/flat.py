"""Where look-ups in a flat texture fall (see `texture`)."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from workers.geometry.kernels import Real, kernel, parallel_kernel
from workers.render.cpu.work import HALF, ONE, Float, Index, Long


@kernel
def mixed(level: Float, n: int, count: int) -> tuple[int, Real]:
    """The finer of the two levels that point `n` blends, and how much of the coarser; 0, 0 without a
    pyramid.
    """
    if len(level) == 0 or not level[n] > 0:
        return 0, np.float32(0)
    clamped = min(level[n], np.float32(count - 1))
    fine = min(int(clamped), count - 2)
    return fine, clamped - np.float32(fine)


@kernel
def _place(at: Real, size: int, wrap: bool) -> Real:
    """Texels' centres lie at 0, 1, ..., size - 1; beyond, clamped there, or wrapped to [-0.5, size - 0.5)."""
    if wrap:
        at -= np.float32(math.floor(at))
        return at * np.float32(size) - HALF if at >= 0 else np.float32(0)
    place = at * np.float32(size) - HALF
    return min(place, np.float32(size - 1)) if place > 0 else np.float32(0)


@parallel_kernel
def locate(
    uv: Float, level: Float, sizes: Long, wrap: bool, index: Index, fraction: Float, mix: Float
) -> None:
    """Fill the table: index (N,levels,4), fraction (N,levels,2), mix (N,)."""
    for n in prange(len(uv)):
        fine, mix[n] = mixed(level, n, len(sizes))
        for k in range(index.shape[1]):
            height, width, first = sizes[fine + k]
            x, y = _place(uv[n, 0], width, wrap), _place(ONE - uv[n, 1], height, wrap)
            left, top = math.floor(x), math.floor(y)
            fraction[n, k, 0], fraction[n, k, 1] = x - np.float32(left), y - np.float32(top)
            right, bottom = left + 1, top + 1
            if wrap:
                left, right, top, bottom = left % width, right % width, top % height, bottom % height
            else:
                right, bottom = min(right, width - 1), min(bottom, height - 1)
            index[n, k, 0], index[n, k, 1] = first + top * width + left, first + top * width + right
            index[n, k, 2], index[n, k, 3] = first + bottom * width + left, first + bottom * width + right


@parallel_kernel
def backward(uv: Float, level: Float, sizes: Long, wrap: bool, to_fraction: Float, out: Float) -> None:
    """Gradient (N,2) of uv, given that of the fractions."""
    for n in prange(len(uv)):
        fine, _ = mixed(level, n, len(sizes))
        gu = gv = np.float32(0)
        for k in range(to_fraction.shape[1]):
            height, width, _ = sizes[fine + k]
            w, h = np.float32(width), np.float32(height)
            x, y = uv[n, 0] * w - HALF, (ONE - uv[n, 1]) * h - HALF
            if wrap or 0 < x < w - ONE:
                gu += to_fraction[n, k, 0] * w
            if wrap or 0 < y < h - ONE:
                gv -= to_fraction[n, k, 1] * h
        out[n, 0], out[n, 1] = gu, gv

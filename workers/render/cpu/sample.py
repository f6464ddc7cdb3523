"""Sums of texels by table (see `texture`), and their gradients.

A corner of a cube has only three texels around it: index -1 stands for the mean of the other three.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from workers.geometry.kernels import Real, kernel, parallel_kernel
from workers.render.cpu.work import ONE, Float, Index, Long

_CHUNKS = 16  # of points, when they are sorted
_BAND_BITS = 5  # up to 32 bands of texels, each the work of one thread
_THIRD = np.float32(1 / 3)
_BLOCK = 2048  # points a thread takes at once


def scatter(grad: Float, index: Index, fraction: Float, mix: Float, count: int) -> Float:
    """(count,C) gradient of the texels given that of the points (N,C).

    Points are sorted by the bands of texels they touch; each band then adds up its points in order. So every
    sum has one order, and no two threads write to one texel.
    """
    shift = max(0, (count - 1).bit_length() - _BAND_BITS)  # bands are 2 ** shift texels long
    bands = ((count - 1) >> shift) + 1
    counts = np.zeros((_CHUNKS, bands), np.int64)
    _count(index, shift, counts)
    ends = np.cumsum(counts.T.ravel())
    starts = (ends - counts.T.ravel()).reshape(bands, _CHUNKS)
    points = np.empty(ends[-1], np.int32)
    _sort(index, shift, starts.T.copy(), points)
    out = np.zeros((count, grad.shape[1]), np.float32)
    _add(grad, index, fraction, mix, np.append(starts[:, 0], ends[-1]), points, shift, out)
    return out


@kernel
def _weights(
    index: Index, n: int, level: int, s: Real, t: Real, scale: Real
) -> tuple[Real, Real, Real, Real]:
    """Of the four texels of one level; 0 for a missing one, whose weight the others share."""
    upper, lower = (ONE - t) * scale, t * scale
    a, b, c, d = (ONE - s) * upper, s * upper, (ONE - s) * lower, s * lower
    ia, ib, ic, id = index[n, level, 0], index[n, level, 1], index[n, level, 2], index[n, level, 3]
    if min(ia, ib, ic, id) >= 0:
        return a, b, c, d
    third = (a if ia < 0 else b if ib < 0 else c if ic < 0 else d) * _THIRD
    a = np.float32(0) if ia < 0 else a + third
    b = np.float32(0) if ib < 0 else b + third
    c = np.float32(0) if ic < 0 else c + third
    d = np.float32(0) if id < 0 else d + third
    return a, b, c, d


@parallel_kernel
def gather(texels: Float, index: Index, fraction: Float, mix: Float, out: Float) -> None:
    """out (N,C)."""
    levels, channels = index.shape[1], texels.shape[1]
    for block in prange((len(index) + _BLOCK - 1) // _BLOCK):
        for n in range(block * _BLOCK, min((block + 1) * _BLOCK, len(index))):
            for level in range(levels):
                scale = mix[n] if level else ONE - mix[n]
                s, t = fraction[n, level, 0], fraction[n, level, 1]
                wa, wb, wc, wd = _weights(index, n, level, s, t, scale)
                a, b = max(index[n, level, 0], 0), max(index[n, level, 1], 0)
                c, d = max(index[n, level, 2], 0), max(index[n, level, 3], 0)
                for k in range(channels):
                    value = wa * texels[a, k] + wb * texels[b, k] + wc * texels[c, k] + wd * texels[d, k]
                    out[n, k] = out[n, k] + value if level else value


@parallel_kernel
def slopes(
    grad: Float, texels: Float, index: Index, fraction: Float, mix: Float, to_fraction: Float, to_mix: Float
) -> None:
    """Gradient of the fractions (N,levels,2) and of the mix of levels (N,)."""
    levels, channels = index.shape[1], texels.shape[1]
    for block in prange((len(index) + _BLOCK - 1) // _BLOCK):
        for n in range(block * _BLOCK, min((block + 1) * _BLOCK, len(index))):
            total = np.float32(0)
            for level in range(levels):
                a = b = c = d = np.float32(0)
                ia, ib = max(index[n, level, 0], 0), max(index[n, level, 1], 0)
                ic, id = max(index[n, level, 2], 0), max(index[n, level, 3], 0)
                for k in range(channels):
                    g = grad[n, k]
                    a += g * texels[ia, k]
                    b += g * texels[ib, k]
                    c += g * texels[ic, k]
                    d += g * texels[id, k]
                if index[n, level, 0] < 0:
                    a = (b + c + d) * _THIRD
                if index[n, level, 1] < 0:
                    b = (a + c + d) * _THIRD
                if index[n, level, 2] < 0:
                    c = (a + b + d) * _THIRD
                if index[n, level, 3] < 0:
                    d = (a + b + c) * _THIRD
                s, t = fraction[n, level, 0], fraction[n, level, 1]
                scale = mix[n] if level else ONE - mix[n]
                to_fraction[n, level, 0] = ((ONE - t) * (b - a) + t * (d - c)) * scale
                to_fraction[n, level, 1] = ((ONE - s) * (c - a) + s * (d - b)) * scale
                value = (ONE - t) * ((ONE - s) * a + s * b) + t * ((ONE - s) * c + s * d)
                total += value if level else -value
            to_mix[n] = total


@kernel
def _bands(index: Index, n: int, shift: int, bands: Long) -> int:
    """The distinct bands that point `n` touches: how many, their numbers in `bands` (8,)."""
    count, last = 0, -1
    for level in range(index.shape[1]):
        for corner in range(4):
            band = index[n, level, corner] >> shift
            if band < 0 or band == last:
                continue
            last = band
            new = True
            for k in range(count):
                new = new and bands[k] != band
            if new:
                bands[count] = band
                count += 1
    return count


@parallel_kernel
def _count(index: Index, shift: int, counts: Long) -> None:
    chunks = len(counts)
    for chunk in prange(chunks):
        bands = np.empty(8, np.int64)
        for n in range(chunk * len(index) // chunks, (chunk + 1) * len(index) // chunks):
            for k in range(_bands(index, n, shift, bands)):
                counts[chunk, bands[k]] += 1


@parallel_kernel
def _sort(index: Index, shift: int, starts: Long, points: Index) -> None:
    chunks = len(starts)
    for chunk in prange(chunks):
        bands = np.empty(8, np.int64)
        for n in range(chunk * len(index) // chunks, (chunk + 1) * len(index) // chunks):
            for k in range(_bands(index, n, shift, bands)):
                points[starts[chunk, bands[k]]] = n
                starts[chunk, bands[k]] += 1


@parallel_kernel
def _add(
    grad: Float,
    index: Index,
    fraction: Float,
    mix: Float,
    starts: Long,
    points: Index,
    shift: int,
    out: Float,
) -> None:
    levels, channels = index.shape[1], grad.shape[1]
    for band in prange(len(starts) - 1):
        for m in range(starts[band], starts[band + 1]):
            n = points[m]
            for level in range(levels):
                scale = mix[n] if level else ONE - mix[n]
                s, t = fraction[n, level, 0], fraction[n, level, 1]
                wa, wb, wc, wd = _weights(index, n, level, s, t, scale)
                for corner in range(4):
                    texel = index[n, level, corner]
                    if texel >> shift == band:
                        weight = wa if corner == 0 else wb if corner == 1 else wc if corner == 2 else wd
                        for k in range(channels):
                            out[texel, k] += weight * grad[n, k]

"""Where look-ups in a cube map fall (see `texture`): OpenGL 4.6, table 8.19, seamless across edges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange

from workers.geometry.kernels import Real, kernel, parallel_kernel
from workers.render.cpu.flat import mixed
from workers.render.cpu.work import HALF, ONE, Float, Index, Long

# Of each face +x, -x, +y, -y, +z, -z: the axes that s and t run along, and which way.
_S_AXIS = np.array([2, 2, 0, 0, 0, 0])
_S_SIGN = np.array([-1, 1, 1, 1, 1, -1], np.float32)
_T_AXIS = np.array([1, 1, 2, 2, 1, 1])
_T_SIGN = np.array([-1, -1, 1, -1, -1, -1], np.float32)


@kernel
def _face(x: Any, y: Any, z: Any) -> int:
    """The face that a direction meets."""
    if abs(x) >= abs(y) and abs(x) >= abs(z):
        return 1 if x < 0 else 0
    if abs(y) >= abs(z):
        return 3 if y < 0 else 2
    return 5 if z < 0 else 4


@kernel
def _on_face(direction: Float, n: int, face: int) -> tuple[Real, Real]:
    """s and t in [-1, 1] where direction `n` meets `face`; the face's middle for a direction that is none."""
    size = abs(direction[n, face // 2])
    if not 0 < size < np.inf:
        return np.float32(0), np.float32(0)
    s = _S_SIGN[face] * direction[n, _S_AXIS[face]] / size
    t = _T_SIGN[face] * direction[n, _T_AXIS[face]] / size
    # Written so that a coordinate that is no number ends on the face too.
    s, t = s if s > -ONE else -ONE, t if t > -ONE else -ONE
    return min(s, ONE), min(t, ONE)


@kernel
def _texel(face: int, row: int, column: int, size: int) -> int:
    """Index of a texel, or of the one on the neighbouring face where `row` or `column` is one too far; -1
    where both are.
    """
    beyond_row, beyond_column = row < 0 or row >= size, column < 0 or column >= size
    if beyond_row and beyond_column:
        return -1
    if beyond_row or beyond_column:
        # Seen from the cube's middle, a texel beyond the edge lies before the one in line with it next door.
        s = np.float32((2 * column + 1) / size - 1)
        t = np.float32((2 * row + 1) / size - 1)
        direction = np.empty((1, 3), np.float32)
        direction[0, face // 2] = -1 if face % 2 else 1
        direction[0, _S_AXIS[face]] = _S_SIGN[face] * s
        direction[0, _T_AXIS[face]] = _T_SIGN[face] * t
        face = _face(direction[0, 0], direction[0, 1], direction[0, 2])
        across, down = _on_face(direction, 0, face)
        column, row = int((across + ONE) * HALF * size), int((down + ONE) * HALF * size)
        row, column = min(row, size - 1), min(column, size - 1)
    return (face * size + row) * size + column


@parallel_kernel
def locate(direction: Float, level: Float, sizes: Long, index: Index, fraction: Float, mix: Float) -> None:
    """Fill the table: index (N,levels,4), fraction (N,levels,2), mix (N,)."""
    for n in prange(len(direction)):
        fine, mix[n] = mixed(level, n, len(sizes))
        face = _face(direction[n, 0], direction[n, 1], direction[n, 2])
        s, t = _on_face(direction, n, face)
        for k in range(index.shape[1]):
            size, first = sizes[fine + k, 0], sizes[fine + k, 2]
            x, y = (s + ONE) * HALF * np.float32(size), (t + ONE) * HALF * np.float32(size)
            left, top = math.floor(x - HALF), math.floor(y - HALF)
            fraction[n, k, 0], fraction[n, k, 1] = x - HALF - np.float32(left), y - HALF - np.float32(top)
            if 0 <= left < size - 1 and 0 <= top < size - 1:
                at = first + (face * size + top) * size + left
                index[n, k, 0], index[n, k, 1] = at, at + 1
                index[n, k, 2], index[n, k, 3] = at + size, at + size + 1
                continue
            for corner in range(4):
                texel = _texel(face, top + corner // 2, left + corner % 2, size)
                index[n, k, corner] = first + texel if texel >= 0 else -1


@parallel_kernel
def backward(direction: Float, level: Float, sizes: Long, to_fraction: Float, out: Float) -> None:
    """Gradient (N,3) of the direction, given that of the fractions."""
    for n in prange(len(direction)):
        fine, _ = mixed(level, n, len(sizes))
        gs = gt = np.float32(0)
        for k in range(to_fraction.shape[1]):
            half = HALF * np.float32(sizes[fine + k, 0])
            gs += to_fraction[n, k, 0] * half
            gt += to_fraction[n, k, 1] * half
        face = _face(direction[n, 0], direction[n, 1], direction[n, 2])
        s, t = _on_face(direction, n, face)
        major = direction[n, face // 2]
        out[n] = 0
        if major != 0:
            out[n, _S_AXIS[face]] += _S_SIGN[face] * gs / abs(major)
            out[n, _T_AXIS[face]] += _T_SIGN[face] * gt / abs(major)
            out[n, face // 2] -= (gs * s + gt * t) / major

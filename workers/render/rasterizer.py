"""Rasterise, interpolate, look up a texture: nvdiffrast's primitives and conventions (Laine et al. 2020),
forward.

Positions are OpenGL clip space. Unlike nvdiffrast, whose row 0 is the bottom one, **row 0 of every image here
is the top row**: the pixel in row r, column c has its centre at x/w = 2 (c + 0.5) / width - 1, y/w = 1 - 2 (r
+ 0.5) / height.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange
from numpy.typing import NDArray

from workers.geometry.kernels import exact_kernel, parallel_kernel

Float = NDArray[np.float32]
Index = NDArray[np.int32]

_BANDS = 4  # items of work at least: views, each split into horizontal bands where they are fewer


def rasterize(pos: Float, faces: Index, resolution: tuple[int, int]) -> Float:
    """What each pixel's centre sees.

    pos: (B,V,4) clip space. faces: (F,3). resolution: height, width.
    Returns (B,height,width,4): u, v, z/w, triangle + 1; zeros where nothing is seen. (u, v) are the
    perspective-correct barycentrics of the triangle's first and second vertex. Of several triangles the one
    with the smallest z/w within [-1, 1] wins, the first one on a tie; both orientations are drawn.

    Coverage is decided in homogeneous coordinates (Olano and Greer 1997, "Triangle scan conversion using 2D
    homogeneous coordinates"): a triangle partly behind the camera shows exactly its part in front.
    """
    height, width = resolution
    rast = np.zeros((len(pos), height, width, 4), np.float32)
    bands = max(1, _BANDS // max(1, len(pos)))
    _rasterize(np.ascontiguousarray(pos, np.float32), np.ascontiguousarray(faces, np.int32), bands, rast)
    return rast


def interpolate(attr: Float, rast: Float, faces: Index) -> Float:
    """(B,height,width,C) vertex attributes (V,C) at the points `rast` (B,height,width,4) sees; 0 where
    none.
    """
    out = np.zeros((*rast.shape[:3], attr.shape[1]), np.float32)
    _interpolate(np.ascontiguousarray(attr, np.float32), rast, np.ascontiguousarray(faces, np.int32), out)
    return out


def texture(tex: Float, uv: Float) -> Float:
    """Bilinear look-up: (..., C) values of `tex` (height,width,C; top row first) at `uv` (...,2).

    u runs right and **v runs up**: (0, 0) is the outer corner of the bottom-left texel, as in OBJ. Beyond the
    border the border's texels repeat.
    """
    out = np.empty((uv.size // 2, tex.shape[2]), np.float32)
    _texture(np.ascontiguousarray(tex, np.float32), np.ascontiguousarray(uv.reshape(-1, 2), np.float32), out)
    return out.reshape(*uv.shape[:-1], tex.shape[2])


@exact_kernel
def _project(pos: Float, height: int, width: int, out: Float) -> None:
    """Pixel coordinates (V,2) of clip-space positions (V,4); NaN at or behind the camera."""
    for i in range(len(pos)):
        w = pos[i, 3]
        if w > np.float32(1e-6):
            out[i, 0] = (pos[i, 0] / w + 1) * np.float32(0.5) * width
            out[i, 1] = (1 - pos[i, 1] / w) * np.float32(0.5) * height
        else:
            out[i, 0], out[i, 1] = np.nan, np.nan


@exact_kernel
def _bounds(a: Float, b: Float, c: Float, height: int, width: int) -> tuple[int, int, int, int]:
    """First and last row and column whose centres a triangle may cover, its corners (2,) in pixels; the whole
    image where a corner is NaN.
    """
    if math.isnan(a[0] + b[0] + c[0]):
        return 0, height - 1, 0, width - 1
    left = math.ceil(min(a[0], b[0], c[0]) - 0.501)
    right = math.floor(max(a[0], b[0], c[0]) - 0.499)
    top = math.ceil(min(a[1], b[1], c[1]) - 0.501)
    bottom = math.floor(max(a[1], b[1], c[1]) - 0.499)
    return max(top, 0), min(bottom, height - 1), max(left, 0), min(right, width - 1)


@exact_kernel
def _draw(
    triangle: int,
    a: Float,
    b: Float,
    c: Float,
    bounds: tuple[int, int, int, int],
    image: Float,
) -> None:
    """Draw one triangle (clip-space corners) within `bounds` (see `_bounds`) of `image` (height,width,4)."""
    height, width = image.shape[0], image.shape[1]
    top, bottom, left, right = bounds
    if max(a[3], b[3], c[3]) <= 0:
        return
    ax, ay, aw = np.float64(a[0]), np.float64(a[1]), np.float64(a[3])
    bx, by, bw = np.float64(b[0]), np.float64(b[1]), np.float64(b[3])
    cx, cy, cw = np.float64(c[0]), np.float64(c[1]), np.float64(c[3])
    # Rows of the adjugate of [(x, y, w)]: e_i = row_i . (x, y, 1) is barycentric i over w, times det.
    e0x, e0y, e01 = by * cw - bw * cy, bw * cx - bx * cw, bx * cy - by * cx
    e1x, e1y, e11 = cy * aw - cw * ay, cw * ax - cx * aw, cx * ay - cy * ax
    e2x, e2y, e21 = ay * bw - aw * by, aw * bx - ax * bw, ax * by - ay * bx
    det = e0x * ax + e0y * ay + e01 * aw
    if det == 0:
        return
    sign = 1.0 if det > 0 else -1.0
    inverse = 1 / det
    for row in range(top, bottom + 1):
        y = 1 - (row + 0.5) * 2 / height
        for column in range(left, right + 1):
            x = (column + 0.5) * 2 / width - 1
            e0 = e0x * x + e0y * y + e01
            e1 = e1x * x + e1y * y + e11
            e2 = e2x * x + e2y * y + e21
            if e0 * sign < 0 or e1 * sign < 0 or e2 * sign < 0:
                continue
            z = np.float32((e0 * a[2] + e1 * b[2] + e2 * c[2]) * inverse)
            if z < -1 or z > 1 or (image[row, column, 3] > 0 and z >= image[row, column, 2]):
                continue
            total = e0 + e1 + e2
            if total == 0:
                continue
            image[row, column, 0] = e0 / total
            image[row, column, 1] = e1 / total
            image[row, column, 2] = z
            image[row, column, 3] = triangle + 1


@parallel_kernel
def _rasterize(pos: Float, faces: Index, bands: int, rast: Float) -> None:
    height, width = rast.shape[1], rast.shape[2]
    for item in prange(len(pos) * bands):
        view, band = item // bands, item % bands
        first, last = band * height // bands, (band + 1) * height // bands - 1
        pixels = np.empty((pos.shape[1], 2), np.float32)
        _project(pos[view], height, width, pixels)
        for triangle in range(len(faces)):
            a, b, c = faces[triangle, 0], faces[triangle, 1], faces[triangle, 2]
            top, bottom, left, right = _bounds(pixels[a], pixels[b], pixels[c], height, width)
            top, bottom = max(top, first), min(bottom, last)
            if top <= bottom and left <= right:
                bounds = (top, bottom, left, right)
                _draw(triangle, pos[view, a], pos[view, b], pos[view, c], bounds, rast[view])


@parallel_kernel
def _interpolate(attr: Float, rast: Float, faces: Index, out: Float) -> None:
    height, width = rast.shape[1], rast.shape[2]
    for item in prange(len(rast) * height):
        view, row = item // height, item % height
        for column in range(width):
            triangle = int(rast[view, row, column, 3]) - 1
            if triangle < 0:
                continue
            u, v = rast[view, row, column, 0], rast[view, row, column, 1]
            a, b, c = faces[triangle, 0], faces[triangle, 1], faces[triangle, 2]
            for k in range(attr.shape[1]):
                out[view, row, column, k] = u * attr[a, k] + v * attr[b, k] + (1 - u - v) * attr[c, k]


@parallel_kernel
def _texture(tex: Float, uv: Float, out: Float) -> None:
    height, width, channels = tex.shape
    block = 4096
    for item in prange((len(uv) + block - 1) // block):
        for i in range(item * block, min((item + 1) * block, len(uv))):
            x = min(max(uv[i, 0] * width - np.float32(0.5), np.float32(0)), np.float32(width - 1))
            y = min(max((1 - uv[i, 1]) * height - np.float32(0.5), np.float32(0)), np.float32(height - 1))
            left, top = int(x), int(y)
            right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
            s, t = x - left, y - top
            for k in range(channels):
                upper = tex[top, left, k] * (1 - s) + tex[top, right, k] * s
                lower = tex[bottom, left, k] * (1 - s) + tex[bottom, right, k] * s
                out[i, k] = upper * (1 - t) + lower * t

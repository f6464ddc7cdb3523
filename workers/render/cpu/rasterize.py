"""Rasterising, with the gradient of what is seen with respect to the vertices.

With a pixel's centre as the origin of clip space, corners are (x, y, w) and e_0 = x_1 y_2 - y_1 x_2, e_1 and
e_2 in turn; the perspective-correct barycentrics are e / Σe and z/w is Σ e z / Σ e w (Olano and Greer 1997).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import prange
from torch import Tensor

from workers.geometry.kernels import Real, kernel, parallel_kernel
from workers.render.cpu.work import HALF, ONE, Float, Index, Long, floats, foreground, indices, split
from workers.render.rasterizer import rasterize as draw

Corner = tuple[Any, Any, Any]  # x, y, w

# A triangle thinner than this, in pixels, is one seen edge-on: its gradient is huge, and noise.
_THINNEST = 0.05


class Rasterize(torch.autograd.Function):
    """pos (B,V,4), tri (F,3), resolution, derivatives -> rast, rast_db (empty unless asked for)."""

    @staticmethod
    def forward(
        ctx: Any, pos: Tensor, tri: Tensor, resolution: tuple[int, int], derivatives: bool
    ) -> tuple[Tensor, Tensor]:
        p, faces = floats(pos), indices(tri)
        rast = draw(p, faces, resolution)
        slopes = np.zeros(rast.shape if derivatives else (0,), np.float32)
        if derivatives:
            pixels = foreground(rast)
            starts = split(pixels, len(p), resolution[0] * resolution[1])
            _derivatives(p, faces, rast.reshape(-1, 4), pixels, starts, resolution, slopes.reshape(-1, 4))
        seen, seen_db = torch.from_numpy(rast), torch.from_numpy(slopes)
        ctx.save_for_backward(pos, tri, seen)
        ctx.mark_non_differentiable(seen_db)
        return seen, seen_db

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:
        pos, tri, rast = ctx.saved_tensors
        views, height, width = rast.shape[:3]
        values, g = floats(rast), floats(grad).reshape(-1, 4)
        pixels = foreground(values)
        starts = split(pixels, views, height * width)
        out = np.zeros((len(starts) - 1, *pos.shape[1:]), np.float32)
        _backward(floats(pos), indices(tri), values.reshape(-1, 4), pixels, starts, (height, width), g, out)
        return torch.from_numpy(out.reshape(views, -1, *pos.shape[1:]).sum(1)), None, None, None


@kernel
def _slopes(a: Corner, b: Corner, c: Corner) -> tuple[Real, Real, Real, Real]:
    """Derivatives of u and v with respect to the x and y of clip space over w, at the origin, of a triangle
    with corners (x, y, w).
    """
    e0x, e0y = b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2]
    e1x, e1y = c[1] * a[2] - c[2] * a[1], c[2] * a[0] - c[0] * a[2]
    e2x, e2y = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2]
    e0, e1 = b[0] * c[1] - b[1] * c[0], c[0] * a[1] - c[1] * a[0]
    inverse = ONE / (e0 + e1 + a[0] * b[1] - a[1] * b[0])
    u, v, sx, sy = e0 * inverse, e1 * inverse, e0x + e1x + e2x, e0y + e1y + e2y
    return (
        (e0x - u * sx) * inverse,
        (e0y - u * sy) * inverse,
        (e1x - v * sx) * inverse,
        (e1y - v * sy) * inverse,
    )


@kernel
def _centre(pixel: int, size: tuple[int, int]) -> tuple[Real, Real]:
    """x and y over w of the centre of a pixel, counted through all views."""
    height, width = size
    column, row = pixel % width, pixel // width % height
    x = (np.float32(column) + HALF) * np.float32(2 / width) - ONE
    return x, ONE - (np.float32(row) + HALF) * np.float32(2 / height)


@kernel
def _corner(pos: Float, view: int, vertex: int, x: Real, y: Real) -> Corner:
    """A vertex (x, y, w) in a clip space moved so that (x, y), a point over w, comes to its middle."""
    w = pos[view, vertex, 3]
    return pos[view, vertex, 0] - x * w, pos[view, vertex, 1] - y * w, w


@parallel_kernel
def _derivatives(
    pos: Float, faces: Index, rast: Float, pixels: Long, starts: Long, size: tuple[int, int], out: Float
) -> None:
    (height, width), parts = size, (len(starts) - 1) // len(pos)
    for item in prange(len(starts) - 1):
        view = item // parts
        for n in range(starts[item], starts[item + 1]):
            pixel = pixels[n]
            x, y = _centre(pixel, size)
            triangle = int(rast[pixel, 3]) - 1
            a = _corner(pos, view, faces[triangle, 0], x, y)
            b = _corner(pos, view, faces[triangle, 1], x, y)
            c = _corner(pos, view, faces[triangle, 2], x, y)
            ux, uy, vx, vy = _slopes(a, b, c)
            out[pixel, 0], out[pixel, 1] = ux * 2 / width, -uy * 2 / height
            out[pixel, 2], out[pixel, 3] = vx * 2 / width, -vy * 2 / height


@parallel_kernel
def _backward(
    pos: Float,
    faces: Index,
    rast: Float,
    pixels: Long,
    starts: Long,
    size: tuple[int, int],
    grad: Float,
    out: Float,
) -> None:
    (height, width), parts = size, (len(starts) - 1) // len(pos)
    thinnest = np.float32(_THINNEST * 2 / max(height, width))
    for item in prange(len(starts) - 1):
        view = item // parts
        for n in range(starts[item], starts[item + 1]):
            pixel = pixels[n]
            gu, gv, gz = grad[pixel, 0], grad[pixel, 1], grad[pixel, 2]
            if gu == 0 and gv == 0 and gz == 0:
                continue
            x, y = _centre(pixel, size)
            u, v, depth, triangle = rast[pixel, 0], rast[pixel, 1], rast[pixel, 2], int(rast[pixel, 3]) - 1
            i, j, k = faces[triangle, 0], faces[triangle, 1], faces[triangle, 2]
            a, b, c = _corner(pos, view, i, x, y), _corner(pos, view, j, x, y), _corner(pos, view, k, x, y)
            # Barycentrics are e / sum(e), z/w is (e . z) / (e . w), with e as below.
            e0, e1, e2 = b[0] * c[1] - b[1] * c[0], c[0] * a[1] - c[1] * a[0], a[0] * b[1] - a[1] * b[0]
            total = e0 + e1 + e2
            reach = max(abs(a[0]), abs(a[1]), abs(b[0]), abs(b[1]), abs(c[0]), abs(c[1]))
            if not abs(total) > thinnest * reach * abs(a[2]):
                continue
            inverse = ONE / total
            to_z = gz / (e0 * a[2] + e1 * b[2] + e2 * c[2])
            mean = gu * u + gv * v
            g0 = (gu - mean) * inverse + to_z * (pos[view, i, 2] - depth * a[2])
            g1 = (gv - mean) * inverse + to_z * (pos[view, j, 2] - depth * b[2])
            g2 = -mean * inverse + to_z * (pos[view, k, 2] - depth * c[2])
            _add(out, item, i, g2 * b[1] - g1 * c[1], g1 * c[0] - g2 * b[0], to_z * e0, x, y, depth)
            _add(out, item, j, g0 * c[1] - g2 * a[1], g2 * a[0] - g0 * c[0], to_z * e1, x, y, depth)
            _add(out, item, k, g1 * a[1] - g0 * b[1], g0 * b[0] - g1 * a[0], to_z * e2, x, y, depth)


@kernel
def _add(
    out: Float, item: int, vertex: int, gx: Real, gy: Real, gz: Real, x: Real, y: Real, depth: Real
) -> None:
    """Add a corner's gradient with respect to its x and y in the moved clip space, and its z."""
    out[item, vertex, 0] += gx
    out[item, vertex, 1] += gy
    out[item, vertex, 2] += gz
    out[item, vertex, 3] -= gx * x + gy * y + gz * depth

"""Analytic antialiasing: silhouettes blend the pixels on their two sides (see `outlines`), and so get a
gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import prange
from torch import Tensor

from workers.geometry.kernels import parallel_kernel
from workers.render.cpu.outlines import outline_crossings, screen_of
from workers.render.cpu.topology import Edges
from workers.render.cpu.work import HALF, ONE, Float, Index, Long, floats, indices


class Antialias(torch.autograd.Function):
    """color (B,h,w,C), rast (B,h,w,4), pos (B,V,4), tri (F,3), its edges -> (B,h,w,C)."""

    @staticmethod
    def forward(ctx: Any, color: Tensor, rast: Tensor, pos: Tensor, tri: Tensor, edges: Edges) -> Tensor:
        values = floats(color)
        screen = screen_of(floats(pos), rast.shape[1], rast.shape[2])
        ctx.crossings = outline_crossings(screen, edges, floats(rast), indices(tri))
        ctx.save_for_backward(color, pos)
        out = np.empty_like(values)
        crossings, shares, starts = ctx.crossings
        _blend(values, crossings, shares, starts, out)
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor, None, None]:
        color, pos = ctx.saved_tensors
        g, p = floats(grad), floats(pos)
        screen = screen_of(p, g.shape[1], g.shape[2])
        to_color, to_pos = np.empty_like(g), np.zeros_like(p)
        crossings, shares, starts = ctx.crossings
        _backward(floats(color), p, screen, crossings, shares, starts, g, to_color, to_pos)
        return torch.from_numpy(to_color), None, torch.from_numpy(to_pos), None, None


@parallel_kernel
def _blend(color: Float, crossings: Index, shares: Float, starts: Long, out: Float) -> None:
    views, height, width, channels = color.shape
    for view in prange(views):
        pixels, result = color[view].reshape(height * width, channels), out[view]
        result[:] = color[view]
        blended = result.reshape(height * width, channels)
        for n in range(starts[view], starts[view + 1]):
            inner, outer = crossings[n, 0], crossings[n, 1]
            to = outer if shares[n] > 0 else inner
            for c in range(channels):
                blended[to, c] += shares[n] * (pixels[inner, c] - pixels[outer, c])


@parallel_kernel
def _backward(
    color: Float,
    pos: Float,
    screen: Float,
    crossings: Index,
    shares: Float,
    starts: Long,
    grad: Float,
    to_color: Float,
    to_pos: Float,
) -> None:
    views, height, width, channels = color.shape
    half = np.array([0.5 * width, -0.5 * height], np.float32)
    for view in prange(views):
        to_color[view] = grad[view]
        pixels = color[view].reshape(height * width, channels)
        given = grad[view].reshape(height * width, channels)
        passed = to_color[view].reshape(height * width, channels)
        for n in range(starts[view], starts[view + 1]):
            inner, outer, va, vb = crossings[n]
            to = outer if shares[n] > 0 else inner
            to_share = np.float32(0)
            for c in range(channels):
                g = given[to, c]
                to_share += g * (pixels[inner, c] - pixels[outer, c])
                passed[inner, c] += shares[n] * g
                passed[outer, c] -= shares[n] * g
            flat = abs(inner - outer) == width
            along, across = (0, 1) if flat else (1, 0)
            line = inner % width if flat else inner // width
            a, b = screen[view, va], screen[view, vb]
            length = b[along] - a[along]
            fraction = (line + HALF - a[along]) / length
            slope = (b[across] - a[across]) / length
            moved = to_share if outer > inner else -to_share
            for vertex, weight in ((va, ONE - fraction), (vb, fraction)):
                w = pos[view, vertex, 3]
                g_across = moved * weight * half[across] / w
                g_along = -moved * weight * slope * half[along] / w
                to_pos[view, vertex, across] += g_across
                to_pos[view, vertex, along] += g_along
                sum_w = g_across * pos[view, vertex, across] + g_along * pos[view, vertex, along]
                to_pos[view, vertex, 3] -= sum_w / w

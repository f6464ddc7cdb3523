"""Interpolating vertex attributes, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import prange
from torch import Tensor

from workers.geometry.kernels import parallel_kernel
from workers.render.cpu.work import ONE, Float, Index, Long, floats, indices, split


class Interpolate(torch.autograd.Function):
    """attr (1|B,V,C), rast (B,h,w,4), tri, pixels (N,), dense -> (B,h,w,C) or (N,C)."""

    @staticmethod
    def forward(ctx: Any, attr: Tensor, rast: Tensor, tri: Tensor, pixels: Tensor, dense: bool) -> Tensor:
        ctx.save_for_backward(attr, rast, tri, pixels)
        ctx.dense = dense
        channels = attr.shape[2]
        out = np.zeros((rast[..., 0].numel() if dense else len(pixels), channels), np.float32)
        starts = _starts(pixels, rast)
        _forward(floats(attr), _flat(rast), indices(tri), pixels.numpy(), starts, len(rast), dense, out)
        return torch.from_numpy(out.reshape(*rast.shape[:3], channels) if dense else out)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        attr, rast, tri, pixels = ctx.saved_tensors
        starts, (wanted, wanted_rast) = _starts(pixels, rast), ctx.needs_input_grad[:2]
        to_attr = np.zeros((len(starts) - 1 if wanted else 0, *attr.shape[1:]), np.float32)
        to_rast = np.zeros((rast[..., 0].numel() if wanted_rast else 0, 4), np.float32)
        g, at = floats(grad).reshape(-1, attr.shape[2]), pixels.numpy()
        _backward(
            g, floats(attr), _flat(rast), indices(tri), at, starts, len(rast), ctx.dense, to_attr, to_rast
        )
        summed = torch.from_numpy(to_attr.reshape(len(attr), -1, *attr.shape[1:]).sum(1))
        return (
            summed if wanted else None,
            torch.from_numpy(to_rast).reshape(rast.shape) if wanted_rast else None,
            None,
            None,
            None,
        )


def derivatives(
    attr: Tensor, rast: Tensor, rast_db: Tensor, tri: Tensor, pixels: Tensor, dense: bool
) -> Tensor:
    """da/dX and da/dY of each attribute in turn, shaped as `Interpolate`'s result but with 2 C channels."""
    channels = 2 * attr.shape[2]
    out = np.zeros((rast[..., 0].numel() if dense else len(pixels), channels), np.float32)
    starts = _starts(pixels, rast)
    _derivatives(
        floats(attr), _flat(rast), _flat(rast_db), indices(tri), pixels.numpy(), starts, len(rast), dense, out
    )
    return torch.from_numpy(out.reshape(*rast.shape[:3], channels) if dense else out)


def _flat(rast: Tensor) -> Float:
    return floats(rast).reshape(-1, 4)


def _starts(pixels: Tensor, rast: Tensor) -> Long:
    return split(pixels.numpy(), len(rast), rast.shape[1] * rast.shape[2])


@parallel_kernel
def _forward(
    attr: Float, rast: Float, faces: Index, pixels: Long, starts: Long, views: int, dense: bool, out: Float
) -> None:
    parts = (len(starts) - 1) // views
    for item in prange(len(starts) - 1):
        values = attr[item // parts if len(attr) > 1 else 0]
        for n in range(starts[item], starts[item + 1]):
            pixel = pixels[n]
            u, v = rast[pixel, 0], rast[pixel, 1]
            triangle = int(rast[pixel, 3]) - 1
            i, j, k = faces[triangle, 0], faces[triangle, 1], faces[triangle, 2]
            w, to = ONE - u - v, pixel if dense else n
            for c in range(attr.shape[2]):
                out[to, c] = u * values[i, c] + v * values[j, c] + w * values[k, c]


@parallel_kernel
def _derivatives(
    attr: Float,
    rast: Float,
    rast_db: Float,
    faces: Index,
    pixels: Long,
    starts: Long,
    views: int,
    dense: bool,
    out: Float,
) -> None:
    parts = (len(starts) - 1) // views
    for item in prange(len(starts) - 1):
        values = attr[item // parts if len(attr) > 1 else 0]
        for n in range(starts[item], starts[item + 1]):
            triangle = int(rast[pixels[n], 3]) - 1
            i, j, k = faces[triangle, 0], faces[triangle, 1], faces[triangle, 2]
            slopes, to = rast_db[pixels[n]], pixels[n] if dense else n
            for c in range(attr.shape[2]):
                du, dv = values[i, c] - values[k, c], values[j, c] - values[k, c]
                out[to, 2 * c] = du * slopes[0] + dv * slopes[2]
                out[to, 2 * c + 1] = du * slopes[1] + dv * slopes[3]


@parallel_kernel
def _backward(
    grad: Float,
    attr: Float,
    rast: Float,
    faces: Index,
    pixels: Long,
    starts: Long,
    views: int,
    dense: bool,
    to_attr: Float,
    to_rast: Float,
) -> None:
    """Gradients (items,V,C) and (P,4), each only where there is an array for it."""
    parts = (len(starts) - 1) // views
    for item in prange(len(starts) - 1):
        view = item // parts if len(attr) > 1 else 0
        for n in range(starts[item], starts[item + 1]):
            pixel = pixels[n]
            u, v, triangle = rast[pixel, 0], rast[pixel, 1], int(rast[pixel, 3]) - 1
            i, j, k = faces[triangle, 0], faces[triangle, 1], faces[triangle, 2]
            w, at = ONE - u - v, pixel if dense else n
            if len(to_attr) > 0:
                for c in range(grad.shape[1]):
                    g = grad[at, c]
                    to_attr[item, i, c] += u * g
                    to_attr[item, j, c] += v * g
                    to_attr[item, k, c] += w * g
            if len(to_rast) > 0:
                gu = gv = np.float32(0)
                for c in range(grad.shape[1]):
                    g, last = grad[at, c], attr[view, k, c]
                    gu += g * (attr[view, i, c] - last)
                    gv += g * (attr[view, j, c] - last)
                to_rast[pixel, 0], to_rast[pixel, 1] = gu, gv

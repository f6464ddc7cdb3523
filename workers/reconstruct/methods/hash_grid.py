"""Features of places in the unit cube and their slopes: a multiresolution hash grid (Müller et al. 2022,
"Instant neural graphics primitives", section 3), by kernels of our own on the CPU and by torch elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numba import prange
from numpy.typing import NDArray
from torch import Tensor

from workers.geometry.kernels import Real, kernel, parallel_kernel

Float = NDArray[np.float32]
Long = NDArray[np.int64]

_PRIMES = (1, 2654435761, 805459861)
_SMALL = 1e-4  # of the values at first
_CHUNK = 512  # points that a thread takes at a time


@dataclass(frozen=True)
class HashGrid:
    """levels: from `coarsest` cells on a side to `finest`, evenly in the logarithm. features: of each. rows:
    most entries a level's table has, a power of two; a level with more corners than that hashes them.
    """

    levels: int
    features: int
    coarsest: int
    finest: int
    rows: int

    @property
    def channels(self) -> int:
        return self.levels * self.features

    @cached_property
    def sizes(self) -> Long:
        """(levels,3) cells on a side, first row of all, and rows."""
        ratio = (self.finest / self.coarsest) ** (1 / max(1, self.levels - 1))
        cells = np.round(self.coarsest * ratio ** np.arange(self.levels)).astype(np.int64)
        rows = np.minimum(self.rows, (cells + 1) ** 3)
        return np.stack([cells, np.cumsum(rows) - rows, rows], axis=1)

    def start(self, generator: torch.Generator) -> Tensor:
        """All levels' tables (T,features), small values."""
        shape = (int(self.sizes[:, 2].sum()), self.features)
        return _SMALL * (2 * torch.rand(shape, generator=generator) - 1)

    def encode(self, table: Tensor, unit: Tensor, levels: int) -> tuple[Tensor, Tensor]:
        """Features (N,channels) at `unit` (N,3) in [0,1], and their slopes (N,channels,3) by `unit`, those of
        levels from `levels` on zero. Gradients of both reach `table`, those of the features the places too.
        """
        if unit.device.type == "cpu":
            values, slopes = _Encode.apply(table, unit, self.sizes[:levels])  # type: ignore[no-untyped-call]
        else:
            values, slopes = _by_torch(table, unit, self.sizes[:levels])
        missing = self.channels - values.shape[1]
        values = torch.nn.functional.pad(values, (0, missing))
        return values, torch.nn.functional.pad(slopes, (0, 0, 0, missing))


class _Encode(torch.autograd.Function):
    """table (T,F), unit (N,3), sizes (L,3) -> (N,LF), (N,LF,3)."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, unit: Tensor, sizes: Long) -> tuple[Tensor, Tensor]:
        count, channels = len(unit), len(sizes) * table.shape[1]
        values, slopes = np.empty((count, channels), np.float32), np.empty((count, channels, 3), np.float32)
        places = np.ascontiguousarray(unit.detach().numpy())
        _forward(table.detach().numpy(), places, sizes, values, slopes)
        ctx.places, ctx.sizes, ctx.shape, ctx.slopes = places, sizes, table.shape, torch.from_numpy(slopes)
        return torch.from_numpy(values), ctx.slopes

    @staticmethod
    def backward(ctx: Any, to_values: Tensor, to_slopes: Tensor) -> tuple[Tensor, Tensor | None, None]:
        out = np.zeros(ctx.shape, np.float32)
        _backward(
            np.ascontiguousarray(to_values.numpy()),
            np.ascontiguousarray(to_slopes.numpy()),
            ctx.places,
            ctx.sizes,
            out,
        )
        by_place = torch.einsum("nc,ncd->nd", to_values, ctx.slopes) if ctx.needs_input_grad[1] else None
        return torch.from_numpy(out), by_place, None


@kernel
def _row(i: int, j: int, k: int, cells: int, rows: int) -> int:
    """Of a corner, in its level's table."""
    if rows == (cells + 1) ** 3:
        return (k * (cells + 1) + j) * (cells + 1) + i
    return (i ^ (j * 2654435761) ^ (k * 805459861)) & (rows - 1)


@kernel
def _split(x: Real, cells: int) -> tuple[int, Real]:
    """The cell that a coordinate is in, and how far within it."""
    scaled = x * np.float32(cells)
    low = min(max(int(scaled), 0), cells - 1)
    return low, scaled - np.float32(low)


@parallel_kernel
def _forward(table: Float, unit: Float, sizes: Long, values: Float, slopes: Float) -> None:
    features = table.shape[1]
    one = np.float32(1)
    for chunk in prange((len(unit) + _CHUNK - 1) // _CHUNK):
        for n in range(chunk * _CHUNK, min(len(unit), (chunk + 1) * _CHUNK)):
            for level in range(len(sizes)):
                cells, first, rows = sizes[level]
                i, u = _split(unit[n, 0], cells)
                j, v = _split(unit[n, 1], cells)
                k, w = _split(unit[n, 2], cells)
                side = np.float32(cells)
                for f in range(features):
                    c = level * features + f
                    values[n, c] = 0
                    slopes[n, c, 0] = 0
                    slopes[n, c, 1] = 0
                    slopes[n, c, 2] = 0
                for corner in range(8):
                    a, b, d = corner & 1, corner >> 1 & 1, corner >> 2 & 1
                    p, q, r = (u if a else one - u), (v if b else one - v), (w if d else one - w)
                    row = first + _row(i + a, j + b, k + d, cells, rows)
                    su, sv, sw = (side if a else -side), (side if b else -side), (side if d else -side)
                    for f in range(features):
                        c = level * features + f
                        value = table[row, f]
                        values[n, c] += p * q * r * value
                        slopes[n, c, 0] += su * q * r * value
                        slopes[n, c, 1] += p * sv * r * value
                        slopes[n, c, 2] += p * q * sw * value


@parallel_kernel
def _backward(to_values: Float, to_slopes: Float, unit: Float, sizes: Long, out: Float) -> None:
    """Each level's table is one thread's: no two write to the same row."""
    features = out.shape[1]
    one = np.float32(1)
    for level in prange(len(sizes)):
        cells, first, rows = sizes[level]
        side = np.float32(cells)
        for n in range(len(unit)):
            i, u = _split(unit[n, 0], cells)
            j, v = _split(unit[n, 1], cells)
            k, w = _split(unit[n, 2], cells)
            for corner in range(8):
                a, b, d = corner & 1, corner >> 1 & 1, corner >> 2 & 1
                p, q, r = (u if a else one - u), (v if b else one - v), (w if d else one - w)
                row = first + _row(i + a, j + b, k + d, cells, rows)
                su, sv, sw = (side if a else -side), (side if b else -side), (side if d else -side)
                for f in range(features):
                    c = level * features + f
                    out[row, f] += (
                        p * q * r * to_values[n, c]
                        + su * q * r * to_slopes[n, c, 0]
                        + p * sv * r * to_slopes[n, c, 1]
                        + p * q * sw * to_slopes[n, c, 2]
                    )


def _by_torch(table: Tensor, unit: Tensor, sizes: Long) -> tuple[Tensor, Tensor]:
    """The same by torch's operations, on any device."""
    corners = torch.tensor([(k & 1, k >> 1 & 1, k >> 2 & 1) for k in range(8)], device=unit.device)
    values, slopes = [], []
    for cells, first, rows in sizes.tolist():
        scaled = unit * cells
        low = scaled.detach().long().clamp(0, cells - 1)
        part = (scaled - low)[:, None]  # N,1,3
        at = low[:, None] + corners  # N,8,3
        if rows == (cells + 1) ** 3:
            row = (at[..., 2] * (cells + 1) + at[..., 1]) * (cells + 1) + at[..., 0]
        else:
            row = (at[..., 0] ^ (at[..., 1] * _PRIMES[1]) ^ (at[..., 2] * _PRIMES[2])) & (rows - 1)
        found = table[first + row]  # N,8,F
        near = torch.where(corners.bool(), part, 1 - part)
        x, y, z = near.unbind(-1)
        sx, sy, sz = (cells * (2.0 * corners - 1)).unbind(-1)
        weights = torch.stack([x * y * z, sx * y * z, x * sy * z, x * y * sz], dim=1)  # N,4,8
        mixed = weights @ found
        values.append(mixed[:, 0])
        slopes.append(mixed[:, 1:].transpose(1, 2))
    return torch.cat(values, 1), torch.cat(slopes, 1)

"""Texture look-ups: each is a weighted sum of texels, found from where it looks and how coarse.

Look-ups go through a table: of every point, at each of one or two levels of a pyramid, four texels (top left,
top right, bottom left, bottom right) and the fractions between them. Flat textures and cubes differ only in
how it is filled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from workers.render.boundary import Boundary
from workers.render.cpu import cube, flat
from workers.render.cpu.sample import gather, scatter, slopes
from workers.render.cpu.work import Long, floats


def look_up(levels: list[Tensor], uv: Tensor, level: Tensor | None, boundary: Boundary) -> Tensor:
    """See `ops.Rasterizer.texture`; `levels` is the pyramid."""
    if len(levels) > 1 and level is None:
        raise ValueError("a pyramid is looked up at a level")
    channels = levels[0].shape[-1]
    rows = [each.reshape(-1, channels) for each in levels]
    texels = torch.cat(rows) if len(rows) > 1 else rows[0]
    ends = np.cumsum([len(each) for each in rows])
    sizes = np.array([
        (*each.shape[-3:-1], end - len(row)) for each, row, end in zip(levels, rows, ends, strict=True)
    ])  # fmt: skip
    at = level.reshape(-1) if level is not None and len(levels) > 1 else uv.new_zeros(0)
    out: Tensor = LookUp.apply(texels, uv.reshape(-1, uv.shape[-1]), at, sizes, boundary)  # type: ignore[no-untyped-call]
    return out.reshape(*uv.shape[:-1], channels)


class LookUp(torch.autograd.Function):
    """texels (T,C) of all levels, uv (N,2) or (N,3), level (N,) or (0,), sizes (L,3), boundary -> (N,C).

    sizes: height, width and first texel of each level.
    """

    @staticmethod
    def forward(
        ctx: Any, texels: Tensor, uv: Tensor, level: Tensor, sizes: Long, boundary: Boundary
    ) -> Tensor:
        count = min(2, len(sizes)) if len(level) else 1
        index = np.empty((len(uv), count, 4), np.int32)
        fraction = np.empty((len(uv), count, 2), np.float32)
        mix = np.zeros(len(uv), np.float32)
        if boundary == "cube":
            cube.locate(floats(uv), floats(level), sizes, index, fraction, mix)
        else:
            flat.locate(floats(uv), floats(level), sizes, boundary == "wrap", index, fraction, mix)
        ctx.save_for_backward(texels, uv, level)
        ctx.table, ctx.sizes, ctx.boundary = (index, fraction, mix), sizes, boundary
        out = np.empty((len(uv), texels.shape[1]), np.float32)
        gather(floats(texels), index, fraction, mix, out)
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        texels, uv, level = ctx.saved_tensors
        g, (index, fraction, mix) = floats(grad), ctx.table
        to_texels = to_uv = to_level = None
        if ctx.needs_input_grad[0]:
            to_texels = torch.from_numpy(scatter(g, index, fraction, mix, len(texels)))
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            to_fraction, to_mix = np.empty_like(fraction), np.empty_like(mix)
            slopes(g, floats(texels), index, fraction, mix, to_fraction, to_mix)
            out, at = np.empty(uv.shape, np.float32), floats(level)
            if ctx.boundary == "cube":
                cube.backward(floats(uv), at, ctx.sizes, to_fraction, out)
            else:
                flat.backward(floats(uv), at, ctx.sizes, ctx.boundary == "wrap", to_fraction, out)
            to_uv = torch.from_numpy(out)
            inside = (level > 0) & (level < len(ctx.sizes) - 1)
            to_level = torch.from_numpy(to_mix) * inside if len(level) else torch.zeros_like(level)
        return to_texels, to_uv, to_level, None, None

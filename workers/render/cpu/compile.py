"""Compiling every kernel of the CPU rasteriser ahead of its first use; numba keeps them on disk."""

from __future__ import annotations

import torch

from workers.render.cpu.backend import CpuRasterizer
from workers.render.ops import pyramid


def compile_kernels() -> None:
    """Run each operation once, forward and backward, on one triangle."""
    raster = CpuRasterizer(torch.device("cpu"))
    pos = torch.tensor([[[-1.0, -1, 0, 1], [1, -1, 0, 1], [0, 1, 0, 1]]], requires_grad=True)
    tri = torch.tensor([[0, 1, 2]], dtype=torch.int32)
    rast, rast_db = raster.rasterize(pos, tri, (8, 8), derivatives=True)
    color, _ = raster.interpolate(pos[0], rast, tri, rast_db)
    image = raster.antialias(color, rast, pos, tri)
    flat, cube = torch.ones(4, 4, 1, requires_grad=True), torch.ones(6, 4, 4, 1, requires_grad=True)
    level = torch.full(image.shape[:3], 0.5)
    seen = raster.texture(pyramid(flat), image[..., :2], level)
    lit = raster.texture(pyramid(cube), image[..., :3], level, "cube")
    (seen.sum() + lit.sum()).backward()  # type: ignore[no-untyped-call]

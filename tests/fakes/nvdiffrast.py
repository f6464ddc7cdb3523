"""Stands in for `nvdiffrast.torch`: its signatures, tensor shapes and bottom-up rows, computed on the CPU.

Written after nvdiffrast 0.4's documentation; it checks how the package is called, not the package.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch import Tensor

from workers.render.boundary import Boundary
from workers.render.ops import backend


class FakeNvdiffrast(types.ModuleType):
    def __init__(self) -> None:
        super().__init__("nvdiffrast.torch")
        self._cpu = backend("cpu")

    def RasterizeCudaContext(self, device: torch.device) -> str:  # noqa: N802
        assert device.type == "cuda"
        return "context"

    def antialias_construct_topology_hash(self, tri: Tensor) -> Tensor:
        return tri.clone()

    def rasterize(
        self, glctx: str, pos: Tensor, tri: Tensor, resolution: tuple[int, int], grad_db: bool = True
    ) -> tuple[Tensor, Tensor]:
        assert glctx == "context"
        assert pos.is_contiguous()
        assert pos.ndim == 3
        rast, rast_db = self._cpu.rasterize(pos, tri, resolution, derivatives=True)
        assert rast_db is not None
        return rast.flip(1), rast_db.flip(1) * torch.tensor([1.0, -1, 1, -1])

    def interpolate(
        self, attr: Tensor, rast: Tensor, tri: Tensor, rast_db: Tensor | None, diff_attrs: str | None
    ) -> tuple[Tensor, Tensor]:
        assert attr.ndim == 3
        assert (rast_db is None) == (diff_attrs is None)
        out, out_da = self._cpu.interpolate(attr if len(attr) > 1 else attr[0], rast, tri, rast_db)
        return out, out_da if out_da is not None else torch.zeros(0)

    def texture(
        self,
        tex: Tensor,
        uv: Tensor,
        mip_level_bias: Tensor | None = None,
        mip: list[Tensor] | None = None,
        filter_mode: str = "auto",
        boundary_mode: Boundary = "wrap",
    ) -> Tensor:
        assert uv.ndim == 4
        assert tex.ndim == (5 if boundary_mode == "cube" else 4)
        assert filter_mode == ("linear-mipmap-linear" if mip else "linear")
        assert mip_level_bias is None or mip_level_bias.shape == uv.shape[:3]
        at = uv if boundary_mode == "cube" else torch.stack([uv[..., 0], 1 - uv[..., 1]], -1)
        levels = [tex[0], *(each[0] for each in mip or [])]
        return self._cpu.texture(levels if mip else levels[0], at, mip_level_bias, boundary_mode)

    def antialias(self, color: Tensor, rast: Tensor, pos: Tensor, tri: Tensor, topology_hash: Any) -> Tensor:
        assert torch.equal(topology_hash, tri)
        turned = (color.flip(1), rast.flip(1))
        return self._cpu.antialias(*turned, pos, tri).flip(1)

"""The rasteriser on CUDA: nvdiffrast with this package's conventions (see `ops`).

nvdiffrast's images and textures start with the bottom row: clip-space y and texture v are mirrored on the
way in.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from workers.render.boundary import Boundary
from workers.render.memo import Memo


class NvdiffrastRasterizer:
    """`ops.Rasterizer` over nvdiffrast."""

    def __init__(self, device: torch.device) -> None:
        """Raises ImportError where the package is missing, ValueError where the device is not a CUDA one."""
        try:
            self._dr: Any = importlib.import_module("nvdiffrast.torch")
        except ImportError as error:
            raise ImportError(
                "the rasteriser nvdiffrast was asked for but is not installed: "
                "install phototwin[nvdiffrast], or choose the rasteriser cpu"
            ) from error
        if device.type != "cuda":
            raise ValueError(f"nvdiffrast works on CUDA devices, not on {device}")
        self.device = device
        self._context = self._dr.RasterizeCudaContext(device=device)
        self._topology: Memo[Any] = Memo(self._dr.antialias_construct_topology_hash)

    def rasterize(
        self, pos: Tensor, tri: Tensor, resolution: tuple[int, int], derivatives: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        rast, rast_db = self._dr.rasterize(self._context, _mirrored(pos), tri, resolution, grad_db=False)
        return rast, rast_db if derivatives else None

    def foreground(self, rast: Tensor) -> Tensor:
        return torch.nonzero(rast[..., 3].reshape(-1) > 0)[:, 0]

    def interpolate(
        self,
        attr: Tensor,
        rast: Tensor,
        tri: Tensor,
        rast_db: Tensor | None = None,
        pixels: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        batched = attr if attr.ndim == 3 else attr[None]
        every = "all" if rast_db is not None else None
        out, out_da = self._dr.interpolate(batched.contiguous(), rast, tri, rast_db, every)
        slopes = out_da.detach() if rast_db is not None else None
        if pixels is None:
            return out, slopes
        at = out.reshape(-1, out.shape[-1])[pixels]
        return at, slopes.reshape(-1, slopes.shape[-1])[pixels] if slopes is not None else None

    def texture(
        self,
        tex: Tensor | Sequence[Tensor],
        uv: Tensor,
        level: Tensor | None = None,
        boundary: Boundary = "clamp",
    ) -> Tensor:
        levels = [tex] if isinstance(tex, Tensor) else list(tex)
        if len(levels) > 1 and level is None:
            raise ValueError("a pyramid is looked up at a level")
        at = uv if boundary == "cube" else torch.stack([uv[..., 0], 1 - uv[..., 1]], -1)
        options: dict[str, Any] = {"filter_mode": "linear"}
        if len(levels) > 1 and level is not None:
            options = {
                "filter_mode": "linear-mipmap-linear",
                "mip_level_bias": level.reshape(1, 1, -1).contiguous(),
                "mip": [each[None].contiguous() for each in levels[1:]],
            }
        row = at.reshape(1, 1, -1, at.shape[-1]).contiguous()
        out = self._dr.texture(levels[0][None].contiguous(), row, boundary_mode=boundary, **options)
        result: Tensor = out.reshape(*uv.shape[:-1], levels[0].shape[-1])
        return result

    def antialias(self, color: Tensor, rast: Tensor, pos: Tensor, tri: Tensor) -> Tensor:
        result: Tensor = self._dr.antialias(
            color.contiguous(), rast, _mirrored(pos), tri, topology_hash=self._topology(tri)
        )
        return result


def _mirrored(pos: Tensor) -> Tensor:
    """Clip-space positions upside down."""
    return (pos * pos.new_tensor([1, -1, 1, 1])).contiguous()

"""The rasteriser on the CPU (see `ops`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from workers.render.boundary import Boundary
from workers.render.cpu.antialias import Antialias
from workers.render.cpu.interpolate import Interpolate, derivatives
from workers.render.cpu.rasterize import Rasterize
from workers.render.cpu.texture import look_up
from workers.render.cpu.topology import Edges, joined
from workers.render.cpu.work import floats, foreground, indices
from workers.render.memo import Memo


class CpuRasterizer:
    """`ops.Rasterizer` in numba kernels. Results do not depend on the number of threads."""

    def __init__(self, device: torch.device) -> None:
        """Raises ValueError where the device is not the CPU. Sets torch to one thread."""
        if device.type != "cpu":
            raise ValueError(f"the rasteriser cpu works on the CPU, not on {device}")
        torch.set_num_threads(1)
        self.device = device
        self._foreground: Memo[Tensor] = Memo(lambda rast: torch.from_numpy(foreground(floats(rast))))
        self._edges: Memo[Edges] = Memo(lambda tri: joined(indices(tri)))

    def rasterize(
        self, pos: Tensor, tri: Tensor, resolution: tuple[int, int], derivatives: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        rast, rast_db = Rasterize.apply(pos, tri, resolution, derivatives)  # type: ignore[no-untyped-call]
        return rast, rast_db if derivatives else None

    def foreground(self, rast: Tensor) -> Tensor:
        return self._foreground(rast)

    def interpolate(
        self,
        attr: Tensor,
        rast: Tensor,
        tri: Tensor,
        rast_db: Tensor | None = None,
        pixels: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        dense = pixels is None
        at = self.foreground(rast) if pixels is None else pixels
        batched = attr if attr.ndim == 3 else attr[None]
        out = Interpolate.apply(batched, rast, tri, at, dense)  # type: ignore[no-untyped-call]
        return out, None if rast_db is None else derivatives(batched, rast, rast_db, tri, at, dense)

    def texture(
        self,
        tex: Tensor | Sequence[Tensor],
        uv: Tensor,
        level: Tensor | None = None,
        boundary: Boundary = "clamp",
    ) -> Tensor:
        return look_up([tex] if isinstance(tex, Tensor) else list(tex), uv, level, boundary)

    def antialias(self, color: Tensor, rast: Tensor, pos: Tensor, tri: Tensor) -> Tensor:
        result: Tensor = Antialias.apply(color, rast, pos, tri, self._edges(tri))  # type: ignore[no-untyped-call]
        return result

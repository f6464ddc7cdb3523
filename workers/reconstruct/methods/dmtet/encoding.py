"""Features of places in the unit cube, learned: a hash grid, and planes for where a hash grid is too slow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from workers.render.ops import Rasterizer

_PRIMES = (1, 2654435761, 805459861)
_CORNERS = tuple((k & 1, k >> 1 & 1, k >> 2 & 1) for k in range(8))
_SMALL = 1e-4  # of the values at first


@dataclass(frozen=True)
class HashGrid:
    """Cubic cells in several sizes (Müller et al. 2022, "Instant neural graphics primitives", section 3).

    levels: from `coarsest` cells on a side to `finest`, evenly in the logarithm. features: of each. rows:
    most entries a level's table has; a level with more corners than that hashes them.
    """

    levels: int
    features: int
    coarsest: int
    finest: int
    rows: int

    @property
    def channels(self) -> int:
        return self.levels * self.features

    def _cells(self) -> list[int]:
        ratio = (self.finest / self.coarsest) ** (1 / max(1, self.levels - 1))
        return [round(self.coarsest * ratio**level) for level in range(self.levels)]

    def start(self, generator: torch.Generator) -> list[Tensor]:
        """Each level's table (entries,features)."""
        entries = [min(self.rows, (cells + 1) ** 3) for cells in self._cells()]
        return [_noise((count, self.features), generator) for count in entries]

    def encode(self, tables: list[Tensor], unit: Tensor, raster: Rasterizer) -> Tensor:
        """(N,channels) at `unit` (N,3) in [0,1]. Gradients reach both."""
        levels = zip(tables, self._cells(), strict=True)
        return torch.cat([_trilinear(table, unit, cells) for table, cells in levels], dim=1)


@dataclass(frozen=True)
class Planes:
    """Three pictures in each of several sizes, one for each pair of axes (Chan et al. 2022, "Efficient
    geometry-aware 3D generative adversarial networks", section 3.2, with concatenated features).

    On the CPU twelve look-ups in small pictures cost a tenth of a hash grid's.
    """

    sizes: tuple[int, ...]
    features: int

    @property
    def channels(self) -> int:
        return 3 * self.features * len(self.sizes)

    def start(self, generator: torch.Generator) -> list[Tensor]:
        """Of each size three pictures (size,size,features)."""
        return [_noise((size, size, self.features), generator) for size in self.sizes for _ in range(3)]

    def encode(self, pictures: list[Tensor], unit: Tensor, raster: Rasterizer) -> Tensor:
        """(N,channels) at `unit` (N,3) in [0,1]. Gradients reach both."""
        pairs = [unit[:, :2], unit[:, 1:], unit[:, ::2]]
        found = [raster.texture(picture, pairs[i % 3]) for i, picture in enumerate(pictures)]
        return torch.cat(found, dim=1)


def _noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return _SMALL * (2 * torch.rand(shape, generator=generator) - 1)


def _trilinear(table: Tensor, unit: Tensor, cells: int) -> Tensor:
    """(N,features) between the corners of cubic cells, `cells` on a side, at `unit` (N,3)."""
    scaled = unit * cells
    low = scaled.detach().long().clamp_max(cells - 1)
    part = scaled - low
    hashed = (cells + 1) ** 3 > len(table)
    corners = low.new_tensor(_CORNERS)
    steps = (low[:, None] + corners) * low.new_tensor(_PRIMES if hashed else (1, cells + 1, (cells + 1) ** 2))
    row = (steps[..., 0] ^ steps[..., 1] ^ steps[..., 2]) % len(table) if hashed else steps.sum(-1)
    near = torch.where(corners.bool(), part[:, None], 1 - part[:, None])  # N,8,3
    weights = near[..., 0] * near[..., 1] * near[..., 2]
    return torch.bmm(weights[:, None], torch.embedding(table, row))[:, 0]

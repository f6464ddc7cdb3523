"""Features of places in the unit cube, learned: a hash grid, and planes for where a hash grid is too slow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from workers.reconstruct.methods.hash_grid import HashGrid
from workers.render.ops import Rasterizer

_SMALL = 1e-4  # of the values at first


@dataclass(frozen=True)
class Hashed:
    """A hash grid's features alone."""

    grid: HashGrid

    @property
    def channels(self) -> int:
        return self.grid.channels

    def start(self, generator: torch.Generator) -> list[Tensor]:
        """The table of all levels."""
        return [self.grid.start(generator)]

    def encode(self, tables: list[Tensor], unit: Tensor, raster: Rasterizer) -> Tensor:
        """(N,channels) at `unit` (N,3) in [0,1]. Gradients reach both."""
        values, _ = self.grid.encode(tables[0], unit, self.grid.levels)
        return values


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

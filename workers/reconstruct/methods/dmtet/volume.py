"""Materials everywhere in space: learned features and a small network."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from workers.reconstruct.methods.dmtet.encoding import Hashed, Planes
from workers.render.ops import Rasterizer

_WIDTH = 32  # of the network's two hidden layers


class Volume:
    """A function of position in the cube from -reach to reach, with `channels` values in (0,1)."""

    def __init__(
        self,
        encoding: Hashed | Planes,
        channels: int,
        reach: float,
        raster: Rasterizer,
        generator: torch.Generator,
    ) -> None:
        self._encoding, self._reach, self._raster = encoding, reach, raster
        widths = [encoding.channels, _WIDTH, _WIDTH, channels]
        layers = [math.sqrt(2 / a) * torch.randn(a, b, generator=generator) for a, b in pairwise(widths)]
        self._features = [each.to(raster.device) for each in encoding.start(generator)]
        self._layers = [each.to(raster.device) for each in layers]

    def parameters(self) -> list[Tensor]:
        return [*self._features, *self._layers]

    def __call__(self, points: Tensor) -> Tensor:
        """(N,channels) at points (N,3). Gradients reach the parameters and the points."""
        unit = (points / (2 * self._reach) + 0.5).clamp(0, 1)
        value = self._encoding.encode(self._features, unit, self._raster)
        for layer in self._layers[:-1]:
            value = torch.relu(value @ layer)
        return torch.sigmoid(value @ self._layers[-1])

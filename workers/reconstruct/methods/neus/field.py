"""What is learned of an object: a signed distance in space, and the light that leaves each place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, normalize, softplus

from workers.reconstruct.methods.hash_grid import HashGrid

_WIDTH = 64
_GEOMETRY = 15  # what the distance tells the radiance besides
_BETA = 100.0  # of the softplus, sharp enough to bend within a cell
_HARMONICS = 16
_LITTLE = 1e-3  # of what is added at first


@dataclass
class Field:
    """In the cube with sides `side` around 0.

    base: (4,X,Y,Z) signed distance (negative inside) and its slopes to begin with, the first and last samples
    on the cube's faces. parameters: of what is added to it, of the radiance, and of the photos' exposures.
    """

    grid: HashGrid
    base: Tensor
    side: float
    parameters: dict[str, Tensor]

    @classmethod
    def start(cls, grid: HashGrid, base: Tensor, side: float, photos: int, seed: int) -> Field:
        """Where the distance is that of `base`."""
        generator = torch.Generator().manual_seed(seed)

        def linear(name: str, inputs: int, outputs: int) -> dict[str, Tensor]:
            bound = math.sqrt(6 / inputs)
            weight = bound * (2 * torch.rand((outputs, inputs), generator=generator) - 1)
            return {f"{name}_weight": weight, f"{name}_bias": torch.zeros(outputs)}

        inputs = grid.channels + 3
        made = {"table": grid.start(generator)}
        made |= linear("first", inputs, _WIDTH) | linear("second", _WIDTH, 1 + _GEOMETRY)
        made |= linear("colour_1", _GEOMETRY + 3 + 3 + _HARMONICS, _WIDTH)
        made |= linear("colour_2", _WIDTH, _WIDTH) | linear("colour_3", _WIDTH, 3)
        made["second_weight"][0] *= _LITTLE
        made["gain"] = torch.zeros(photos, 3)
        made = {name: each.to(base.device) for name, each in made.items()}
        return cls(grid, base, side, made)

    def distance(self, at: Tensor, levels: int) -> tuple[Tensor, Tensor, Tensor]:
        """Signed distance (N,), its slope (N,3) and features (N,G) at places (N,3)."""
        of = self.parameters
        values, slopes = self.grid.encode(of["table"], at / self.side + 0.5, levels)
        z = torch.cat([values, at], dim=1) @ of["first_weight"].T + of["first_bias"]
        h = softplus(z, _BETA)
        out = h @ of["second_weight"].T + of["second_bias"]
        by_input = (torch.sigmoid(_BETA * z) * of["second_weight"][0]) @ of["first_weight"]
        by_place = torch.bmm(by_input[:, None, : values.shape[1]], slopes)[:, 0] / self.side
        base = self._base(at)
        return base[:, 0] + out[:, 0], base[:, 1:] + by_place + by_input[:, values.shape[1] :], out[:, 1:]

    def radiance(self, at: Tensor, slope: Tensor, features: Tensor, towards: Tensor) -> Tensor:
        """(N,3) sRGB that places send to an eye in the unit direction `towards` (N,3)."""
        of = self.parameters
        normal = normalize(slope, dim=1)
        mirrored = 2 * (normal * towards).sum(1, keepdim=True) * normal - towards
        x = torch.cat([features, at, normal, harmonics(mirrored)], dim=1)
        for layer in ("colour_1", "colour_2"):
            x = torch.relu(x @ of[f"{layer}_weight"].T + of[f"{layer}_bias"])
        return torch.sigmoid(x @ of["colour_3_weight"].T + of["colour_3_bias"])

    def begun(self, at: Tensor) -> Tensor:
        """The distance (N,) that it began with."""
        return self._base(at)[:, 0]

    def _base(self, at: Tensor) -> Tensor:
        """(N,4)"""
        where = (2 * at / self.side).flip(1)[None, None, None]
        found = grid_sample(self.base[None], where, align_corners=True, padding_mode="border")
        return found[0, :, 0, 0].T


def harmonics(d: Tensor) -> Tensor:
    """(N,16) real spherical harmonics of unit directions (N,3), to the third degree."""
    x, y, z = d.unbind(1)
    xx, yy, zz = x * x, y * y, z * z
    return torch.stack(
        [
            torch.full_like(x, 0.282095),
            0.488603 * y,
            0.488603 * z,
            0.488603 * x,
            1.092548 * x * y,
            1.092548 * y * z,
            0.946176 * zz - 0.315392,
            1.092548 * x * z,
            0.546274 * (xx - yy),
            0.590044 * y * (3 * xx - yy),
            2.890611 * x * y * z,
            0.457046 * y * (5 * zz - 1),
            0.373176 * z * (5 * zz - 3),
            0.457046 * x * (5 * zz - 1),
            1.445306 * z * (xx - yy),
            0.590044 * x * (xx - 3 * yy),
        ],
        dim=1,
    )

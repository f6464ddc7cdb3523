"""How opaque a signed distance is along a ray."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

Formulation = Literal["solid", "neus"]


def opacity(distance: Tensor, along: Tensor, step: Tensor, sharpness: float, by: Formulation) -> Tensor:
    """(...) what part of the light is stopped by a piece of a ray of length `step` around a sample, where the
    signed distance (negative inside) is `distance` and grows by `along` in a unit of length.

    A place is free with probability v = sigmoid(sharpness * distance). By "solid" (Miller et al. 2024,
    "Objects as volumes", equations 5 and 12 with all normals the field's) the attenuation is |d log v| along
    the ray, the same from both sides; by "neus" (Wang et al. 2021, equation 13) only where the ray goes in.
    Both are exact for a field that is linear on the piece, so that the weights are unbiased at its zero.
    """
    ahead = 0.5 * along * step
    depth = logsigmoid(sharpness * (distance - ahead)) - logsigmoid(sharpness * (distance + ahead))
    depth = depth.abs() if by == "solid" else depth.clamp_min(0)
    return -torch.expm1(-depth)


def weights(alpha: Tensor) -> Tensor:
    """(R,S) how much each sample of a ray is seen: its opacity behind all before it."""
    clear = torch.cumprod(1 - alpha + 1e-7, dim=1)
    return alpha * torch.cat([torch.ones_like(clear[:, :1]), clear[:, :-1]], dim=1)

"""The losses by which the published recipe judges an image (Munkberg et al. 2022, section 4)."""

from __future__ import annotations

import torch
from torch import Tensor

_BRIGHTEST = 65535.0


def image_loss(render: Tensor, photo: Tensor) -> Tensor:
    """Mean absolute difference after tone mapping, of linear radiance over black, any shape.

    Tone mapping is sRGB's transfer function of log(x + 1) (nvdiffrec, section 8.4).
    """
    return (tonemapped(render) - tonemapped(photo)).abs().mean()


def mask_loss(render: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference of coverage, any shape, 0 to 1."""
    return ((render - mask) ** 2).mean()


def tonemapped(radiance: Tensor) -> Tensor:
    """sRGB's transfer function of log(x + 1); negative values count as none."""
    return srgb_from_linear(torch.log1p(radiance.clamp(0, _BRIGHTEST)))


def srgb_from_linear(linear: Tensor) -> Tensor:
    """IEC 61966-2-1, continued beyond 1."""
    low = linear <= 0.0031308
    power = 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(low, 12.92 * linear, power)


def linear_from_srgb(encoded: Tensor) -> Tensor:
    """The inverse of `srgb_from_linear`."""
    power = ((encoded.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(encoded <= 0.04045, encoded / 12.92, power)

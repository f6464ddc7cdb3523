"""What both passes share: weights of the losses and regularisers, and bounds of materials.

Munkberg et al. 2022, and the weights of its published code; those of roughness, metalness and normals, which
it does not smooth, stand to that of the base colour as in the code of Hasselgren et al. 2022, "Shape, light,
and material decomposition from images using Monte Carlo rendering and denoising".
"""

from __future__ import annotations

import torch
from torch import Tensor

from workers.reconstruct.methods.dmtet.losses import image_loss, mask_loss
from workers.reconstruct.methods.dmtet.views import Views
from workers.reconstruct.methods.training import Losses

LOW = (0.0, 0.0, 0.0, 0.08, 0.0)
"""Bounds of materials: base colour (linear), roughness, metalness."""
HIGH = (1.0, 1.0, 1.0, 1.0, 1.0)
CHANNELS = 8
"""Of a surface's look: the materials and a normal."""
_SMOOTH_COLOUR, _SMOOTH_GLOSS, _SMOOTH_NORMAL = 0.03, 0.015, 0.0075
_SMOOTH_FROM = 0.1  # of the iterations: until then smoothing grows
_WHITE = 0.005


def picture_losses(image: Tensor, views: Views) -> Losses:
    """Of pictures (B,h,w,4), colour over black and coverage."""
    seen, weight = image * views.known, views.cover * views.known
    return {
        "image": image_loss(seen[..., :3] * weight, views.colour * weight),
        "mask": mask_loss(seen[..., 3:], weight),
    }


def smoothness(look: Tensor, nearby: Tensor, pictures: int, progress: float) -> Tensor:
    """Of looks (N,8) of pixels and of places near them: mean differences, over all of `pictures` pixels.

    progress: the part of the iterations done.
    """
    weights = look.new_tensor([_SMOOTH_COLOUR] * 3 + [_SMOOTH_GLOSS] * 2 + [_SMOOTH_NORMAL] * 3) / 3
    grown = min(1.0, progress / _SMOOTH_FROM)
    return grown * ((look - nearby).abs() * weights).sum() / pictures


def whiteness(light: Tensor) -> Tensor:
    """How far a light (6,R,R,3) is from grey."""
    return _WHITE * (light - light.mean(-1, keepdim=True)).abs().mean()


def noise(seed: int, iteration: int, count: int, size: int, scale: float, device: torch.device) -> Tensor:
    """(count,size) normally distributed, of that standard deviation."""
    generator = torch.Generator(device).manual_seed(seed * 1_000_003 + iteration)
    return scale * torch.randn(count, size, generator=generator, device=device)

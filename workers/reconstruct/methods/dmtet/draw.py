"""Pictures of a mesh, with gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from workers.reconstruct.methods.dmtet.views import Views
from workers.render.ops import Rasterizer


@dataclass(frozen=True)
class Seen:
    """What N pixels see. rast: see `Rasterizer.rasterize`; rast_db likewise. pixels: (N,) as `foreground`
    gives. eyes: (N,3) the centre of each one's camera."""

    rast: Tensor
    rast_db: Tensor | None
    pixels: Tensor
    eyes: Tensor


def draw(
    raster: Rasterizer,
    views: Views,
    vertices: Tensor,
    faces: Tensor,
    colour: Callable[[Seen], Tensor],
    derivatives: bool = False,
) -> Tensor:
    """(B,h,w,4) what `colour` (N,3) gives for the pixels seen, over black, and coverage; antialiased.

    vertices: (V,3); faces: (F,3) int32. Gradients reach the vertices through the barycentrics and through
    silhouettes.
    """
    pos = torch.cat([vertices, torch.ones_like(vertices[:, :1])], 1) @ views.clip
    count, height, width = views.cover.shape[:3]
    rast, rast_db = raster.rasterize(pos, faces, (height, width), derivatives)
    pixels = raster.foreground(rast)
    found = colour(Seen(rast, rast_db, pixels, views.centres[pixels // (height * width)]))
    image = found.new_zeros(count * height * width, 4)
    image = image.index_copy(0, pixels, torch.cat([found, torch.ones_like(found[:, :1])], dim=1))
    return raster.antialias(image.reshape(count, height, width, 4), rast, pos, faces)


def smooth_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """(V,3) unit: means of the adjacent faces' normals weighted by area."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    area = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices)
    for k in range(3):
        total = total.index_add(0, faces[:, k], area)
    return torch.nn.functional.normalize(total, dim=1)

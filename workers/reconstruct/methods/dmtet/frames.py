"""Tangent space."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


class Frames:
    """At a point: along +u, along +v, and the normal there; the first two those of the face, made orthogonal
    to the normal. As `workers.render.lit` has it."""

    def __init__(self, corners: Tensor, uv: Tensor) -> None:
        """corners: (F,3,3) of each face in space. uv: (F,3,2) of the same in the texture, v up."""
        (x, y), (u, v) = ((at[:, 1] - at[:, 0], at[:, 2] - at[:, 0]) for at in (corners, uv))
        mirrored = u[:, 0] * v[:, 1] < u[:, 1] * v[:, 0]
        self._turn = torch.where(mirrored, -1.0, 1.0)[:, None]
        self._tangents = self._turn * (x * v[:, 1:] - y * u[:, 1:])

    def bend(self, normals: Tensor, local: Tensor, triangle: Tensor) -> Tensor:
        """(N,3) unit: directions given in tangent space `local` (N,3), at points of faces `triangle` (N,)."""
        tangent, across = self._axes(normals, triangle)
        return normalize(tangent * local[:, :1] + across * local[:, 1:2] + normals * local[:, 2:], dim=1)

    def unbend(self, normals: Tensor, directions: Tensor, triangle: Tensor) -> Tensor:
        """(N,3) in tangent space; the inverse of `bend`."""
        axes = (*self._axes(normals, triangle), normals)
        return torch.stack([(axis * directions).sum(1) for axis in axes], dim=1)

    def _axes(self, normals: Tensor, triangle: Tensor) -> tuple[Tensor, Tensor]:
        tangent = self._tangents[triangle]
        tangent = normalize(tangent - normals * (normals * tangent).sum(1, keepdim=True), dim=1)
        return tangent, torch.linalg.cross(normals, tangent) * self._turn[triangle]

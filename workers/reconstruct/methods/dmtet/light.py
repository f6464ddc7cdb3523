"""Light from far away, learned: a cube map and what the split sum needs of it, with gradients."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sparse
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.render.environment import halving, lobe, solid_angles, split_sum, texel_directions
from workers.render.ops import Rasterizer
from workers.render.shading import DIELECTRIC

ROUGHNESS = (0.08, 0.3, 0.6, 1.0)
"""Of the levels of the pyramid, each half the size of the one before; the first is the light itself."""
_GRAZING = 0.04  # the least cosine to the view that the split sum is looked up for
_DIFFUSE = 8  # size of the cube map of what diffuse surfaces reflect


class Light:
    """What surfaces reflect of cube maps of one size, at least 16 and a power of 2.

    A cube map is (6,R,R,3), linear radiance, oriented as in `workers.render.environment`.
    """

    def __init__(self, size: int, raster: Rasterizer) -> None:
        self.size, self._raster = size, raster
        halves: list[Any] = [sparse.identity(6 * size * size, np.float32, "csr")]
        while size >> len(halves) >= _DIFFUSE or len(halves) < len(ROUGHNESS):
            halves.append(halving(size >> len(halves) - 1) @ halves[-1])
        glossy = [lobe(size >> k, ROUGHNESS[k]) @ halves[k] for k in range(1, len(ROUGHNESS))]
        diffuse = _cosine(_DIFFUSE) @ halves[(size // _DIFFUSE).bit_length() - 1]
        self._operators = [_Operator(each, raster.device) for each in (diffuse, *glossy)]
        self._split = torch.from_numpy(np.flip(split_sum(), 0).copy()).to(raster.device)

    def prefiltered(self, light: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The cube map of diffuse reflection (means over hemispheres weighted by the cosine), and the pyramid
        of glossy reflection by `ROUGHNESS`. Gradients reach the light."""
        flat = light.reshape(-1, 3)
        results = [each(flat) for each in self._operators]
        sizes = [_DIFFUSE, *(self.size >> k for k in range(1, len(ROUGHNESS)))]
        maps = [each.reshape(6, n, n, 3) for each, n in zip(results, sizes, strict=True)]
        return maps[0], [light, *maps[1:]]

    def shade(
        self,
        maps: tuple[Tensor, list[Tensor]],
        kd: Tensor,
        roughness: Tensor,
        metalness: Tensor,
        normals: Tensor,
        view: Tensor,
    ) -> Tensor:
        """(N,3) radiance towards the camera: the model of `workers.render.shading`, without occlusion.

        maps: as `prefiltered` gives. kd: (N,3) linear. roughness, metalness: (N,1). normals, view: (N,3)
        unit, view towards the camera.
        """
        diffuse, glossy = maps
        cosine = (normals * view).sum(1, keepdim=True)
        at = torch.cat([cosine.clamp(_GRAZING, 1), roughness], dim=1)
        share = self._raster.texture(self._split, at)
        head_on = DIELECTRIC * (1 - metalness) + kd * metalness
        mirrored = 2 * cosine * normals - view
        middle = torch.lerp(normals, mirrored, _leaning(roughness))
        shine = self._raster.texture(glossy, middle, _level(roughness[:, 0]), "cube")
        even = self._raster.texture(diffuse, normals, boundary="cube")
        rest = (1 - metalness) * (1 - DIELECTRIC * share[:, :1] - share[:, 1:])
        return rest * kd * even + (head_on * share[:, :1] + share[:, 1:]) * shine


def _leaning(roughness: Tensor) -> Tensor:
    """As `environment.leaning`."""
    alpha = roughness.square()
    root = (1 - alpha).clamp_min(1e-6).sqrt()
    return (1 - alpha) * (root + alpha)


class _Operator:
    """A sparse matrix times a tensor (n,3), with its gradient."""

    def __init__(self, matrix: Any, device: torch.device) -> None:
        self._forward, self._transposed = (_torch(each).to(device) for each in (matrix, matrix.T))

    def __call__(self, values: Tensor) -> Tensor:
        result: Tensor = _Product.apply(values, self._forward, self._transposed)  # type: ignore[no-untyped-call]
        return result


class _Product(torch.autograd.Function):
    """values (n,C), matrix (m,n), its transpose -> (m,C)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, matrix: Tensor, transposed: Tensor) -> Tensor:
        ctx.transposed = transposed
        return matrix @ values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.transposed @ gradient, None, None


def _torch(matrix: Any) -> Tensor:
    matrix = sparse.csr_matrix(matrix, dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch calls its sparse support a beta
        return torch.sparse_csr_tensor(matrix.indptr, matrix.indices, matrix.data, matrix.shape)


def _cosine(size: int) -> NDArray[np.float32]:
    """(6 size^2, 6 size^2) means over the hemisphere around each texel's direction, weighted by the
    cosine."""
    directions = texel_directions(size)
    weight = np.maximum(directions @ directions.T, 0) * solid_angles(size)
    mean: NDArray[np.float32] = (weight / weight.sum(1, keepdims=True)).astype(np.float32)
    return mean


def _level(roughness: Tensor) -> Tensor:
    """(N,) levels of the pyramid, linear between those of `ROUGHNESS`."""
    steps = pairwise(ROUGHNESS)
    parts = [((roughness - low) / (high - low)).clamp(0, 1) for low, high in steps]
    return torch.stack(parts).sum(0)

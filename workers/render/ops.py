"""The differentiable rasteriser: one interface, two backends.

Operations and conventions are nvdiffrast's (Laine et al. 2020, "Modular primitives for high-performance
differentiable rendering"), but **row 0 of every image and texture is the top row** and texture v runs up, as
everywhere in this package. The pixel in row r, column c has its centre at x/w = 2 (c + 0.5) / width - 1,
y/w = 1 - 2 (r + 0.5) / height. Tensors are float32, indices int32, all on the backend's device.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor

from workers.render.boundary import Boundary

Backend = Literal["auto", "cpu", "nvdiffrast"]


class Rasterizer(Protocol):
    """What a backend does. B views, V vertices, F triangles, C channels, N points."""

    device: torch.device

    def rasterize(
        self, pos: Tensor, tri: Tensor, resolution: tuple[int, int], derivatives: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """What each pixel's centre sees.

        pos: (B,V,4) clip space. tri: (F,3). resolution: height, width.
        Returns `rast` (B,height,width,4): u, v, z/w, triangle + 1, zeros where nothing is seen, where (u, v)
        are the perspective-correct barycentrics of the triangle's first and second vertex; and, with
        `derivatives`, `rast_db` (B,height,width,4): du/dX, du/dY, dv/dX, dv/dY for a step of one pixel to the
        right (X) and down (Y), itself not differentiable. The gradient of u and v reaches pos.
        """
        ...

    def foreground(self, rast: Tensor) -> Tensor:
        """(N,) int64, ascending: the pixels of `rast` that see a triangle, counted over (B,height,width)."""
        ...

    def interpolate(
        self,
        attr: Tensor,
        rast: Tensor,
        tri: Tensor,
        rast_db: Tensor | None = None,
        pixels: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Vertex attributes at what pixels see.

        attr: (V,C), or (B,V,C) where they differ between views. pixels: (N,) as `foreground` gives, or some
        of them.
        Returns the attributes, (B,height,width,C) with zeros where nothing is seen, or (N,C) at `pixels`;
        and, given `rast_db`, their derivatives with 2 C channels, da/dX and da/dY of each attribute in turn,
        not differentiable. Gradients reach attr and the barycentrics in rast.
        """
        ...

    def texture(
        self,
        tex: Tensor | Sequence[Tensor],
        uv: Tensor,
        level: Tensor | None = None,
        boundary: Boundary = "clamp",
    ) -> Tensor:
        """(...,C): values looked up bilinearly, or trilinearly in a pyramid.

        tex: (height,width,C), or (6,R,R,C) for boundary "cube", or a pyramid of these from fine to coarse,
        each half the size of the one before (see `pyramid`). level: (...), needed with a pyramid: 0 is its
        finest, clamped to what there is.
        uv: (...,2), u to the right and v up, (0, 0) the outer corner of the bottom left texel; for "cube"
        (...,3), directions of any length. Faces are +x, -x, +y, -y, +z, -z as in OpenGL 4.6, table 8.19, the
        first row of each at t = 0, and look-ups blend across their edges.
        Gradients reach tex, uv and level.
        """
        ...

    def antialias(self, color: Tensor, rast: Tensor, pos: Tensor, tri: Tensor) -> Tensor:
        """(B,height,width,C): `color` with pixels at silhouettes blended with their neighbours by how far
        the silhouette lies between their centres. `tri` should join faces that meet: an edge of one face is
        taken for a border. Gradients reach color and pos.
        """
        ...


def backend(name: Backend = "auto", device: str | torch.device | None = None) -> Rasterizer:
    """The rasteriser called `name`; "auto" takes nvdiffrast where the device is, or may be, a CUDA one and
    the package is there.

    device: where the tensors live; by default the backend's own. The CPU backend sets torch to one thread:
    its own threads do the work, and two pools of threads fight over the cores.
    Raises ImportError where nvdiffrast is asked for by name and missing, ValueError where a backend cannot
    work on the device or its name is unknown.
    """
    if name not in ("auto", "cpu", "nvdiffrast"):
        raise ValueError(f"no rasteriser is called {name!r}: choose auto, cpu or nvdiffrast")
    if name == "auto":
        wanted = torch.device(device).type if device is not None else "cuda"
        usable = wanted == "cuda" and torch.cuda.is_available()
        name = "nvdiffrast" if usable and importlib.util.find_spec("nvdiffrast") else "cpu"
    if name == "nvdiffrast":
        from workers.render.nvdiffrast import NvdiffrastRasterizer

        return NvdiffrastRasterizer(torch.device(device or "cuda"))
    from workers.render.cpu.backend import CpuRasterizer

    return CpuRasterizer(torch.device(device or "cpu"))


def pyramid(tex: Tensor, levels: int | None = None) -> list[Tensor]:
    """`tex` (...,height,width,C) and coarser ones, each the mean of 2x2 texels of the one before, down to an
    odd or unit size or to `levels` in all.
    """
    result = [tex]
    while (levels is None or len(result) < levels) and not any(n % 2 for n in result[-1].shape[-3:-1]):
        *lead, height, width, channels = result[-1].shape
        blocks = result[-1].reshape(-1, 2, width // 2, 2 * channels)
        halves = blocks[:, 0] + blocks[:, 1]
        mean = 0.25 * (halves[..., :channels] + halves[..., channels:])
        result.append(mean.reshape(*lead, height // 2, width // 2, channels))
    return result


def mip_level(uv_da: Tensor, size: tuple[int, int]) -> Tensor:
    """(...): the level of a pyramid whose texels are as large as a pixel's footprint is long.

    uv_da: (...,4), du/dX, du/dY, dv/dX, dv/dY. size: height, width of level 0. Half the logarithm to base 2
    of the larger eigenvalue of J Jᵀ, J the derivatives in texels (Heckbert 1989, section 3.5).
    """
    height, width = size
    scale = torch.tensor([width, width, height, height], dtype=uv_da.dtype, device=uv_da.device)
    ux, uy, vx, vy = (uv_da * scale).unbind(-1)
    uu, vv, uv = ux * ux + uy * uy, vx * vx + vy * vy, ux * vx + uy * vy
    largest = 0.5 * (uu + vv) + torch.sqrt(0.25 * (uu - vv) ** 2 + uv**2 + 1e-20)
    return 0.5 * torch.log2(largest.clamp_min(1e-12))

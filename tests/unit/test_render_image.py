"""The rasteriser as a whole: gradients of an image's loss, threads, backends."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable

import numba
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.fakes.nvdiffrast import FakeNvdiffrast
from tests.unit.render_scenes import bumpy_ball, clip, projection, ring, slopes
from workers.render import nvdiffrast
from workers.render.cpu.backend import CpuRasterizer
from workers.render.memo import Memo
from workers.render.ops import Rasterizer, backend, mip_level, pyramid

CPU = backend("cpu")
SIZE = 96


class Picture:
    """A textured ball lit by a cube map, and how far it is from a target."""

    def __init__(self, raster: Rasterizer, views: int = 3) -> None:
        generator = torch.Generator().manual_seed(0)
        vertices, faces = bumpy_ball(3)
        self.raster, self.tri = raster, torch.from_numpy(faces)
        self.matrices = projection(ring(views, SIZE))
        self.vertices = torch.from_numpy(vertices)
        self.uv = self.vertices[:, :2] * 0.4 + 0.5
        coarse = 0.3 + 0.5 * torch.rand(1, 3, 4, 4, generator=generator)
        smooth = torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bicubic", align_corners=True)
        self.tex = smooth[0].permute(1, 2, 0).contiguous()
        self.light = 0.5 + 0.5 * torch.rand(6, 2, 2, 3, generator=generator)
        self.light = self.light.repeat_interleave(4, 1).repeat_interleave(4, 2)
        with torch.no_grad():
            moved = self.vertices * torch.tensor([0.9, 1.05, 0.95]) + torch.tensor([0.03, -0.05, 0.04])
            self.target = self.image(moved, 1.1 * self.tex, 0.9 * self.light)

    def image(self, vertices: Tensor, tex: Tensor, light: Tensor) -> Tensor:
        pos = clip(vertices, self.matrices)
        rast, rast_db = self.raster.rasterize(pos, self.tri, (SIZE, SIZE), derivatives=True)
        pixels = self.raster.foreground(rast)
        uv, uv_da = self.raster.interpolate(self.uv, rast, self.tri, rast_db, pixels)
        towards, _ = self.raster.interpolate(vertices, rast, self.tri, pixels=pixels)
        assert uv_da is not None
        albedo = self.raster.texture(pyramid(tex, 3), uv, mip_level(uv_da, (32, 32)))
        shade = self.raster.texture(pyramid(light, 2), towards, torch.full_like(uv[:, 0], 0.4), "cube")
        color = torch.full((rast[..., 0].numel(), 3), 0.1).index_copy(0, pixels, albedo * shade)
        return self.raster.antialias(color.view(-1, SIZE, SIZE, 3), rast, pos, self.tri)

    def loss(self, vertices: Tensor, tex: Tensor, light: Tensor) -> Tensor:
        return ((self.image(vertices, tex, light) - self.target) ** 2).sum(dtype=torch.float64)


@pytest.fixture(scope="module")
def picture() -> Picture:
    return Picture(CPU)


def _moves(x: Tensor) -> list[Tensor]:
    """Directions (V,3) to move vertices (V,3) in: all of a similarity's, and random smooth ones."""
    axes = [axis.expand_as(x) for axis in torch.eye(3)]
    moves = [x, *axes, *(torch.linalg.cross(axis, x) for axis in axes)]
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        waves, phase = 2 * torch.randn(3, 3, generator=generator), torch.randn(3, generator=generator)
        moves.append(torch.sin(x @ waves + phase))
    return moves


def test_gradient_of_the_vertices() -> None:
    """Many views and steps, since pixels are few at an outline and each counts by chance."""
    picture = Picture(CPU, views=16)
    moves = _moves(picture.vertices)
    found = [
        slopes(lambda v: picture.loss(v, picture.tex, picture.light), picture.vertices, moves, step)
        for step in (2e-3, 5e-3, 1e-2)
    ]
    numeric = np.mean([differences for _, differences in found], axis=0)
    assert found[0][0] == pytest.approx(numeric, rel=0.07, abs=0.02 * np.abs(numeric).max())


def test_gradient_of_texture_and_light(picture: Picture) -> None:
    generator = torch.Generator().manual_seed(2)
    for analytic, numeric in (
        slopes(
            lambda t: picture.loss(picture.vertices, t, picture.light),
            picture.tex,
            [torch.randn(picture.tex.shape, generator=generator) for _ in range(3)],
            0.02,
        ),
        slopes(
            lambda e: picture.loss(picture.vertices, picture.tex, e),
            picture.light,
            [torch.randn(picture.light.shape, generator=generator) for _ in range(3)],
            0.02,
        ),
    ):
        assert analytic == pytest.approx(numeric, rel=1e-3)


def test_the_number_of_threads_changes_no_byte(picture: Picture) -> None:
    seen = []
    before = numba.get_num_threads()
    try:
        for threads in range(1, numba.config.NUMBA_NUM_THREADS + 1):  # type: ignore[attr-defined]
            numba.set_num_threads(threads)
            leaves = [x.clone().requires_grad_() for x in (picture.vertices, picture.tex, picture.light)]
            image = picture.image(*leaves)
            gradients = torch.autograd.grad(((image - picture.target) ** 2).sum(), leaves)
            seen.append([x.detach().numpy().tobytes() for x in (image, *gradients)])
    finally:
        numba.set_num_threads(before)
    assert all(each == seen[0] for each in seen)


def test_a_descent_finds_the_target(picture: Picture) -> None:
    """Only place and size are free; two hundredths of them remain after a few steps."""
    offset, size = torch.zeros(3, requires_grad=True), torch.ones(3, requires_grad=True)
    optimizer = torch.optim.Adam([offset, size], lr=0.02)
    for step in range(60):
        optimizer.param_groups[0]["lr"] = 0.02 * 0.95**step
        optimizer.zero_grad()
        moved = picture.vertices * size + offset
        picture.loss(moved, 1.1 * picture.tex, 0.9 * picture.light).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert size.tolist() == pytest.approx([0.9, 1.05, 0.95], abs=0.01)
    assert offset.tolist() == pytest.approx([0.03, -0.05, 0.04], abs=0.01)


def test_what_is_kept_of_a_tensor_follows_it() -> None:
    made = []
    memo = Memo(lambda x: made.append(float(x.sum())) or made[-1])  # type: ignore[func-returns-value]
    x = torch.ones(3)
    assert [memo(x), memo(x)] == [3, 3]
    x[0] = 5
    assert memo(x) == 7
    assert memo(torch.ones(2)) == 2
    assert made == [3, 7, 2]


def test_automatic_choice_and_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(backend("auto", "cpu"), CpuRasterizer)
    if not torch.cuda.is_available():
        assert isinstance(backend(), CpuRasterizer)
    with pytest.raises(ValueError, match="cuda"):
        backend("cpu", "cuda")
    with pytest.raises(ValueError, match="tpu"):
        backend("tpu")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "nvdiffrast.torch", None)
    with pytest.raises(ImportError, match=r"phototwin\[nvdiffrast\]"):
        backend("nvdiffrast")


def test_nvdiffrast_is_taken_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvdiffrast()
    find: Callable[..., object] = importlib.util.find_spec
    monkeypatch.setitem(sys.modules, "nvdiffrast.torch", fake)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: fake if name == "nvdiffrast" else find(name)
    )
    assert isinstance(backend(), nvdiffrast.NvdiffrastRasterizer)
    assert isinstance(backend("auto", "cpu"), CpuRasterizer)
    with pytest.raises(ValueError, match="CUDA"):
        backend("nvdiffrast", "cpu")


def test_nvdiffrast_gives_the_same_pictures(monkeypatch: pytest.MonkeyPatch, picture: Picture) -> None:
    """With a stand-in that has nvdiffrast's signatures, shapes and bottom-up rows."""
    monkeypatch.setitem(sys.modules, "nvdiffrast.torch", FakeNvdiffrast())
    other = Picture(backend("nvdiffrast", "cuda"))
    results = []
    for each in (picture, other):
        leaves = [x.clone().requires_grad_() for x in (each.vertices, each.tex, each.light)]
        image = each.image(*leaves)
        results.append([image, *torch.autograd.grad((image * picture.target).sum(), leaves)])
    for mine, theirs in zip(*results, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-4 * float(mine.detach().abs().max()))

"""Silhouettes: their colours and gradients against areas, finite differences and finer images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.unit.render_scenes import bumpy_ball, clip, projection, ring, slopes
from workers.render.cpu.topology import joined
from workers.render.ops import backend

CPU = backend("cpu")
SIZE, VIEWS = 96, 3


def _square(x: float, y: float, half: float = 0.5) -> tuple[torch.Tensor, torch.Tensor]:
    corners = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]) * half + torch.tensor([x, y])
    pos = torch.cat([corners, torch.zeros(4, 1), torch.ones(4, 1)], 1)[None]
    return pos, torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32)


def _coverage(pos: torch.Tensor, tri: torch.Tensor, size: int) -> torch.Tensor:
    rast, _ = CPU.rasterize(pos, tri, (size, size))
    return CPU.antialias((rast[..., 3:] > 0).float(), rast, pos, tri)


@pytest.mark.parametrize("offset", [0.0, 0.01, -0.017, 0.03])
def test_a_square_covers_its_area(offset: float) -> None:
    """Sides of 16.4 pixels; where two sides meet, a corner may be off by less than a pixel's quarter."""
    pos, tri = _square(offset, -2 * offset, half=0.5125)
    image = _coverage(pos, tri, 32)[0, ..., 0]
    assert float(image.sum()) == pytest.approx(16.4**2, abs=1)
    left = (0.5 * (offset - 0.5125) + 0.5) * 32  # in pixels
    assert image[16, int(left) - 2 : int(left) + 3].sum() == pytest.approx(int(left) + 3 - left, abs=1e-4)


def test_colours_beside_no_silhouette_stay() -> None:
    pos, tri = _square(0.013, 0.02)
    rast, _ = CPU.rasterize(pos, tri, (32, 32))
    color = torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    changed = (CPU.antialias(color, rast, pos, tri) != color).any(-1)[0]
    seen = rast[0, ..., 3] > 0
    border = torch.zeros_like(seen)
    for axis in (0, 1):
        edge = seen.narrow(axis, 1, 31) != seen.narrow(axis, 0, 31)
        border.narrow(axis, 1, 31).logical_or_(edge)
        border.narrow(axis, 0, 31).logical_or_(edge)
    assert changed.any()
    assert not (changed & ~border).any()


def test_a_seam_is_no_silhouette() -> None:
    """Two halves of a tilted plane with vertices of their own: nothing shows between them."""
    pos = torch.tensor([[
        [-0.9, -0.9, -0.5, 1], [0.1, -0.9, 0.1, 1], [0.05, 0.9, 0.07, 1], [-0.9, 0.9, -0.5, 1],
        [0.1, -0.9, 0.1, 1], [0.9, -0.9, 0.58, 1], [0.9, 0.9, 0.58, 1], [0.05, 0.9, 0.07, 1],
    ]])  # fmt: skip
    tri = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], dtype=torch.int32)
    rast, _ = CPU.rasterize(pos, tri, (64, 64))
    color = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    after = CPU.antialias(color, rast, pos, tri)
    assert torch.equal(after[:, 5:-5, 5:-5], color[:, 5:-5, 5:-5])
    pos[:, 4:, 2] += 0.2  # now the left half stands in front
    rast, _ = CPU.rasterize(pos, tri, (64, 64))
    after = CPU.antialias(color, rast, pos, tri)
    assert ((after != color).any(-1)[0, 5:-5, 5:-5].sum(1) == 1).all()


def test_what_is_hidden_is_no_silhouette() -> None:
    """A square under a floor that passes under the camera; then one standing on it."""
    floor = [[-50, -1, 10], [50, -1, 10], [50, -1, -10], [-50, -1, -10]]
    tri = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], dtype=torch.int32)
    color = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    for low, high, hidden in ((-3.03, -1.51, True), (-0.97, 0.52, False)):
        square = [[-1.03, low, 4], [1.02, low, 4], [1.02, high, 4], [-1.03, high, 4]]
        x, y, depth = torch.tensor([*floor, *square]).T
        pos = torch.stack([x, y, (20.1 * depth - 4) / 19.9, depth], 1)[None]  # near 0.1, far 20
        rast, _ = CPU.rasterize(pos, tri, (64, 64))
        changed = (CPU.antialias(color, rast, pos, tri) != color).any(-1)[0]
        assert bool(changed[40:].any() or changed[:28].any()) != hidden


def test_gradient_of_colour() -> None:
    vertices, faces = bumpy_ball(3)
    tri, matrices = torch.from_numpy(faces), projection(ring(VIEWS, SIZE))
    pos = clip(torch.from_numpy(vertices), matrices)
    rast, _ = CPU.rasterize(pos, tri, (SIZE, SIZE))
    generator = torch.Generator().manual_seed(0)
    color, weight, direction = torch.rand(3, VIEWS, SIZE, SIZE, 2, generator=generator)
    analytic, numeric = slopes(
        lambda c: (CPU.antialias(c, rast, pos, tri) * weight).sum(dtype=torch.float64),
        color,
        [direction],
        0.1,
    )
    assert analytic == pytest.approx(numeric, rel=1e-5)


def test_gradient_of_the_outline() -> None:
    """Against the change of what a 12 times finer image covers; each pixel weighs differently."""
    vertices, faces = bumpy_ball(3)
    tri, matrices = torch.from_numpy(faces), projection(ring(VIEWS, SIZE))
    x = torch.from_numpy(vertices)
    y, across = torch.meshgrid(torch.arange(SIZE) / SIZE, torch.arange(SIZE) / SIZE, indexing="ij")
    weight = 1 + torch.sin(6 * across) * torch.cos(5 * y)

    def loss(v: torch.Tensor) -> torch.Tensor:
        return (_coverage(clip(v, matrices), tri, SIZE)[..., 0] * weight).sum(dtype=torch.float64)

    def fine(v: torch.Tensor) -> float:
        rast, _ = CPU.rasterize(clip(v, matrices), tri, (12 * SIZE, 12 * SIZE))
        covered = (rast[..., 3] > 0).double().reshape(VIEWS, SIZE, 12, SIZE, 12).mean((2, 4))
        return float((covered * weight).sum())

    directions = [x, torch.tensor([1.0, 0, 0]).expand_as(x), torch.tensor([0, 1.0, 0]).expand_as(x)] + [
        torch.stack([torch.sin(3 * x[:, 0] + k), torch.cos(2 * x[:, 1] - k), torch.sin(2 * x[:, 2] + k)], 1)
        for k in range(3)
    ]
    analytic, _ = slopes(loss, x, directions, 0.01)
    true = [(fine(x + 0.01 * d) - fine(x - 0.01 * d)) / 0.02 for d in directions]
    assert analytic == pytest.approx(true, rel=0.03, abs=0.02 * np.abs(true).max())
    assert float(loss(x)) == pytest.approx(fine(x), rel=1e-3)


def test_edges_know_the_faces_beside_them() -> None:
    square = joined(np.array([[0, 1, 2], [2, 3, 0]], np.int32))
    assert sorted(map(tuple, square.tolist())) == sorted(
        [(0, 1, 2, -1), (1, 2, 0, -1), (0, 2, 1, 3), (2, 3, 0, -1), (0, 3, 2, -1)]
    )
    _, faces = bumpy_ball(2)
    closed = joined(faces)
    assert len(closed) == len(faces) * 3 // 2
    assert (closed[:, 3] >= 0).all()
    book = joined(np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]], np.int32))  # three pages
    spine = book[(book[:, 0] == 0) & (book[:, 1] == 1)]
    assert spine.tolist() == [[0, 1, 2, 3], [0, 1, 4, -1]]


def test_no_triangles_no_change() -> None:
    pos, tri = torch.zeros(1, 3, 4), torch.zeros(0, 3, dtype=torch.int32)
    rast, _ = CPU.rasterize(pos, tri, (8, 8))
    color = torch.rand(1, 8, 8, 3)
    assert torch.equal(CPU.antialias(color, rast, pos, tri), color)
    assert len(CPU.foreground(rast)) == 0
    assert (CPU.interpolate(torch.zeros(3, 2), rast, tri)[0] == 0).all()

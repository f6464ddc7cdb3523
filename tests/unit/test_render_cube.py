"""Cube maps: directions, seams, levels and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.unit.render_scenes import slopes
from workers.render.ops import backend, pyramid

CPU = backend("cpu")
# The direction of each face's middle, of its s and of its t: OpenGL 4.6, table 8.19.
FACES = torch.tensor([
    [[1, 0, 0], [0, 0, -1], [0, -1, 0]],
    [[-1, 0, 0], [0, 0, 1], [0, -1, 0]],
    [[0, 1, 0], [1, 0, 0], [0, 0, 1]],
    [[0, -1, 0], [1, 0, 0], [0, 0, -1]],
    [[0, 0, 1], [1, 0, 0], [0, -1, 0]],
    [[0, 0, -1], [-1, 0, 0], [0, -1, 0]],
]).float()  # fmt: skip


def _centres(size: int) -> Tensor:
    """(6,size,size,3) the directions of texels' centres, the first row at t = -1."""
    at = (torch.arange(size) + 0.5) * 2 / size - 1
    s, t = at[None, :, None], at[:, None, None]
    return torch.stack([middle + s * right + t * down for middle, right, down in FACES])


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_texels_centre_shows_the_texel() -> None:
    cube = _random(6, 8, 8, 3)
    for length in (1, 0.01, 70):
        found = CPU.texture(cube, length * _centres(8), boundary="cube")
        assert torch.allclose(found, cube, atol=1e-4)


def test_no_seams() -> None:
    """Steps across edges and corners change colours no more than steps on a face."""
    cube = _random(6, 8, 8, 1)
    turns = torch.linspace(0, 2 * np.pi, 20001)
    circle = torch.stack([torch.cos(turns), torch.sin(turns), torch.zeros_like(turns)], 1)
    for turn in range(6):
        rotation, _ = torch.linalg.qr(_random(3, 3, seed=turn))
        shown = CPU.texture(cube, circle @ rotation, boundary="cube")[:, 0]
        assert float(shown.diff().abs().max()) < 2 * np.pi / 20000 * 8 * 4
    along, tiny = torch.linspace(-1, 1, 999)[:, None], 1e-5
    for middle, right, down in FACES:
        for edge, other in ((right, down), (down, right)):
            inner, outer = (middle + (1 + side * tiny) * edge + along * other for side in (-1, 1))
            near, far = (CPU.texture(cube, points, boundary="cube") for points in (inner, outer))
            assert torch.allclose(near, far, atol=2e-3)
    corner = torch.tensor([1.0, 1, 1]) + 1e-4 * _random(100, 3)
    shown = CPU.texture(cube, corner, boundary="cube")
    assert float(shown.max() - shown.min()) < 0.01


def test_a_smooth_function_is_reproduced_everywhere() -> None:
    """As well as texels allow that do not line up across edges: a wrong neighbour would be off by 0.03."""
    cube = _centres(64)
    cube = cube / cube.norm(dim=-1, keepdim=True)
    directions = _random(5000, 3)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    assert torch.allclose(CPU.texture(cube, directions, boundary="cube"), directions, atol=5e-3)


def test_gradients() -> None:
    cube, directions, weight = _random(6, 8, 8, 3), _random(3000, 3, seed=1), _random(3000, 3, seed=2)
    level = 3.6 * torch.rand(3000, generator=torch.Generator().manual_seed(3)) - 0.8
    level = torch.where((level - level.round()).abs() < 0.05, level + 0.1, level)
    # Where no step meets a texel's centre or the edge of a face: the nearest on each level is far enough.
    largest = directions.abs().max(1, keepdim=True).values
    on_face = torch.where(directions.abs() == largest, 0.3, directions / largest)
    grid = [(on_face + 1) / 2 * size - 0.5 for size in (8, 4, 2)]
    smooth = torch.stack([(g - g.round()).abs().min(1).values > 0.02 for g in grid]).all(0)
    second = directions.abs().sort(1).values[:, 1:]
    smooth &= (second[:, 0] < 0.98 * second[:, 1]) & (largest[:, 0] > 0.4)
    weight *= smooth[:, None]
    assert smooth.float().mean() > 0.4

    def loss(c: Tensor, d: Tensor, at: Tensor) -> Tensor:
        return (CPU.texture(pyramid(c, 3), d, at, "cube") * weight).sum(dtype=torch.float64)

    for analytic, numeric in (
        slopes(lambda c: loss(c, directions, level), cube, [_random(6, 8, 8, 3, seed=4)], 0.1),
        slopes(
            lambda d: loss(cube, d, level),
            directions,
            [_random(3000, 3, seed=k).clamp(-2, 2) for k in (5, 6)],
            5e-4,
        ),
        slopes(lambda at: loss(cube, directions, at), level, [_random(3000, seed=7).clamp(-2, 2)], 1e-2),
    ):
        assert analytic == pytest.approx(numeric, rel=2e-3, abs=0.05)
    leaf = directions.clone().requires_grad_()
    loss(cube, leaf, level).backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    assert (leaf.grad * directions).sum(1).abs().max() < 1e-4  # a direction's length means nothing

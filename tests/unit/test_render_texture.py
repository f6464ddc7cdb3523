"""Flat textures and their pyramids: against torch's own look-up, closed forms and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from tests.unit.render_scenes import slopes
from workers.render.boundary import Boundary
from workers.render.ops import backend, mip_level, pyramid
from workers.render.rasterizer import texture

CPU = backend("cpu")
BOUNDARIES: tuple[Boundary, ...] = ("clamp", "wrap")


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def _apart(size: tuple[int, int], count: int = 2000, seed: int = 0) -> Tensor:
    """(count,2) uv from -0.5 to 1.5 whose steps of 0.02 texels meet no texel's centre of `size` (height,
    width): look-ups are smooth there.
    """
    height, width = size
    texels = torch.tensor([width, height])
    cells = torch.floor((2 * _random(count, 2, seed=seed) - 0.5) * texels)
    return (cells + 0.5 + 0.1 + 0.8 * _random(count, 2, seed=seed + 1)) / texels


def test_values_and_gradients_agree_with_torch() -> None:
    tex, uv, weight = _random(37, 52, 3), 1.4 * _random(5000, 2, seed=1) - 0.2, _random(5000, 3, seed=2)
    results = []
    for own in (True, False):
        t, at = tex.clone().requires_grad_(), uv.clone().requires_grad_()
        if own:
            out = CPU.texture(t, at)
        else:
            grid = torch.stack([2 * at[:, 0] - 1, 1 - 2 * at[:, 1]], 1)[None, None]
            out = grid_sample(t.permute(2, 0, 1)[None], grid, padding_mode="border", align_corners=False)
            out = out[0, :, 0].T
        results.append((out, *torch.autograd.grad((out * weight).sum(), (t, at))))
    for mine, torchs in zip(*results, strict=True):
        assert torch.allclose(mine, torchs, atol=1e-5 * float(torchs.detach().abs().max()))


def test_it_is_the_forward_texture() -> None:
    tex, uv = _random(9, 14, 4), 1.4 * _random(8, 25, 2, seed=1) - 0.2
    assert np.allclose(CPU.texture(tex, uv).numpy(), texture(tex.numpy(), uv.numpy()), atol=2e-6)


def test_wrapping_repeats() -> None:
    tex, uv = _random(8, 6, 2), _random(500, 2, seed=1)
    tiled = CPU.texture(tex.repeat(3, 3, 1), (uv + 1) / 3)
    for shift in (0, -2, 5):
        assert torch.allclose(CPU.texture(tex, uv + shift, boundary="wrap"), tiled, atol=2e-5)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_gradients_through_a_pyramid(boundary: Boundary) -> None:
    tex, weight = _random(16, 32, 3), _random(2000, 3, seed=9)
    uv, level = _apart((16, 32)), 4.6 * _random(2000, seed=3) - 0.8
    assert [tuple(each.shape) for each in pyramid(tex)] == [
        (16, 32, 3), (8, 16, 3), (4, 8, 3), (2, 4, 3), (1, 2, 3)
    ]  # fmt: skip

    def loss(t: Tensor, at: Tensor, sharp: Tensor) -> Tensor:
        return (CPU.texture(pyramid(t, 4), at, sharp, boundary) * weight).sum(dtype=torch.float64)

    # Levels whose centres and clamps no step meets.
    level = torch.where((level - level.round()).abs() < 0.05, level + 0.1, level)
    coarse = 2 ** torch.arange(4)
    grid = (uv * torch.tensor([32, 16]))[:, None] / coarse[:, None] - 0.5
    smooth = ((grid - grid.round()).abs() > 0.01 / coarse[:, None]).all(-1).all(-1)
    weight *= smooth[:, None]
    assert smooth.float().mean() > 0.8
    for analytic, numeric in (
        slopes(lambda t: loss(t, uv, level), tex, [_random(16, 32, 3, seed=4) - 0.5], 0.1),
        slopes(lambda at: loss(tex, at, level), uv, [_random(2000, 2, seed=k) - 0.5 for k in (5, 6)], 4e-4),
        slopes(lambda s: loss(tex, uv, s), level, [_random(2000, seed=k) - 0.5 for k in (7, 8)], 2e-2),
    ):
        assert analytic == pytest.approx(numeric, rel=2e-3, abs=0.02)


def test_levels_blend_what_each_shows() -> None:
    tex, uv = _random(16, 16, 3), _random(300, 2, seed=1)
    levels = pyramid(tex)
    each = [CPU.texture(one, uv) for one in levels]
    between = 0.75 * each[1] + 0.25 * each[2]
    for level, expected in ((0.0, each[0]), (-3.0, each[0]), (2.0, each[2]), (9.0, each[4]), (1.25, between)):
        found = CPU.texture(levels, uv, torch.full((300,), level))
        assert torch.allclose(found, expected, atol=1e-6)
    with pytest.raises(ValueError, match="level"):
        CPU.texture(levels, uv)


def test_a_pyramid_is_made_of_means() -> None:
    tex = _random(2, 12, 20, 3)
    levels = pyramid(tex)
    assert len(levels) == 3  # 3 x 5 has no half
    mean = avg_pool2d(tex.permute(0, 3, 1, 2), 4).permute(0, 2, 3, 1)
    assert torch.allclose(levels[2], mean, atol=1e-6)


def test_a_level_has_texels_as_long_as_the_footprint() -> None:
    # 8 texels right for a pixel right, 2 up for a pixel down; then turned by 45° on the screen.
    straight = torch.tensor([8 / 64, 0, 0, 2 / 32])
    turned = torch.tensor([8 / 64, -8 / 64, 2 / 32, 2 / 32]) / 2**0.5
    assert mip_level(torch.stack([straight, turned]), (32, 64)).tolist() == pytest.approx([3, 3], abs=1e-5)


def test_places_that_are_no_numbers_harm_nothing() -> None:
    bad = torch.tensor([[torch.nan, 0.5], [torch.inf, -torch.inf], [1e30, -1e30], [0.5, 0.5]])
    level = torch.tensor([0.5, torch.nan, 0.5, 0.5])
    for boundary in BOUNDARIES:
        found = CPU.texture(pyramid(_random(4, 4, 1)), bad, level, boundary)
        assert torch.isfinite(found[3]).all()
    assert torch.isfinite(CPU.texture(_random(4, 4, 1), bad)).all()
    cube = torch.cat([bad, bad[:, :1]], 1)
    assert torch.isfinite(CPU.texture(_random(6, 4, 4, 1), cube, boundary="cube")[3]).all()

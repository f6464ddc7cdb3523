"""Light, materials and losses of method `dmtet`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tests.unit.render_scenes import slopes
from workers.reconstruct.checkpoints import Checkpoints
from workers.reconstruct.methods import training
from workers.reconstruct.methods.dmtet.encoding import Hashed, Planes
from workers.reconstruct.methods.dmtet.frames import Frames
from workers.reconstruct.methods.dmtet.light import Light
from workers.reconstruct.methods.dmtet.losses import linear_from_srgb, srgb_from_linear
from workers.reconstruct.methods.dmtet.volume import Volume
from workers.reconstruct.methods.hash_grid import HashGrid
from workers.reconstruct.methods.training import Losses, Schedule, optimise
from workers.render.environment import texel_directions
from workers.render.ops import backend

RASTER = backend("cpu")


def _directions(count: int, seed: int) -> Tensor:
    return normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_even_light_is_what_a_white_diffuse_surface_reflects_but_for_its_gloss() -> None:
    light = Light(16, RASTER)
    even = torch.full((6, 16, 16, 3), 0.5)
    normals = _directions(200, 0)
    ones = torch.ones(200, 1)
    shaded = light.shade(light.prefiltered(even), ones.expand(-1, 3), ones, 0 * ones, normals, normals)
    assert shaded == pytest.approx(0.5, abs=0.01)
    mirror = light.shade(light.prefiltered(even), ones.expand(-1, 3), 0.08 * ones, ones, normals, normals)
    assert mirror == pytest.approx(0.5, abs=0.01)


def test_light_from_above_falls_off_as_the_cosine_does() -> None:
    """Diffuse reflection of light L(w) = 1 + w_y is 1 + 2/3 n_y."""
    light = Light(16, RASTER)
    above = 1 + torch.from_numpy(texel_directions(16))[:, 1].reshape(6, 16, 16, 1).expand(-1, -1, -1, 3)
    diffuse, glossy = light.prefiltered(above)
    normals = torch.from_numpy(texel_directions(8))
    torch.testing.assert_close(diffuse.reshape(-1, 3)[:, 0], 1 + 2 / 3 * normals[:, 1], atol=0.02, rtol=0)
    assert [each.shape[1] for each in glossy] == [16, 8, 4, 2]


def test_gradients_of_shading_match_finite_differences() -> None:
    light, generator = Light(16, RASTER), torch.Generator().manual_seed(3)
    count = 300
    normals = _directions(count, 1)
    view = normalize(normals + 0.6 * _directions(count, 2), dim=1)
    weights = torch.rand(count, 3, generator=generator)
    kd = torch.rand(count, 3, generator=generator)
    gloss = 0.1 + 0.8 * torch.rand(count, 2, generator=generator)

    def shaded(probe: Tensor, albedo: Tensor, gloss: Tensor) -> Tensor:
        maps = light.prefiltered(probe)
        found = light.shade(maps, albedo, gloss[:, :1], gloss[:, 1:], normals, view)
        return (weights * found).sum()

    probe = torch.rand(6, 16, 16, 3, generator=generator)
    for loss, x, step in [
        (lambda p: shaded(p, kd, gloss), probe, 1e-2),
        (lambda a: shaded(probe, a, gloss), kd, 1e-2),
        (lambda g: shaded(probe, kd, g), gloss, 1e-4),
    ]:
        moves = [torch.randn(x.shape, generator=generator) for _ in range(3)]
        slope, difference = slopes(loss, x, moves, step)
        assert slope == pytest.approx(difference, rel=0.05)


@pytest.mark.parametrize(
    "encoding", [Hashed(HashGrid(3, 2, 4, 16, 1 << 9)), Planes((8, 16), 2)], ids=["hash grid", "planes"]
)
def test_a_volume_learns_a_pattern_in_space(encoding: Hashed | Planes) -> None:
    generator = torch.Generator().manual_seed(0)
    volume = Volume(encoding, 1, 0.5, RASTER, generator)

    def difference(seed: int) -> Tensor:
        points = torch.rand(2000, 3, generator=torch.Generator().manual_seed(seed)) - 0.5
        wanted = 0.5 + 0.4 * torch.sin(9 * points[:, :1]) * torch.cos(7 * points[:, 1:2])
        return ((volume(points) - wanted) ** 2).mean()

    before = float(difference(-1))
    groups = [(each, 0.03) for each in volume.parameters()]

    def losses(iteration: int) -> Losses:
        return {"error": difference(iteration)}

    optimise("v", groups, Schedule(60), losses, lambda: None, Checkpoints(), lambda *_: None)
    assert float(difference(-1)) < 0.1 * before


def test_a_hash_grid_passes_gradients_to_places() -> None:
    encoding = Hashed(HashGrid(2, 2, 4, 16, 1 << 7))
    generator = torch.Generator().manual_seed(0)
    tables = [1000 * table for table in encoding.start(generator)]
    places = torch.rand(50, 3, generator=generator)
    weights = torch.rand(50, 4, generator=generator)
    moves = [torch.randn(50, 3, generator=generator) for _ in range(3)]
    slope, difference = slopes(
        lambda p: (weights * encoding.encode(tables, p, RASTER)).sum(), places, moves, 1e-4
    )
    assert slope == pytest.approx(difference, rel=0.02)


def test_tangent_space_turns_with_the_texture() -> None:
    corners = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]]).expand(2, 3, 3)
    uv = torch.tensor([[[0.0, 0], [0, 1], [-1, 0]], [[0, 0], [-1, 0], [0, 1]]])  # turned, and mirrored
    frames, normals = Frames(corners, uv), torch.tensor([[0.0, 0, 1]]).expand(2, 3)
    faces = torch.arange(2)
    along_u = frames.bend(normals, torch.tensor([[1.0, 0, 0]]).expand(2, 3), faces)
    along_v = frames.bend(normals, torch.tensor([[0.0, 1, 0]]).expand(2, 3), faces)
    torch.testing.assert_close(along_u, torch.tensor([[0.0, -1, 0], [-1, 0, 0]]))
    torch.testing.assert_close(along_v, torch.tensor([[1.0, 0, 0], [0, 1, 0]]))
    local = _directions(2, 5)
    back = frames.unbend(normals, frames.bend(normals, local, faces), faces)
    torch.testing.assert_close(back, local)


def test_srgb_there_and_back() -> None:
    values = torch.linspace(0, 1, 101)
    torch.testing.assert_close(srgb_from_linear(linear_from_srgb(values)), values)


def _fall(checkpoints: Checkpoints, stop: int | None = None) -> Tensor:
    """A parameter after 30 iterations; the process ends before iteration `stop`."""
    x = torch.linspace(-1, 1, 5)

    def losses(iteration: int) -> Losses:
        if iteration == stop:
            raise KeyboardInterrupt
        return {"one": ((x - 0.1 * iteration) ** 2).sum(), "two": x.abs().sum()}

    optimise("x", [(x, 0.1)], Schedule(30, 5), losses, lambda: None, checkpoints, lambda *_: None)
    return x


def test_training_goes_on_as_if_nothing_had_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_SAVED_EVERY", 0)
    undisturbed = _fall(Checkpoints())
    with pytest.raises(KeyboardInterrupt):
        _fall(Checkpoints(tmp_path), stop=17)
    resumed = _fall(Checkpoints(tmp_path), stop=3)  # never reached: it goes on from 17
    torch.testing.assert_close(resumed, undisturbed, rtol=0, atol=0)
    Checkpoints(tmp_path).save("x", {"value_0": np.zeros(4, np.float32)})
    torch.testing.assert_close(_fall(Checkpoints(tmp_path)), undisturbed, rtol=0, atol=0)

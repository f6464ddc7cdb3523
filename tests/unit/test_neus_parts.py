"""What method `neus` is made of, each against a formula or finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from tests.unit.scenes import ball, scene
from workers.geometry.errors import NumericError
from workers.reconstruct.methods.hash_grid import HashGrid
from workers.reconstruct.methods.neus import learning
from workers.reconstruct.methods.neus.density import Formulation, opacity, weights
from workers.reconstruct.methods.neus.extraction import extracted
from workers.reconstruct.methods.neus.field import Field, harmonics
from workers.reconstruct.methods.neus.pixels import Pixels
from workers.reconstruct.methods.neus.sampling import EMPTY, NEAR, SOLID, Space

GRID = HashGrid(levels=4, features=2, coarsest=4, finest=32, rows=1 << 10)
SIDE = 1.12
RADIUS = 0.4


def _torch(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def _sphere(samples: int = 48) -> Tensor:
    """(4,X,Y,Z) the distance to a sphere, and its slopes."""
    axis = torch.linspace(-SIDE / 2, SIDE / 2, samples)
    at = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"))
    length = at.norm(dim=0, keepdim=True)
    return torch.cat([length - RADIUS, at / length])


def _field(*, busy: bool = False) -> Field:
    """A sphere; `busy`: with something learned."""
    made = Field.start(GRID, _sphere(), SIDE, 3, seed=1)
    if busy:
        made.parameters["table"] *= 3e3
        made.parameters["second_weight"][0] *= 3e2
    return made


def test_the_grid_has_a_hashed_level_and_one_that_is_not() -> None:
    cells, rows = GRID.sizes[:, 0], GRID.sizes[:, 2]
    assert rows[0] == (cells[0] + 1) ** 3
    assert rows[-1] < (cells[-1] + 1) ** 3


def test_the_kernels_agree_with_torch() -> None:
    table, unit = 2 * _torch(int(GRID.sizes[:, 2].sum()), 2) - 1, _torch(200, 3, seed=2)
    unit[0], unit[1] = 0, 1
    mix = _torch(200, 8, seed=3), _torch(200, 8, 3, seed=4)
    found = []
    for encode in (GRID.encode, _by_definition):
        own = table.clone().requires_grad_()
        values, slopes = encode(own, unit, 4)
        ((values * mix[0]).sum() + (slopes * mix[1]).sum()).backward()  # type: ignore[no-untyped-call]
        assert own.grad is not None
        found.append((values.detach(), slopes.detach(), own.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def _by_definition(table: Tensor, unit: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """Corner by corner; slopes by autograd."""
    places = unit.clone().requires_grad_()
    columns = []
    for cells, first, rows in GRID.sizes[:levels].tolist():
        low = (places.detach() * cells).long().clamp(0, cells - 1)
        total = torch.zeros(len(unit), table.shape[1])
        for a, b, c in np.ndindex(2, 2, 2):
            i, j, k = (low + torch.tensor([a, b, c])).unbind(1)
            row = (k * (cells + 1) + j) * (cells + 1) + i
            if rows < (cells + 1) ** 3:
                row = (i ^ (j * 2654435761) ^ (k * 805459861)) % rows
            part = places * cells - low
            sides = [part[:, axis] if far else 1 - part[:, axis] for axis, far in enumerate((a, b, c))]
            total = total + (sides[0] * sides[1] * sides[2])[:, None] * table[first + row]
        columns.append(total)
    values = torch.cat(columns, 1)
    slopes = [
        torch.autograd.grad(values[:, c].sum(), places, create_graph=True)[0] for c in range(values.shape[1])
    ]
    return values, torch.stack(slopes, 1)


def test_levels_that_are_not_in_yet_say_nothing() -> None:
    table = GRID.start(torch.Generator().manual_seed(0))
    values, slopes = GRID.encode(table, _torch(50, 3), 2)
    whole, _ = GRID.encode(table, _torch(50, 3), 4)
    assert torch.equal(values[:, :4], whole[:, :4])
    assert values[:, 4:].abs().max() == slopes[:, 4:].abs().max() == 0


def test_the_slope_is_that_of_the_distance() -> None:
    field = _field(busy=True)
    at = 0.8 * _torch(400, 3) - 0.4
    step = 2e-4
    _, slope, _ = field.distance(at, 4)
    near, _, _ = _field().distance(at, 4)
    assert (field.distance(at, 4)[0] - near).abs().mean() > 0.05  # there is something to be wrong about
    for axis in range(3):
        move = torch.zeros(3)
        move[axis] = step
        ahead, behind = (field.distance(at + sign * move, 4)[0] for sign in (1, -1))
        off = ((ahead - behind) / (2 * step) - slope[:, axis]).abs()
        # Where a cell ends between the two, the slope is another; float32 leaves some noise.
        assert off.median() < 0.01
        assert (off < 0.1).float().mean() > 0.9


@pytest.mark.parametrize("name", sorted(set(_field().parameters) - {"gain"}))
def test_gradients_of_the_field(name: str) -> None:
    field = _field(busy=True)
    at, towards = 0.8 * _torch(300, 3) - 0.4, normalize(_torch(300, 3, seed=5) - 0.5, dim=1)
    mixes = (_torch(300, seed=6), _torch(300, 3, seed=7), _torch(300, 3, seed=8))
    value = field.parameters[name]

    def loss() -> Tensor:
        distance, slope, features = field.distance(at, 4)
        found = (distance, slope, field.radiance(at, slope, features, towards))
        return torch.stack(
            [(each * mix).double().sum() for each, mix in zip(found, mixes, strict=True)]
        ).sum()

    value.requires_grad_()
    loss().backward()  # type: ignore[no-untyped-call]
    assert value.grad is not None
    direction = value.grad / value.grad.norm()
    step = 3e-3
    with torch.no_grad():
        value += step * direction
        ahead = loss()
        value -= 2 * step * direction
        behind = loss()
    assert float(ahead - behind) / (2 * step) == pytest.approx(float(value.grad.norm()), rel=0.02)


def test_harmonics_are_orthonormal() -> None:
    rng = np.random.default_rng(0)
    d = normalize(torch.from_numpy(rng.standard_normal((200_000, 3)).astype(np.float32)), dim=1)
    found = harmonics(d)
    products = 4 * math.pi * (found.T @ found) / len(d)
    torch.testing.assert_close(products, torch.eye(16), rtol=0, atol=0.05)


@pytest.mark.parametrize("by", ["solid", "neus"])
@pytest.mark.parametrize("along", [-1.0, -0.3])
def test_a_plane_is_seen_where_it_is(by: Formulation, along: float) -> None:
    """However the ray comes at it, and into however many pieces it is cut."""
    sharp, length = 200.0, 0.4
    for pieces in (16, 400):
        at = (torch.arange(pieces) + 0.5) * length / pieces
        distance = (at - length / 2) * along  # the ray goes in
        step = torch.full_like(at, length / pieces)
        alpha = opacity(distance, torch.full_like(at, along), step, sharp, by)
        seen = weights(alpha[None])[0]
        assert float(seen.sum()) == pytest.approx(1, abs=1e-2)
        # Half of the light is stopped before it, half behind it.
        assert float(seen[: pieces // 2].sum()) == pytest.approx(0.5, abs=1e-3)


def test_what_leaves_a_solid() -> None:
    distance, step = torch.linspace(-0.02, 0.02, 9), torch.full((9,), 0.005)
    inwards, outwards = (
        {along: opacity(distance, torch.full((9,), along), step, 200.0, by) for along in (-0.7, 0.7)}
        for by in ("solid", "neus")
    )
    torch.testing.assert_close(inwards[-0.7], inwards[0.7])  # the same from both sides
    torch.testing.assert_close(outwards[-0.7], inwards[-0.7])
    assert outwards[0.7].max() == 0


def _rays(count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(3)
    starts = rng.standard_normal((count, 3))
    starts *= 2 / np.linalg.norm(starts, axis=1, keepdims=True)
    directions = rng.uniform(-0.5, 0.5, (count, 3)) - starts
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return starts.astype(np.float32), directions.astype(np.float32)


def test_space_is_what_the_field_says() -> None:
    field = _field()
    space = Space(field)
    space.look(0.05, 4)
    axis = (np.arange(64) + 0.5) * space.cell - SIDE / 2
    away = np.linalg.norm(np.stack(np.meshgrid(axis, axis, axis, indexing="ij")), axis=0) - RADIUS
    for state, there in ((EMPTY, away > 0.1), (SOLID, away < -0.1), (NEAR, abs(away) < 0.04)):
        assert (space.state[there] == state).all()


def test_samples_lie_near_the_surface_and_in_front_of_what_is_solid() -> None:
    space = Space(_field())
    space.look(0.05, 4)
    starts, directions = _rays(300)
    jitter = np.random.default_rng(4).random((300, 16), dtype=np.float32)
    at, lengths = space.march(starts, directions, jitter)
    met = lengths > 0
    assert 0.5 < met.mean() < 1
    closest = np.linalg.norm(np.cross(starts, directions), axis=1)
    assert (closest[~met] > RADIUS + 0.04).all()
    assert (closest[met] < RADIUS + 0.1).all()
    places = starts[met, None] + at[met][..., None] * directions[met, None]
    cell = np.floor((places + SIDE / 2) / space.cell + 1e-4).astype(int)
    assert (space.state[tuple(np.moveaxis(cell, -1, 0))] == NEAR).mean() > 0.97
    assert (np.diff(at[met], axis=1) >= 0).all()
    through = met & (closest < RADIUS - 0.1)
    assert (at[through, -1] < 2).all()  # never on the far side
    # As long as what of the ray is near.
    heart = met & (closest < 0.1)
    assert np.allclose(16 * lengths[heart], 2 * (0.05 + space.cell), atol=1.8 * space.cell)


def test_a_whole_ray_is_passed_without_jitter_too() -> None:
    space = Space(_field())
    space.state[:] = NEAR
    starts, directions = np.array([[0, 0, 2]], np.float32), np.array([[0, 0, -1]], np.float32)
    at, lengths = space.march(starts, directions, np.full((1, 8), 0.5, np.float32))
    assert at[0] == pytest.approx(2 - SIDE / 2 + SIDE * (np.arange(8) + 0.5) / 8, abs=1e-3)
    assert lengths[0] == pytest.approx(SIDE / 8, rel=0.01)


def test_pixels_are_drawn_by_how_wrong_they_were() -> None:
    capture = scene(ball, count=6, size=100)
    rng = np.random.default_rng(0)
    for adaptive, expected in ((True, 0.8), (False, 0.0)):
        pixels = Pixels(capture, adaptive=adaptive)
        batch = pixels.draw(4000, rng)
        assert set(batch.views) == set(range(6))
        wrong = batch.tiles[0]
        before = (batch.tiles == wrong).mean()
        for _ in range(30):
            batch = pixels.draw(4000, rng)
            pixels.learn(batch, (batch.tiles == wrong).astype(np.float32))
        share = (pixels.draw(4000, rng).tiles == wrong).mean()
        assert share == pytest.approx(expected + (1 - expected) * before, abs=0.03)


def test_a_ray_goes_through_its_pixel() -> None:
    capture = scene(ball, count=6, size=100)
    capture.frames[2] = 30, 40, 60, 70
    batch = Pixels(capture).draw(3000, np.random.default_rng(1))
    seen = np.einsum(
        "nij,nj->ni", capture.cameras.projection()[batch.views], _homogeneous(batch.starts + batch.directions)
    )
    column, row = np.floor(seen[:, :2] / seen[:, 2:]).astype(int).T
    assert np.array_equal(batch.masks > 0, capture.masks[batch.views, row, column])
    assert np.array_equal(np.round(255 * batch.colours), capture.images[batch.views, row, column])
    of_third = batch.views == 2
    assert of_third.any()
    assert (row[of_third].min(), row[of_third].max()) >= (40, 40)
    assert row[of_third].max() < 70
    assert (column[of_third] >= 30).all()
    assert (column[of_third] < 60).all()


def _homogeneous(points: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.concatenate([points.astype(np.float64), np.ones((len(points), 1))], axis=1)


def test_the_surface_is_taken_out() -> None:
    field = _field()
    space = Space(field)
    space.look(0.02, 4)
    vertices, faces = extracted(field, space, 80, 4)
    assert np.linalg.norm(vertices, axis=1) == pytest.approx(RADIUS, abs=2e-3)
    a, b, c = vertices[faces].transpose(1, 0, 2)
    outwards = (np.cross(b - a, c - a) * a).sum(1)
    assert (outwards > 0).mean() > 0.999
    field.base[0] += 1
    space.look(0.02, 4)
    with pytest.raises(NumericError, match="nothing is left"):
        extracted(field, space, 80, 4)


def test_schedules() -> None:
    parts = np.linspace(0, 1, 50)
    sharp, deep = [learning.sharpness(p) for p in parts], [learning.band(p) for p in parts]
    assert sharp == sorted(sharp)
    assert deep == sorted(deep, reverse=True)
    assert [learning.levels(p, 8) for p in (0, 0.3, 0.6, 1)] == [4, 6, 8, 8]
    even = [learning.evenness(p) for p in parts]
    assert even == sorted(even, reverse=True)
    assert even[0] > 0
    assert even[-1] == 0


def _traced(field: Field) -> learning.Traced:
    space = Space(field)
    space.look(0.05, 4)
    batch = Pixels(scene(ball, count=6, size=100)).draw(400, np.random.default_rng(0))
    jitter = np.full((400, 24), 0.5, np.float32)
    return learning.trace(field, space, batch, jitter, 800.0, 4, "solid")


def test_the_curvature_of_a_sphere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "_APART", 0.05)  # more than the samples of the sphere are apart
    field = _field()
    traced = _traced(field)
    assert traced.place[traced.cover > 0.99].norm(dim=1).numpy() == pytest.approx(RADIUS, abs=0.01)
    aside = torch.randn(traced.place.shape, generator=torch.Generator().manual_seed(0))
    found = float(learning.curvature(field, traced, aside, 4))
    assert found == pytest.approx(1 - math.cos(math.atan(0.05 / RADIUS)), rel=0.15)
    busy = _field(busy=True)
    assert float(learning.curvature(busy, _traced(busy), aside[:1], 4)) > 3 * found


def test_less_curvature_is_what_its_gradient_leads_to() -> None:
    field = _field(busy=True)
    traced = _traced(field)
    aside = torch.randn(traced.place.shape, generator=torch.Generator().manual_seed(0))
    table = field.parameters["table"].requires_grad_()

    def bending() -> Tensor:
        return learning.curvature(field, _traced(field), aside[:1], 4)

    before = bending()
    before.backward()  # type: ignore[no-untyped-call]
    assert table.grad is not None
    with torch.no_grad():
        table -= 0.3 * table.abs().mean() * table.grad / table.grad.abs().max()
    assert float(bending().detach()) < 0.95 * float(before.detach())

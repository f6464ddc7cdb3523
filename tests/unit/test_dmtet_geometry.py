"""The lattice of method `dmtet`, and surfaces in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.unit.render_scenes import slopes
from workers.geometry.errors import NumericError
from workers.geometry.mesh import volume
from workers.reconstruct.methods.dmtet.lattice import Lattice, lattice
from workers.reconstruct.methods.dmtet.marching import Grid, march
from workers.reconstruct.methods.dmtet.shape import solid

CPU = torch.device("cpu")


def _in(space: Lattice) -> tuple[Tensor, Grid]:
    return torch.from_numpy(space.points), Grid.of(space, CPU)


def _closed(faces: np.ndarray) -> bool:
    """Whether every edge has one face on either side, and these agree on what is outside."""
    directed = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    forward = {tuple(edge) for edge in directed.tolist()}
    return len(forward) == len(directed) and forward == {(b, a) for a, b in forward}


def test_tetrahedra_are_congruent_and_fill_what_is_within_the_border() -> None:
    half = np.array([0.5, 0.3, 0.2])
    space = lattice(half, 10)
    a, b, c, d = space.points[space.tets].astype(np.float64).transpose(1, 0, 2)
    volumes = np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) / 6
    assert volumes == pytest.approx(space.spacing**3 / 12, rel=1e-4)
    assert volumes.sum() > 8 * half.prod()
    inner = space.points[~space.border]
    assert (np.abs(inner).max(0) >= half - 1e-6).all()
    used = np.bincount(space.tets.ravel(), minlength=len(space.points))
    assert (used[~space.border] == 24).all()


def test_edges_are_listed_once_and_found_again() -> None:
    space = lattice(np.full(3, 0.5), 4)
    ends = {tuple(edge) for edge in space.edges.tolist()}
    assert len(ends) == len(space.edges)
    a, b = space.edges[space.tet_edges[:, 5]].T
    assert (np.stack([a, b], 1) == np.sort(space.tets[:, 2:], axis=1)).all()


def test_the_zero_surface_of_a_ball_is_a_closed_sphere_facing_out() -> None:
    space = lattice(np.full(3, 0.5), 20)
    points, grid = _in(space)
    vertices, faces, crossed = march(points, points.norm(dim=1) - 0.4, grid)
    mesh = vertices.numpy(), faces.numpy()
    a, b, c = mesh[0][mesh[1]].transpose(1, 0, 2)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    assert _closed(mesh[1])
    assert len(vertices) - 3 * len(faces) // 2 + len(faces) == 2  # Euler: a sphere, in one piece
    assert area == pytest.approx(4 * np.pi * 0.4**2, rel=0.01)
    assert volume(*mesh) == pytest.approx(4 / 3 * np.pi * 0.4**3, rel=0.01)
    assert len(crossed) == len(vertices)


def test_a_random_field_gives_a_closed_surface_too() -> None:
    """Every case of a tetrahedron appears many times."""
    space = lattice(np.full(3, 0.5), 6)
    points, grid = _in(space)
    field = torch.rand(len(points), generator=torch.Generator().manual_seed(0)) - 0.5
    field[torch.from_numpy(space.border)] = 0.3
    _, faces, _ = march(points, field, grid)
    assert _closed(faces.numpy())


def test_no_inside_is_no_surface() -> None:
    points, grid = _in(lattice(np.full(3, 0.5), 3))
    vertices, faces, _ = march(points, torch.ones(len(points)), grid)
    assert vertices.shape == (0, 3)
    assert faces.shape == (0, 3)


def test_gradients_of_vertices_match_finite_differences() -> None:
    space = lattice(np.full(3, 0.5), 6)
    points, grid = _in(space)
    field = (points + torch.tensor([0.02, 0.01, 0.03])).norm(dim=1) - 0.4
    field = torch.where(field.abs() < 0.02, field.sign() * 0.02, field)  # no step may change a side
    generator = torch.Generator().manual_seed(1)
    count = len(march(points, field, grid)[0])
    weights = torch.rand(count, 3, generator=generator)
    directions = [torch.randn(len(points), generator=generator) for _ in range(4)]
    slope, difference = slopes(lambda f: (march(points, f, grid)[0] * weights).sum(), field, directions, 3e-4)
    assert slope == pytest.approx(difference, rel=0.02)
    moves = [torch.randn(points.shape, generator=generator) for _ in range(4)]
    slope, difference = slopes(lambda p: (march(p, field, grid)[0] * weights).sum(), points, moves, 1e-3)
    assert slope == pytest.approx(difference, rel=0.02)


def test_loose_parts_and_bubbles_go_and_the_rest_stays() -> None:
    space = lattice(np.full(3, 0.5), 16)
    points, grid = _in(space)
    ball = points.norm(dim=1) - 0.35
    loose = (points - torch.tensor([0.45, 0.45, 0.45])).norm(dim=1) - 0.08
    bubble = 0.1 - points.norm(dim=1)
    spoilt = torch.maximum(torch.minimum(ball, loose), bubble)
    found = torch.from_numpy(solid(spoilt.numpy(), space))
    clean, mended = march(points, ball, grid)[0], march(points, found, grid)[0]
    assert len(march(points, spoilt, grid)[0]) > len(clean)
    torch.testing.assert_close(mended, clean)


def test_a_field_without_inside_is_an_error() -> None:
    space = lattice(np.full(3, 0.5), 3)
    with pytest.raises(NumericError, match="leave nothing"):
        solid(np.ones(len(space.points), np.float32), space)

"""Closed meshes that touch themselves, cut into 2-manifolds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from workers.geometry.grid import Grid, solid, zero_surface
from workers.geometry.manifold import defects, largest_part, manifold
from workers.geometry.mesh import edges, icosphere, volume
from workers.reconstruct.methods.surface.shape import simplified

_TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.int32)
_CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)


def test_a_sphere_is_a_manifold_and_stays_as_it_is() -> None:
    vertices, faces = icosphere(2)
    assert defects(faces) == 0
    same, kept = manifold(vertices, faces)
    assert volume(same, kept) == pytest.approx(volume(vertices, faces))
    assert len(kept) == len(faces)
    assert defects(faces[1:]) == 3  # three edges without their opposite


@pytest.mark.parametrize("shared", [1, 2])
def test_two_tetrahedra_that_share_a_vertex_or_an_edge_are_drawn_apart(shared: int) -> None:
    mirrored = _CORNERS * ([-1, -1, 1] if shared == 2 else [-1, -1, -1])
    vertices = np.concatenate([_CORNERS, mirrored]).astype(np.float32)
    other = _TETRAHEDRON + 4 if shared == 2 else _TETRAHEDRON[:, ::-1] + 4
    other = np.where(other == 4, 0, other)
    if shared == 2:
        other = np.where(other == 7, 3, other)
    faces = np.concatenate([_TETRAHEDRON, other]).astype(np.int32)
    assert defects(faces) > 0
    found, cut = manifold(vertices, faces)
    assert defects(cut) == 0
    assert len(found) == 8
    assert volume(found, cut) == pytest.approx(2 / 6, rel=0.2)
    assert len(largest_part(found, cut)[1]) == 4


def test_folds_go_and_an_open_mesh_is_an_error() -> None:
    vertices, faces = icosphere(1)
    fold = np.array([[0, 1, 2], [0, 2, 1], [3, 3, 4]], np.int32)
    assert len(manifold(vertices, np.concatenate([faces, fold]))[1]) == len(faces)
    with pytest.raises(ValueError, match="not closed"):
        manifold(vertices, faces[1:])


@pytest.mark.parametrize("seed", range(6))
def test_a_simplified_ragged_surface_is_closed_and_manifold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid = Grid.around(np.full(3, -1.0), np.full(3, 1.0), 56)
    ball = np.linalg.norm(grid.points(np.ones(grid.shape, bool)), axis=1).reshape(grid.shape) - 0.75
    noise = rng.uniform(0.3, 1.2) * gaussian_filter(rng.normal(size=grid.shape), rng.uniform(0.8, 1.4))
    field = solid((ball + noise).astype(np.float32))
    vertices, faces = zero_surface(field, grid)
    small, kept = simplified(vertices, faces, len(faces) // 6)
    assert defects(kept) == 0
    unique, _ = edges(kept)
    assert 2 * len(unique) == 3 * len(kept)
    a, b, c = small[kept].transpose(1, 0, 2).astype(np.float64)
    assert (np.linalg.norm(np.cross(b - a, c - a), axis=1) > 0).all()
    assert len(np.unique(small, axis=0)) == len(small)
    assert volume(small, kept) == pytest.approx(volume(vertices, faces), rel=0.02)


def test_a_field_that_is_inside_at_the_border_still_closes() -> None:
    grid = Grid((0.0, 0.0, 0.0), 1.0, (4, 4, 4))
    vertices, faces = zero_surface(np.full(grid.shape, -1, np.float32), grid)
    assert defects(faces) == 0
    assert vertices.min() == pytest.approx(-0.5)
    assert vertices.max() == pytest.approx(3.5)

"""Meshes and fields, checked on spheres."""

from __future__ import annotations

import numpy as np
import pytest

from workers.geometry.grid import Grid, solid, zero_surface
from workers.geometry.mesh import compacted, edges, harmonic_fill, icosphere, smoothed, vertex_normals, volume


def test_a_sphere_is_closed_and_looks_outwards() -> None:
    vertices, faces = icosphere(4)
    unique, _ = edges(faces)
    assert len(vertices) - len(unique) + len(faces) == 2
    assert volume(vertices, faces) == pytest.approx(4 / 3 * np.pi, rel=0.01)
    assert (vertex_normals(vertices, faces) * vertices).sum(1) == pytest.approx(1, abs=1e-3)


def test_smoothing_keeps_a_sphere_and_takes_off_noise() -> None:
    vertices, faces = icosphere(4)
    assert volume(smoothed(vertices, faces, 10), faces) == pytest.approx(volume(vertices, faces), rel=0.01)
    noise = np.random.default_rng(0).normal(0, 0.01, (len(vertices), 1)).astype(np.float32)
    rough = vertices * (1 + noise)
    radii = np.linalg.norm(smoothed(rough, faces, 5), axis=1)
    assert radii.std() < 0.5 * np.linalg.norm(rough, axis=1).std()


def test_harmonic_fill_is_linear_on_a_strip_and_keeps_what_is_known() -> None:
    index = np.arange(10)
    faces = np.stack([index[:-2], index[1:-1], index[2:]], axis=1).astype(np.int32)
    values = np.linspace(0, 9, 10, dtype=np.float32)[:, None]
    known = np.isin(index, [0, 1, 8, 9])
    filled = harmonic_fill(np.where(known[:, None], values, 0).astype(np.float32), known, faces)
    assert filled == pytest.approx(values, abs=0.01)


def test_compacting_drops_slivers_and_loose_vertices() -> None:
    vertices = np.arange(15, dtype=np.float32).reshape(5, 3)
    kept, faces = compacted(vertices, np.array([[0, 2, 4], [1, 1, 2]], np.int32))
    assert kept.tolist() == vertices[[0, 2, 4]].tolist()
    assert faces.tolist() == [[0, 1, 2]]


def test_the_zero_surface_of_a_distance_is_the_sphere_facing_out() -> None:
    grid = Grid.around(np.full(3, -1.0), np.full(3, 1.0), 50)
    points = grid.points(np.ones(grid.shape, bool))
    field = (np.linalg.norm(points, axis=1) - 0.8).reshape(grid.shape).astype(np.float32)
    vertices, faces = zero_surface(field, grid)
    assert np.linalg.norm(vertices, axis=1) == pytest.approx(0.8, abs=2e-3)
    assert volume(vertices, faces) == pytest.approx(4 / 3 * np.pi * 0.8**3, rel=0.01)


def test_solid_fills_bubbles_and_drops_crumbs() -> None:
    grid = Grid.around(np.full(3, -1.0), np.full(3, 1.0), 50)
    points = grid.points(np.ones(grid.shape, bool))
    ball = np.linalg.norm(points, axis=1) - 0.6
    bubble = 0.3 - np.linalg.norm(points, axis=1)
    crumb = np.linalg.norm(points - 0.8, axis=1) - 0.1
    field = np.minimum(np.maximum(ball, bubble), crumb).reshape(grid.shape).astype(np.float32)
    assert np.array_equal(solid(field) < 0, (ball < 0).reshape(grid.shape))

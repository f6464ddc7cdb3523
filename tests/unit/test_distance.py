"""Signed distance to meshes of solids whose distance is a formula, and to others by brute force."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from workers.geometry.distance import inside, signed_distance
from workers.geometry.errors import NumericError
from workers.geometry.mesh import icosphere

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Surface = tuple[Array, Index]

HALF = np.array([1.0, 0.5, 0.25])  # of the box's sides
RNG = np.random.default_rng


def box() -> Surface:
    mesh = trimesh.creation.box(2 * HALF)
    return np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)


def to_box(points: Array) -> Array:
    out = np.abs(points) - HALF
    distance: Array = np.linalg.norm(np.maximum(out, 0), axis=1) + np.minimum(out.max(1), 0)
    return distance


def torus(radius: float, thickness: float, count: int = 96) -> Surface:
    """About z; each vertex on the torus."""
    i, j = np.mgrid[:count, :count]
    a, b = 2 * np.pi * i / count, 2 * np.pi * j / count
    away = radius + thickness * np.cos(b)
    vertices = np.stack([away * np.cos(a), away * np.sin(a), thickness * np.sin(b)], axis=2).reshape(-1, 3)
    k, l = (i + 1) % count, (j + 1) % count
    ring = [part.ravel() for part in (i * count + j, k * count + j, k * count + l, i * count + l)]
    return vertices, np.concatenate([np.stack([ring[n] for n in t], 1) for t in ((0, 1, 2), (0, 2, 3))])


def splintered(vertices: Array, faces: Index, along: float, off: float, rounds: int = 3) -> Surface:
    """The same surface with slivers: each triangle split at a point so far along a side and so far off it.
    One of the three has no area for an `off` of 0, and two where the point is a corner.
    """
    for _ in range(rounds):
        a, b, c = faces.T
        place = vertices[a] + along * (vertices[b] - vertices[a])
        new = len(vertices) + np.arange(len(faces))
        vertices = np.concatenate([vertices, place + off * (vertices[c] - place)])
        faces = np.concatenate([np.stack(t, 1) for t in ((b, c, new), (c, a, new), (a, b, new))])
    return vertices, faces


def brute_force(points: Array, vertices: Array, faces: Index) -> tuple[Array, Array]:
    """(P,) distance to, and generalized winding number of (Van Oosterom and Strackee 1983), all triangles."""
    corner = vertices[faces]
    pairs = np.repeat(points, len(faces), axis=0)
    tiled = np.tile(corner, (len(points), 1, 1))
    nearest = trimesh.triangles.closest_point(tiled, pairs)  # type: ignore[no-untyped-call]
    distance = np.linalg.norm(nearest - pairs, axis=1).reshape(len(points), -1).min(1)
    a, b, c = (corner[None, :, k] - points[:, None] for k in range(3))
    x, y, z = (np.linalg.norm(part, axis=2) for part in (a, b, c))
    volume = np.einsum("pfi,pfi->pf", a, np.cross(b, c))
    cosines = x * y * z + (a * b).sum(2) * z + (b * c).sum(2) * x + (c * a).sum(2) * y
    return distance, np.arctan2(volume, cosines).sum(1) / (2 * np.pi)


def test_sphere() -> None:
    """The mesh lies between the unit sphere and the one that its faces touch from outside."""
    vertices, faces = icosphere(3)
    a, b, c = vertices[faces].astype(np.float64).transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    sagitta = 1 - float(((a * normal).sum(1) / np.linalg.norm(normal, axis=1)).min())
    points = RNG(0).uniform(-1.3, 1.3, (4000, 3))
    more = signed_distance(points, vertices, faces) - (np.linalg.norm(points, axis=1) - 1)
    assert sagitta < 0.01
    assert -1e-6 < more.min() <= more.max() < sagitta + 1e-6
    assert more.max() > sagitta / 2


def test_box_in_all_its_regions() -> None:
    """Faces, edges, corners and inside, and where rays run along walls and edges and through corners."""
    steps = np.array([-1.5, -1, -0.6, -0.5, -0.25, -0.1, 0, 0.1, 0.25, 0.5, 0.6, 1, 1.5])
    aligned = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    points = np.concatenate([aligned, RNG(0).uniform(-1.5, 1.5, (4000, 3))])
    true = to_box(points)
    found = signed_distance(points, *box())
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.abs(found), np.abs(true), atol=1e-7)
    off = true != 0
    np.testing.assert_array_equal(found[off] < 0, true[off] < 0)
    assert 100 < (true < 0).sum() < len(true) - 100
    assert (~off).sum() > 100


@pytest.mark.parametrize(("along", "off"), [(0.5, 0), (0.5, 1e-15), (0.3, 1e-9), (0.5, 1e-4), (0, 0)])
def test_slivers_change_nothing(along: float, off: float) -> None:
    turn = trimesh.transformations.random_rotation_matrix(RNG(5).random(3))[:3, :3]
    vertices, faces = splintered(*box(), along, off)
    assert len(faces) == 12 * 27
    points = RNG(1).uniform(-1.3, 1.3, (5000, 3))
    points[:2000] = RNG(2).uniform(-1, 1, (2000, 3)) * HALF * (1 + 1e-5)  # some of them close to the surface
    for k in range(3):
        points[300 * k : 300 * k + 300, k] = HALF[k] + RNG(k).uniform(-1e-5, 1e-5, 300)
    true = to_box(points)
    for m in (np.eye(3), turn):
        np.testing.assert_allclose(signed_distance(points @ m.T, vertices @ m.T, faces), true, atol=1e-7)
        off_surface = np.abs(true) > 1e-9
        found = inside(points @ m.T, vertices @ m.T, faces)
        np.testing.assert_array_equal(found[off_surface], true[off_surface] < 0)


def test_rays_through_edges_and_corners() -> None:
    """Points straight below places on the edges of a ball, their x rounded as from either end."""
    vertices, faces = icosphere(3)
    vertices = vertices.astype(np.float64)
    a, b = vertices[faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)].transpose(1, 0, 2)
    points = []
    for share in (0, 0.1, 0.37, 0.5):
        y = a[:, 1] + share * (b[:, 1] - a[:, 1])
        with np.errstate(invalid="ignore"):
            x = a[:, 0] + (y - a[:, 1]) / (b[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0])
        points.append(np.stack([x, y, np.full(len(y), -2)], axis=1))
    under = np.concatenate(points)
    under = under[np.isfinite(under).all(1)]
    assert len(under) > 14_000
    assert not inside(under, vertices, faces).any()


def test_torus_has_a_hole() -> None:
    vertices, faces = torus(1.0, 0.4)
    points = RNG(0).uniform(-1.5, 1.5, (4000, 3)) * [1, 1, 0.4]
    points[:2] = [[0, 0, 0], [1, 0, 0]]
    true = np.hypot(np.hypot(points[:, 0], points[:, 1]) - 1, points[:, 2]) - 0.4
    found = signed_distance(points, vertices, faces)
    assert np.abs(found - true).max() < 2e-3  # 1.4 (1 - cos(pi / 96)) and 0.4 of it: the sagittas
    assert found[0] == pytest.approx(0.6, abs=2e-3)
    assert found[1] == pytest.approx(-0.4, abs=2e-3)


def test_a_hollow_is_outside_and_an_overlap_inside() -> None:
    vertices, faces = icosphere(2)
    both, count = np.concatenate([vertices, vertices / 2]), len(vertices)
    points = np.array([[0.0, 0, 0], [0.7, 0, 0], [1.3, 0, 0]])
    hollow = np.concatenate([faces, count + faces[:, ::-1]])
    assert inside(points, both, hollow).tolist() == [False, True, False]
    assert signed_distance(points, both, hollow)[0] == pytest.approx(0.5, abs=0.02)
    assert inside(points, both, np.concatenate([faces, count + faces])).tolist() == [True, True, False]
    assert inside(points, vertices, faces[:, ::-1]).tolist() == [True, True, False]


def jagged(rng: np.random.Generator) -> Surface:
    vertices, faces = icosphere(2)
    away = rng.uniform(0.3, 1, (len(vertices), 1)) * rng.uniform(0.1, 1, 3)
    return vertices * away, faces.astype(np.int64)


def crumpled(rng: np.random.Generator) -> Surface:
    """Its parts run through each other, and it lies inside out in places."""
    vertices, faces = icosphere(1)
    return vertices + rng.normal(0, 0.4, vertices.shape), faces.astype(np.int64)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("made", [jagged, crumpled])
def test_as_brute_force_has_it(made: Callable[[np.random.Generator], Surface], seed: int) -> None:
    vertices, faces = made(RNG(seed))
    points = RNG(seed + 10).uniform(-1, 1, (300, 3)) * np.abs(vertices).max(0)
    distance, winding = brute_force(points, vertices, faces)
    assert np.abs(winding - np.round(winding)).max() < 1e-6
    true = np.where(np.round(winding) != 0, -distance, distance)
    assert 10 < (true < 0).sum() < 290
    np.testing.assert_allclose(signed_distance(points, vertices, faces), true, atol=1e-6)


def test_each_size_of_tree() -> None:
    """Copies side by side, up to many more triangles than a leaf holds."""
    vertices, faces = box()
    for count in (1, 2, 3, 5, 8, 13):
        shifts = np.arange(count)[:, None, None] * np.array([0, 0, 1.0])
        many = (vertices + shifts).reshape(-1, 3)
        each = (faces + len(vertices) * np.arange(count)[:, None, None]).reshape(-1, 3)
        points = RNG(count).uniform([-2, -2, -1], [2, 2, count], (500, 3))
        true = np.min([to_box(points - shift[0]) for shift in shifts], axis=0)
        np.testing.assert_allclose(signed_distance(points, many, each), true, atol=1e-6)


def test_a_seam_is_closed_and_a_gap_is_not() -> None:
    vertices, faces = box()
    apart = vertices[faces].reshape(-1, 3), np.arange(36).reshape(-1, 3)  # no two triangles share an index
    points = RNG(0).uniform(-1.5, 1.5, (100, 3))
    np.testing.assert_array_equal(signed_distance(points, *apart), signed_distance(points, vertices, faces))
    turned = np.concatenate([faces[1:], faces[:1, ::-1]])
    for wrong in (faces[1:], turned, np.concatenate([faces, faces[:1]])):
        with pytest.raises(NumericError, match="not closed"):
            signed_distance(points, vertices, wrong)


def test_what_is_no_mesh() -> None:
    vertices, faces = box()
    points = np.zeros((1, 3))
    with pytest.raises(NumericError, match="no faces"):
        signed_distance(points, vertices, faces[:0])
    with pytest.raises(NumericError, match="not finite"):
        inside(points, np.where(vertices > 0, np.nan, vertices), faces)
    assert signed_distance(points[:0], vertices, faces).shape == (0,)


def test_ten_thousand_points_and_five_thousand_triangles_are_quick() -> None:
    """0.04 CPU seconds where it was written; every triangle for every point would take 2."""
    vertices, faces = icosphere(4)
    points = RNG(0).uniform(-1, 1, (10_000, 3))
    taken = []
    for _ in range(4):
        start = time.process_time()
        signed_distance(points, vertices, faces)
        taken.append(time.process_time() - start)
    assert min(taken) < 0.2

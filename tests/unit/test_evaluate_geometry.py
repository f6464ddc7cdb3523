"""Distances between surfaces whose distance is a formula, and visibility against another ray caster."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from tests.unit import scenes
from workers.evaluate.geometry import compare_geometry
from workers.evaluate.mesh import Mesh
from workers.evaluate.visibility import visible
from workers.geometry.cameras import Cameras
from workers.geometry.mesh import icosphere, vertex_normals

SAMPLES = 60_000
DIAGONAL = 2 * 3**0.5  # of the unit sphere's box
SPHERE, FACES = icosphere(5)


def mesh_of(vertices: NDArray[np.floating], faces: NDArray[np.int32]) -> Mesh:
    vertices = vertices.astype(np.float32)
    uv, white = np.zeros((len(vertices), 2), np.float32), np.full((1, 1, 3), 255, np.uint8)
    return Mesh(vertices, faces, vertex_normals(vertices, faces), uv, white)


def square(height: float) -> Mesh:
    corners = np.array([[0, 0, height], [1, 0, height], [1, 1, height], [0, 1, height]])
    return mesh_of(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32))


def cameras(count: int = 12) -> Cameras:
    """Around the origin, with all of the unit sphere in sight."""
    return scenes.scene(scenes.ball, count=count, size=160).cameras


def test_a_surface_is_perfect_against_itself_and_always_the_same() -> None:
    ball = mesh_of(SPHERE, FACES)
    figures = compare_geometry(ball, ball, samples=SAMPLES)
    assert figures["f_score_1"] == 1
    assert figures["f_score_05"] == pytest.approx(1, abs=0.02)  # but for the distance between samples
    assert figures["chamfer"] < 0.25
    assert figures["normal_consistency"] > 0.999
    assert figures == compare_geometry(ball, ball, samples=SAMPLES)


def test_a_shifted_sphere() -> None:
    """Points at height z of a sphere shifted by d along z are |d z| away, z uniform in [-1, 1]."""
    shift = 0.1
    figures = compare_geometry(
        mesh_of(SPHERE + np.array([0, 0, shift]), FACES), mesh_of(SPHERE, FACES), samples=SAMPLES
    )
    assert figures["diagonal"] == pytest.approx(DIAGONAL, rel=1e-3)
    assert figures["chamfer"] == pytest.approx(100 * shift / 2 / DIAGONAL, rel=0.03)
    for name in ("precision_1", "recall_1", "f_score_1"):
        assert figures[name] == pytest.approx(0.01 * DIAGONAL / shift, abs=0.015)


def test_a_plane_above_a_plane() -> None:
    """Each point is the offset away."""
    for percent, scores in ((0.3, (1, 1)), (0.8, (1, 0)), (1.2, (0, 0))):
        figures = compare_geometry(square(percent / 100 * 2**0.5), square(0), samples=SAMPLES)
        assert figures["accuracy"] == pytest.approx(percent, abs=0.05)
        assert figures["completeness"] == pytest.approx(percent, abs=0.05)
        assert (figures["f_score_1"], figures["f_score_05"]) == pytest.approx(scores, abs=0.01)
        assert figures["normal_consistency"] == pytest.approx(1)


def test_half_of_the_surface_is_missing() -> None:
    """All that was found is right; of the missing half a rim 1 % wide counts as found."""
    upper = FACES[(SPHERE[FACES][..., 2] >= -1e-6).all(1)]
    figures = compare_geometry(mesh_of(SPHERE, upper), mesh_of(SPHERE, FACES), samples=SAMPLES)
    rim = 2 * np.arcsin(0.01 * DIAGONAL / 2)
    recall = 0.5 + np.sin(rim) / 2
    assert figures["precision_1"] == 1
    assert figures["recall_1"] == pytest.approx(recall, abs=0.006)
    assert figures["f_score_1"] == pytest.approx(2 * recall / (1 + recall), abs=0.006)


def test_what_no_camera_sees_does_not_count_in_vis() -> None:
    """A ball of half the radius within the true one: a fifth of all surface, never seen."""
    hollow = mesh_of(np.concatenate([SPHERE, SPHERE / 2]), np.concatenate([FACES, FACES + len(SPHERE)]))
    figures = compare_geometry(mesh_of(SPHERE, FACES), hollow, [cameras()], SAMPLES)
    assert figures["visible"] == pytest.approx(0.8, abs=0.005)
    assert figures["recall_1"] == pytest.approx(0.8, abs=0.005)
    assert figures["recall_1_vis"] == figures["f_score_1_vis"] == 1
    assert figures["completeness_vis"] < 0.25 < 3 < figures["completeness"]


def test_one_camera_sees_its_cap_of_a_sphere() -> None:
    """From distance r the points with cos > 1 / r."""
    one = cameras().select([0])
    towards = one.centres[0] / np.linalg.norm(one.centres[0])
    cosine = SPHERE @ towards
    edge = 1 / np.linalg.norm(one.centres[0])
    seen = visible(SPHERE.astype(np.float64), SPHERE.astype(np.float64), FACES, [one], 1e-3 * DIAGONAL)
    clear = np.abs(cosine - edge) > 0.05
    assert (seen == (cosine > edge))[clear].all()


def test_outside_the_image_nothing_is_seen() -> None:
    """Of the two halves of an image each sees its own side."""
    one = cameras().select([0])
    half = one.width // 2
    left = Cameras(one.names, one.intrinsics, half, one.height, one.c2w)
    right = Cameras(one.names, one.intrinsics - [[0, 0, half, 0]], half, one.height, one.c2w)
    sphere = SPHERE.astype(np.float64)
    u, _, w = one.projection()[0] @ np.c_[sphere, np.ones(len(sphere))].T
    clear = np.abs(u / w - half) > 1e-6
    seen = visible(sphere, sphere, FACES, [one], 1e-3)
    for camera, side in ((left, u / w < half), (right, u / w > half)):
        assert (visible(sphere, sphere, FACES, [camera], 1e-3) == (seen & side))[clear].all()
        assert (seen & side).sum() > 1000


def test_visibility_agrees_with_embree() -> None:
    """A knobbly ball that hides much of itself, from cameras all around."""

    def knobbly(directions: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(1 + 0.3 * np.sin(7 * directions).prod(1), np.float32)

    directions, faces = icosphere(4)
    vertices = (directions * knobbly(directions)[:, None]).astype(np.float64)
    points = vertices[faces].mean(1)
    solid = trimesh.Trimesh(vertices, faces, process=False)
    tolerance = 1e-3
    for i in range(6):
        one = cameras().select([i])
        way = points - one.centres[0]
        length = np.linalg.norm(way, axis=1)
        starts = np.broadcast_to(one.centres[0], points.shape)
        hits, ray, _ = solid.ray.intersects_location(starts, way / length[:, None], multiple_hits=False)
        first = np.full(len(points), np.inf)
        first[ray] = np.linalg.norm(hits - one.centres[0], axis=1)
        expected = first >= length - tolerance
        assert (visible(points, vertices, faces, [one], tolerance) == expected).mean() > 0.9995
        assert 0.1 < expected.mean() < 0.6

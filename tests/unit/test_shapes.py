"""Metrics between two shapes where they are formulas."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from workers.evaluate.keyviews import depth_pictures, key_view_similarity, key_views
from workers.evaluate.shapes import (
    chamfer_l1,
    compare_shapes,
    draw,
    edge_chamfer,
    edge_points,
    iou,
    volume_iou,
)
from workers.geometry.errors import NumericError
from workers.geometry.mesh import icosphere

Array = NDArray[np.float64]
Surface = tuple[NDArray[np.floating], NDArray[np.integer]]

BALL = icosphere(5)
X = np.array([1.0, 0, 0])


def box(*sides: float) -> Surface:
    mesh = trimesh.creation.box(sides)
    return np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)


def shifted(surface: Surface, by: Array) -> Surface:
    return surface[0] + by, surface[1]


CUBE = box(1, 1, 1)


def test_iou_of_points() -> None:
    a, b = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert iou(a, b) == pytest.approx(1 / 3)
    assert iou(a, a) == 1
    assert iou(a, ~a) == 0
    assert iou(a & ~a, a & ~a) == 1


@pytest.mark.parametrize("distance", [0.1, 0.5, 1.5, 2.1])
def test_iou_of_two_unit_spheres(distance: float) -> None:
    lens = np.pi * (4 + distance) * (2 - distance) ** 2 / 12 if distance < 2 else 0.0
    true = lens / (8 * np.pi / 3 - lens)
    found = volume_iou(shifted(BALL, distance * X), BALL)
    assert found == pytest.approx(true, abs=4 * (true * (1 - true) / 50_000) ** 0.5 + 1e-3)
    assert found == volume_iou(shifted(BALL, distance * X), BALL)


def test_iou_needs_a_closed_surface() -> None:
    with pytest.raises(NumericError, match="not closed"):
        volume_iou((CUBE[0], CUBE[1][1:]), CUBE)


def test_chamfer_of_concentric_spheres() -> None:
    """Radii 1 and 0.9: 0.1 apart everywhere, half a tenth of the diameter."""
    ours, truth = draw((0.9 * BALL[0], BALL[1]), 40_000, 1), draw(BALL, 40_000, 0)
    assert chamfer_l1(ours.points, truth.points) == pytest.approx(0.1 / 0.2, rel=0.01)
    assert chamfer_l1(truth.points, ours.points) == pytest.approx(0.1 / 0.18, rel=0.01)  # the other's unit


def test_chamfer_is_the_mean_of_both_ways() -> None:
    found, true = np.array([[0.0, 0, 0], [2, 0, 0], [0, 3, 0]]), np.array([[0.0, 0, 0], [2, 0, 0]])
    assert chamfer_l1(found, true) == pytest.approx((1 + 0) / 2 / 0.2)


def test_edge_points_of_a_box() -> None:
    """All are within epsilon of an edge, and all edges are among them."""
    half = np.array([0.5, 0.4, 0.3])
    found = edge_points(draw(box(*(2 * half))), 1.0)
    out = np.sort(half - np.abs(found), axis=1)
    assert out[:, 1].max() < 0.01  # on one face, and so far from the next
    assert len(found) > 1000
    along = np.argmax(half - np.abs(found), axis=1)
    for k in range(3):
        for place in np.linspace(-0.95, 0.95, 7) * half[k]:
            near = (along == k) & (np.abs(found[:, k] - place) < 0.03)
            corners = {tuple(side) for side in np.delete(found[near] > 0, k, axis=1).tolist()}
            assert len(corners) == 4


def test_only_edges_near_a_right_angle_count() -> None:
    """Of a hexagonal prism those around its ends, not the six between its sides."""
    prism = trimesh.creation.cylinder(0.5, 1.0, sections=6)
    found = edge_points(draw((np.asarray(prism.vertices), np.asarray(prism.faces))), 1.0)
    assert len(found) > 500
    assert (0.5 - np.abs(found[:, 2])).max() < 0.01


def test_edges_scale_with_the_shape() -> None:
    drawn = draw(CUBE)
    large = draw(shifted((100 * CUBE[0], CUBE[1]), 5 * X))
    assert len(edge_points(large, 100.0)) == pytest.approx(len(edge_points(drawn, 1.0)), abs=5)
    other, far = draw(shifted(CUBE, 0.1 * X), seed=1), draw(shifted((100 * CUBE[0], CUBE[1]), 15 * X), seed=1)
    assert edge_chamfer(far, large) == pytest.approx(edge_chamfer(other, drawn), rel=0.01)


def test_edge_chamfer_of_a_shifted_cube() -> None:
    """Of twelve unit edges the eight across the shift are t from their likes; the four of these between the
    other's ends are less within t of an end, where they touch another edge: t^2 - 4 t^3 / 3 on average. Of
    the four along it t sticks out: t^3 / 3.
    """
    t = 0.2
    one_way = (4 * t**2 + 4 * (t**2 - 4 * t**3 / 3) + 4 * t**3 / 3) / 12
    truth = draw(CUBE)
    assert edge_chamfer(draw(shifted(CUBE, t * X), seed=1), truth) == pytest.approx(2 * one_way, rel=0.05)
    same = edge_chamfer(draw(CUBE, seed=1), truth)
    assert same is not None
    assert same < 2e-4  # but for the distance between points


def test_what_has_no_edges_has_no_edge_chamfer() -> None:
    cube, ball = draw(CUBE), draw((BALL[0] / 2, BALL[1]))
    assert len(edge_points(ball, 1.0)) == 0
    assert edge_chamfer(ball, cube) is None
    assert edge_chamfer(cube, ball) is None


def test_all_at_once() -> None:
    figures = compare_shapes(shifted(CUBE, 0.2 * X), CUBE, 30_000)
    assert figures["iou"] == pytest.approx(0.8 / 1.2, abs=0.01)
    assert figures["edge_chamfer"] == pytest.approx(0.048, rel=0.1)  # as above
    assert figures == compare_shapes(shifted(CUBE, 0.2 * X), CUBE, 30_000)
    assert compare_shapes(BALL, CUBE, 30_000)["edge_chamfer"] is None


def test_key_views_look_from_a_dodecahedron() -> None:
    views = key_views()
    np.testing.assert_allclose(views @ views.transpose(0, 2, 1), np.tile(np.eye(3), (20, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(views), 1)
    cosines = np.sort(views[:, 2] @ views[:, 2].T, axis=1)
    np.testing.assert_allclose(cosines[:, -4:-1], 5**0.5 / 3)  # each corner has three neighbours


def test_depth_of_a_ball() -> None:
    """Radius 1 seen in a ball of 2: discs half a picture wide, whose nearest point is three quarters near."""
    pictures = depth_pictures(BALL, np.zeros(3), 2.0)
    assert pictures.shape == (20, 128, 128)
    assert pictures.max() == pytest.approx(0.75, abs=1e-3)
    np.testing.assert_allclose((pictures > 0).mean((1, 2)), np.pi / 16, rtol=0.02)
    row, column = np.mgrid[:128, :128]
    squared = ((column + 0.5) / 32 - 2) ** 2 + ((row + 0.5) / 32 - 2) ** 2
    well = squared < 0.9
    np.testing.assert_allclose(
        pictures[:, well], np.tile(0.5 + np.sqrt(1 - squared[well]) / 4, (20, 1)), atol=2e-3
    )


def test_pictures_are_the_right_way_round() -> None:
    """A bead 1 towards the camera, 1 to its right and 0.5 down from the middle of a ball of 2."""
    for i, view in enumerate(key_views()):
        bead = 0.1 * BALL[0] + np.array([1, -0.5, 1]) @ view, BALL[1]
        picture = depth_pictures(bead, np.zeros(3), 2.0)[i]
        assert picture.max() == pytest.approx(0.5 + 1.1 / 4, abs=2e-3)
        row, column = np.argwhere(picture > 0).mean(0) + 0.5
        assert (row, column) == pytest.approx((64 + 16, 64 + 32), abs=0.5)


def test_key_view_similarity() -> None:
    """1 for the same surface however it is cut up; less the farther it is moved; the same both ways."""
    a, b, c = CUBE[1].T
    middle = len(CUBE[0]) + np.arange(len(CUBE[1]))
    finer = (
        np.concatenate([CUBE[0], CUBE[0][CUBE[1]].mean(1)]),
        np.concatenate([np.stack(t, 1) for t in ((a, b, middle), (b, c, middle), (c, a, middle))]),
    )
    assert key_view_similarity(CUBE, CUBE) == pytest.approx(1, abs=1e-6)
    assert key_view_similarity(finer, CUBE) == pytest.approx(1, abs=1e-3)
    shifts = [0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6]
    found = [key_view_similarity(shifted(CUBE, t * X), CUBE) for t in shifts]
    assert (np.diff(found) < -0.01).all()
    assert 0 <= found[-1] < 0.2
    for other in (shifted(CUBE, 0.2 * X), box(1, 0.5, 0.3), (BALL[0] / 2, BALL[1])):
        assert key_view_similarity(other, CUBE) == pytest.approx(key_view_similarity(CUBE, other), abs=1e-6)


def test_key_views_see_a_dent_that_outlines_do_not() -> None:
    """A block with a pit in its top has the outlines of one without."""
    mesh = trimesh.creation.box((1, 1, 0.5)).subdivide().subdivide().subdivide()
    whole = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)
    top = (np.abs(whole[0][:, :2]).max(1) < 0.3) & (whole[0][:, 2] > 0.2)
    found = [
        key_view_similarity((whole[0] - depth * top[:, None] * [0, 0, 1], whole[1]), whole)
        for depth in (0, 0.1, 0.3)
    ]
    assert found[0] == pytest.approx(1, abs=1e-6)
    assert found[0] - 0.005 > found[1] > found[2] + 0.01

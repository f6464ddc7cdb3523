"""Made-up industrial parts and their pictures."""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from workers.geometry.mesh import volume
from workers.simulate.parts.light import light
from workers.simulate.parts.part import FLATTEST, KINDS, STOUT, TRIANGLES, Part, part
from workers.simulate.parts.picture import FAR, Picture, pictures
from workers.simulate.parts.surface import surface

SEEDS = range(80)
SIZE = 96


@cache
def parts() -> tuple[Part, ...]:
    return tuple(part(seed) for seed in SEEDS)


@cache
def taken() -> tuple[tuple[Part, Picture], ...]:
    return tuple((one, shot) for k, one in enumerate(parts()[:12]) for shot in pictures(one, 3, k, SIZE))


def test_every_edge_lies_between_two_faces_that_run_along_it_in_opposite_ways() -> None:
    for seed, one in zip(SEEDS, parts(), strict=True):
        edges = one.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
        forward = Counter(map(tuple, edges.tolist()))
        assert max(forward.values()) == 1, seed
        assert set(forward) == {(b, a) for a, b in forward}, seed


def test_is_one_piece_that_looks_outwards() -> None:
    for seed, one in zip(SEEDS, parts(), strict=True):
        a, b = one.faces[:, [0, 1, 1, 2]].reshape(-1, 2).T
        count = len(one.vertices)
        pieces, _ = connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(count, count)))
        assert pieces == 1, seed
        assert len(np.unique(one.faces)) == count, seed
        low, high = one.vertices.min(axis=0), one.vertices.max(axis=0)
        assert 0.01 < volume(one.vertices, one.faces) / np.prod(high - low) <= 1 + 1e-5, seed


def test_lies_around_0_with_its_longest_side_1() -> None:
    for seed, one in zip(SEEDS, parts(), strict=True):
        low, high = one.vertices.min(axis=0), one.vertices.max(axis=0)
        assert (high - low).max() == pytest.approx(1, abs=1e-6), seed
        np.testing.assert_allclose(low + high, 0, atol=1e-6)
        assert 1 / (high - low).min() < KINDS[one.kind].flattest * 1.02, (seed, one.kind)
        assert one.vertices.dtype == np.float32
        assert one.faces.dtype == one.materials.dtype == np.int32


def test_has_no_more_triangles_than_are_allowed_and_few_materials() -> None:
    for seed, one in zip(SEEDS, parts(), strict=True):
        assert 4 <= len(one.faces) <= TRIANGLES, seed
        assert one.materials.shape == (len(one.faces),)
        assert np.array_equal(np.unique(one.materials), np.arange(len(one.palette)))
        assert 1 <= len(one.palette) <= 4
        for material in one.palette:
            assert all(0 <= value <= 1 for value in (*material.colour, *material[1:])), seed
    assert {len(one.palette) for one in parts()} >= {1, 2, 3}


def test_is_the_same_for_a_seed_and_no_other_for_another() -> None:
    for seed in range(0, len(SEEDS), 5):
        again, known = part(seed), parts()[seed]
        assert (again.kind, again.palette) == (known.kind, known.palette)
        for a, b in (
            (again.vertices, known.vertices),
            (again.faces, known.faces),
            (again.materials, known.materials),
        ):
            assert a.tobytes() == b.tobytes()
    assert len({one.vertices.tobytes() for one in parts()}) == len(SEEDS)


def test_all_kinds_appear_and_one_in_six_is_of_none() -> None:
    seen = Counter(one.kind for one in parts())
    seen.update(part(seed).kind for seed in range(1000, 1150))
    assert set(seen) == set(KINDS)
    assert len(KINDS) > 10
    assert 0.08 < seen["composed"] / seen.total() < 0.27
    assert {kind.flattest for kind in KINDS.values()} >= {STOUT, FLATTEST}


def test_edges_are_sharp_where_faces_bend_more_than_30_degrees() -> None:
    for one in parts()[:20]:
        drawn = surface(one.vertices, one.faces)
        np.testing.assert_allclose(np.linalg.norm(drawn.normals, axis=1), 1, atol=1e-5)
        np.testing.assert_array_equal(drawn.points[drawn.faces], one.vertices[one.faces])
    flat, rounded = _prism(6), _prism(24)
    assert len(surface(*flat).points) == 6 * 6  # its own normal for each of the three faces at a corner
    drawn = surface(*rounded)
    assert len(drawn.points) == 24 * 4  # the sides of a round bar share theirs
    out = drawn.normals[np.abs(drawn.normals[:, 2]) < 0.5]
    at = drawn.points[np.abs(drawn.normals[:, 2]) < 0.5]
    np.testing.assert_allclose(out[:, :2], at[:, :2], atol=0.07)


def test_the_picture_shows_the_part_where_its_camera_sees_it() -> None:
    for one, shot in taken():
        homogeneous = np.concatenate([one.vertices, np.ones((len(one.vertices), 1))], axis=1)
        u, v, w = shot.camera.projection()[0] @ homogeneous.T
        left, top, right, bottom = _box(shot.rgba[..., 3] > 0)
        found = np.array([left, top, right, bottom])
        np.testing.assert_allclose(
            found, [(u / w).min(), (v / w).min(), (u / w).max(), (v / w).max()], atol=1.01
        )


def test_the_rotation_alone_says_how_a_distant_part_is_seen() -> None:
    distant = [
        (one, shot) for one, shot in taken() if np.linalg.norm(shot.camera.centres[0]) == pytest.approx(FAR)
    ]
    assert distant
    for one, shot in distant:
        assert np.linalg.det(shot.rotation) == pytest.approx(1)
        x, y, _ = shot.rotation @ one.vertices.T
        left, top, right, bottom = _box(shot.rgba[..., 3] > 0)
        scale = (right - left) / np.ptp(x)
        assert (bottom - top) / np.ptp(y) == pytest.approx(scale, rel=0.06)
        # The same vertices are seen left, and at the top, as the rotation says.
        u, v, w = shot.camera.projection()[0] @ np.c_[one.vertices, np.ones(len(one.vertices))].T
        assert np.corrcoef(u / w, x)[0, 1] > 0.999
        assert np.corrcoef(v / w, y)[0, 1] < -0.999


def test_the_part_fills_the_picture_and_is_not_cut_off() -> None:
    filled = []
    for _, shot in taken():
        alpha = shot.rgba[..., 3]
        assert shot.rgba.shape == (SIZE, SIZE, 4)
        assert not np.concatenate([alpha[[0, -1]].ravel(), alpha[:, [0, -1]].ravel()]).any()
        left, top, right, bottom = _box(alpha > 0)
        filled.append(max(right - left, bottom - top) / SIZE)
        assert abs(left + right - SIZE) <= 2
        assert abs(top + bottom - SIZE) <= 2
        assert not shot.rgba[alpha == 0].any()
    assert 0.68 < min(filled) < 0.8
    assert 0.85 < max(filled) < 0.98


def test_the_camera_stands_as_a_photographer_would() -> None:
    backs = np.array([shot.rotation[2] for _, shot in taken()])
    high = np.degrees(np.arcsin(backs[:, 1]))
    assert -10.01 < high.min() < high.max() < 70.01
    assert ((high > 10) & (high < 45)).mean() > 0.6
    away = np.array([np.linalg.norm(shot.camera.centres[0]) for _, shot in taken()])
    assert (((away > 2.5) & (away < 8)) | np.isclose(away, FAR)).all()
    roll = np.degrees(
        np.arcsin(np.array([shot.rotation[0, 1] for _, shot in taken()]) / np.cos(np.radians(high)))
    )
    assert 3 < np.abs(roll).max() < 10.01
    assert len(np.unique(np.round(np.arctan2(backs[:, 0], backs[:, 2])))) > 4


def test_pictures_are_well_lit() -> None:
    grey = np.array([_colours(shot).mean() for _, shot in taken()])
    assert grey.min() > 20
    assert grey.max() < 235
    burnt = np.array([(_colours(shot).min(axis=1) == 255).mean() for _, shot in taken()])
    assert burnt.max() < 0.2
    assert np.mean([_colours(shot).std() for _, shot in taken()]) > 15


def test_pictures_are_the_same_for_a_seed_whatever_their_number() -> None:
    one = parts()[1]
    first, more = pictures(one, 1, 7, SIZE), pictures(one, 2, 7, SIZE)
    assert first[0].rgba.tobytes() == more[0].rgba.tobytes()
    assert np.array_equal(first[0].rotation, more[0].rotation)
    assert not np.array_equal(more[0].rotation, more[1].rotation)
    assert pictures(one, 1, 8, SIZE)[0].rgba.tobytes() != first[0].rgba.tobytes()


def test_colours_differ_with_the_light() -> None:
    shots = pictures(parts()[1], 6, 0, SIZE)
    tints = np.array([_colours(shot).mean(axis=0) for shot in shots])
    warm = tints[:, 0] / tints[:, 2]
    assert warm.max() / warm.min() > 1.1
    assert tints.mean(axis=1).std() > 5
    lights = [light(np.random.default_rng(seed), 0.0) for seed in range(4)]
    assert all(cube.min() > 0 for cube in lights)
    assert len({float(cube.max()) for cube in lights}) == 4


def test_faces_show_the_colour_of_their_material() -> None:
    one = next(p for p in parts() if len(p.palette) == 1)
    red, blue = (one.palette[0]._replace(colour=c, metalness=0.0) for c in ((0.8, 0.1, 0.1), (0.1, 0.1, 0.8)))
    side = (one.vertices[one.faces].mean(axis=1) @ pictures(one, 1, 3, SIZE)[0].rotation[0] > 0).astype(
        np.int32
    )
    painted = Part(one.kind, one.vertices, one.faces, side, (red, blue))
    shot = pictures(painted, 1, 3, SIZE)[0].rgba.astype(float)
    x = np.broadcast_to(np.arange(SIZE), (SIZE, SIZE))
    seen = shot[..., 3] == 255
    assert (shot[..., 0] > shot[..., 2])[seen & (x < 0.3 * SIZE)].mean() > 0.9
    assert (shot[..., 2] > shot[..., 0])[seen & (x > 0.7 * SIZE)].mean() > 0.9


def _colours(shot: Picture) -> NDArray[np.float64]:
    """(N,3) of what is seen."""
    return np.asarray(shot.rgba[shot.rgba[..., 3] == 255][:, :3], np.float64)


def _box(seen: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom edge."""
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _prism(sides: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """A regular one around z, of radius 1."""
    turn = 2 * np.pi * np.arange(sides) / sides
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    vertices = np.concatenate([np.c_[ring, -np.ones(sides)], np.c_[ring, np.ones(sides)]]).astype(np.float32)
    k = np.arange(sides)
    after = (k + 1) % sides
    fan = np.stack([np.zeros(sides - 2, int), k[1:-1], k[2:]], axis=1)
    sheet = np.concatenate(
        [np.stack([k, after, after + sides], 1), np.stack([k, after + sides, k + sides], 1)]
    )
    return vertices, np.concatenate([sheet, fan + sides, fan[:, ::-1]]).astype(np.int32)

"""What is measured of a mesh and its atlas, on meshes with one fault each."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.test_package_variants import seamed_ball
from workers.geometry.cameras import Cameras
from workers.package.hygiene import hygiene, padding
from workers.package.model import Model
from workers.package.seen import seen

BALL = seamed_ball(3)


def with_faces(faces: Any) -> dict[str, Any]:
    return hygiene(replace(BALL, faces=np.asarray(faces, np.int32)), 0.1)


def test_a_sound_model_has_no_fault() -> None:
    found = hygiene(BALL, 0.1)
    assert {name: found[name] for name in ("watertight", "consistent", "outwards", "uv_inside")} == {
        "watertight": True,
        "consistent": True,
        "outwards": True,
        "uv_inside": True,
    }
    faults = ("holes", "degenerate", "duplicate", "uv_overlap")
    assert [found[name] for name in faults] == [0, 0, 0, 0]
    assert (found["parts"], found["charts"], found["triangles"]) == (1, 2, 1280)
    assert found["litres"] == pytest.approx(1000 * 4 / 3 * np.pi * 0.1**3, rel=0.02)
    assert hygiene(BALL, None)["litres"] is None


def test_a_hole_is_found() -> None:
    found = with_faces(BALL.faces[1:])
    assert (found["watertight"], found["holes"], found["outwards"], found["litres"]) == (
        False,
        3,
        False,
        None,
    )


def test_a_face_turned_over_is_found() -> None:
    faces = BALL.faces.copy()
    faces[7] = faces[7, ::-1]
    found = with_faces(faces)
    assert (found["watertight"], found["consistent"]) == (True, False)


def test_a_model_inside_out_is_found() -> None:
    found = with_faces(BALL.faces[:, ::-1])
    assert (found["consistent"], found["outwards"]) == (True, False)


def test_faces_without_area_and_faces_twice_there_are_found() -> None:
    a, b = BALL.faces[0, :2]
    found = with_faces([*BALL.faces, [a, b, b], BALL.faces[5]])
    assert (found["degenerate"], found["duplicate"]) == (1, 1)
    assert not found["watertight"]


def test_a_floating_piece_is_found() -> None:
    count = len(BALL.vertices)
    apart = Model(
        np.concatenate([BALL.vertices, 0.1 * BALL.vertices + 3]),
        np.concatenate([BALL.normals, BALL.normals]),
        np.concatenate([BALL.uv, BALL.uv]),
        np.concatenate([BALL.faces, BALL.faces + count]),
        BALL.kd,
        BALL.ks,
        BALL.normal_map,
    )
    found = hygiene(apart, None)
    assert (found["parts"], found["watertight"]) == (2, True)
    assert found["uv_overlap"] > 0.9, "both pieces use the same part of the atlas"


def test_coordinates_beyond_the_border_are_found() -> None:
    assert not hygiene(replace(BALL, uv=BALL.uv + np.float32(0.2)), None)["uv_inside"]


def charts(*columns: tuple[int, int]) -> NDArray[np.int32]:
    covered = np.full((32, 32), -1, np.int32)
    for chart, (left, right) in enumerate(columns):
        covered[4:20, left:right] = chart
    return covered


@pytest.mark.parametrize("gap", [2, 5, 10])
def test_padding_is_half_the_gap_between_charts(gap: int) -> None:
    assert padding(charts((2, 8), (8 + gap, 20))) == pytest.approx((gap + 1) / 2)


def test_one_chart_alone_has_all_the_room() -> None:
    assert padding(charts((2, 8))) == 32


def test_only_what_a_photo_shows_counts_as_seen() -> None:
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[:, 2, 3] = 6  # both from +z
    cameras = Cameras(("a", "b"), np.array([[200.0, 200, 64, 64]] * 2), 128, 128, poses)
    found = seen(BALL, cameras)
    sphere_cap = (1 - 1 / 6) / 2  # of a sphere's area, from 6 radii away
    assert found.share == pytest.approx(sphere_cap, abs=0.04)
    assert found.cover.sum() == pytest.approx(2 * np.pi * (200 / np.sqrt(35)) ** 2, rel=0.05)

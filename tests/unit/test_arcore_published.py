"""The published compensation, step by step and by hand."""

import numpy as np
import pytest

from workers.geometry.cameras import from_llff
from workers.prepare.readers.arcore.anchors import Anchors
from workers.prepare.readers.arcore.published import (
    compensation_matrix,
    deltas,
    mean_delta,
    published,
    rotational_fix,
)

NONE = [0.0, 0, 0, 1]
YAW = [0, np.sqrt(0.5), 0, np.sqrt(0.5)]  # a quarter turn about y: z to x, x to -z


def anchors(
    initial: list[list[float]], current: list[list[list[float]]], tracked: list[list[bool]]
) -> Anchors:
    names = tuple(f"anchor-{j}" for j in range(len(initial)))
    created = np.zeros(len(initial), np.int64)
    return Anchors(names, np.array(initial), np.array(current), np.array(tracked), created)


def test_a_delta_leads_from_the_current_pose_back_to_the_initial_one() -> None:
    shifts, turns = deltas(np.array([[1.0, 2, 3, *YAW]]), np.array([[0.5, 2, 4, *NONE]]))
    assert shifts[0] == pytest.approx([0.5, 0, -1])
    assert turns[0] == pytest.approx(YAW)


def test_the_mean_delta_brings_quaternions_to_one_sign() -> None:
    shift, turn = mean_delta(np.array([[1.0, 0, 0], [0, 3, 0]]), np.array([YAW, -np.array(YAW)]))
    assert shift == pytest.approx([0.5, 1.5, 0])
    assert turn == pytest.approx(YAW)


def test_a_world_that_moved_is_moved_back_and_one_that_turned_turns_the_camera_in_its_place() -> None:
    camera = np.eye(4)
    camera[:3, 3] = [5, 6, 7]
    was = [[0.0, 0, 0, *NONE]]
    moved = published(camera[None], anchors(was, [[[1, 2, 3, *NONE]]], [[True]]))
    assert moved[0, :3, 3] == pytest.approx([4, 4, 4])
    assert moved[0, :3, :3] == pytest.approx(np.eye(3))
    back = [0, -YAW[1], 0, YAW[3]]
    turned = published(camera[None], anchors(was, [[[0, 0, 0, *back]]], [[True]]))
    assert turned[0, :3, 3] == pytest.approx([5, 6, 7])
    assert turned[0, :3, 0] == pytest.approx([0, 0, -1])


def test_only_anchors_that_track_now_and_did_when_created_count() -> None:
    cameras = np.tile(np.eye(4), (3, 1, 1))
    was = [[0.0, 0, 0, *NONE]] * 2
    now = [[[float(k), 0, 0, *NONE], [100.0 * k, 0, 0, *NONE]] for k in range(3)]
    tracked = [[True, False], [True, True], [False, True]]
    result = published(cameras, anchors(was, now, tracked))
    assert result[:, 0, 3] == pytest.approx([0, -1, 0])


def test_the_rotational_fix_gives_down_right_backwards_and_place() -> None:
    pose = np.eye(4)
    pose[:3] = [[0, 0, 1, 7], [1, 0, 0, 8], [0, 1, 0, 9]]  # right is y, up is z, backwards is x
    assert (
        pytest.approx(np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0], [7, 8, 9]]))
        == rotational_fix(pose[None])[0].T
    )


def test_the_matrix_has_seventeen_columns_that_llff_readers_know() -> None:
    pose = np.eye(4)
    pose[:3] = [[0, 0, 1, 7], [1, 0, 0, 8], [0, 1, 0, 9]]
    rows = compensation_matrix(
        np.array([pose, np.eye(4)]), [[1080, 1920], [640, 480]], [900, 500], 0.3, [2, 3]
    )
    assert rows.shape == (2, 17)
    assert rows[0] == pytest.approx([0, 0, 1, 7, 1920, 0, 1, 0, 8, 1080, -1, 0, 0, 9, 900, 0.3, 2])
    c2w, height, width, focal, near, far = from_llff(rows)
    assert c2w == pytest.approx(np.array([pose, np.eye(4)]))
    assert (height[1], width[1], focal[1], near[1], far[1]) == (480, 640, 500, 0.3, 3)

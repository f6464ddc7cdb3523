"""Pose compensation as it was published, step by step; kept for comparison with `compensation`, which is what
the pipeline uses.

The mean of the anchors' deltas is taken of positions apart from rotations, so the turn of the world about the
anchors is missing from the camera's place; and anchors created late are taken as if the world had not moved
before.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workers.geometry.rotations import conjugate, from_matrix, product, to_matrix
from workers.prepare.readers.arcore.anchors import Anchors

Array = NDArray[np.float64]


def published(cameras: Array, anchors: Anchors) -> Array:
    """(N, 4, 4) compensated camera-to-world of cameras (N, 4, 4), both OpenGL; as it is where no anchor is
    valid.
    """
    result = cameras.copy()
    for frame, valid in enumerate(anchors.valid):
        if valid.any():
            shift, turn = mean_delta(*deltas(anchors.initial[valid], anchors.current[frame, valid]))
            rotation = product(turn, from_matrix(cameras[frame, :3, :3]))
            result[frame, :3, :3] = to_matrix(rotation)
            result[frame, :3, 3] += shift
    return result


def deltas(initial: Array, current: Array) -> tuple[Array, Array]:
    """For M anchors (M, 7): the shifts (M, 3) and turns (M, 4) from the current poses back to the initial
    ones.
    """
    return initial[:, :3] - current[:, :3], product(initial[:, 3:], conjugate(current[:, 3:]))


def mean_delta(shifts: Array, turns: Array) -> tuple[Array, Array]:
    """(3,) and (4,): component by component; quaternions brought to the sign of the first, their mean to unit
    length.
    """
    aligned = np.where((turns @ turns[0] < 0)[:, None], -turns, turns)
    turn = aligned.mean(axis=0)
    return shifts.mean(axis=0), turn / np.linalg.norm(turn)


def rotational_fix(poses: Array) -> Array:
    """(N, 3, 4) of OpenGL camera-to-world (N, 3 or 4, 4): LLFF's columns [down, right, backwards, place] in
    the place of [right, up, backwards, place].
    """
    right, up, back, place = np.moveaxis(poses[:, :3], 2, 0)
    return np.stack([-up, right, back, place], axis=2)


def compensation_matrix(
    poses: Array, size: ArrayLike, focal: ArrayLike, near: ArrayLike, far: ArrayLike
) -> Array:
    """(N, 17), a row for each pose (N, 4, 4), OpenGL camera-to-world.

    Columns 0 to 14 are a row-major 3x5: down, right and backwards of the camera in the world, its place, and
    height, width and focal length (fx) in pixels of the image as stored; `size` is (N, 2) width and height.
    Columns 15 and 16 are the nearest and the farthest depth of the scene. World units are metres.
    """
    width, height = np.broadcast_to(size, (len(poses), 2)).T
    column = np.stack([height, width, np.broadcast_to(focal, len(poses))], axis=1)
    rows = np.concatenate([rotational_fix(poses), column[:, :, None]], axis=2).reshape(len(poses), 15)
    depth = np.stack(np.broadcast_arrays(np.zeros(len(poses)), near, far)[1:], axis=1)
    return np.concatenate([rows, depth], axis=1)

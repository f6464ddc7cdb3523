"""From the frames of a recording to the shots of a capture."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contracts.errors import PoseInvalid
from contracts.session import Camera, SessionFrame
from workers.geometry.rotations import angle
from workers.prepare.capture import Capture, Lens, Shot, Upload, World, check_count, checked_pose

Array = NDArray[np.float64]

WORLD = World(up=(0.0, 1.0, 0.0), scale=1.0)
OF_A_RECORDING = 100
"""Pictures that are taken from a continuous recording: more show nothing more, and cost time."""


def recorded(upload: Upload, path: Path, frames: list[SessionFrame]) -> Capture:
    """The capture of frames whose images lie beside `path` and whose poses are in one world already.

    Raises PoseInvalid, ImageMissing, TooFewImages.
    """
    c2w = poses(frames)
    chosen = along_the_way(c2w, OF_A_RECORDING)
    check_count(len(chosen))
    images = {k: upload.resolve(path.parent, str(frames[k].image), f"{path.name}: the image") for k in chosen}
    return Capture(shots(upload, path.parent, frames, c2w, images), WORLD, ordered=True, tracked=True)


def shots(
    upload: Upload, base: Path, frames: list[SessionFrame], c2w: Array, images: dict[int, Path]
) -> list[Shot]:
    """Of those frames that have an image, at poses (N, 4, 4); masks are looked for at `base`."""
    return [
        Shot(
            name=image.relative_to(upload.root).as_posix(),
            image=image,
            mask=upload.find_mask(base, image),
            lens=lens(frames[k]),
            c2w=c2w[k],
            depth=_depth(frames[k]),
        )
        for k, image in images.items()
    ]


def poses(frames: list[SessionFrame]) -> Array:
    """(N, 4, 4). Raises PoseInvalid."""
    matrices = [_column_major(frame.camera, f"frame {frame.frame_index}") for frame in frames]
    return np.array(matrices).reshape(-1, 4, 4)


def turned(c2w: Array, turns: int) -> Array:
    """The poses (N, 4, 4) of pictures that were turned by so many quarters clockwise: what was up is right
    now, and what was left is up.
    """
    result = c2w.copy()
    for _ in range(turns):
        result[:, :, 0], result[:, :, 1] = result[:, :, 1].copy(), -result[:, :, 0]
    return result


def along_the_way(c2w: Array, most: int) -> list[int]:
    """Indices of at most so many poses (N, 4, 4), evenly spread over the way that the camera goes and turns;
    a radian counts as much as the way's own size.
    """
    if len(c2w) <= most:
        return list(range(len(c2w)))
    size = np.ptp(c2w[:, :3, 3], axis=0).max()
    moved = np.linalg.norm(np.diff(c2w[:, :3, 3], axis=0), axis=1)
    moved += size * angle(c2w[1:, :3, :3], c2w[:-1, :3, :3])
    way = np.concatenate([[0], np.cumsum(moved)])
    chosen = np.searchsorted(way, np.linspace(0, way[-1], most)).clip(0, len(c2w) - 1)
    return [int(k) for k in np.unique(chosen)]


def lens(frame: SessionFrame) -> Lens:
    of = frame.intrinsics
    return Lens((of.width, of.height), (of.fx, of.fy), (of.cx, of.cy), stored=True)


def _column_major(camera: Camera, name: str) -> Array:
    matrix = np.array(camera.pose_matrix).reshape(4, 4).T
    if np.abs(matrix[3] - (0, 0, 0, 1)).max() > 1e-6:
        message = (
            f"the pose of {name} is no rigid motion in column-major order: its last row is not 0, 0, 0, 1"
        )
        raise PoseInvalid(message, file=name)
    return checked_pose(matrix, name)


def _depth(frame: SessionFrame) -> tuple[float, float] | None:
    near, far = frame.min_depth, frame.max_depth
    return None if near is None or far is None else (near, far)

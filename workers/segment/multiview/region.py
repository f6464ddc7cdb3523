"""Where the object must be: what the photographer kept in the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras

Array = NDArray[np.float64]

_ROUNDS = 10  # of reweighting


def region(cameras: Cameras, frames: NDArray[np.int64]) -> Array:
    """(4,4) similarity from the cameras' world to a frame where the sphere that half of the photos hold whole
    is the unit sphere.

    Its centre is nearest to the optical axes, those far off counting less (Geman and McClure's function).
    frames (N,4): left, top, right, bottom of what is photo in each picture.
    """
    centres, along = cameras.centres, -cameras.c2w[:, :3, 2]
    across = np.eye(3) - along[:, :, None] * along[:, None, :]  # N,3,3
    weight = np.ones(len(cameras))
    for _ in range(_ROUNDS):
        total = (across * weight[:, None, None]).sum(0)
        target = np.einsum("n,nij,nj->i", weight, across, centres - centres.mean(0))
        centre = centres.mean(0) + np.linalg.pinv(total, rcond=1e-6) @ target
        off = np.linalg.norm(np.einsum("nij,nj->ni", across, centre - centres), axis=1)
        weight = (1 + (off / max(float(np.median(off)), 1e-9)) ** 2) ** -2
    radius = max(float(np.median(_room(cameras, frames, centre))), 1e-6)
    similarity = np.eye(4)
    similarity[:3] /= radius
    similarity[:3, 3] = -centre / radius
    return similarity


def _room(cameras: Cameras, frames: NDArray[np.int64], centre: Array) -> Array:
    """(N,) distance from the centre to the nearest side of each camera's view, negative outside."""
    x, y, depth = np.einsum("nij,j->in", cameras.w2c()[:, :3], np.append(centre, 1)) * [[1], [-1], [-1]]
    sides = []
    for side, at in enumerate(frames.T):
        focal, middle = cameras.intrinsics[:, side % 2], cameras.intrinsics[:, 2 + side % 2]
        place = (x, y)[side % 2]
        inwards = np.sign(1.5 - side) * (focal * place + (middle - at) * depth)
        sides.append(inwards / np.hypot(focal, middle - at))
    room: Array = np.min(sides, axis=0)
    return room


def within(cameras: Cameras, radius: float) -> NDArray[np.bool_]:
    """(N,h,w) pixels whose rays meet the sphere of that radius about 0."""
    rows, columns = np.mgrid[: cameras.height, : cameras.width] + 0.5
    hits = np.empty((len(cameras), cameras.height, cameras.width), bool)
    for i, ((fx, fy, cx, cy), c2w) in enumerate(zip(cameras.intrinsics, cameras.c2w, strict=True)):
        ray = np.stack([(columns - cx) / fx, -(rows - cy) / fy, -np.ones_like(rows)], axis=-1) @ c2w[:3, :3].T
        ahead = -(ray @ c2w[:3, 3])
        square = (ray**2).sum(-1)
        hits[i] = (ahead > 0) & ((c2w[:3, 3] ** 2).sum() - ahead**2 / square < radius**2)
    return hits

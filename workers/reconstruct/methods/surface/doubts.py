"""Which masks contradict the others, and where the object may be that they miss (cf. Landabaso et al. 2008,
"Shape from inconsistent silhouette").
"""

from __future__ import annotations

import cv2
import numpy as np
from numba import prange
from numpy.typing import NDArray

from workers.geometry.cameras import view_angles
from workers.geometry.grid import Grid
from workers.geometry.kernels import Real, kernel, parallel_kernel
from workers.reconstruct.methods.model import Scene
from workers.reconstruct.methods.surface.masks import signed_distances
from workers.reconstruct.threads import each

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

_SAME_SIDE = 1.3  # radians: views as near as this may be wrong together, in one shadow or before one backdrop
_VOXELS = 96
_TOLERANCE = 2.0  # pixels a sample may be off a mask before that counts as a no


def doubts(
    scene: Scene, half: NDArray[np.float64], distances: Float | None = None
) -> tuple[Bool, NDArray[np.int64]]:
    """Where masks may miss something, and which do.

    half: (3,) half sides of the object's box around 0. distances: (N,h,w) of `signed_distances`, where they
    are known. Samples of the box that only views near each other
    call outside may well be object, since these may be wrong together. Returns the pixels (N,h,w) such
    samples show in, in the views that call them outside; and for each view (N,) how many of those samples
    are missed by as many other masks as call them outside: a mask misses a sample where it shows the object
    and nothing else is left on the ray.
    """
    grid = Grid.around(-half, half, _VOXELS)
    views = len(scene.masks)
    if distances is None:
        distances = signed_distances(scene.masks, scene.frames)
    near = view_angles(scene.cameras) < _SAME_SIDE
    arguments = (
        distances,
        scene.cameras.projection().astype(np.float32),
        near,
        np.array(grid.origin, np.float32),
        np.float32(grid.spacing),
        np.float32(_TOLERANCE),
    )
    room, left = np.zeros(scene.masks.shape, np.uint8), np.zeros(scene.masks.shape, np.uint8)
    blame = np.zeros((grid.shape[0], views), np.int64)
    bare = np.zeros(scene.masks.shape, bool)
    _doubt(*arguments, grid.shape, bare, room, left, blame)
    depth = np.linalg.norm(scene.cameras.centres, axis=1)
    focal = scene.cameras.intrinsics[:, :2].mean(1)
    pixels = np.ceil(grid.spacing * focal / depth).astype(int)

    def close(i: int) -> None:
        gap = np.ones((pixels[i] + 2, pixels[i] + 2), np.uint8)
        left[i], room[i] = (cv2.morphologyEx(image[i], cv2.MORPH_CLOSE, gap) for image in (left, room))
        bare[i] = (distances[i] < -2 * _TOLERANCE) & (left[i] == 0)

    each(close, range(views))
    if bare.any():
        _doubt(*arguments, grid.shape, bare, room.copy(), left, blame)
    return room > 0, blame.sum(0)


@parallel_kernel
def _doubt(
    distances: Float,
    projection: Float,
    near: Bool,
    origin: Float,
    spacing: Real,
    tolerance: Real,
    shape: tuple[int, int, int],
    bare: Bool,
    room: NDArray[np.uint8],
    left: NDArray[np.uint8],
    blame: NDArray[np.int64],
) -> None:
    """Mark in `left` (N,h,w) the pixels of samples no view calls outside. Of samples that only near ones call
    outside mark the pixels in `room` (N,h,w), for these views, and count in `blame` (shape[0],N) those that
    show in as many pixels of `bare` (N,h,w).

    Threads may mark one pixel together, but all of them write 1.
    """
    views = len(distances)
    for i in prange(shape[0]):
        against = np.empty(views, np.int32)
        rows, columns = np.empty(views, np.int32), np.empty(views, np.int32)
        for j in range(shape[1]):
            for k in range(shape[2]):
                x, y, z = origin[0] + i * spacing, origin[1] + j * spacing, origin[2] + k * spacing
                count = _vote(x, y, z, distances, projection, near, tolerance, rows, columns, against)
                if count == 0:
                    for view in range(views):
                        left[view, rows[view], columns[view]] = 1
                missed = 0
                for view in range(views if count > 0 else 0):
                    missed += bare[view, rows[view], columns[view]]
                for a in range(count):
                    alone = True
                    for b in range(count):
                        alone = alone and near[against[a], against[b]]
                    if alone:
                        room[against[a], rows[against[a]], columns[against[a]]] = 1
                        blame[i, against[a]] += missed >= count


@kernel
def _vote(
    x: Real,
    y: Real,
    z: Real,
    distances: Float,
    projection: Float,
    near: Bool,
    tolerance: Real,
    rows: NDArray[np.int32],
    columns: NDArray[np.int32],
    against: NDArray[np.int32],
) -> int:
    """How many views call a sample outside, these into `against` (N,); -1 where the first of them has one far
    from it. `rows`, `columns`: (N,), get the sample's pixel in each view, the nearest one where it is beyond.
    """
    height, width = distances.shape[1], distances.shape[2]
    count = 0
    for view in range(len(distances)):
        p = projection[view]
        w = p[2, 0] * x + p[2, 1] * y + p[2, 2] * z + p[2, 3]
        u = (p[0, 0] * x + p[0, 1] * y + p[0, 2] * z + p[0, 3]) / w
        v = (p[1, 0] * x + p[1, 1] * y + p[1, 2] * z + p[1, 3]) / w
        rows[view] = int(min(max(v, np.float32(0)), np.float32(height - 1)))
        columns[view] = int(min(max(u, np.float32(0)), np.float32(width - 1)))
        if distances[view, rows[view], columns[view]] > tolerance:
            if count > 0 and not near[view, against[0]]:
                return -1
            against[count] = view
            count += 1
    return count

"""What photos say of each other's masks, through the space that all of them look at.

A sample of space is opposed by each photo that shows it outside its mask. Each pixel of a mask is explained
by those samples of its ray that are opposed least. A photo that opposes all that would explain a pixel but
for it denies that pixel: so leaving a photo out is no carving anew.
"""

from __future__ import annotations

import numpy as np
from numba import prange
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.geometry.grid import Grid
from workers.geometry.kernels import Real, kernel, parallel_kernel

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Counts = NDArray[np.int16]
Boxes = NDArray[np.int64]

_LOOKED_AT = 3  # of the samples that explain a pixel equally well
NEVER = 30000  # photos: more than there are


def opposed(outside: Bool, frames: Boxes, cameras: Cameras, grid: Grid) -> tuple[Counts, Counts]:
    """(grid.shape) photos that show each sample outside their mask, and that show it at all.

    outside (N,h,w): what is not the object; frames (N,4): left, top, right, bottom of what is photo.
    """
    against, seen = np.empty(grid.shape, np.int16), np.empty(grid.shape, np.int16)
    projection = cameras.projection().astype(np.float32)
    _count(outside, frames, projection, np.array(grid.origin, np.float32), grid.spacing, against, seen)
    return against, seen


def explained(
    masks: Bool,
    outside: Bool,
    frames: Boxes,
    cameras: Cameras,
    voters: Bool,
    against: Counts,
    grid: Grid,
    most: int,
    stride: int,
) -> tuple[Counts, NDArray[np.int64]]:
    """Of every stride-th pixel of the masks (N,h,w), either way: how many oppose what explains it best,
    (N,h',w'), -1 off the masks; and how many (N,N) pixels of each photo (rows) each photo (columns) denies,
    of those where that is no more than `most`.

    against (grid.shape): by those that are voters (N,); NEVER where not enough is known.
    """
    least = np.full(masks[:, ::stride, ::stride].shape, -1, np.int16)
    denied = np.zeros((len(masks), len(masks)), np.int64)
    rays = cameras.c2w[:, :3].astype(np.float32), cameras.intrinsics.astype(np.float32)
    projection = cameras.projection().astype(np.float32)
    box = np.array(grid.origin, np.float32), grid.spacing
    _look(masks, outside, frames, *rays, projection, voters, against, *box, most, stride, least, denied)
    return least, denied


@kernel
def _pixel(p: Float, frame: Boxes, x: Real, y: Real, z: Real) -> tuple[bool, int, int]:
    """Whether a camera (3,4) sees a point within its photo, and the column and row."""
    w = p[2, 0] * x + p[2, 1] * y + p[2, 2] * z + p[2, 3]
    if w <= 0:
        return False, 0, 0
    u = (p[0, 0] * x + p[0, 1] * y + p[0, 2] * z + p[0, 3]) / w
    v = (p[1, 0] * x + p[1, 1] * y + p[1, 2] * z + p[1, 3]) / w
    if u < frame[0] or v < frame[1] or u >= frame[2] or v >= frame[3]:
        return False, 0, 0
    return True, int(u), int(v)


@parallel_kernel
def _count(
    outside: Bool,
    frames: Boxes,
    projection: Float,
    origin: Float,
    spacing: float,
    against: Counts,
    seen: Counts,
) -> None:
    step = np.float32(spacing)
    for i in prange(against.shape[0]):
        x = origin[0] + i * step
        for j in range(against.shape[1]):
            y = origin[1] + j * step
            for k in range(against.shape[2]):
                z = origin[2] + k * step
                no, shown = 0, 0
                for n in range(len(outside)):
                    inside, u, v = _pixel(projection[n], frames[n], x, y, z)
                    if inside:
                        shown += 1
                        no += outside[n, v, u]
                against[i, j, k], seen[i, j, k] = no, shown


@parallel_kernel
def _look(
    masks: Bool,
    outside: Bool,
    frames: Boxes,
    c2w: Float,
    intrinsics: Float,
    projection: Float,
    voters: Bool,
    against: Counts,
    origin: Float,
    spacing: float,
    most: int,
    stride: int,
    least: Counts,
    denied: NDArray[np.int64],
) -> None:
    step = np.float32(spacing)
    for n in prange(len(masks)):
        way, start, point = np.empty((3, 3), np.float32)
        undecided = np.empty(len(masks), np.int64)
        for row in range(least.shape[1]):
            for column in range(least.shape[2]):
                if not masks[n, row * stride, column * stride]:
                    continue
                x = (column * stride + np.float32(0.5) - intrinsics[n, 2]) / intrinsics[n, 0]
                y = -(row * stride + np.float32(0.5) - intrinsics[n, 3]) / intrinsics[n, 1]
                length = np.sqrt(x * x + y * y + 1)
                first, last = np.float32(0), np.float32(1e6)
                for a in range(3):
                    way[a] = (c2w[n, a, 0] * x + c2w[n, a, 1] * y - c2w[n, a, 2]) / length
                    if abs(way[a]) < np.float32(1e-9):
                        way[a] = np.float32(1e-9)
                    # In samples; half a one is added, so that the whole part is the nearest one.
                    start[a] = (c2w[n, a, 3] - origin[a]) / step + np.float32(0.5)
                    enter, leave = -start[a] / way[a], (against.shape[a] - start[a]) / way[a]
                    first, last = max(first, min(enter, leave)), min(last, max(enter, leave))
                best, ties = NEVER, 0
                for s in range(int(first) + 1, int(last)):
                    i, j, k = start[0] + s * way[0], start[1] + s * way[1], start[2] + s * way[2]
                    no = against[int(i), int(j), int(k)]
                    ties = 1 if no < best else ties + (no == best)
                    best = min(best, no)
                least[n, row, column] = best
                if best > most:
                    continue
                # Who denies this is not known yet of: where none opposes, only of those that had no say.
                open_ = 0
                for m in range(len(masks)):
                    if m != n and not (voters[m] and best == 0):
                        undecided[open_] = m
                        open_ += 1
                apart, ties = 1 + ties // _LOOKED_AT, 0
                for s in range(int(first) + 1, int(last)):
                    if open_ == 0:
                        break
                    i, j, k = start[0] + s * way[0], start[1] + s * way[1], start[2] + s * way[2]
                    if against[int(i), int(j), int(k)] != best:
                        continue
                    ties += 1
                    if (ties - 1) % apart:
                        continue
                    for a in range(3):
                        point[a] = c2w[n, a, 3] + s * way[a] * step
                    c = 0
                    while c < open_:
                        m = undecided[c]
                        seen, u, v = _pixel(projection[m], frames[m], point[0], point[1], point[2])
                        if (seen and outside[m, v, u]) == voters[m]:
                            denied[n, m] += voters[m]
                            open_ -= 1
                            undecided[c] = undecided[open_]
                        else:
                            c += 1
                for c in range(open_):
                    denied[n, undecided[c]] += not voters[undecided[c]]

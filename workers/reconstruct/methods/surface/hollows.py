"""What the masks say of the object, and where they say nothing: over hollows."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numba import prange
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from workers.geometry.cameras import Cameras
from workers.geometry.grid import Grid, zero_surface
from workers.geometry.kernels import Real, parallel_kernel
from workers.geometry.pixels import pixel_of
from workers.reconstruct.methods.model import Scene
from workers.reconstruct.methods.surface.masks import beyond
from workers.reconstruct.threads import each
from workers.render.depth import depth_maps

Float = NDArray[np.float32]
Index = NDArray[np.int32]

_RIM = 2  # pixels on either side of a mask's border that count as its rim
_RIM_VOTE = 4.0  # weight of a rim that touches a sample
_RIM_CHORD = 0.12  # chord, of the object's longest side, over which a rim ray may touch anywhere
_SHIELD = 0.11  # of the usual votes: so many make a place e times less likely to be a lid over a hollow
_LID = 0.3  # how likely no surface a place of the hull is from where it counts as a lid
_BLUR = 1.5  # voxels along the hull over which rims speak for their surroundings


@dataclass(frozen=True)
class Hull:
    """The visual hull on a grid, in the unit frame.

    distance: (grid.shape) signed, negative inside. support: (grid.shape) votes of rims for keeping a sample.
    hollow: (grid.shape), 0 to 1: how likely the hull's surface next to a sample is no surface but stretched
    over a hollow.
    """

    grid: Grid
    distance: Float
    support: Float
    hollow: Float

    @property
    def lids(self) -> float:
        """The share of its surface that is stretched over hollows."""
        return float((self.hollow[_beside(self.distance, self.grid)] > _LID).mean())


def hull_with_rims(distance: Float, grid: Grid, cut: Scene) -> Hull:
    """The hull of that signed distance (grid.shape), with what the rims of the masks of `cut` say of it.

    The object touches the ray of every rim pixel somewhere within the hull: where that stretch is short the
    hull is the surface. Convex places have such rims in some view; where few come near, for the number of
    views, the hull is stretched like a lid over a hollow, and the surface lies behind.
    """
    outlines = np.stack(each(lambda mask, frame: beyond(mask, frame) > 0, cut.masks, cut.frames))
    chords = _rim_chords(*zero_surface(distance, grid), outlines, cut.cameras)
    support = np.zeros(grid.shape, np.float32)
    _vote(
        distance,
        np.array(grid.origin, np.float32),
        np.float32(grid.spacing),
        chords,
        cut.cameras.projection().astype(np.float32),
        support,
    )
    surface = _beside(distance, grid).astype(np.float32)
    shield = gaussian_filter(support * surface, _BLUR) / np.maximum(gaussian_filter(surface, _BLUR), 1e-6)
    nearest = distance_transform_edt(surface == 0, return_distances=False, return_indices=True)
    usual = float(np.median(shield[surface > 0]))
    hollow = np.zeros(grid.shape, np.float32)
    if usual > 0:
        hollow = np.exp(-shield[tuple(nearest)] / np.float32(_SHIELD * usual))
    return Hull(grid, distance, support, hollow)


def _beside(distance: Float, grid: Grid) -> NDArray[np.bool_]:
    """Which samples (grid.shape) are next to the hull's surface."""
    beside: NDArray[np.bool_] = np.abs(distance) < 1.2 * grid.spacing
    return beside


def seen(values: Float, grid: Grid, depth: Float, cameras: Cameras) -> Float:
    """(N,h,w) the grid's values (grid.shape) at the points that depth (N,h,w) shows, 0 where it is 0."""
    square = np.tile(np.eye(4), (len(cameras), 1, 1))
    square[:, :3] = cameras.projection()
    result = np.zeros_like(depth)
    for own, inverse, out in zip(depth, np.linalg.inv(square), result, strict=True):
        y, x = np.nonzero(own)
        d = own[y, x]
        points = (inverse @ np.stack([(x + 0.5) * d, (y + 0.5) * d, d, np.ones_like(d)]))[:3].T
        near = np.round((points - grid.origin) / grid.spacing).astype(int)
        i, j, k = np.clip(near, 0, np.array(grid.shape) - 1).T
        out[y, x] = values[i, j, k]
    return result


def _rim_chords(vertices: Float, faces: Index, masks: NDArray[np.bool_], cameras: Cameras) -> Float:
    """(N,h,w) length of each rim pixel's ray within the surface, front to back; 0 elsewhere.

    Beside the surface the shortest chord next to a pixel holds.
    """
    front = depth_maps(vertices, faces, cameras)
    back = depth_maps(vertices, faces, cameras, farthest=True)
    return np.stack(each(_chords, front, back, masks))


def _chords(front: Float, back: Float, mask: NDArray[np.bool_]) -> Float:
    """(h,w) of one view, from its depth maps (h,w)."""
    kernel = np.ones((2 * _RIM + 1, 2 * _RIM + 1), np.uint8)
    chord = np.where(front > 0, back - front, np.float32(1e3))
    shortest = np.where(front > 0, chord, cv2.erode(chord, kernel))
    inner = mask.astype(np.uint8)
    band = (cv2.dilate(inner, kernel) > 0) & (cv2.erode(inner, kernel) == 0)
    chords: Float = np.where(band & (shortest < 1e3), np.maximum(shortest, np.float32(1e-4)), np.float32(0))
    return chords


@parallel_kernel
def _vote(
    distance: Float, origin: Float, spacing: Real, chords: Float, projection: Float, support: Float
) -> None:
    height, width = chords.shape[1], chords.shape[2]
    for i in prange(distance.shape[0]):
        for j in range(distance.shape[1]):
            for k in range(distance.shape[2]):
                if distance[i, j, k] > 4 * spacing or distance[i, j, k] < -2 * spacing:
                    continue
                x, y, z = origin[0] + i * spacing, origin[1] + j * spacing, origin[2] + k * spacing
                for view in range(len(chords)):
                    row, column, _ = pixel_of(projection[view], x, y, z, height, width)
                    if row >= 0 and chords[view, row, column] > 0:
                        ratio = chords[view, row, column] / np.float32(_RIM_CHORD)
                        support[i, j, k] += np.float32(_RIM_VOTE) * np.exp(-ratio * ratio)

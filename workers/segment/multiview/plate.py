"""The picture of the support plane without the object on it, put together from all photos."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numba import prange
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.geometry.kernels import kernel, parallel_kernel
from workers.segment.multiview.plane import Plane, project_on

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Image = NDArray[np.uint8]

SAMPLES = 320  # texels of the plate's sides
_EXTENT = 1.8  # half of their length
# Nearer to the middle than this the object may stand before a texel: only cameras on its own side count.
_MIDDLE = 0.75
_OWN_SIDE = 0.3  # least cosine of the angle, in the plane, between texel and camera
_ROUNDS = 3  # of reweighting
_DIFFERENT = 12.0  # grey levels: how far a photo may be off before it loses half its say
_LEAST_NOISE, _MOST_NOISE = 2.5, 12.0  # grey levels
_LEAST_VIEWS, _LEAST_SHARE = 3, 0.4  # that must agree
# Where photos agree so much less on a plane a little higher and a little lower, over a window, it is this
# plane that they show; of one even colour any plane shows the same.
_FOCUS, _ASIDE, _WINDOW = 0.95, 0.05, 11
_WORST = 40.0  # grey levels of noise that count there, at most


class Plate(NamedTuple):
    """colour (T,T,3); noise (T,T), grey levels; known (T,T): where enough photos agree; focused (T,T): where
    what they show is in the plane without doubt.
    """

    colour: Float
    noise: Float
    known: Bool
    focused: Bool

    def filled(self, other: Plate) -> Plate:
        """With what `other` shows in place of what is not seen here, and where it alone knows something."""
        there = (self.noise == 0) | (other.focused & ~self.known)
        colour = np.where(there[..., None], other.colour, self.colour)
        rest = (np.where(there, b, a) for a, b in zip(self[1:], other[1:], strict=True))
        return Plate(colour, *rest)


def plate(images: Image, usable: Bool, cameras: Cameras, plane: Plane) -> Plate:
    """From images (N,h,w,3) where usable (N,h,w)."""
    colour, noise, agree, seen = _laid(images, usable, cameras, plane, plane.height)
    known = (agree >= _LEAST_VIEWS) & (agree > _LEAST_SHARE * seen) & (noise < _MOST_NOISE)
    aside = [_laid(images, usable, cameras, plane, plane.height + way * _ASIDE) for way in (-1, 1)]
    seen_at_all = (seen > 0) & (aside[0][3] > 0) & (aside[1][3] > 0)
    here, lower, higher = (
        cv2.blur(np.minimum(each, _WORST) ** 2 * seen_at_all, (_WINDOW, _WINDOW))
        for each in (noise, aside[0][1], aside[1][1])
    )
    return Plate(colour, noise, known, known & (here < _FOCUS * np.minimum(lower, higher)))


def _laid(
    images: Image, usable: Bool, cameras: Cameras, plane: Plane, height: float
) -> tuple[Float, Float, NDArray[np.int32], NDArray[np.int32]]:
    """What the photos show at that height: colour (T,T,3), noise (T,T), how many agree and how many see it,
    (T,T).
    """
    side = (cameras.centres @ plane.axes[:, :2]).astype(np.float32)
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), np.float32(1e-6))
    colour, noise = np.zeros((SAMPLES, SAMPLES, 3), np.float32), np.zeros((SAMPLES, SAMPLES), np.float32)
    agree, seen = np.zeros((2, SAMPLES, SAMPLES), np.int32)
    over = cameras.centres @ plane.normal > height
    projection = cameras.projection().astype(np.float32)
    axes = plane.axes.astype(np.float32)
    _gather(images, usable, projection, axes, height, side, over, colour, noise, agree, seen)
    return colour, noise, agree, seen


@parallel_kernel
def _gather(
    images: Image,
    usable: Bool,
    projection: Float,
    axes: Float,
    height: float,
    side: Float,
    over: Bool,
    colour: Float,
    noise: Float,
    agree: NDArray[np.int32],
    seen: NDArray[np.int32],
) -> None:
    for row in prange(len(colour)):
        samples, weight = np.empty((len(images), 3), np.float32), np.empty(len(images), np.float32)
        for column in range(colour.shape[1]):
            a = np.float32(_EXTENT * ((2 * column + 1) / colour.shape[1] - 1))
            b = np.float32(_EXTENT * ((2 * row + 1) / len(colour) - 1))
            away = np.sqrt(a * a + b * b)
            count = 0
            for v in range(len(images)):
                if not over[v]:
                    continue
                if (
                    away < np.float32(_MIDDLE)
                    and a * side[v, 0] + b * side[v, 1] < np.float32(_OWN_SIDE) * away
                ):
                    continue
                inside, x, y = project_on(
                    projection[v], axes, a, b, np.float32(height), images.shape[2], images.shape[1]
                )
                if inside and usable[v, y, x]:
                    for c in range(3):
                        samples[count, c] = images[v, y, x, c]
                    count += 1
            seen[row, column] = count
            if count:
                noise[row, column] = _mode(samples[:count], weight[:count], colour[row, column])
                most = (3 * noise[row, column]) ** 2
                for k in range(count):
                    agree[row, column] += _off(samples[k], colour[row, column]) < most


@kernel
def _mode(samples: Float, weight: Float, out: Float) -> np.float32:
    """What most of the samples (n,3) show, into `out` (3,): medians, then means of what is near. Returns the
    noise around it.
    """
    for c in range(3):
        out[c] = np.median(samples[:, c])
    for _ in range(_ROUNDS):
        total = np.float32(0)
        for k in range(len(samples)):
            weight[k] = 1 / (1 + (_off(samples[k], out) / np.float32(_DIFFERENT**2)) ** 2)
            total += weight[k]
        for c in range(3):
            out[c] = (samples[:, c] * weight).sum() / total
    for k in range(len(samples)):
        weight[k] = np.sqrt(_off(samples[k], out))
    return max(np.float32(1.4826) * np.float32(np.median(weight)), np.float32(_LEAST_NOISE))


@kernel
def _off(sample: Float, colour: Float) -> np.float32:
    """Square of the largest difference of a channel."""
    most = np.float32(0)
    for c in range(3):
        most = max(most, abs(sample[c] - colour[c]))
    return most * most


def in_views(values: NDArray[np.generic], cameras: Cameras, plane: Plane) -> Float:
    """(N,h,w[,C]) what photos see of values (T,T[,C]) given on the plate; 0 beyond it."""
    texel = 2 * _EXTENT / SAMPLES
    corner = plane.axes @ np.array([-_EXTENT, -_EXTENT, plane.height])
    on_plane = np.zeros((4, 3))  # texel coordinates, their centres at whole numbers, to points
    on_plane[:3, :2] = plane.axes[:, :2] * texel
    on_plane[:3, 2], on_plane[3, 2] = corner + plane.axes[:, :2].sum(1) * texel / 2, 1
    half = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    rows, columns = np.mgrid[: cameras.height, : cameras.width]
    seen = []
    for projection in cameras.projection():
        to_pixel = half @ projection @ on_plane
        picture = cv2.warpPerspective(
            values.astype(np.float32), to_pixel, (cameras.width, cameras.height), flags=cv2.INTER_LINEAR
        )
        # A plane's points behind the camera have pixels too.
        back = np.linalg.inv(to_pixel)[2]
        picture[back[0] * columns + back[1] * rows + back[2] <= 0] = 0
        seen.append(picture)
    return np.stack(seen)


def footprint(points: NDArray[np.float64], plane: Plane, margin: int) -> Bool:
    """(T,T) where points (M,3) lie straight over the plate, and `margin` texels around."""
    place = (points @ plane.axes[:, :2] + _EXTENT) * (SAMPLES / (2 * _EXTENT))
    column, row = np.clip(place.astype(int), 0, SAMPLES - 1).T
    under = np.zeros((SAMPLES, SAMPLES), np.uint8)
    under[row, column] = 1
    closed = cv2.morphologyEx(under, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return np.asarray(cv2.dilate(closed, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)) > 0)

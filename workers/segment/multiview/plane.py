"""The table, the floor or the wall that an object stands on: the plane whose picture all photos agree on."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numba import prange
from numpy.typing import NDArray
from scipy.optimize import fmin

from workers.geometry.cameras import Cameras
from workers.geometry.kernels import Real, kernel, parallel_kernel

Float = NDArray[np.float32]
Array = NDArray[np.float64]

_PIXELS = 160  # of the photos' sides that it is looked for in
_DETAIL, _AROUND = 3.0, 6.0  # pixels: what is coarser is taken away, and what contrast is measured over
_LEAST_CONTRAST = 3.0  # grey levels
_EXTENT = 1.4  # of the square of the plane that is compared
_COARSE, _FINE = 40, 96  # samples along its sides
_TILTS = np.radians([-20, -10, 0, 10, 20])
_HEIGHTS = np.linspace(-1.2, 0.2, 29)
_STARTS, _APART, _TURNED = 4, 0.12, np.radians(15)  # that are refined, and how they differ
_FARTHEST = 1.5  # from the region's middle
_AGREEMENT = 0.05  # correlation of photos below which there is no plane
_ABOVE = 0.05  # of the cameras over it


class Plane(NamedTuple):
    """Points x with normal . x = height; axes (3,3) has two directions within it and the normal (to the
    cameras) as columns. agreement: mean correlation of the photos' details on it.
    """

    axes: Array
    height: float
    agreement: float

    @property
    def normal(self) -> Array:
        """(3,) unit."""
        normal: Array = self.axes[:, 2]
        return normal

    @property
    def equation(self) -> Array:
        """(4,) whose product with (x, 1) is the height of a point x over it."""
        return np.append(self.normal, -self.height)


def find_plane(grey: NDArray[np.uint8], photo: NDArray[np.bool_], cameras: Cameras) -> Plane | None:
    """The plane near the unit sphere that shows the same from everywhere, if there is one.

    Synthetic aperture focusing (Vaish et al. 2004) with a plane of any direction: all photos grey (N,h,w) are
    laid on it, and their details correlated. photo (N,h,w): where there is one.
    Tried are planes across the cameras' mean upwards and backwards directions, tilted, at every height.
    """
    detail, weight, small = _details(grey, photo, cameras)
    projection = small.projection().astype(np.float32)

    def agreement(normal: Array, height: float, samples: int) -> float:
        axes = _axes(normal)
        over = small.centres @ normal > height + _ABOVE
        if over.sum() < 3:
            return 0.0
        common, power = np.zeros((samples, samples)), np.zeros((samples, samples))
        _correlate(detail, weight, projection, over, axes.astype(np.float32), height, common, power)
        return float(common.sum() / max(power.sum(), 1e-6))

    starts = []
    for mean in (cameras.c2w[:, :3, 1].mean(0), cameras.c2w[:, :3, 2].mean(0)):
        if np.linalg.norm(mean) < 0.2:  # of cameras all round there is no such direction
            continue
        axes = _axes(mean / np.linalg.norm(mean))
        for tilt in np.stack(np.meshgrid(_TILTS, _TILTS), -1).reshape(-1, 2):
            normal = _tilted(axes, tilt)
            sharp = [agreement(normal, height, _COARSE) for height in _HEIGHTS]
            starts.append((max(sharp), normal, float(_HEIGHTS[np.argmax(sharp)])))
    found = [_sharpest(agreement, normal, height) for normal, height in _distinct(starts)]
    best = max(found, key=lambda plane: plane.agreement, default=None)
    return best if best and best.agreement > _AGREEMENT and abs(best.height) < _FARTHEST else None


def _distinct(starts: list[tuple[float, Array, float]]) -> list[tuple[Array, float]]:
    """Normals and heights of the best few of the starts that are not nearly the same."""
    chosen: list[tuple[Array, float]] = []
    for _, normal, height in sorted(starts, key=lambda start: -start[0]):
        alike = any(abs(height - h) < _APART and normal @ n > np.cos(_TURNED) for n, h in chosen)
        if not alike and len(chosen) < _STARTS:
            chosen.append((normal, height))
    return chosen


def _sharpest(agreement: Callable[[Array, float, int], float], normal: Array, height: float) -> Plane:
    """The plane near that one on which photos agree best (simplex of Nelder and Mead 1965)."""
    axes = _axes(normal)
    simplex = np.array([[0, 0, height], [0.05, 0, height], [0, 0.05, height], [0, 0, height + 0.03]])

    def blur(guess: Array) -> float:
        return -agreement(_tilted(axes, guess[:2]), float(guess[2]), _FINE)

    best = fmin(blur, simplex[0], initial_simplex=simplex, xtol=1e-3, ftol=1e-4, maxiter=120, disp=False)
    return Plane(_axes(_tilted(axes, best[:2])), float(best[2]), -blur(best))


def _details(
    grey: NDArray[np.uint8], photo: NDArray[np.bool_], cameras: Cameras
) -> tuple[Float, Float, Cameras]:
    """What is finer than its surroundings, by their contrast; where it counts; and cameras of that size."""
    details, weights = [], []
    for picture, there in zip(grey, photo, strict=True):
        small = cv2.resize(picture, (_PIXELS, _PIXELS), interpolation=cv2.INTER_AREA).astype(np.float32)
        fine = small - cv2.GaussianBlur(small, (0, 0), _DETAIL)
        contrast = np.sqrt(cv2.GaussianBlur(fine**2, (0, 0), _AROUND)) + np.float32(_LEAST_CONTRAST)
        details.append(np.clip(fine / contrast, -3, 3))
        weights.append(cv2.resize(there.astype(np.float32), (_PIXELS, _PIXELS)) > 0.99)
    return np.stack(details), np.stack(weights).astype(np.float32), cameras.scaled(_PIXELS, _PIXELS)


def _axes(normal: Array) -> Array:
    """(3,3) right-handed, with the normal (3,) as last column."""
    first = np.cross(np.eye(3)[np.abs(normal).argmin()], normal)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(normal, first), normal], axis=1)


def _tilted(axes: Array, angles: Array) -> Array:
    """(3,) the normal of `axes` turned by two small angles (2,)."""
    normal: Array = axes @ np.array([np.tan(angles[0]), np.tan(angles[1]), 1.0])
    return normal / np.linalg.norm(normal)


@parallel_kernel
def _correlate(
    detail: Float,
    weight: Float,
    projection: Float,
    over: NDArray[np.bool_],
    axes: Float,
    height: float,
    common: Array,
    power: Array,
) -> None:
    """Of samples (n,n) of the plane: mean product of two photos' details, and mean square of one's."""
    samples = len(common)
    for row in prange(samples):
        for column in range(samples):
            a = np.float32(_EXTENT * ((2 * column + 1) / samples - 1))
            b = np.float32(_EXTENT * ((2 * row + 1) / samples - 1))
            c = np.float32(height)
            count, total, square = 0, np.float32(0), np.float32(0)
            for v in range(len(projection)):
                if not over[v]:
                    continue
                seen, x, y = project_on(projection[v], axes, a, b, c, detail.shape[2], detail.shape[1])
                if not seen or weight[v, y, x] == 0:
                    continue
                value = detail[v, y, x]
                count += 1
                total += value
                square += value * value
            if count >= 3:
                common[row, column] = (total * total - square) / (count * (count - 1))
                power[row, column] = square / count


@kernel
def project_on(
    p: Float, axes: Float, a: Real, b: Real, c: Real, width: int, height: int
) -> tuple[bool, int, int]:
    """Whether a camera (3,4) sees the point a, b, c along `axes` (3,3) within its picture, and the pixel."""
    x = axes[0, 0] * a + axes[0, 1] * b + axes[0, 2] * c
    y = axes[1, 0] * a + axes[1, 1] * b + axes[1, 2] * c
    z = axes[2, 0] * a + axes[2, 1] * b + axes[2, 2] * c
    w = p[2, 0] * x + p[2, 1] * y + p[2, 2] * z + p[2, 3]
    if w <= 0:
        return False, 0, 0
    u = (p[0, 0] * x + p[0, 1] * y + p[0, 2] * z + p[0, 3]) / w
    v = (p[1, 0] * x + p[1, 1] * y + p[1, 2] * z + p[1, 3]) / w
    if u < 0 or v < 0 or u >= width or v >= height:
        return False, 0, 0
    return True, int(u), int(v)

"""The soft visual hull: a signed distance to the intersection of the masks' cones (Laurentini 1994)."""

from __future__ import annotations

import numpy as np
from numba import prange
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.geometry.grid import Grid
from workers.geometry.kernels import Real, kernel, parallel_kernel
from workers.reconstruct.methods.model import Scene

Float = NDArray[np.float32]


def hull(scene: Scene, distances: Float, grid: Grid, dissent: int = 0) -> Float:
    """`hull_distance` of the scene's masks, over the plane that the object stands on: the cones of masks that
    take some of the table for the object go on below it.
    """
    found = hull_distance(distances, scene.cameras, grid, dissent)
    if scene.support is None:
        return found
    axes = [start + grid.spacing * np.arange(n) for start, n in zip(grid.origin, grid.shape, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    a, b, c, d = scene.support
    above: Float = np.maximum(found, -(a * x + b * y + c * z + d).astype(np.float32))
    return above


def hull_distance(distances: Float, cameras: Cameras, grid: Grid, dissent: int = 0) -> Float:
    """Signed distance (grid.shape), negative inside, of the hull: max over views of the mask's distance at a
    sample.

    distances: (N,h,w) pixels, negative on the object, sampled bilinearly and turned to the frame's units by
    depth / focal length. The magnitude is only good near the surface: two voxels outside, the first view to
    say so decides, and far inside (from a grid four times coarser) likewise. A view that has a sample behind
    it says nothing.
    dissent: 1 takes the second largest instead of the largest, so that no view carves alone; 0 or 1.
    """
    coarse_shape = tuple((n + 6) // 4 for n in grid.shape)
    coarse = Grid(grid.origin, 4 * grid.spacing, (coarse_shape[0], coarse_shape[1], coarse_shape[2]))
    start = np.zeros(coarse.shape, np.float32)
    _carve(*_arguments(distances, cameras, coarse), dissent, np.zeros((1, 1, 1), np.float32), start)
    out = np.empty(grid.shape, np.float32)
    _carve(*_arguments(distances, cameras, grid), dissent, start, out)
    return out


def _arguments(
    distances: Float, cameras: Cameras, grid: Grid
) -> tuple[Float, Float, Float, Float, np.float32]:
    focal = cameras.intrinsics[:, :2].mean(1)
    return (
        distances,
        cameras.projection().astype(np.float32),
        focal.astype(np.float32),
        np.array(grid.origin, np.float32),
        np.float32(grid.spacing),
    )


@kernel
def _sample(image: Float, x: Real, y: Real) -> Real:
    """Bilinear value of an image (h,w) at pixel coordinates (centres at +0.5), the border repeated."""
    height, width = image.shape
    x = min(max(x - np.float32(0.5), np.float32(0)), np.float32(width - 1.001))
    y = min(max(y - np.float32(0.5), np.float32(0)), np.float32(height - 1.001))
    i, j = int(y), int(x)
    s, t = x - j, y - i
    upper = image[i, j] * (1 - s) + image[i, j + 1] * s
    lower = image[i + 1, j] * (1 - s) + image[i + 1, j + 1] * s
    value: Real = upper * (1 - t) + lower * t
    return value


@parallel_kernel
def _carve(
    distances: Float,
    projection: Float,
    focal: Float,
    origin: Float,
    spacing: Real,
    dissent: int,
    coarse: Float,
    out: Float,
) -> None:
    refine = coarse.size > 1
    height, width = distances.shape[1], distances.shape[2]
    for i in prange(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                if refine:
                    guess = coarse[(i + 2) // 4, (j + 2) // 4, (k + 2) // 4]
                    if abs(guess) > 8 * spacing:
                        out[i, j, k] = guess
                        continue
                x, y, z = origin[0] + i * spacing, origin[1] + j * spacing, origin[2] + k * spacing
                worst = np.float32(-1e3)
                second = np.float32(-1e3)
                for view in range(len(distances)):
                    p = projection[view]
                    w = p[2, 0] * x + p[2, 1] * y + p[2, 2] * z + p[2, 3]
                    if w <= 0:
                        continue
                    u = (p[0, 0] * x + p[0, 1] * y + p[0, 2] * z + p[0, 3]) / w
                    v = (p[1, 0] * x + p[1, 1] * y + p[1, 2] * z + p[1, 3]) / w
                    beyond = max(-u, u - width, -v, v - height, np.float32(0))
                    distance = _sample(distances[view], u, v)
                    if distance > 0:
                        distance += beyond
                    distance *= w / focal[view]
                    second = max(second, min(worst, distance))
                    worst = max(worst, distance)
                    if (second if dissent else worst) > 8 * spacing:
                        break
                out[i, j, k] = second if dissent else worst

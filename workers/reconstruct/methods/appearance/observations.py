"""What the photos show of each vertex, gathered once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange
from numpy.typing import NDArray

from workers.geometry.colour import LINEAR
from workers.geometry.kernels import Real, kernel, parallel_kernel
from workers.reconstruct.methods.appearance.bake import Photos, see

Float = NDArray[np.float32]

LEAST_VIEWS = 3  # fewer say little of how a point looks from elsewhere


class Observations(NamedTuple):
    """M observations of V points, point i's from start[i] to start[i + 1].

    photo: (M,) index of the photo. towards: (M,3) unit, to the camera. colour: (M,3) linear. weight: (M,),
    summing to 1 for each point.
    """

    start: NDArray[np.int64]
    photo: NDArray[np.int32]
    towards: Float
    colour: Float
    weight: Float

    def mean(self) -> Float:
        """(V,3) weighted mean colour; 0 where nothing is seen."""
        total = np.zeros((len(self.weight) + 1, 3))
        np.cumsum(self.colour * self.weight[:, None], axis=0, out=total[1:])
        return (total[self.start[1:]] - total[self.start[:-1]]).astype(np.float32)

    def enough(self) -> NDArray[np.bool_]:
        """(V,) points that LEAST_VIEWS views or more see."""
        return np.diff(self.start) >= LEAST_VIEWS


def gather(points: Float, normals: Float, photos: Photos) -> Observations:
    """Of points (V,3) with unit normals (V,3): every view that sees them, weighted by trust * cosine."""
    projection = photos.cameras.projection().astype(np.float32)
    centres = photos.cameras.centres.astype(np.float32)
    counts = np.zeros(len(points), np.int64)
    _count(points, normals, photos.seen, projection, centres, counts)
    start = np.concatenate([[0], np.cumsum(counts)])
    total = int(start[-1])
    found = Observations(
        start,
        np.zeros(total, np.int32),
        np.zeros((total, 3), np.float32),
        np.zeros((total, 3), np.float32),
        np.zeros(total, np.float32),
    )
    _gather(points, normals, photos.images, photos.seen, projection, centres, LINEAR, *found)
    return found


@parallel_kernel
def _count(
    points: Float, normals: Float, surface: Float, projection: Float, centres: Float, out: NDArray[np.int64]
) -> None:
    for i in prange(len(points)):
        for v in range(len(surface)):
            if see(points[i], normals[i], surface[v], projection[v], centres[v])[0] > 0:
                out[i] += 1


@parallel_kernel
def _gather(
    points: Float,
    normals: Float,
    images: NDArray[np.uint8],
    surface: Float,
    projection: Float,
    centres: Float,
    to_linear: Float,
    start: NDArray[np.int64],
    photo: NDArray[np.int32],
    towards: Float,
    colour: Float,
    weight: Float,
) -> None:
    for i in prange(len(points)):
        at, total = start[i], np.float32(0)
        for v in range(len(surface)):
            trust, x, y = see(points[i], normals[i], surface[v], projection[v], centres[v])
            if trust <= 0:
                continue
            cosine = towards_camera(points[i], normals[i], centres[v], towards[at])
            linear_colour(images[v], to_linear, x, y, colour[at])
            photo[at], weight[at] = v, trust / (cosine * cosine)
            total += weight[at]
            at += 1
        for k in range(start[i], at):
            weight[k] /= total


@kernel
def towards_camera(point: Float, normal: Float, centre: Float, out: Float) -> Real:
    """The unit direction (3,) from a point to a camera's centre, and its cosine to the normal."""
    x, y, z = centre[0] - point[0], centre[1] - point[1], centre[2] - point[2]
    length = np.sqrt(x * x + y * y + z * z)
    out[0], out[1], out[2] = x / length, y / length, z / length
    cosine: Real = out[0] * normal[0] + out[1] * normal[1] + out[2] * normal[2]
    return cosine


@kernel
def linear_colour(image: NDArray[np.uint8], to_linear: Float, u: Real, v: Real, out: Float) -> None:
    """Bilinear linear colour of an sRGB image at pixel coordinates (centres at +0.5)."""
    height, width = image.shape[0], image.shape[1]
    x = min(max(u - np.float32(0.5), np.float32(0)), np.float32(width - 1.001))
    y = min(max(v - np.float32(0.5), np.float32(0)), np.float32(height - 1.001))
    left, top = int(x), int(y)
    s, t = x - left, y - top
    for k in range(3):
        upper = to_linear[image[top, left, k]] * (1 - s) + to_linear[image[top, left + 1, k]] * s
        lower = to_linear[image[top + 1, left, k]] * (1 - s) + to_linear[image[top + 1, left + 1, k]] * s
        out[k] = upper * (1 - t) + lower * t

"""Where points are in pictures, for kernels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.geometry.kernels import Real, kernel

Float = NDArray[np.float32]


@kernel
def pixel_of(p: Float, x: Real, y: Real, z: Real, height: int, width: int) -> tuple[int, int, Real]:
    """Row, column and depth along the axis of a point (x, y, z) in a picture of that size.

    p: (3,4) the camera's projection, of the point's frame. Row and column are -1 where the point is beside
    the picture or not before the camera.
    """
    w = p[2, 0] * x + p[2, 1] * y + p[2, 2] * z + p[2, 3]
    if w <= 0:
        return -1, -1, w
    column = int((p[0, 0] * x + p[0, 1] * y + p[0, 2] * z + p[0, 3]) / w)
    row = int((p[1, 0] * x + p[1, 1] * y + p[1, 2] * z + p[1, 3]) / w)
    if column < 0 or row < 0 or column >= width or row >= height:
        return -1, -1, w
    return row, column, w

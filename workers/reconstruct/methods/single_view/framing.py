"""Where in a picture the object is, and what part of it the network gets to see."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates

from workers.reconstruct.methods.single_view.network import REACH

Image = NDArray[np.uint8]


class Framing(NamedTuple):
    """The orthographic camera that the outline gives: pixel = scale * (x, -y) + centre.

    scale: pixels a unit, which is the outline's longest side. centre: (2,) in pixels, of the middle of its
    box.
    """

    scale: float
    centre: tuple[float, float]

    def pixels(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """(P,2) columns and rows, centres at +0.5, of points (P,3) in the picture's frame."""
        pixels: NDArray[np.float64] = points[:, :2] * np.array([self.scale, -self.scale]) + self.centre
        return pixels


def framed(rgba: Image, size: int) -> tuple[Image, Framing]:
    """The square of a picture (h,w,4), sRGB and alpha, that reaches from -REACH to REACH, as (size,size,4);
    and where it is. Beyond the picture nothing is seen.

    ValueError where the alpha is nowhere above half.
    """
    rows, columns = (np.flatnonzero((rgba[..., 3] > 127).any(axis)) for axis in (1, 0))
    if not len(rows):
        raise ValueError("the outline is empty")
    (top, bottom), (left, right) = (rows[0], rows[-1] + 1), (columns[0], columns[-1] + 1)
    scale = float(max(bottom - top, right - left))
    centre = ((left + right) / 2, (top + bottom) / 2)
    # Premultiplied: what lies beyond the outline must not bleed in.
    covered: NDArray[np.float32] = rgba.astype(np.float32) / np.float32(255)
    covered[..., :3] *= covered[..., 3:]
    zoom = size / (2 * REACH * scale)
    shrunk, halvings = _shrunk(covered, zoom)
    by = 0.5**halvings
    offsets = [size / 2 - 0.5 - (by * at - 0.5) * zoom / by for at in centre]
    matrix = np.array([[zoom / by, 0, offsets[0]], [0, zoom / by, offsets[1]]])
    found = np.asarray(cv2.warpAffine(shrunk, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=0))
    straight = found[..., :3] / np.maximum(found[..., 3:], np.float32(1e-6))
    found = np.concatenate([straight, found[..., 3:]], axis=2)
    return np.clip(255 * found + 0.5, 0, 255).astype(np.uint8), Framing(scale, centre)


def _shrunk(image: NDArray[np.float32], zoom: float) -> tuple[NDArray[np.float32], int]:
    """Halved by averaging, and how often, until what is left to shrink is less: bilinear look-ups see no
    more.
    """
    halvings = 0
    while zoom <= 0.5 and min(image.shape[:2]) > 1:
        height, width = image.shape[:2]
        even = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT)
        image = cv2.resize(even, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.float32)
        zoom, halvings = 2 * zoom, halvings + 1
    return image, halvings


def outside(
    mask: NDArray[np.bool_], framing: Framing
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """What tells of points (P,3) in the picture's frame how far (P,) beyond the outline of `mask` (h,w) they
    are seen, in the frame's unit; negative within it.
    """
    padded = np.pad(mask, 1)
    distance = distance_transform_edt(~padded) - distance_transform_edt(padded)
    smooth = (distance / framing.scale).astype(np.float32)

    def beyond(points: NDArray[np.float32]) -> NDArray[np.float32]:
        column, row = (framing.pixels(points) + 0.5).T  # in indices of the padded mask
        found: NDArray[np.float32] = map_coordinates(smooth, [row, column], order=1, mode="nearest")
        return found

    return beyond

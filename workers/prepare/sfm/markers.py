"""Printed square markers (ArUco, Garrido-Jurado et al. 2014; AprilTag, Olson 2011) as a measure of length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.geometry.triangulation import View, triangulated

Array = NDArray[np.float64]
Corners = dict[int, Array]
"""By a marker's number, the corners (4,2) of its black square."""

DICTIONARIES = {
    "4x4_50": cv2.aruco.DICT_4X4_50,
    "5x5_50": cv2.aruco.DICT_5X5_50,
    "6x6_50": cv2.aruco.DICT_6X6_50,
    "april_36h11": cv2.aruco.DICT_APRILTAG_36H11,
}
LEAST_ANGLE = 2.0
"""Degrees between rays: from less, depth is a guess."""
_WITHIN = 0.005  # of a photo's longer side, from where the others show a corner


@dataclass(frozen=True)
class Sides:
    """What the squares measure. lengths: of four sides each, in units of the world. numbers: the markers'.
    photos: how many show one of them. residual: median error of a corner, in pixels."""

    lengths: Array
    numbers: list[int]
    photos: int
    residual: float

    @property
    def typical(self) -> float:
        return float(np.median(self.lengths))

    @property
    def spread(self) -> float:
        """How far the sides' lengths lie apart, as a share: their robust standard deviation."""
        return 1.4826 * float(np.median(np.abs(self.lengths / self.typical - 1)))


def detected(grey: NDArray[np.uint8], dictionary: str) -> Corners:
    """The markers in a picture (H,W), corners in pixels, centres at +0.5. A number seen twice is left out:
    which of the two other photos show is not known."""
    known = cv2.aruco.getPredefinedDictionary(DICTIONARIES[dictionary])
    corners, found, _ = cv2.aruco.ArucoDetector(known).detectMarkers(grey)
    numbers = [] if found is None else [int(number) for number in np.ravel(found)]
    return {
        number: _exactly(grey, np.asarray(square, np.float64).reshape(4, 2)) + 0.5  # OpenCV's are at +0
        for number, square in zip(numbers, corners, strict=True)
        if numbers.count(number) == 1
    }


def _exactly(grey: NDArray[np.uint8], corners: Array) -> Array:
    """Where the edges of a black square (4,2) on white meet, by lines through where each is crossed. Corners
    themselves look rounded in a photo, and OpenCV's refinements find them a quarter pixel too far inside.
    """
    for _ in range(2):
        length = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1).min()
        reach = float(np.clip(length / 16, 1.5, 5))  # half of a module, of eight
        lines = [_edge(grey, corners[k], corners[k - 3], reach) for k in range(4)]
        moved = np.stack([_crossing(lines[k - 1], lines[k]) for k in range(4)])
        if not (np.linalg.norm(moved - corners, axis=1) < reach).all():
            return corners  # covered in part, or in deep shadow
        corners = moved
    return corners


def _edge(grey: NDArray[np.uint8], start: Array, end: Array, reach: float) -> Array:
    """The line a x + b y = c, as (3,), along which grey steps up from the right of start -> end to the left
    of it, as a square's corners go clockwise."""
    along = (end - start) / np.linalg.norm(end - start)
    outwards = np.array([along[1], -along[0]])
    base = start + np.linspace(0.1, 0.9, 32)[:, None] * (end - start)
    off = np.arange(-reach, reach + 0.01, 0.25)
    xy = (base[:, None] + off[:, None] * outwards).astype(np.float32)
    step = np.diff(cv2.remap(grey.astype(np.float32), xy[..., 0], xy[..., 1], cv2.INTER_LINEAR), axis=1)
    height = np.maximum(step.sum(1), 1.0)
    crossed = base + ((step @ ((off[1:] + off[:-1]) / 2)) / height)[:, None] * outwards
    x, y, through_x, through_y = np.ravel(
        cv2.fitLine(crossed.astype(np.float32), cv2.DIST_HUBER, 0, 0.001, 0.001)
    )
    return np.array([y, -x, y * through_x - x * through_y], np.float64)


def _crossing(one: Array, other: Array) -> Array:
    both = np.stack([one, other])
    return np.asarray(np.linalg.lstsq(both[:, :2], both[:, 2], rcond=None)[0])


def measured(views: Sequence[View], seen: Sequence[Corners], longest: float) -> Sides | None:
    """The sides of all markers that two views or more show, from sides that differ enough; None where there
    is none. seen: what `detected` found in each view, in its pixels; longest: their longer side."""
    lengths: list[Array] = []
    errors: list[Array] = []
    numbers = []
    showing: set[int] = set()
    for number in sorted({number for corners in seen for number in corners}):
        where = [index for index, corners in enumerate(seen) if number in corners]
        found = _square([views[i] for i in where], np.stack([seen[i][number] for i in where]), longest)
        if found is None:
            continue
        corners, off, used = found
        lengths.append(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1))
        errors.append(off)
        numbers.append(number)
        showing |= {where[index] for index in used}
    if not numbers:
        return None
    return Sides(np.concatenate(lengths), numbers, len(showing), float(np.median(np.concatenate(errors))))


def _square(views: list[View], seen: Array, longest: float) -> tuple[Array, Array, list[int]] | None:
    """One marker's corners (4,3), their errors in pixels and the views used, from seen (V,4,2). The view that
    agrees least is left out, until all agree: a misread number is another marker, somewhere else."""
    used = list(range(len(views)))
    while len(used) > 1:
        met = [triangulated([views[i] for i in used], seen[used, k]) for k in range(4)]
        sound = [each for each in met if each is not None and each.angle >= LEAST_ANGLE]
        if len(sound) < 4:
            return None
        errors = np.stack([each.errors for each in sound])
        worst = errors.max(0)
        if worst.max() <= _WITHIN * longest:
            return np.stack([each.point for each in sound]), errors.ravel(), used
        del used[int(worst.argmax())]
    return None

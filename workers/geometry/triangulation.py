"""Where a point lies that several photos show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_OPENCV = np.diag([1.0, -1.0, -1.0])  # between OpenGL's camera axes and its own
_UNDISTORTING = (cv2.TERM_CRITERIA_MAX_ITER | cv2.TERM_CRITERIA_EPS, 100, 1e-12)
_STEPS = 10


@dataclass(frozen=True)
class View:
    """A photo's camera: c2w (4,4) OpenGL; intrinsics fx, fy, cx, cy in pixels, centres at +0.5; distortion
    k1, k2, p1, p2, k3 of OpenCV's model."""

    c2w: Array
    intrinsics: tuple[float, float, float, float]
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)

    def undistorted(self, xy: Array) -> Array:
        """(P,2) pixels -> (P,2) where their rays meet the plane at unit depth, x right and y down."""
        fx, fy, cx, cy = self.intrinsics
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
        lens = np.array(self.distortion)
        found = cv2.undistortPoints(
            np.reshape(xy, (-1, 1, 2)).astype(np.float64), matrix, lens, criteria=_UNDISTORTING
        )
        return np.asarray(found, np.float64).reshape(-1, 2)


@dataclass(frozen=True)
class Meeting:
    """point (3,) of the world. errors (V,): how far from it each photo shows the point, in its pixels; inf
    where it would be behind the camera. angle: between the two rays furthest apart, in degrees."""

    point: Array
    errors: Array
    angle: float


def triangulated(views: Sequence[View], seen: Array) -> Meeting | None:
    """The point that V >= 2 views show at the pixels seen (V,2): the one nearest to all rays, then moved by
    Gauss-Newton to where it is shown with the least squared error, lens distortion undone. None where the
    rays are parallel."""
    plane = np.concatenate([view.undistorted(xy) for view, xy in zip(views, seen, strict=True)])
    rotation = np.stack([_OPENCV @ view.c2w[:3, :3].T for view in views])  # world to OpenCV's axes
    centre = np.stack([view.c2w[:3, 3] for view in views])
    focal = np.array([view.intrinsics[:2] for view in views])
    rays = np.einsum("vji,vj->vi", rotation, np.concatenate([plane, np.ones((len(plane), 1))], axis=1))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    angle = float(np.degrees(np.arccos(np.clip((rays @ rays.T).min(), -1, 1))))
    across = np.eye(3) - rays[:, :, None] * rays[:, None, :]
    whole = across.sum(0)
    if np.linalg.cond(whole) > 1e12:
        return None
    point = np.linalg.solve(whole, np.einsum("vij,vj->i", across, centre))
    for _ in range(_STEPS):
        local = np.einsum("vij,vj->vi", rotation, point - centre)
        if (local[:, 2] <= 0).any():
            break
        off = focal * (local[:, :2] / local[:, 2:] - plane)
        slope = rotation[:, :2] - (local[:, :2] / local[:, 2:])[:, :, None] * rotation[:, 2:]
        slope = slope * (focal / local[:, 2:])[:, :, None]
        point = point - np.linalg.lstsq(slope.reshape(-1, 3), off.ravel(), rcond=None)[0]
    local = np.einsum("vij,vj->vi", rotation, point - centre)
    depth = np.where(local[:, 2:] > 0, local[:, 2:], np.inf)
    off = focal * (local[:, :2] / depth - plane)
    errors = np.where(local[:, 2] > 0, np.hypot(off[:, 0], off[:, 1]), np.inf)
    return Meeting(point, errors, angle)

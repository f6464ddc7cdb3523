"""A picture of the model for lists and loading screens."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.render.preview import shade

SIZE = 1024
FIELD_OF_VIEW = np.radians(32.0)
ELEVATION = np.radians(20.0)
MARGIN = 0.08
"""Of the picture's side, on each side."""


@dataclass(frozen=True)
class Mesh:
    """vertices, normals (V, 3); uv (V, 2) with v up; faces (F, 3); kd (T, T, 3) sRGB, top row first."""

    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    uv: NDArray[np.float32]
    faces: NDArray[np.int32]
    kd: NDArray[np.uint8]

    @classmethod
    def of(cls, vertices: Any, normals: Any, uv: Any, faces: Any, kd: Any) -> Self:
        v, n, t = (np.asarray(array, np.float32) for array in (vertices, normals, uv))
        return cls(v, n, t, np.asarray(faces, np.int32), kd)


def poster(mesh: Mesh, c2w: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(1024, 1024, 3) uint8 sRGB: the whole mesh, seen from the side of the most telling of the
    cameras (N, 4, 4, OpenGL, in the mesh's frame) that photographed it, and held the same way up."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    centre, radius = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
    c2w = c2w[_from_slightly_above(c2w, centre)]
    towards = c2w[:3, 3] - centre
    back = towards / np.linalg.norm(towards)
    right = np.cross(c2w[:3, 1], back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
    pose[:3, 3] = centre + back * radius / np.sin(FIELD_OF_VIEW / 2)
    return np.asarray(shade(mesh, Cameras(("poster",), _fitting(mesh, pose), SIZE, SIZE, pose[None])))


def _fitting(mesh: Mesh, pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1, 4) fx, fy, cx, cy with which the mesh fills the picture but for its margin, in the middle."""
    points = (mesh.vertices - pose[:3, 3]) @ pose[:3, :3]
    x, y = points[:, 0] / -points[:, 2], points[:, 1] / points[:, 2]  # right and down
    focal = SIZE * (1 - 2 * MARGIN) / max(float(np.ptp(x)), float(np.ptp(y)))
    cx, cy = (SIZE / 2 - focal * (v.min() + v.max()) / 2 for v in (x, y))
    return np.array([[focal, focal, cx, cy]])


def _from_slightly_above(c2w: NDArray[np.float64], centre: NDArray[np.float64]) -> int:
    """The camera that looks down on the object at an angle nearest to `ELEVATION`, if up is where the
    photographers' heads were."""
    up = c2w[:, :3, 1].mean(axis=0)
    towards = c2w[:, :3, 3] - centre
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    elevation = np.arcsin(np.clip(towards @ up / max(float(np.linalg.norm(up)), 1e-9), -1, 1))
    return int(np.abs(elevation - ELEVATION).argmin())

"""Where the object is: the similarity from the capture's world to the frame of reconstruction, and
how near and far each camera sees it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NO_MASK_RADIUS = 0.35
"""Of the median distance of the cameras; phones keep an object well inside the picture."""
MARGIN = 1.1


def nearest_point(origins: Array, directions: Array) -> Array:
    """(3,) the point with the least sum of squared distances to N lines.

    origins (N, 3), directions (N, 3) unit. Lines that are all parallel give the point of them
    nearest to the origins' mean.
    """
    across = np.eye(3) - directions[:, :, None] * directions[:, None, :]  # N,3,3
    mean = origins.mean(axis=0)
    target = np.einsum("nij,nj->i", across, origins - mean)
    return np.asarray(mean + np.linalg.pinv(across.sum(axis=0), rcond=1e-6) @ target)


def object_sphere(c2w: Array, intrinsics: Array, boxes: Array | None) -> tuple[Array, float]:
    """Centre (3,) and radius of a sphere about the object, in world units.

    c2w (N, 4, 4) OpenGL; intrinsics (N, 4) fx, fy, cx, cy; boxes (N, 4) the masks' left, top, right,
    bottom in pixels. With boxes the centre is where the rays through their middles nearly meet, and
    the radius is what the median box spans there; without, the optical axes serve, and a guess.
    """
    origins, rotations = c2w[:, :3, 3], c2w[:, :3, :3]
    if boxes is None:
        directions = -rotations[:, :, 2]
    else:
        fx, fy, cx, cy = intrinsics.T
        x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
        rays = np.stack([(x - cx) / fx, -(y - cy) / fy, -np.ones_like(x)], axis=1)
        directions = np.einsum("nij,nj->ni", rotations, rays)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    centre = nearest_point(origins, directions)
    distance = np.linalg.norm(origins - centre, axis=1)
    if boxes is None:
        return centre, float(np.median(distance)) * NO_MASK_RADIUS
    diagonal = np.hypot(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    return centre, float(np.median(0.5 * diagonal / intrinsics[:, 0] * distance)) * MARGIN


def to_normalised(centre: Array, radius: float) -> Array:
    """(4, 4): the sphere becomes the unit sphere; axes keep their directions."""
    matrix = np.eye(4) / radius
    matrix[:3, 3] = -centre / radius
    matrix[3, 3] = 1
    return matrix


def bounds(c2w: Array, centre: Array, radius: float) -> tuple[Array, Array]:
    """near, far (N,): depths along each optical axis between which the sphere lies, near positive."""
    depth = np.einsum("ni,ni->n", centre - c2w[:, :3, 3], -c2w[:, :3, 2])
    far = np.maximum(depth + radius, radius)
    return np.maximum(depth - radius, 0.01 * far), far


def measured(about: tuple[Array, Array], depths: Sequence[tuple[float, float] | None]) -> tuple[Array, Array]:
    """near, far (N,): those that were measured of each camera, and elsewhere those that are about right."""
    near, far = (
        np.array([guess if depth is None else depth[end] for guess, depth in zip(each, depths, strict=True)])
        for end, each in enumerate(about)
    )
    return near, far

"""Rotations as unit quaternions (..., 4) in the order x, y, z, w, as ARCore, ARKit and Record3D give them.

q and -q are the same rotation. Leading dimensions broadcast.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def conjugate(quaternion: ArrayLike) -> Array:
    """The inverse rotation."""
    return np.asarray(quaternion, np.float64) * (-1.0, -1.0, -1.0, 1.0)


def product(left: ArrayLike, right: ArrayLike) -> Array:
    """Hamilton's product: the rotation `right`, then `left`."""
    a, b = np.asarray(left, np.float64), np.asarray(right, np.float64)
    u, s, v, t = a[..., :3], a[..., 3:], b[..., :3], b[..., 3:]
    return np.concatenate(
        [s * v + t * u + np.cross(u, v), s * t - (u * v).sum(axis=-1, keepdims=True)], axis=-1
    )


def to_matrix(quaternion: ArrayLike) -> Array:
    """(..., 3, 3), also from quaternions that are not quite of unit length."""
    q = np.asarray(quaternion, np.float64)
    x, y, z, w = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def from_matrix(matrix: ArrayLike) -> Array:
    """The quaternions, w not negative, of the rotations R that maximise tr(Rᵀ M) for M (..., 3, 3): of M
    itself where it is a rotation, the nearest one where it is nearly so, and the best fit to vector pairs
    where M is their weighted Σ a bᵀ, a ≈ R b (Davenport's q-method; Bar-Itzhack, New method for extracting
    the quaternion from a rotation matrix, 2000).
    """
    m = np.asarray(matrix, np.float64)
    profile = np.zeros((*m.shape[:-2], 4, 4))
    trace = np.trace(m, axis1=-2, axis2=-1)
    profile[..., :3, :3] = m + m.swapaxes(-1, -2) - trace[..., None, None] * np.eye(3)
    axis = np.stack(
        [m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], axis=-1
    )
    profile[..., :3, 3] = profile[..., 3, :3] = axis
    profile[..., 3, 3] = trace
    return _canonical(np.linalg.eigh(profile)[1][..., -1])


def mean(quaternions: ArrayLike, weights: ArrayLike | None = None) -> Array:
    """(4,) the rotation with the least weighted sum of squared chordal distances to N quaternions (N, 4),
    whatever their signs (Markley, Cheng, Crassidis and Oshman, Averaging Quaternions, 2007).
    """
    q = np.asarray(quaternions, np.float64)
    w = np.ones(len(q)) if weights is None else np.asarray(weights, np.float64)
    return _canonical(np.linalg.eigh(np.einsum("n,ni,nj->ij", w, q, q))[1][:, -1])


def angle(left: ArrayLike, right: ArrayLike) -> Array:
    """Radians, 0 to pi, between rotation matrices (..., 3, 3), from how far apart their entries are: exact
    for small angles too.
    """
    apart = np.linalg.norm(np.asarray(left, np.float64) - np.asarray(right, np.float64), axis=(-2, -1))
    return np.asarray(2 * np.arcsin(np.clip(apart / 8**0.5, 0, 1)))


def to_vector(quaternion: ArrayLike) -> Array:
    """(..., 3) the axis times the angle in radians, which is at most pi."""
    q = _canonical(np.asarray(quaternion, np.float64))
    sine = np.linalg.norm(q[..., :3], axis=-1, keepdims=True)
    half = np.arctan2(sine, q[..., 3:])
    # the limit of half / sine where both vanish is 1
    return np.asarray(2 * q[..., :3] * np.where(sine > 1e-12, half / np.maximum(sine, 1e-12), 1.0))


def from_vector(vector: ArrayLike) -> Array:
    """Undo `to_vector`."""
    v = np.asarray(vector, np.float64)
    half = np.linalg.norm(v, axis=-1, keepdims=True) / 2
    return np.concatenate([v / 2 * np.sinc(half / np.pi), np.cos(half)], axis=-1)


def _canonical(quaternion: Array) -> Array:
    return np.where(quaternion[..., 3:] < 0, -quaternion, quaternion)

"""Anchors as a body: the rigid motion that takes them from where they are to where they were.

What the fit of some anchors needs to know of each are sums, so that of all others is had by taking one off.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.geometry.rotations import angle, from_matrix, to_matrix

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Sums(NamedTuple):
    """Over anchors: their number (...), the weights of their positions and rotations (...), and weighted:
    their positions now and then (..., 3), how far those then are from the origin, squared (...), and the
    profile matrix of both and of their rotations (..., 3, 3).
    """

    number: Array
    weight: Array
    turning: Array
    here: Array
    there: Array
    square: Array
    profile: Array

    def all(self) -> "Sums":
        """(N, ...) for those of (N, M, ...), each anchor by itself."""
        return Sums(*(part.sum(axis=1) for part in self))

    def others(self) -> "Sums":
        """(N, M, ...) of all the others, for those of each anchor by itself."""
        return Sums(*(part.sum(axis=1, keepdims=True) - part for part in self))


def sums(places: Array, current: Array, used: Flags, noise: Array) -> Sums:
    """Of each anchor by itself, current (N, M, 4, 4) and places (M, 4, 4), as far as it is used (N, M). noise
    is (M, 2), its standard deviations in metres and radians: weights are over variances.

    A turn by a small angle changes a rotation matrix by twice its square, so R Rᵀ enters at half the weight.
    """
    w, v = used / noise[:, 0] ** 2, used / noise[:, 1] ** 2
    here, there = current[..., :3, 3], places[:, :3, 3]
    profile = (w[..., None, None] * there[:, :, None]) * here[..., None, :]
    profile += v[..., None, None] / 2 * (places[:, :3, :3] @ current[..., :3, :3].swapaxes(-1, -2))
    square = w * (there**2).sum(axis=-1)
    return Sums(used.astype(float), w, v, w[..., None] * here, w[..., None] * there, square, profile)


def fit(of: Sums) -> Array:
    """(..., 4, 4) the motion with the least weighted sum of squared differences of positions and rotations:
    as for points alone (Kabsch 1976), with the rotations in the profile matrix. Of no anchors, the identity.
    """
    some = of.number > 0.5
    total = np.where(some, of.weight, 1.0)[..., None]
    before, after = of.here / total, of.there / total
    motion = np.zeros((*of.number.shape, 4, 4))
    spread = of.profile - total[..., None] * after[..., :, None] * before[..., None, :]
    motion[..., :3, :3] = to_matrix(from_matrix(spread))
    motion[..., :3, 3] = after - np.einsum("...ij,...j->...i", motion[..., :3, :3], before)
    motion[..., 3, 3] = 1
    motion[~some] = np.eye(4)
    return motion


def variance(of: Sums, where: Array) -> Array:
    """(..., 2) of a `fit`: of its position at the points `where` (..., 3), and of its rotation about any
    axis; infinite for no anchors. Positions tell of the rotation too, here as if they lay alike in all
    directions.
    """
    some = of.number > 0.5
    total = np.where(some, of.weight, 1.0)
    centre = of.there / total[..., None]
    away = np.maximum(of.square - total * (centre**2).sum(axis=-1), 0)
    turn = 1 / np.where(some, of.turning + 2 / 3 * away, 1.0)
    lever = ((where - centre) ** 2).sum(axis=-1)
    result = np.stack([1 / total + 2 / 3 * lever * turn, turn], axis=-1)
    return np.where(some[..., None], result, np.inf)


def difference(left: Array, right: Array) -> Array:
    """(..., 2) metres and radians between poses (..., 4, 4)."""
    metres = np.linalg.norm(left[..., :3, 3] - right[..., :3, 3], axis=-1)
    return np.stack([metres, angle(left[..., :3, :3], right[..., :3, :3])], axis=-1)

"""What is expected of materials: neighbours of one colour share them, and so do distant parts of one
colour.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from workers.geometry.kernels import kernel
from workers.geometry.mesh import edges

Float = NDArray[np.float32]
Array = NDArray[np.float64]

_BINS = 10  # of each channel's logarithm
_DARK = 0.02
_ROUNDS = 40  # of conjugate gradients


def laplacian(faces: NDArray[np.int32], count: int, weights: Float | None = None) -> sparse.csr_matrix:
    """(V,V) of the mesh's edges, each counting by its weight (E,), in the order of `edges`; 1 without."""
    (a, b), values = edges(faces)[0].T, weights
    if values is None:
        values = np.ones(len(a), np.float32)
    both = sparse.csr_matrix(
        (np.concatenate([values] * 2), (np.concatenate([a, b]), np.concatenate([b, a]))), (count, count)
    )
    degree = np.asarray(both.sum(1)).ravel()
    return sparse.csr_matrix(sparse.diags(degree) - both, dtype=np.float32)


def alike(faces: NDArray[np.int32], colour: Float, spread: float) -> Float:
    """(E,) how alike the linear colours (V,3) at the ends of the mesh's edges are, up to 1: by their
    logarithms, brightness and hue alike counting `spread` (Tomasi and Manduchi 1998).
    """
    (a, b), tone = edges(faces)[0].T, np.log(colour + np.float32(0.03))
    likeness: Float = np.exp(-((tone[a] - tone[b]) ** 2).sum(1) / np.float32(2 * spread**2)) + np.float32(
        1e-4
    )
    return likeness


def relaxed(
    values: Float,
    trust: Float,
    between: sparse.csr_matrix,
    smooth: float,
    target: Float,
    pull: float,
    rounds: int = 25,
) -> Float:
    """(V,C) x that nearly minimises trust (x - values)^2 + smooth x' L x + pull (x - target)^2, by rounds of
    conjugate gradients with Jacobi's preconditioner; L is `between`.
    """
    x = np.ascontiguousarray(values, np.float32).copy()
    found = between.indptr, between.indices, between.data
    _descend(x, trust, *found, np.float32(smooth), target, np.float32(pull), rounds)
    return x


@kernel
def _descend(
    x: Float,
    trust: Float,
    starts: NDArray[np.int32],
    columns: NDArray[np.int32],
    values: Float,
    smooth: np.float32,
    target: Float,
    pull: np.float32,
    rounds: int,
) -> None:
    """The rounds of `relaxed`, from x (V,C) on and into it."""
    count, channels = x.shape
    rest, step, scale, image = np.empty_like(x), np.empty_like(x), np.empty_like(x), np.empty_like(x)
    power, bend, fresh = np.zeros(channels), np.zeros(channels), np.zeros(channels)
    least = np.float32(1e-6)
    _product(x, trust, starts, columns, values, smooth, pull, image)
    for i in range(count):
        diagonal = np.float32(0)
        for at in range(starts[i], starts[i + 1]):
            if columns[at] == i:
                diagonal = values[at]
        for c in range(channels):
            known = trust[i, c] + least
            scale[i, c] = 1 / (known + pull + smooth * diagonal)
            rest[i, c] = known * x[i, c] + pull * target[i, c] - image[i, c]
            step[i, c] = scale[i, c] * rest[i, c]
            power[c] += rest[i, c] * step[i, c]
    for _ in range(rounds):
        _product(step, trust, starts, columns, values, smooth, pull, image)
        bend[:], fresh[:] = 0, 0
        for i in range(count):
            for c in range(channels):
                bend[c] += step[i, c] * image[i, c]
        for i in range(count):
            for c in range(channels):
                length = np.float32(power[c] / (bend[c] + 1e-30))
                x[i, c] += length * step[i, c]
                rest[i, c] -= length * image[i, c]
                fresh[c] += rest[i, c] * rest[i, c] * scale[i, c]
        for i in range(count):
            for c in range(channels):
                step[i, c] = scale[i, c] * rest[i, c] + np.float32(fresh[c] / (power[c] + 1e-30)) * step[i, c]
        power[:] = fresh


@kernel
def _product(
    x: Float,
    trust: Float,
    starts: NDArray[np.int32],
    columns: NDArray[np.int32],
    values: Float,
    smooth: np.float32,
    pull: np.float32,
    out: Float,
) -> None:
    """(trust + pull + smooth L) x into `out`."""
    for i in range(len(x)):
        for c in range(x.shape[1]):
            out[i, c] = (trust[i, c] + np.float32(1e-6) + pull) * x[i, c]
        for at in range(starts[i], starts[i + 1]):
            part = smooth * values[at]
            for c in range(x.shape[1]):
                out[i, c] += part * x[columns[at], c]


def smoothed(field: Float, between: sparse.csr_matrix, smooth: float) -> Float:
    """(V,C) nearly (1 + smooth L)^-1 field."""
    return relaxed(field, np.ones_like(field), between, smooth, field, 0, rounds=5)


def of_colour(kd: Float, values: Float, trust: Float) -> Float:
    """(V,C) what points of each one's base colour kd (V,3) have on average, weighted by trust (V,C).

    On a grid over the logarithms of red, green and blue, splatted and sliced trilinearly (Paris and Durand
    2006).
    """
    place = np.log((kd + _DARK) / _DARK) / np.log((1 + _DARK) / _DARK) * (_BINS - 2)
    place = np.clip(place, 0, _BINS - 2.001)
    low = place.astype(np.int64)
    part = place - low
    cells = []
    for corner in np.ndindex(2, 2, 2):
        index = (low + corner) @ np.array([_BINS * _BINS, _BINS, 1])
        cells.append((index, np.where(corner, part, 1 - part).prod(1)))
    out = np.empty_like(values)
    for c in range(values.shape[1]):
        total, weight = np.zeros(_BINS**3), np.full(_BINS**3, 1e-12)
        for index, share in cells:
            total += np.bincount(index, share * trust[:, c] * values[:, c], _BINS**3)
            weight += np.bincount(index, share * trust[:, c], _BINS**3)
        above = sum(share * total[index] for index, share in cells)
        below = sum(share * weight[index] for index, share in cells)
        out[:, c] = above / below
    return out

"""What the network learns from: shapes, with pictures of them and points whose distance is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.reconstruct.methods.single_view.network import PIXELS

Float = NDArray[np.float32]

NEAR = 9872
"""Points near the surface of which a full-width network sees each shape's, in each epoch."""
EVEN = 128
"""Points anywhere of which it does."""


class Example(NamedTuple):
    """One shape.

    pictures: (K,S,S,4) uint8 sRGB and alpha, as `framed` cuts them. frames: (K,4,4) float32, similarities
    from the shape's frame to that of each picture. near (N,3), even (E,3): points in the shape's frame, near
    its surface and anywhere around it; near_distances (N,), even_distances (E,): signed, negative inside, in
    its unit.
    """

    pictures: NDArray[np.uint8]
    frames: Float
    near: Float
    near_distances: Float
    even: Float
    even_distances: Float


@dataclass(frozen=True)
class Batch:
    """pictures (B,S,S,4); points (B,P,3) in each picture's frame; distances (B,P) in its unit."""

    pictures: NDArray[np.uint8]
    points: Float
    distances: Float


class Examples:
    """Many of a kind, stacked."""

    def __init__(self, parts: Sequence[Example]) -> None:
        columns = (np.stack(column) for column in zip(*parts, strict=True))
        self._all = Example(*columns)

    def __len__(self) -> int:
        return len(self._all.pictures)

    def first(self, count: int) -> Examples:
        """So many of them, at most."""
        found = type(self).__new__(type(self))
        found._all = Example(**{name: each[:count] for name, each in self._all._asdict().items()})
        return found

    def save(self, path: Path) -> None:
        """As one file, the points to half precision, which is a thousandth of a training grid's voxel... of
        128.
        """
        halved = [each.astype(np.float16) for each in self._all[2:]]
        np.savez(path, *self._all[:2], *halved)

    @classmethod
    def load(cls, paths: Sequence[Path]) -> Examples:
        """Those of all files, in that order. ValueError where one is none that `save` wrote."""
        found = cls.__new__(cls)
        found._all = Example(*(np.concatenate(column) for column in zip(*map(_read, paths), strict=True)))
        return found

    def digest(self) -> str:
        """Tells them from any others."""
        found = sha256()
        for each in self._all:
            found.update(np.ascontiguousarray(each).data)
        return found.hexdigest()

    def judged(self, size: int = 16) -> Iterator[Batch]:
        """All shapes in order, each with its first picture and all of its points drawn from anywhere."""
        for start in range(0, len(self), size):
            rows, every = slice(start, start + size), self._all
            points, distances = _moved(every.frames[rows, 0], every.even[rows], every.even_distances[rows])
            yield Batch(every.pictures[rows, 0], points, distances)

    def batches(self, size: int, near: int, even: int, rng: np.random.Generator) -> Iterator[Batch]:
        """All shapes once, in batches of at most `size`, each with one of its pictures, which is mirrored or
        not, and so many of its points, all drawn by `rng`.
        """
        order = rng.permutation(len(self))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            view = rng.integers(self._all.pictures.shape[1], size=len(rows))
            a, b = (
                rng.integers(points.shape[1], size=(len(rows), count))
                for points, count in ((self._all.near, near), (self._all.even, even))
            )
            at = np.concatenate([self._all.near[rows[:, None], a], self._all.even[rows[:, None], b]], axis=1)
            far = np.concatenate(
                [self._all.near_distances[rows[:, None], a], self._all.even_distances[rows[:, None], b]],
                axis=1,
            )
            points, distances = _moved(self._all.frames[rows, view], at, far)
            pictures, mirrored = self._all.pictures[rows, view], rng.random(len(rows)) < 0.5
            pictures[mirrored] = pictures[mirrored][:, :, ::-1]
            points[mirrored, :, 0] *= -1
            yield Batch(pictures, points, distances)


def _read(path: Path) -> Example:
    """See `Examples.load`."""
    try:
        with np.load(path) as file:
            found = Example(*(file[name] for name in file.files))
        count, views = found.frames.shape[:2]
        near, even = found.near.shape[1], found.even.shape[1]
        wanted = [(count, views, PIXELS, PIXELS, 4), (count, views, 4, 4),
                  (count, near, 3), (count, near), (count, even, 3), (count, even)]  # fmt: skip
        if [each.shape for each in found] != wanted:
            raise ValueError("other shapes")
    except Exception as error:  # there is no end to what a damaged file can raise
        raise ValueError(f"{path} is damaged; remove it to have it made anew") from error
    return found


def _moved(frames: Float, points: Float, distances: Float) -> tuple[Float, Float]:
    """Points (B,P,3) and their distances (B,P) after similarities (B,4,4)."""
    points = np.einsum("bij,bpj->bpi", frames[:, :3, :3], points.astype(np.float32)) + frames[:, None, :3, 3]
    scale = np.linalg.norm(frames[:, 0, :3], axis=1)[:, None]
    return points.astype(np.float32), (scale * distances).astype(np.float32)


def in_picture(surface: NDArray[np.floating], rotation: NDArray[np.floating]) -> Float:
    """(4,4) the similarity from a shape's frame to that of a picture which shows it turned by `rotation`
    (3,3).

    surface: (S,3) points that span it. In the picture's frame the box of what is seen is centred, its longest
    side 1, and depth is centred too.
    """
    turned = surface @ rotation.T
    low, high = turned.min(0), turned.max(0)
    scale = 1 / max(high[0] - low[0], high[1] - low[1])
    matrix = np.eye(4)
    matrix[:3, :3] = scale * rotation
    matrix[:3, 3] = -scale * (low + high) / 2
    return matrix.astype(np.float32)

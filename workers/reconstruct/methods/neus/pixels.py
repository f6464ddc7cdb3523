"""Which pixels of the photos are looked at next: more often those that were wrong."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.reconstruct.methods.model import Scene

Float = NDArray[np.float32]
Long = NDArray[np.int64]

_TILE = 20  # pixels on a side of what has one error
_AROUND = 6  # pixels around the mask that are looked at too
_ALIKE = 0.2  # of the pixels are drawn evenly
_NEWS = 0.3  # share of a tile's latest error in what it is taken for


@dataclass(frozen=True)
class Batch:
    """R rays through pixels.

    starts, directions: (R,3) float32, unit. colours: (R,3) sRGB in [0,1]. masks: (R,) 1 on the object.
    views, tiles: (R,) of each.
    """

    starts: Float
    directions: Float
    colours: Float
    masks: Float
    views: Long
    tiles: Long


class Pixels:
    """Of photos cut to the object: those on its masks and next to them.

    errors: one of each tile, changed in place.
    """

    def __init__(self, cut: Scene, *, adaptive: bool = True) -> None:
        self._cut, self._adaptive = cut, adaptive
        height, width = cut.masks.shape[1:]
        near = np.ones((2 * _AROUND + 1,) * 2, np.uint8)
        wanted = np.stack([cv2.dilate(mask.astype(np.uint8), near) > 0 for mask in cut.masks])
        for shown, (left, top, right, bottom) in zip(wanted, cut.frames, strict=True):
            inside = np.zeros((height, width), bool)
            inside[top:bottom, left:right] = True
            shown &= inside
        pixels = np.flatnonzero(wanted)
        of, row, column = np.unravel_index(pixels, wanted.shape)
        across = -(-width // _TILE)
        tiles = (of * -(-height // _TILE) + row // _TILE) * across + column // _TILE
        order = np.argsort(tiles, kind="stable")
        self._pixels = pixels[order]
        _, self._counts = np.unique(tiles, return_counts=True)
        self._first = np.cumsum(self._counts) - self._counts
        self.errors = np.ones(len(self._counts), np.float32)

    def draw(self, count: int, rng: np.random.Generator) -> Batch:
        """As many of them, with repetition."""
        evenly = self._counts / self._counts.sum()
        wrong = self._counts * self.errors
        share = _ALIKE * evenly + (1 - _ALIKE) * wrong / wrong.sum() if self._adaptive else evenly
        bounds = np.cumsum(share)
        tiles = np.minimum(np.searchsorted(bounds, rng.random(count) * bounds[-1]), len(bounds) - 1)
        pixels = self._pixels[self._first[tiles] + rng.integers(self._counts[tiles])]
        return through(self._cut, pixels, tiles)

    def learn(self, batch: Batch, errors: Float) -> None:
        """Errors (R,) of what was drawn."""
        total = np.bincount(batch.tiles, errors, len(self.errors))
        count = np.bincount(batch.tiles, minlength=len(self.errors))
        seen = count > 0
        news = total[seen] / count[seen]
        self.errors[seen] = (1 - _NEWS) * self.errors[seen] + _NEWS * news


def through(cut: Scene, pixels: Long, tiles: Long) -> Batch:
    """Rays through `pixels` (R,), flat indices over the photos; tiles (R,) of each."""
    views, row, column = np.unravel_index(pixels, cut.masks.shape)
    fx, fy, cx, cy = cut.cameras.intrinsics[views].T
    local = np.stack([(column + 0.5 - cx) / fx, -(row + 0.5 - cy) / fy, -np.ones(len(row))], axis=1)
    pose = cut.cameras.c2w[views]
    directions = np.einsum("nij,nj->ni", pose[:, :3, :3], local)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return Batch(
        pose[:, :3, 3].astype(np.float32),
        directions.astype(np.float32),
        cut.images[views, row, column].astype(np.float32) / np.float32(255),
        cut.masks[views, row, column].astype(np.float32),
        views,
        tiles,
    )

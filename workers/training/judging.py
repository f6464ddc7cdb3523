"""How good a network is on shapes it has not seen, and what it has to beat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates

from workers.reconstruct.methods.single_view.network import PIXELS, REACH, Network, fed
from workers.training.examples import Batch, Examples

Float = NDArray[np.float32]

_LEVELS = tuple(0.1 * k for k in range(-20, 41))  # logits
_CELLS = 32  # on a side of the grid that the mean shape is kept on


def overlaps(inside: Callable[[Batch], NDArray[np.bool_]], examples: Examples) -> Float:
    """(M,) for the first picture of each shape the intersection over union with what `inside` says of each
    point (B,P), by points drawn evenly.
    """
    found = []
    for batch in examples.judged():
        said, so = inside(batch), batch.distances <= 0
        said &= np.abs(batch.points).max(2) <= REACH  # nobody looks farther
        found.append((said & so).sum(1) / np.maximum((said | so).sum(1), 1))
    return np.concatenate(found).astype(np.float32)


@torch.no_grad()
def by_network(network: Network, batch: Batch) -> NDArray[np.bool_]:
    """What the network says (B,P)."""
    device = next(network.parameters()).device
    logits = network(fed(batch.pictures).to(device), torch.from_numpy(batch.points).to(device))
    said: NDArray[np.bool_] = (logits > 0).cpu().numpy()
    return said


@torch.no_grad()
def calibrate(network: Network, examples: Examples) -> float:
    """Move the network's logits so that their 0 is where it fits the shapes, those it learned from, best; by
    how much.

    It learns from points most of which lie near a surface, half of them inside: left alone it takes too much
    of space, of which little is inside, for inside.
    """
    batches = list(examples.judged())
    device = next(network.parameters()).device
    logits = [
        network(fed(each.pictures).to(device), torch.from_numpy(each.points).to(device)).cpu().numpy()
        for each in batches
    ]

    def fit(level: float) -> float:
        found = iter(logits)
        return float(overlaps(lambda batch: next(found) > level, examples).mean())

    best = max(_LEVELS, key=fit)
    network.shift(-best)
    return best


@dataclass(frozen=True)
class MeanShape:
    """The share of the training's shapes, in their pictures' frames, that is inside at each cell of a grid;
    and from which share on a cell is taken to be inside: that which fits the shapes of the training best.
    """

    share: Float
    level: float

    @classmethod
    def of(cls, examples: Examples) -> MeanShape:
        count, inside = np.zeros((2, _CELLS**3))
        for batch in examples.judged():
            cell = _cell(batch.points).ravel()
            count += np.bincount(cell, minlength=_CELLS**3)
            inside += np.bincount(cell, (batch.distances <= 0).ravel(), _CELLS**3)
        share = (inside / np.maximum(count, 1)).astype(np.float32)
        levels = [cls(share, level) for level in np.arange(0.1, 0.9, 0.05)]
        return max(levels, key=lambda each: float(overlaps(each, examples).mean()))

    def __call__(self, batch: Batch) -> NDArray[np.bool_]:
        said: NDArray[np.bool_] = self.share[_cell(batch.points)] > self.level
        return said


def _cell(points: Float) -> NDArray[np.int64]:
    at = ((points / REACH + 1) * (_CELLS / 2)).astype(np.int64).clip(0, _CELLS - 1)
    cell: NDArray[np.int64] = at @ np.array([_CELLS**2, _CELLS, 1])
    return cell


@dataclass(frozen=True)
class Inflated:
    """The mask extruded as an ellipsoid: as deep as `depth` where it is widest, and round towards its
    outline.
    """

    depth: float

    @classmethod
    def of(cls, examples: Examples) -> Inflated:
        """The depth that fits the shapes of the training best."""
        return max(
            map(cls, np.arange(0.1, 0.65, 0.05)), key=lambda each: float(overlaps(each, examples).mean())
        )

    def __call__(self, batch: Batch) -> NDArray[np.bool_]:
        said = np.empty(batch.distances.shape, bool)
        for i, (picture, points) in enumerate(zip(batch.pictures, batch.points, strict=True)):
            within = distance_transform_edt(picture[..., 3] > 127)
            column, row = (points[:, :2] * [1, -1] / REACH + 1).T * (PIXELS / 2) - 0.5
            share = map_coordinates(within / within.max(), [row, column], order=1)
            half = self.depth * np.sqrt(np.clip(1 - (1 - share) ** 2, 0, 1))
            said[i] = (share > 0) & (np.abs(points[:, 2]) <= half)
        return said

"""How well each mask fits the others, and which of them the others fit without."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.geometry.grid import Grid
from workers.segment.multiview.region import region
from workers.segment.verdicts.space import NEVER, explained, opposed

Bool = NDArray[np.bool_]
Array = NDArray[np.float64]
Boxes = NDArray[np.int64]

_TOLERANCES = 1.5, 3.0, 5.0  # pixels that outlines may be off, since cameras are; the least that suits
_USUAL = 0.02  # error of most photos where that tolerance suits
_COARSE, _FINE, _REACH, _LOOSE = 48, 72, 2.0, 10.0  # samples, half the coarse grid's side, pixels
_DISSENT = 0.1  # of the photos may oppose what is the object
_DISPUTED = 0.34  # of them may oppose what counts against those that do
_SEEN, _FEWEST = 0.25, 4  # of them, and photos, must show what explains anything
WRONG = 0.14  # of the object that is missing, or of a mask that is no object, from which on it is wrong
_BEFORE = 2.0  # a missing part stands before or behind another one in about half of the photos
_SLIGHT = 0.4  # of that: what others are worse for
_TOGETHER = 0.75  # of the worst's: what is as wrong as that goes with it
_ROUNDS = 6
_RAYS = 700  # through a mask


class Fit(NamedTuple):
    """missing (N,): about the part of the object that the mask denies; extra (N,): the part of the mask that
    the other photos have no room for. 1 where no two masks fit together.
    """

    missing: Array
    extra: Array

    @property
    def error(self) -> Array:
        """(N,) the worse of both."""
        return np.maximum(self.missing, self.extra)


def fit(masks: Bool, frames: Boxes, cameras: Cameras, telling: Bool) -> Fit:
    """Of masks (N,h,w), frames (N,4) and N cameras, by those that are telling (N,), some at least, and not
    wrong themselves.
    """
    cameras = cameras.transformed(region(cameras, frames))
    best = _sorted_out(masks, frames, cameras, telling, _TOLERANCES[0])
    for tolerance in _TOLERANCES[1:]:
        wrong = telling & (best.error >= WRONG)
        usual = best.error[telling & ~wrong]
        if len(usual) and np.median(usual) <= _USUAL:
            break
        found = _sorted_out(masks, frames, cameras, telling, tolerance)
        # What is wrong in itself is so by any tolerance; what is so by its camera is not.
        if (telling & (found.error >= WRONG)).sum() <= wrong.sum() / 2:
            best = found
    return best


def _sorted_out(masks: Bool, frames: Boxes, cameras: Cameras, telling: Bool, tolerance: float) -> Fit:
    """The worst are left out, round by round, so that they do not speak against the good ones."""
    outside, good = ~_widened(masks, tolerance), telling.copy()
    for _ in range(_ROUNDS):
        found = _compared(masks, outside, frames, cameras, good)
        # What all photos would gain without one: that which lacks a part is at odds with all others.
        gain = np.where(good & (found.error > _SLIGHT * WRONG), found.missing + found.extra / len(masks), 0)
        left = good & (gain <= _TOGETHER * gain.max())
        if found.error[good].max(initial=0) < WRONG or left.sum() < 2:
            break
        good = left
    return found


def _compared(masks: Bool, outside: Bool, frames: Boxes, cameras: Cameras, good: Bool) -> Fit:
    """By the masks that are good (N,)."""
    count, use = int(good.sum()), np.flatnonzero(good)
    nothing = np.ones(len(masks))
    if count < 2:
        return Fit(nothing, nothing)
    grid = _box(masks[use], frames[use], cameras.select(use))
    if grid is None:
        return Fit(nothing, nothing)
    against, seen = opposed(outside[use], frames[use], cameras.select(use), grid)
    share = np.rint(against / np.maximum(seen, 1) * count).astype(np.int16)
    share[seen < max(min(_FEWEST, count), _SEEN * count)] = NEVER
    most = int(_DISPUTED * count)
    stride = max(1, round(float(np.median(masks.sum((1, 2))) / _RAYS) ** 0.5))
    least, denied = explained(masks, outside, frames, cameras, good, share, grid, most, stride)
    extra = (least > int(_DISSENT * count)).sum((1, 2)) / np.maximum((least >= 0).sum((1, 2)), 1)
    others = (good[:, None] & ~np.eye(len(good), dtype=bool)).astype(float)
    known = np.maximum(((least >= 0) & (least <= most)).sum((1, 2)), 1)
    missing = (others * denied / known[:, None]).sum(0) / others.sum(0)
    return Fit(np.minimum(_BEFORE * missing, 1), extra)


def _box(masks: Bool, frames: Boxes, cameras: Cameras) -> Grid | None:
    """The grid over what most masks show, generously; None where there is no such place."""
    coarse = Grid.around(np.full(3, -_REACH), np.full(3, _REACH), _COARSE)
    against, seen = opposed(~_widened(masks, _LOOSE), frames, cameras, coarse)
    points = coarse.points(
        (seen >= max(min(_FEWEST, len(masks)), _SEEN * len(masks))) & (against <= _DISPUTED * seen)
    )
    if not len(points):
        return None
    low, high = points.min(0) - coarse.spacing / 2, points.max(0) + coarse.spacing / 2
    return Grid.around(low, high, _FINE, margin=1)


def _widened(masks: Bool, pixels: float) -> Bool:
    """(N,h,w) what is within so many pixels of the masks."""
    return np.stack(
        [cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3) <= pixels for mask in masks]
    )

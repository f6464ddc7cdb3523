"""The object of one photo, with nothing known but the photo, and how far to trust that.

What stands out is looked for at several scales, and with more or less weight on the middle; each finding is
made better by the colours of both its sides and a minimal cut (as GrabCut does: Rother, Kolmogorov and Blake
2004). The finding most like all others is taken: where they differ, the photo does not tell its object.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from workers.segment.multiview.cut import boundary_costs, cut
from workers.segment.single.background import salience

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Image = NDArray[np.uint8]
Report = Callable[[float, str], None]

_PIXELS = 256  # of the picture's longer side while the object is looked for
_PATCHES = 120, 250, 450
_MIDDLE = 0.0, 0.5, 1.5  # powers of the weight of the middle
_WIDTH = 0.3  # of the picture, of that weight
_PRIOR, _MOST, _AT_SIDE = 2.0, 3.0, 2.0  # log-likelihood that salience and colour may say; against the sides
_CERTAIN = 100.0  # log-likelihood of what somebody marked
_SMOOTH, _STEPS, _ROUNDS = 8.0, 130, 3
_CORE, _CLEAR, _NEAR = 1, 4, 30  # pixels in and out of the outline, for colours
_FEWEST = 30  # pixels that make colours
_HOLE = 0.004  # of a picture: what is smaller and has the object all round is object
_BINS, _BLUR, _UNSEEN = 32, 1.2, 2e-3  # of each channel, bins, share of all colours not seen


def segment(image: Image, marked: Float, report: Report) -> tuple[Float, float]:
    """(h,w) in [0,1], near 1 where image (h,w,3) sRGB shows the object, and the confidence in [0,1]: the mean
    overlap (IoU) of what was found in other ways with it. No part of the image may be padding.

    marked (h,w): positive where somebody saw the object, negative where not, 0 where nothing was said.
    """
    height, width = image.shape[:2]
    factor = min(1.0, _PIXELS / max(height, width))
    size = (round(factor * width), round(factor * height))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    said = np.sign(cv2.resize(marked, size, interpolation=cv2.INTER_NEAREST))
    costs = boundary_costs(small[None])
    found = []
    for n, patches in enumerate(_PATCHES):
        stands_out = salience(small, patches)
        found += [
            _refined(small, stands_out * _middle(small.shape) ** power, said, costs) for power in _MIDDLE
        ]
        report(0.95 * (n + 1) / len(_PATCHES), "object")
    masks = np.stack(found) > 0.5
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    common, size = flat @ flat.T, flat.sum(1)
    overlap = common / np.maximum(size[:, None] + size - common, 1)
    like = (overlap.sum(1) - np.diag(overlap)) / (len(masks) - 1)
    best = int(like.argmax())
    report(1.0, "edges")
    inside = cv2.resize(found[best], (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(inside, np.float32), float(like[best])


def _middle(shape: tuple[int, ...]) -> Float:
    """(h,w) 1 in the middle, less towards the sides."""
    rows, columns = ((np.arange(n) + 0.5) / n - 0.5 for n in shape[:2])
    return np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * _WIDTH**2)).astype(np.float32)


def _refined(image: Image, likely: Float, said: Float, costs: tuple[Float, Float]) -> Float:
    """(h,w) in [0,1] the object by what is likely (h,w) at first, one part without small holes. said (h,w): 1
    and -1 where it is certain.
    """
    likely = likely / max(float(likely.max()), 1e-6)
    likely = np.where(said == 0, likely, (said > 0).astype(np.float32))
    limit, _ = cv2.threshold((255 * likely).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    odds = np.log((likely + 0.02) / (1.02 - likely)) - np.log((limit / 255 + 0.02) / (1.02 - limit / 255))
    prior = np.clip(odds, -_PRIOR, _PRIOR)
    prior[[0, -1]] -= _AT_SIDE
    prior[1:-1, [0, -1]] -= _AT_SIDE
    prior += _CERTAIN * said
    box = np.array([[0, 0, image.shape[1], image.shape[0]]])
    inside = (255 * likely > limit).astype(np.float32)
    for _ in range(_ROUNDS):
        mask = (inside > 0.5).astype(np.uint8)
        core = cv2.erode(mask, _square(_CORE)) > 0
        clear = cv2.dilate(mask, _square(_CLEAR)) == 0
        near = clear & (cv2.dilate(mask, _square(_NEAR)) > 0)
        if min(core.sum(), near.sum()) < _FEWEST:
            break
        ratio = _by_colour(image, core, clear, near)
        inside = cut((ratio + prior)[None].astype(np.float32), costs, _SMOOTH, box, _STEPS)[0]
    parts, count = ndimage.label(inside > 0.5)
    if count == 0:
        return np.zeros_like(inside)
    kept = parts == 1 + np.argmax(ndimage.sum_labels(likely + 0.05, parts, np.arange(1, count + 1)))
    holes, _ = ndimage.label(~kept)
    filled = (np.bincount(holes.ravel()) < _HOLE * kept.size)[holes]
    return np.where(filled, np.float32(1), np.where(kept | (parts == 0), inside, np.float32(0)))


def _by_colour(image: Image, core: Bool, clear: Bool, near: Bool) -> Float:
    """(h,w) logarithm of how much likelier pixels are of the core's colours than of those clear of it, of
    which those near count twice.
    """
    cells = image.astype(np.int64) * _BINS // 256
    index = (cells[..., 0] * _BINS + cells[..., 1]) * _BINS + cells[..., 2]
    own, far, around = (_densities(index[where]) for where in (core, clear, near))
    ratio = np.log(own) - np.log((far + around) / 2)
    return np.asarray(np.clip(ratio, -_MOST, _MOST)[index], np.float32)


def _densities(index: NDArray[np.int64]) -> Float:
    """(_BINS**3,) how often colours occur, among those of the index (M,)."""
    counts = np.bincount(index, minlength=_BINS**3).reshape((_BINS,) * 3).astype(np.float32)
    smooth = ndimage.gaussian_filter(counts / len(index), _BLUR).ravel()
    return np.asarray(smooth + np.float32(_UNSEEN / _BINS**3), np.float32)


def _square(reach: int) -> NDArray[np.uint8]:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)

"""Plane sweep guided by a surface: depth maps by normalised correlation of windows that follow the guide.

Each pixel tries depths guide + offset; a window's pixels move together, so it slants as the guide does (the
guided form of Collins 1996, with the zero-mean normalised correlation and best-K neighbours of Goesele et al.
2006). Windows with little texture are compared by their brightness, as far as brightness means something.
"""

from __future__ import annotations

import numpy as np
from numba import prange
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.geometry.kernels import Real, kernel, parallel_kernel
from workers.reconstruct.methods.surface.aggregate import aggregate, decide

Float = NDArray[np.float32]
Index = NDArray[np.int32]
Bool = NDArray[np.bool_]

_NOISE = 2.0  # deviations of the noise that texture must reach to count
_STEADY_NOISE = 4.0  # and as many more where brightness is steady, and says more than weak texture
_DRIFT = 1.5  # usual changes of brightness from view to view at which likeness ends
_SMALL, _LARGE = (
    0.04,
    0.3,
)  # penalties of a change of offset between neighbouring pixels; costs run from 0 to 1
_PRIOR = 0.03  # cost of the farthest offset over the guide itself
_TEMPERATURE = 0.02  # of costs: how much worse a plane is before it stops being an alternative
_NO_MATCH = 0.5  # correlation that means nothing


def choose_neighbours(angles: NDArray[np.float64], count: int, best_angle: float = 0.26) -> Index:
    """(N,count) views to compare each view with: those at nearly `best_angle` radians of it, out of angles
    (N,N).

    Nearer views hardly move, farther ones look different: ordered by |log(angle / best_angle)|.
    """
    cost = np.abs(np.log(np.maximum(angles, 1e-3) / best_angle))
    np.fill_diagonal(cost, np.inf)
    return np.argsort(cost, axis=1, kind="stable")[:, :count].astype(np.int32)


def sweep(
    grey: Float,
    masks: Bool,
    cameras: Cameras,
    guide: Float,
    neighbours: Index,
    offsets: Float,
    keep: int,
    views: NDArray[np.int64],
    tones: tuple[Float, Float, Float],
    radius: int,
) -> tuple[Float, Float]:
    """Depth (M,h,w) and confidence (M,h,w) in [0,1] for the M `views`; 0 and 0 where the guide shows nothing.

    grey: (N,h,w) in [0,1]. guide: (N,h,w) depth along the axis, 0 where nothing. neighbours: (N,J).
    offsets: (D,) evenly spaced depths added to the guide, in the cameras' frame. keep: how many of the J best
    correlations are averaged. tones: noise, and drift and how steady brightness is, each (N,h,w), of
    `tones.noise_level` and `tones.brightness_drift`. radius: windows are of 2 radius + 1 pixels. The volume
    of costs is aggregated semi-globally, so that surface without texture follows the surface around it,
    relative to the guide.
    """
    square = np.tile(np.eye(4), (len(cameras), 1, 1))
    square[:, :3] = cameras.projection()  # N,4,4: world to (u w, v w, w, 1)
    warp = square[neighbours[views], :3] @ np.linalg.inv(square[views])[:, None]  # M,J,3,4
    depth = np.zeros((len(views), *grey.shape[1:]), np.float32)
    confidence = np.zeros(depth.shape, np.float32)
    noise, drift, steady = tones
    floor = ((np.float32(_NOISE) + np.float32(_STEADY_NOISE) * steady) * noise) ** 2
    steep = (np.float32(_DRIFT) * drift) ** -2
    centred = (grey - np.float32(0.5)) * masks
    _sweep(
        centred,
        masks,
        guide,
        warp.astype(np.float32),
        neighbours,
        offsets,
        keep,
        views,
        floor,
        steep,
        steady,
        radius,
        depth,
        confidence,
    )
    return depth, confidence


@parallel_kernel
def _sweep(
    grey: Float,
    masks: Bool,
    guide: Float,
    warp: Float,
    neighbours: Index,
    offsets: Float,
    keep: int,
    views: NDArray[np.int64],
    floor: Float,
    steep: Float,
    steady: Float,
    radius: int,
    depth: Float,
    confidence: Float,
) -> None:
    for item in prange(len(views)):
        view = views[item]
        top, bottom, left, right = _extent(guide[view])
        if top >= bottom:
            continue
        own, shown = grey[view, top:bottom, left:right], guide[view, top:bottom, left:right]
        valid = shown > 0
        tones = (
            floor[view, top:bottom, left:right],
            steep[view, top:bottom, left:right],
            steady[view, top:bottom, left:right],
        )
        cost = _costs(
            grey, masks, own, shown, warp[item], neighbours[view], offsets, keep, tones, radius, left, top
        )
        total = aggregate(cost, valid, np.float32(_SMALL), np.float32(_LARGE))
        plane = np.empty(own.shape, np.float32)
        decide(total, valid, np.float32(_TEMPERATURE), plane, confidence[item, top:bottom, left:right])
        step = offsets[1] - offsets[0]
        for y in range(len(own)):
            for x in range(own.shape[1]):
                if not valid[y, x]:
                    continue
                depth[item, top + y, left + x] = shown[y, x] + offsets[0] + plane[y, x] * step
                match = 1 - cost[y, x, int(plane[y, x] + np.float32(0.5))]
                trust = min(
                    max((match - np.float32(_NO_MATCH)) / np.float32(1 - _NO_MATCH), np.float32(0)),
                    np.float32(1),
                )
                confidence[item, top + y, left + x] *= trust


@kernel
def _extent(guide: Float) -> tuple[int, int, int, int]:
    """First row, end row, first column, end column of what the guide shows."""
    top, bottom, left, right = guide.shape[0], 0, guide.shape[1], 0
    for y in range(guide.shape[0]):
        for x in range(guide.shape[1]):
            if guide[y, x] > 0:
                top, bottom = min(top, y), max(bottom, y + 1)
                left, right = min(left, x), max(right, x + 1)
    return top, bottom, left, right


@kernel
def _costs(
    grey: Float,
    masks: Bool,
    own: Float,
    guide: Float,
    warp: Float,
    neighbours: Index,
    offsets: Float,
    keep: int,
    tones: tuple[Float, Float, Float],
    radius: int,
    left: int,
    top: int,
) -> Float:
    """(h,w,D) 1 - mean of the `keep` best correlations, at most 1, plus a little for leaving the guide."""
    height, width = guide.shape
    cost = np.ones((height, width, len(offsets)), np.float32)
    scores = np.empty((len(neighbours), height, width), np.float32)
    best = np.empty(keep, np.float32)
    reach = max(abs(offsets[0]), abs(offsets[-1]))
    for plane in range(len(offsets)):
        for j in range(len(neighbours)):
            other = neighbours[j]
            _correlate(
                grey[other],
                masks[other],
                own,
                guide,
                warp[j],
                offsets[plane],
                left,
                top,
                tones,
                radius,
                scores[j],
            )
        prior = np.float32(_PRIOR) * abs(offsets[plane]) / reach
        for y in range(height):
            for x in range(width):
                if guide[y, x] <= 0:
                    continue
                best[:] = 0
                for j in range(len(neighbours)):
                    value = scores[j, y, x]
                    for slot in range(keep):
                        if value > best[slot]:
                            value, best[slot] = best[slot], value
                cost[y, x, plane] = 1 - best.sum() / np.float32(keep) + prior
    return cost


@kernel
def _warp_row(
    grey: Float, mask: Bool, guide: Float, warp: Float, offset: Real, left: int, v: Real, out: Float
) -> None:
    """Grey of the other view for one row of pixels at depth guide + offset; out (2,width): value and 1, or
    zeros.
    """
    last_row, last_column = grey.shape[0] - 1, grey.shape[1] - 1
    for x in range(len(guide)):
        out[0, x] = 0
        out[1, x] = 0
        if guide[x] <= 0:
            continue
        d = guide[x] + offset
        u = np.float32(left + x) + np.float32(0.5)
        w = d * (warp[2, 0] * u + warp[2, 1] * v + warp[2, 2]) + warp[2, 3]
        if w <= 0:
            continue
        inverse = 1 / w
        px = (d * (warp[0, 0] * u + warp[0, 1] * v + warp[0, 2]) + warp[0, 3]) * inverse - np.float32(0.5)
        py = (d * (warp[1, 0] * u + warp[1, 1] * v + warp[1, 2]) + warp[1, 3]) * inverse - np.float32(0.5)
        if px < 0 or py < 0 or px >= last_column or py >= last_row:
            continue
        column, row = int(px), int(py)
        if not (mask[row, column] and mask[row + 1, column + 1]):
            continue
        s, t = px - column, py - row
        upper = grey[row, column] * (1 - s) + grey[row, column + 1] * s
        lower = grey[row + 1, column] * (1 - s) + grey[row + 1, column + 1] * s
        out[0, x] = upper * (1 - t) + lower * t
        out[1, x] = 1


@kernel
def _correlate(
    grey: Float,
    mask: Bool,
    own: Float,
    guide: Float,
    warp: Float,
    offset: Real,
    left: int,
    top: int,
    tones: tuple[Float, Float, Float],
    radius: int,
    out: Float,
) -> None:
    """Likeness (h,w), from -1 to 1, of `own` and the other view in windows of 2 radius + 1 pixels.

    It is the correlation after (cov + f s) / sqrt((var + f) (var' + f)): f, the noise's variance, fades it
    out where there is no texture, and s, from the difference of the means, takes over. tones: f, one over
    the squared difference at which s passes 0, and the largest s, each (h,w).

    Column sums over the window's rows slide down; row sums are then taken over them. Only pixels both views
    show count; at least half the window must.
    """
    height, width = guide.shape
    span = 2 * radius + 1
    rows = np.zeros(
        (span, 2, width), np.float32
    )  # the other view's value and validity, the window's rows in a ring
    column = np.zeros((6, width + 2 * radius), np.float32)  # n, a, b, aa, bb, ab
    total = np.empty((6, width), np.float32)
    floor, steep, steady = tones
    for y in range(height + radius):
        slot = rows[y % span]
        if y >= span:
            _accumulate(column, own[y - span], slot, np.float32(-1), radius)
        if y < height:
            _warp_row(grey, mask, guide[y], warp, offset, left, np.float32(top + y) + np.float32(0.5), slot)
            _accumulate(column, own[y], slot, np.float32(1), radius)
        else:
            slot[:] = 0
        centre = y - radius
        if centre < 0:
            continue
        total[:] = 0
        for shift in range(span):
            for q in range(6):
                for x in range(width):
                    total[q, x] += column[q, x + shift]
        valid = rows[centre % span, 1]
        for x in range(width):
            n = max(total[0, x], np.float32(1))
            a, b = total[1, x] / n, total[2, x] / n
            aa, bb, ab = total[3, x] / n - a * a, total[4, x] / n - b * b, total[5, x] / n - a * b
            if valid[x] <= 0 or 2 * n < span * span:
                out[centre, x] = -1
                continue
            f = floor[centre, x]
            alike = max(1 - (a - b) * (a - b) * steep[centre, x], np.float32(-1)) * steady[centre, x]
            spread = (max(aa, np.float32(0)) + f) * (max(bb, np.float32(0)) + f)
            out[centre, x] = (ab + f * alike) / np.sqrt(spread)


@kernel
def _accumulate(column: Float, own: Float, row: Float, sign: Real, radius: int) -> None:
    """Add (sign 1) or take away (sign -1) one row's moments to the column sums."""
    for x in range(len(own)):
        b, valid = row[0, x], row[1, x] * sign
        a = own[x]
        column[0, x + radius] += valid
        column[1, x + radius] += valid * a
        column[2, x + radius] += valid * b
        column[3, x + radius] += valid * a * a
        column[4, x + radius] += valid * b * b
        column[5, x + radius] += valid * a * b

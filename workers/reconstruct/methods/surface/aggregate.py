"""Semi-global matching over a volume of offsets (Hirschmueller 2008), and how sure its answer is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.geometry.kernels import Real, kernel

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]


@kernel
def aggregate(cost: Float, valid: Bool, small: Real, large: Real) -> Float:
    """Mean (h,w,D) over four directions of the path costs, equation 13 of the paper.

    cost: (h,w,D). valid: (h,w), paths start anew behind a pixel that is not. small, large: the penalties P1
    for a change by one plane between neighbouring pixels and P2 for more.
    """
    height, width, planes = cost.shape
    total = np.zeros_like(cost)
    path = np.empty((max(height, width) + 1, planes), np.float32)
    for y in range(height):
        path[0] = 0
        for x in range(width):
            _step(cost[y, x], valid[y, x], small, large, path[x], path[x + 1], total[y, x])
        path[0] = 0
        for i in range(width):
            x = width - 1 - i
            _step(cost[y, x], valid[y, x], small, large, path[i], path[i + 1], total[y, x])
    for x in range(width):
        path[0] = 0
        for y in range(height):
            _step(cost[y, x], valid[y, x], small, large, path[y], path[y + 1], total[y, x])
        path[0] = 0
        for i in range(height):
            y = height - 1 - i
            _step(cost[y, x], valid[y, x], small, large, path[i], path[i + 1], total[y, x])
    return total


@kernel
def _step(cost: Float, valid: bool, small: Real, large: Real, last: Float, here: Float, total: Float) -> None:
    """One pixel of a path: `here` (D,) from `last` (D,), a quarter of it added to `total` (D,)."""
    planes = len(cost)
    if not valid:
        here[:] = 0
        return
    least = last[0]
    for k in range(1, planes):
        least = min(least, last[k])
    for k in range(planes):
        value = min(last[k], least + large)
        if k > 0:
            value = min(value, last[k - 1] + small)
        if k < planes - 1:
            value = min(value, last[k + 1] + small)
        here[k] = cost[k] + value - least
        total[k] += np.float32(0.25) * here[k]


@kernel
def decide(total: Float, valid: Bool, temperature: Real, plane: Float, confidence: Float) -> None:
    """The best plane of each pixel, with fraction, and the confidence in it; -1 and 0 where not valid.

    total: (h,w,D) costs. The fraction comes from the parabola through the best and its two neighbours. The
    confidence is the share, within two planes of the best, of sum_k exp(-total_k / temperature), less what
    that is by chance: 1 for one sharp minimum, 0 where all planes are as good (after the maximum likelihood
    measure of Hu and Mordohai 2012, section 3.1).
    """
    height, width, planes = total.shape
    chance = np.float32(min(5 / planes, 0.5))
    for y in range(height):
        for x in range(width):
            plane[y, x], confidence[y, x] = -1, 0
            if not valid[y, x]:
                continue
            costs = total[y, x]
            best = np.argmin(costs)
            mass, near = np.float32(0), np.float32(0)
            for k in range(planes):
                share = np.exp((costs[best] - costs[k]) / temperature)
                mass += share
                if abs(k - best) <= 2:
                    near += share
            shift = np.float32(0)
            if 0 < best < planes - 1:
                bend = costs[best - 1] - 2 * costs[best] + costs[best + 1]
                if bend > np.float32(1e-6):
                    shift = np.float32(0.5) * (costs[best - 1] - costs[best + 1]) / bend
            plane[y, x] = best + shift
            confidence[y, x] = max((near / mass - chance) / (1 - chance), np.float32(0))

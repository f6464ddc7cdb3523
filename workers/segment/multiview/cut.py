"""The best division of pictures in two: continuous minimal cuts."""

from __future__ import annotations

import cv2
import numpy as np
from numba import prange
from numpy.typing import NDArray

from workers.geometry.kernels import parallel_kernel

Float = NDArray[np.float32]

_STEP = 0.35  # of both the primal and the dual variable: their product times 8 is below 1
_NOISE = 50.0  # square of colour steps that are no edge
_LEAST = 0.05  # of what a boundary along no edge costs


def boundary_costs(images: NDArray[np.uint8]) -> tuple[Float, Float]:
    """Cost (N,h,w) of a boundary between a pixel and the one to its right, and the one below: about 1, less
    where the colours of images (N,h,w,3) differ (Boykov and Jolly 2001).
    """
    right, below = np.zeros(images.shape[:3], np.float32), np.zeros(images.shape[:3], np.float32)
    for n, image in enumerate(images):
        smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 0.7)
        right[n, :, :-1] = (np.diff(smooth, axis=1) ** 2).sum(-1)
        below[n, :-1] = (np.diff(smooth, axis=0) ** 2).sum(-1)
    usual = np.float32(2 * right.mean() + _NOISE)
    return np.exp(-right / usual) + np.float32(_LEAST), np.exp(-below / usual) + np.float32(_LEAST)


def cut(
    evidence: Float, costs: tuple[Float, Float], smooth: float, boxes: NDArray[np.int64], rounds: int
) -> Float:
    """(N,h,w) in [0,1], near 1 for the object: the least of -evidence . u + smooth (costs . |grad u|).

    evidence: (N,h,w) for the object, negative against it. The convex relaxation is exact but for the limited
    rounds (Nikolova, Esedoglu and Chan 2006); primal-dual steps of Chambolle and Pock (2011). Only within
    `boxes` (N,4): left, top, right, bottom; 0 outside.
    """
    u = np.zeros_like(evidence)
    _descend(evidence, costs[0] * np.float32(smooth), costs[1] * np.float32(smooth), boxes, rounds, u)
    return u


@parallel_kernel
def _descend(
    evidence: Float, right: Float, below: Float, boxes: NDArray[np.int64], rounds: int, out: Float
) -> None:
    step = np.float32(_STEP)
    for n in prange(len(evidence)):
        left, top, end, bottom = boxes[n]
        height, width = bottom - top, end - left
        u = np.zeros((height, width), np.float32)
        for y in range(height):
            for x in range(width):
                u[y, x] = np.float32(1 if evidence[n, top + y, left + x] > 0 else 0)
        ahead = u.copy()
        p, q = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
        for _ in range(rounds):
            for y in range(height):
                for x in range(width - 1):
                    most = right[n, top + y, left + x]
                    p[y, x] = min(max(p[y, x] + step * (ahead[y, x + 1] - ahead[y, x]), -most), most)
            for y in range(height - 1):
                for x in range(width):
                    most = below[n, top + y, left + x]
                    q[y, x] = min(max(q[y, x] + step * (ahead[y + 1, x] - ahead[y, x]), -most), most)
            for y in range(height):
                for x in range(width):
                    flow = p[y, x] + q[y, x]
                    if x > 0:
                        flow -= p[y, x - 1]
                    if y > 0:
                        flow -= q[y - 1, x]
                    before = u[y, x]
                    now = before + step * (flow + evidence[n, top + y, left + x])
                    now = min(max(now, np.float32(0)), np.float32(1))
                    u[y, x] = now
                    ahead[y, x] = 2 * now - before
        out[n, top:bottom, left:end] = u

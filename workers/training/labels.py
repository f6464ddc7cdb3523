"""What the network is told to answer at a point, and how near to the truth that is kept.

After "Adaptive Points Sampling for Implicit Field Reconstruction of Industrial Digital Twin" (Sensors 2022,
22, 6630), equations 9 to 12. Where it is printed in two ways, or cannot be meant as it is printed, what is
taken here:

- d is 0 inside of the object; printed, it is not, and all of the inside would be empty.
- d* is printed as "5 3": 5 times the root of 3, in voxels of a training grid of GRID on a side.
- v(d, s) is Schlick's bias (1994, "Fast alternatives to Perlin's bias and gain functions") of 1 - d / d*: it
  falls from 1 to 0, ever earlier the smaller s is, and is 1/2 where d = s d*. The printed formula was not to
  be had: this one has the properties that the paper names.
- s falls as the network gets better, s = 1 - 1.5 F1; "larger" is printed. Beyond F1 = 2/3 that is negative:
  it is kept within SHARPNESS.
- s is found anew every EVERY epochs (5 and 10 are printed), from the F1 of the epoch before among the points
  that were learned from. Most of these lie near the surface, half of them inside, so that even a poor network
  scores above 1/2, and s is soon at its least. Among points from anywhere F1 falls with s itself, whose
  labels put the level of 1/2 outside of the object: s then stays near 1/2, and so does the surface.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from workers.reconstruct.methods.single_view.network import REACH

GRID = 128
"""Voxels on the cube's side of what is called a training grid."""
FALLOFF = 5 * math.sqrt(3) * 2 * REACH / GRID
"""d*: how far outside of the object a label is above 0, in units of the picture's frame."""
SHARPNESS = (0.05, 0.95)
"""The least and the greatest s."""
EVERY = 5
"""Epochs, from one s to the next."""

Float = NDArray[np.float32]


def labels(distances: Float, sharpness: float) -> Float:
    """v(d, s) for signed distances, negative inside, in the picture's frame; sharpness: s in (0,1)."""
    left = 1 - np.clip(distances / np.float32(FALLOFF), 0, 1)
    found: Float = (left / ((1 / sharpness - 2) * (1 - left) + 1)).astype(np.float32)
    return found


def binary(distances: Float) -> Float:
    """1 inside and 0 outside."""
    return (distances <= 0).astype(np.float32)


def f1(predicted: NDArray[np.bool_], inside: NDArray[np.bool_]) -> float:
    """The harmonic mean of precision and recall (equations 10 and 11); 0 where nothing is right."""
    right = int((predicted & inside).sum())
    return 2 * right / max(int(predicted.sum()) + int(inside.sum()), 1)


def sharpness(score: float) -> float:
    """s for an F1 score (equation 12)."""
    low, high = SHARPNESS
    return min(max(1 - 1.5 * score, low), high)

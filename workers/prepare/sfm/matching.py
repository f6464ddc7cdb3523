"""Which feature of one photo is which of another."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.prepare.sfm.features import Features

Matches = NDArray[np.uint32]

_RATIO = 0.9  # of distances to the best and the second best (Lowe 2004); verification does the rest
_WITHIN = 2.0  # pixels of a picture of 640
_FEWEST = 15
_ROUNDS = 3000


def matched(one: Features, other: Features) -> Matches:
    """(M,2) indices: pairs that are each other's nearest, and clearly nearer than the next."""
    if len(one) < 2 or len(other) < 2:
        return np.zeros((0, 2), np.uint32)
    similarity = one.descriptors @ other.descriptors.T
    rows = np.arange(len(one))
    nearest, back = similarity.argmax(1), similarity.argmax(0)
    best = similarity[rows, nearest]
    similarity[rows, nearest] = -1
    clear = (1 - best) < _RATIO**2 * (1 - similarity.max(1))
    keep = clear & (back[nearest] == rows)
    return np.stack([rows[keep], nearest[keep]], axis=1).astype(np.uint32)


def verified(one: Features, other: Features, matches: Matches, pixel: float) -> Matches:
    """Those of the matches (M,2) that fit one epipolar geometry, by MAGSAC++ (Barath et al. 2020); none where
    too few do. `pixel`: how many pixels of the photos make one of a picture of 640.
    """
    none = np.zeros((0, 2), np.uint32)
    if len(matches) < _FEWEST:
        return none
    settings = cv2.UsacParams()
    settings.confidence, settings.maxIterations, settings.threshold = 0.999, _ROUNDS, _WITHIN * pixel
    settings.sampler, settings.score = cv2.SAMPLING_UNIFORM, cv2.SCORE_METHOD_MAGSAC
    settings.loMethod, settings.loIterations, settings.loSampleSize = cv2.LOCAL_OPTIM_SIGMA, 10, 50
    settings.randomGeneratorState, settings.isParallel = 0, False
    found, fits = cv2.findFundamentalMat(one.xy[matches[:, 0]], other.xy[matches[:, 1]], settings)
    if found is None or fits.sum() < _FEWEST:
        return none
    return matches[fits.ravel() > 0]

"""Which photos to match with which: all where they are few, else those that look alike, and neighbours in
time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.prepare.sfm.features import Features

_FEW = 36  # photos, up to which all pairs cost less than they may save
_ALIKE = 12  # photos matched with each for their looks
_AHEAD = 4  # and for coming next in time
_WORDS = 32
_SAMPLE = 200  # descriptors of each photo that the words are learnt from

Pairs = list[tuple[int, int]]
Described = NDArray[np.float32]


def worth_matching(count: int, ordered: bool, describe: Callable[[], Described]) -> Pairs:
    """Indices of photos, the smaller first. ordered: the photos are of one walk, in its order. describe:
    gives vectors of length 1 (N,D), alike for photos that look alike; called where that matters."""
    if count <= _FEW:
        return [(i, j) for i in range(count) for j in range(i + 1, count)]
    alike = nearest(describe(), _ALIKE)
    ahead = [(i, j) for i in range(count) for j in range(i + 1, min(count, i + 1 + _AHEAD)) if ordered]
    return sorted({*alike, *ahead})


def nearest(descriptors: Described, number: int) -> Pairs:
    """Of photos with unit descriptors (N,D): each with the `number` most similar."""
    similarity = descriptors @ descriptors.T
    np.fill_diagonal(similarity, -np.inf)
    partners = np.argsort(-similarity, axis=1, kind="stable")[:, :number]
    return sorted({(min(i, int(j)), max(i, int(j))) for i, row in enumerate(partners) for j in row})


def vlad(_: Sequence[NDArray[np.uint8]], features: Sequence[Features]) -> Described:
    """(N, words x D) of length 1: VLAD (Jegou et al. 2010, Arandjelovic and Zisserman 2013) with a vocabulary
    learnt from the photos themselves."""
    rng = np.random.default_rng(0)
    sample = np.concatenate([each.descriptors[rng.permutation(len(each))[:_SAMPLE]] for each in features])
    words = _vocabulary(sample)
    return np.stack([_vlad(each.descriptors, words) for each in features])


def _vocabulary(sample: NDArray[np.float32]) -> NDArray[np.float32]:
    if len(sample) <= _WORDS:
        return sample
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_MAX_ITER, 10, 0.0)
    nobody = np.empty((0, 1), np.int32)
    _, _, words = cv2.kmeans(sample, _WORDS, nobody, stop, 1, cv2.KMEANS_PP_CENTERS)
    return np.asarray(words, np.float32)


def _vlad(descriptors: NDArray[np.float32], words: NDArray[np.float32]) -> NDArray[np.float32]:
    sums = np.zeros_like(words)
    if len(descriptors) and len(words):
        word = (descriptors @ words.T - 0.5 * (words * words).sum(1)).argmax(1)
        np.add.at(sums, word, descriptors - words[word])
        sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    flat = sums.ravel()
    return np.asarray(flat / max(float(np.linalg.norm(flat)), 1e-9), np.float32)


def near(c2w: NDArray[np.float64]) -> Pairs:
    """Of photos at known poses (N,4,4): all where they are few, else each with those that look the most alike
    way."""
    count = len(c2w)
    if count <= _FEW:
        return [(i, j) for i in range(count) for j in range(i + 1, count)]
    return nearest(np.asarray(c2w[:, :3, 2], np.float32), _ALIKE + _AHEAD)

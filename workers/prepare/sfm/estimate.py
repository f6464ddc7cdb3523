"""All of structure from motion, from grey photos to cameras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.geometry.errors import NumericError
from workers.prepare.sfm import pairs, skeleton
from workers.prepare.sfm.features import LONGEST, Features, sift
from workers.prepare.sfm.mapping import Array, Camera, Map, Matched, Method, Question, mapped
from workers.prepare.sfm.matching import matched, verified

_PARTNERS = 3, 2, 5  # of each photo, to begin with
_FEWEST = 8  # photos that make a map worth having
_WORSE = 1.5  # pixels of a picture of 640: what a global map may err, to be believed

Tell = Callable[[float, str], None]


@dataclass(frozen=True)
class Photos:
    """greys: N reduced pictures (h,w). sizes: (width, height) of the photos themselves. cameras, and which of
    them took each. ordered: one walk, in its order."""

    greys: Sequence[NDArray[np.uint8]]
    sizes: Sequence[tuple[int, int]]
    cameras: list[Camera]
    camera_of: list[int]
    ordered: bool = False


@dataclass(frozen=True)
class Estimate:
    """A map, and its features (one set a photo)."""

    map: Map
    features: list[Features]
    pairs: int


def estimate(photos: Photos, method: Method, threads: int, tell: Tell) -> Estimate:
    """Cameras and points in a frame and a scale of their own. The global method (Pan et al. 2024) is believed
    only where it fits; else the incremental one follows.

    NumericError "poses_not_found" where fewer than 8 photos fit together.
    """
    features, wanted, found, sure = _matched(photos, None, threads, tell)
    support = {pair: len(rows) for pair, rows in sure.items()}
    trusted = [
        {pair: sure[pair] for pair in skeleton.strongest(support, len(features), partners)}
        for partners in _PARTNERS
    ]
    tell(0.6, "placing the photos")
    question = Question(
        photos.cameras, photos.camera_of, _keypoints(features), trusted, sure, found, method, None,
        _pixel(photos), threads,
    )  # fmt: skip
    made = mapped(question)
    if method == "global" and not (made.after < _WORSE * question.pixel and made.registered.all()):
        made = mapped(Question(**{**vars(question), "method": "incremental"}))
    placed = int(made.registered.sum())
    if placed < _FEWEST:
        raise NumericError(
            "poses_not_found", f"only {placed} of {len(features)} photos fit together", found=placed
        )
    return Estimate(made, features, len(wanted))


def refine(photos: Photos, poses: Array, threads: int, tell: Tell) -> Estimate:
    """Cameras moved from where they are said to be, c2w (N,4,4) OpenGL, to where the photos fit best; the
    whole keeps its place, turn and size. NumericError "poses_not_found" where too few photos fit together."""
    features, wanted, found, sure = _matched(photos, poses, threads, tell)
    tell(0.6, "refining poses")
    question = Question(
        photos.cameras, photos.camera_of, _keypoints(features), [], sure, found, "incremental", poses,
        _pixel(photos), threads,
    )  # fmt: skip
    return Estimate(mapped(question), features, len(wanted))


def _matched(
    photos: Photos, poses: Array | None, threads: int, tell: Tell
) -> tuple[list[Features], pairs.Pairs, Matched, Matched]:
    """Features, the pairs looked at, their matches, and those of one epipolar geometry."""
    with ThreadPoolExecutor(threads) as pool:
        tell(0.05, "looking for features")
        features = list(pool.map(sift, photos.greys, photos.sizes))
        wanted = pairs.worth_matching(features, photos.ordered)
        if poses is not None:
            wanted = pairs.near(poses)
        tell(0.2, "matching photos")
        pixel = _pixel(photos)

        def match(pair: tuple[int, int]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
            one, other = features[pair[0]], features[pair[1]]
            found = matched(one, other)
            return found, verified(one, other, found, pixel)

        both = dict(zip(wanted, pool.map(match, wanted), strict=True))
    found = {pair: rows for pair, (rows, _) in both.items() if len(rows)}
    sure = {pair: rows for pair, (_, rows) in both.items() if len(rows)}
    if not sure:
        raise NumericError("poses_not_found", "no two photos have enough in common", found=0)
    return features, wanted, found, sure


def _keypoints(features: list[Features]) -> list[NDArray[np.float32]]:
    return [each.xy.astype(np.float32) for each in features]


def _pixel(photos: Photos) -> float:
    return max(1.0, float(np.median([max(size) for size in photos.sizes])) / LONGEST)

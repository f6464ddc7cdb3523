"""All of structure from motion, from grey photos to cameras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from workers.geometry.errors import NumericError
from workers.prepare.sfm import pairs, skeleton
from workers.prepare.sfm.features import LONGEST, Features
from workers.prepare.sfm.mapping import Array, Camera, Map, Matched, Method, Question, mapped
from workers.prepare.sfm.matches_file import NOTHING, Known, kept
from workers.prepare.sfm.matching import verified
from workers.prepare.sfm.plugs import Plugs
from workers.prepare.sfm.upright import quarter_turns, turned, turned_back, turned_size

_PARTNERS = 3, 2, 5  # of each photo, to begin with
_FEWEST = 8  # photos that make a map worth having
_WAY = 1  # that is matched; raised with any change to it, so that what an older one found is not taken over
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
    """A map, what made it, and what its photos have in common."""

    map: Map
    method: Method
    looked: Looked


@dataclass(frozen=True)
class Looked:
    """features: one set a photo. pairs: that were looked at, of which `taken` were known before. found, sure:
    their matches, and those of one epipolar geometry. known: all of that, to keep."""

    features: list[Features]
    pairs: int
    taken: int
    found: Matched
    sure: Matched
    known: Known


def estimate(
    photos: Photos, method: Method, plugs: Plugs, threads: int, tell: Tell, known: Known = NOTHING
) -> Estimate:
    """Cameras and points in a frame and a scale of their own. The global method (Pan et al. 2024) is used
    only where all lenses are known, as it is often wrong without, and believed only where its map fits; else
    it is the incremental one. known: what was matched before.

    NumericError "poses_not_found" where fewer than 8 photos fit together.
    """
    try:
        return _estimate(photos, method, plugs, threads, tell, known)
    except NumericError:
        if known is NOTHING:
            raise
        return _estimate(photos, method, plugs, threads, tell, NOTHING)  # it may have been wrong


def _estimate(
    photos: Photos, method: Method, plugs: Plugs, threads: int, tell: Tell, known: Known
) -> Estimate:
    looked = _matched(photos, None, plugs, threads, tell, known)
    trusted = [_trusted(looked.sure, len(photos.greys), partners) for partners in _PARTNERS]
    tell(0.6, "placing the photos")
    if not all(camera.known for camera in photos.cameras):
        method = "incremental"
    question = Question(
        photos.cameras, photos.camera_of, _keypoints(looked), trusted, looked.sure, looked.found, method,
        None, _pixel(photos), threads,
    )  # fmt: skip
    made = mapped(question)
    if method == "global" and not (made.error < _WORSE * question.pixel and made.registered.all()):
        method = "incremental"
        made = mapped(replace(question, method=method))
    placed = int(made.registered.sum())
    if placed < _FEWEST:
        raise NumericError(
            "poses_not_found", f"only {placed} of {len(photos.greys)} photos fit together", found=placed
        )
    return Estimate(made, method, looked)


def refine(
    photos: Photos, poses: Array, plugs: Plugs, threads: int, tell: Tell, known: Known = NOTHING
) -> Estimate:
    """Cameras moved from where they are said to be, c2w (N,4,4) OpenGL, to where the photos fit best; the
    whole keeps its place, turn and size. NumericError "poses_not_found" where too few photos fit together."""
    looked = _matched(photos, poses, plugs, threads, tell, known)
    tell(0.6, "refining poses")
    trusted = [_trusted(looked.sure, len(photos.greys), _PARTNERS[0])]
    question = Question(
        photos.cameras, photos.camera_of, _keypoints(looked), trusted, looked.sure, looked.found,
        "incremental", poses, _pixel(photos), threads,
    )  # fmt: skip
    return Estimate(mapped(question), "incremental", looked)


def _matched(
    photos: Photos, poses: Array | None, plugs: Plugs, threads: int, tell: Tell, known: Known
) -> Looked:
    """Where photos were added, only pairs with one of those are matched."""
    with ThreadPoolExecutor(threads) as pool:
        tell(0.05, "looking for features")
        turns = quarter_turns(photos.greys, pool) if plugs.upright else [0] * len(photos.greys)
        greys = list(map(turned, photos.greys, turns))
        features = list(pool.map(plugs.find, greys, map(turned_size, photos.sizes, turns)))
        if poses is None:
            count, described = len(greys), partial(plugs.describe, greys, features)
            wanted = pairs.worth_matching(count, photos.ordered, described)
        else:
            wanted = pairs.near(poses)
        tell(0.2, "matching photos")
        pixel = _pixel(photos)

        way = f"{_WAY} {plugs.way} {pixel:g}"
        before = known.among(features, way)
        old = {photo for pair in before for photo in pair}
        fresh = [pair for pair in wanted if not old.issuperset(pair)]

        def match(pair: tuple[int, int]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
            one, other = features[pair[0]], features[pair[1]]
            found = plugs.match(one, other)
            return found, verified(one, other, found, pixel)

        both = dict(sorted([*before.items(), *zip(fresh, pool.map(match, fresh), strict=True)]))
    found = {pair: rows for pair, (rows, _) in both.items() if len(rows)}
    sure = {pair: rows for pair, (_, rows) in both.items() if len(rows)}
    if not sure:
        raise NumericError("poses_not_found", "no two photos have enough in common", found=0)
    keep = kept(way, features, both)
    upright = list(map(turned_back, features, turns))
    return Looked(upright, len(both), len(before), found, sure, keep)


def _trusted(sure: Matched, count: int, partners: int) -> Matched:
    support = {pair: len(rows) for pair, rows in sure.items()}
    return {pair: sure[pair] for pair in skeleton.strongest(support, count, partners)}


def _keypoints(looked: Looked) -> list[NDArray[np.float32]]:
    return [each.xy.astype(np.float32) for each in looked.features]


def _pixel(photos: Photos) -> float:
    return max(1.0, float(np.median([max(size) for size in photos.sizes])) / LONGEST)

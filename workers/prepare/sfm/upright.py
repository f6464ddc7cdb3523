"""Photos that were turned against each other, brought upright: not all features are found again in a photo
that lies on its side.

Between two photos a quarter turn shows in the angles of the features that they share. Each step from a photo
to one that it shares much with is rounded to quarters, and not their sum: who walks around a table and looks
down on it sees it turn slowly, and photos taken upright are to stay so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from workers.prepare.sfm.features import Features, reduced, sift
from workers.prepare.sfm.matching import Matches, matched
from workers.prepare.sfm.pairs import vlad, worth_matching
from workers.prepare.sfm.skeleton import strongest

_LONGEST = 320  # pixels: which way is up shows in little
_MOST = 500
_BINS, _WIDE = 36, 2  # of angles; a peak has that many on either side of its middle
_FEWEST = 10  # matches that a peak has beyond what chance would give it


def quarter_turns(greys: Sequence[NDArray[np.uint8]], pool: Executor) -> list[int]:
    """By how many quarters, counterclockwise as `np.rot90` has them, to turn each of the photos (h,w) for
    them to be as most are. Photos that share nothing with others stay as they are."""
    small = [reduced(grey, _LONGEST) for grey in greys]
    features = list(pool.map(lambda grey: sift(grey, grey.shape[::-1], _MOST), small))
    pairs = worth_matching(len(greys), False, lambda: vlad(greys, features))
    found = dict(zip(pairs, pool.map(lambda pair: _between(features, *pair), pairs), strict=True))
    support = {pair: sure for pair, (_, sure) in found.items() if sure >= _FEWEST}
    steps: list[list[tuple[int, int]]] = [[] for _ in greys]
    for one, other in strongest(support, len(greys), 0):
        turn, _ = found[one, other]
        steps[one].append((other, turn))
        steps[other].append((one, -turn))
    turns: dict[int, int] = {}
    for first in range(len(greys)):
        if first not in turns:
            turns |= _together(first, steps)
    return [turns[photo] for photo in range(len(greys))]


def turned(grey: NDArray[np.uint8], quarters: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.rot90(grey, quarters))


def turned_size(size: tuple[int, int], quarters: int) -> tuple[int, int]:
    """(width, height)"""
    return size[::-1] if quarters % 2 else size


def turned_back(features: Features, quarters: int) -> Features:
    """Features of a photo that was turned, as of the photo itself."""
    for _ in range(quarters % 4):
        width, height = features.size
        x, y = features.xy.T
        features = replace(
            features,
            xy=np.stack([height - y, x], axis=1),
            angles=(features.angles + 90) % 360,
            size=(height, width),
        )
    return features


def _between(features: Sequence[Features], one: int, other: int) -> tuple[int, int]:
    """Quarter turns counterclockwise that bring `other` to where `one` is, and by how many matches more than
    by chance."""
    matches: Matches = matched(features[one], features[other])
    apart = (features[other].angles[matches[:, 1]] - features[one].angles[matches[:, 0]]) % 360
    counts = np.bincount((apart * _BINS / 360).astype(np.int64) % _BINS, minlength=_BINS)
    peaks = np.sum([np.roll(counts, shift) for shift in range(-_WIDE, _WIDE + 1)], axis=0)
    best = int(peaks.argmax())
    share = (2 * _WIDE + 1) / _BINS
    sure = (peaks[best] - share * len(matches)) / (1 - share)
    return round((best + 0.5) * 4 / _BINS) % 4, int(sure)


def _together(first: int, steps: list[list[tuple[int, int]]]) -> dict[int, int]:
    """Of the photos that `steps` lead to from the first: most are not turned."""
    turns, left = {first: 0}, [first]
    while left:
        photo = left.pop()
        for neighbour, step in steps[photo]:
            if neighbour not in turns:
                turns[neighbour] = turns[photo] + step
                left.append(neighbour)
    usual = Counter(turn % 4 for turn in turns.values()).most_common(1)[0][0]
    return {photo: (turn - usual) % 4 for photo, turn in turns.items()}

"""The pairs of photos to trust first.

Where a table's pattern repeats, a photo fits many others in a wrong way, shifted by one repeat, and more of
them wrongly than rightly: the wider apart two photos are, the less of what they share is unique. Its
strongest partners are its neighbours, and those are right. So the map is begun from them alone, and the rest
has to agree with it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_CLEARLY = 0.5  # of the better partner's matches


def strongest(support: Mapping[tuple[int, int], int], count: int, partners: int) -> list[tuple[int, int]]:
    """Of pairs with so many verified matches: those of the maximum spanning forest of `count` photos, and the
    `partners` best of each photo, unless they are weak beside the best of both.
    """
    ranked = sorted(support, key=lambda pair: (-support[pair], pair))
    chosen = set(_forest(ranked, count))
    best = np.zeros(count)
    mine: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for pair in ranked:
        for photo in pair:
            best[photo] = max(best[photo], support[pair])
            mine[photo].append(pair)
    for pairs in mine:
        chosen |= {
            pair for pair in pairs[:partners] if support[pair] > _CLEARLY * min(best[pair[0]], best[pair[1]])
        }
    return sorted(chosen)


def _forest(ranked: list[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """Kruskal (1956)."""
    parent = list(range(count))

    def root(photo: int) -> int:
        while parent[photo] != photo:
            photo = parent[photo]
        return photo

    taken = []
    for pair in ranked:
        one, other = (root(photo) for photo in pair)
        if one != other:
            parent[one] = other
            taken.append(pair)
    return taken

"""How good a capture is, told before anything is made of it: from which sides, how sharp, how exposed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.prepare.quality.advice import advice
from workers.prepare.quality.coverage import Coverage
from workers.prepare.quality.photos import Photo, blurred


def metrics(names: Sequence[str], photos: Sequence[Photo], covered: Coverage, taken: int) -> dict[str, Any]:
    """What is told of a capture, for JSON.

    names, photos: of the N photos whose positions are known, at least one; taken: how many there were.
    """

    def those(which: Sequence[bool] | NDArray[np.bool_]) -> list[str]:
        return [name for name, chosen in zip(names, which, strict=True) if chosen]

    unsharp = those(blurred(photos))
    over, under = those([p.over_exposed for p in photos]), those([p.under_exposed for p in photos])
    return {
        "coverage": {
            "upper": round(covered.upper, 3),
            "whole": round(covered.whole, 3),
            "gap_degrees": round(float(np.degrees(covered.gap)), 1),
            "gap_from": covered.gap_from,
        },
        "blurred": unsharp,
        "over_exposed": over,
        "under_exposed": under,
        "registered": f"{len(names)} of {taken}",
        "advice": advice(covered, taken, len(names), len(unsharp), len(over), len(under)),
    }

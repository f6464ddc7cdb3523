"""One sentence for whoever takes the photos: what would help most next time."""

from __future__ import annotations

import math

from workers.prepare.quality.coverage import NEAR, Coverage

_ENOUGH = 24  # photos
_GAP = math.radians(35)  # between photos: a wider gap leaves surface unseen
_LEAST = 0.1  # of what could be lost, from which on it is worth a word
_CAP = 1 - math.cos(NEAR)  # share of half the sphere that one photo sees from nearby
_OVERLAP = 2.0  # photos that see each place, of those asked for
_BELOW = 0.5  # share of the lower half that must be seen to be called so
_ANY_SIDE = {"above", "lower down"}
_FRONT = " (the first photo shows its front)"
_WORTH = {"blur": 0.7, "exposure": 0.5}  # of a photo that has this fault; one that is missing costs 1
_NUMBERS = {5: "five", 10: "ten", 15: "fifteen", 20: "twenty", 30: "thirty", 40: "forty"}


def advice(
    covered: Coverage, photos: int, registered: int, blurred: int, over_exposed: int, under_exposed: int
) -> str:
    """photos: that were taken; registered: whose positions are known. The other counts are of the latter."""
    shown = max(registered, 1)
    exposure, towards = max((over_exposed, "bright"), (under_exposed, "dark"))
    losses = {
        "registered": 1 - registered / max(photos, 1),
        "coverage": 1 - covered.upper if covered.gap > _GAP else 0.0,
        "blur": _WORTH["blur"] * blurred / shown,
        "exposure": _WORTH["exposure"] * exposure / shown,
        "number": 1 - photos / _ENOUGH,
    }
    worst = max(losses, key=lambda name: losses[name])
    if losses[worst] < _LEAST:
        return _nothing(covered)
    return {
        "registered": f"{photos - registered} of {photos} photos could not be placed: move in smaller steps, "
        "so that each photo shows most of what the one before it shows.",
        "coverage": f"Take {_in_words(_OVERLAP * losses['coverage'] / _CAP)} more photos of the object from "
        f"{covered.gap_from}{'' if covered.gap_from in _ANY_SIDE else _FRONT}.",
        "blur": f"{blurred} of {shown} photos are blurred: hold the phone still, or find more light.",
        "exposure": f"{exposure} of {shown} photos are too {towards}: "
        f"{'take the object out of glaring light' if towards == 'bright' else 'find more light'}.",
        "number": f"Take {_in_words(_ENOUGH - photos)} more photos, from all around the object.",
    }[worst]


def _nothing(covered: Coverage) -> str:
    lower = 2 * covered.whole - covered.upper
    return f"Nothing to add: the object was seen from all sides{' but below' if lower < _BELOW else ''}."


def _in_words(count: float) -> str:
    return _NUMBERS[min((number for number in _NUMBERS if number >= count), default=max(_NUMBERS))]

"""How good each mask is, in words for whoever took the photos, and which are left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras
from workers.geometry.errors import NumericError
from workers.segment.verdicts.outline import outline_figures
from workers.segment.verdicts.views import WRONG, Fit, fit

Bool = NDArray[np.bool_]
Image = NDArray[np.uint8]
Boxes = NDArray[np.int64]
Array = NDArray[np.float64]

_PIXELS = 256  # of the masks' longer side while they are compared
_NOTHING, _WHOLE = 0.0005, 0.97  # of a photo: less is no object, more is no outline
_FEWEST = 4  # masks that can be compared in space
_NEIGHBOURS = 2  # photos before and after, whose masks' area is compared where there are no cameras
_SLIGHT = 0.6 * WRONG  # error from which a mask is doubtful
_CUT = 0.35  # of an outline on the photo's sides: then most of the object may lie beyond them
_BLIND, _WEAK = 0.55, 0.8  # edge of an outline drawn anywhere, and beside that of the other photos'
_JUMP = 2.0  # times the neighbours' area
_KEPT, _KEPT_SHARE = 6, 0.5
_NAMED = 5  # photos in a sentence


@dataclass(frozen=True)
class Verdict:
    """Of one mask: reasons are plain sentences, none for a good one.

    agreement: the part that the mask and what other photos show have in common, None where too few can be
    compared; border: the part of the outline on the photo's sides; area: of the mask, beside that which the
    others make likely; edge: how strong the photo's edges along the outline are, 0.5 being chance.
    """

    verdict: Literal["good", "doubtful", "bad"]
    reasons: tuple[str, ...]
    agreement: float | None
    border: float
    area: float
    edge: float


def verdicts(masks: Bool, images: Image, frames: Boxes, cameras: Cameras | None) -> list[Verdict]:
    """Of masks (N,h,w) of images (N,h,w,3), N at least 1; frames (N,4): left, top, right, bottom of what is
    photo. Without cameras they cannot be compared in space, but only each with its neighbours.
    """
    factor = min(1.0, _PIXELS / max(masks.shape[1:]))
    size = (round(factor * masks.shape[2]), round(factor * masks.shape[1]))
    masks = np.stack(
        [cv2.resize(255 * each.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 127 for each in masks]
    )
    images = np.stack([cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in images])
    frames = np.round(frames * factor).astype(np.int64)
    border, edge = np.array([outline_figures(*each) for each in zip(masks, images, frames, strict=True)]).T
    photo = np.maximum((frames[:, 2] - frames[:, 0]) * (frames[:, 3] - frames[:, 1]), 1)
    share = masks.sum((1, 2)) / photo
    telling = (share >= _NOTHING) & (share <= _WHOLE)
    found = None
    if cameras is not None and telling.sum() >= _FEWEST:
        found = fit(masks, frames, cameras.scaled(*size), telling)
        area = (1 - found.missing) / np.maximum(1 - found.extra, 1e-2)
    else:
        area = share / _usual(share)
    weak = max(_BLIND, _WEAK * float(np.median(edge[telling]))) if telling.any() else _BLIND
    return [
        _verdict(i, float(share[i]), float(border[i]), float(area[i]), float(edge[i]), weak, found)
        for i in range(len(masks))
    ]


def _verdict(
    i: int, share: float, border: float, area: float, edge: float, weak: float, found: Fit | None
) -> Verdict:
    """weak: the edge below which an outline is doubtful."""
    bad: list[str] = []
    doubts: list[str] = []
    agreement = None
    if share < _NOTHING:
        bad.append("The object was not found in this photo.")
    elif share > _WHOLE:
        bad.append("The object was not told from its background: the whole photo is taken for it.")
    elif found is not None:
        missing, extra = float(found.missing[i]), float(found.extra[i])
        if min(missing, extra) > 0.5:
            bad.append("What is marked here is not what the other photos show.")
        else:
            if missing >= _SLIGHT:
                sentence = (
                    f"Covers less than the other photos say: about {missing:.0%} of the object is missing."
                )
                (bad if missing >= WRONG else doubts).append(sentence)
            if extra >= _SLIGHT:
                sentence = (
                    f"Covers more than the other photos say: about {extra:.0%} of it is not the object."
                )
                (bad if extra >= WRONG else doubts).append(sentence)
    elif not 1 / _JUMP < area < _JUMP:
        doubts.append(f"The object is {area:.1f} times as large as in the photos taken before and after.")
    if not bad and border > _CUT:
        doubts.append(f"The object leaves the photo: {border:.0%} of its outline is the photo's own side.")
    if not bad and edge < weak:
        doubts.append("The outline does not follow edges that can be seen in the photo.")
    if found is not None:
        common = (1 - found.missing[i]) * (1 - found.extra[i]) if share >= _NOTHING else 0.0
        agreement = round(float(common), 4)
    verdict: Literal["good", "doubtful", "bad"] = "bad" if bad else "doubtful" if doubts else "good"
    return Verdict(verdict, (*bad, *doubts), agreement, round(border, 4), round(area, 4), round(edge, 4))


def _usual(share: Array) -> Array:
    """(N,) median of the neighbours' share of their photos; one's own where there are none."""
    usual = np.empty(len(share))
    for i in range(len(share)):
        near = np.delete(share[max(i - _NEIGHBOURS, 0) : i + _NEIGHBOURS + 1], min(i, _NEIGHBOURS))
        usual[i] = np.median(near) if len(near) else share[i]
    return np.maximum(usual, 1e-9)


def kept(found: Sequence[Verdict], names: Sequence[str]) -> list[int]:
    """Indices of the photos whose masks are not bad.

    NumericError "masks_bad" where they are too few: from less than six sides outlines say little of a shape,
    and where more than half are bad the others may only happen to fit each other.
    """
    good = [i for i, each in enumerate(found) if each.verdict != "bad"]
    needed = min(len(found), max(_KEPT, math.ceil(_KEPT_SHARE * len(found))))
    if len(good) >= needed:
        return good
    bad = [names[i] for i, each in enumerate(found) if each.verdict == "bad"]
    files = ", ".join(bad[:_NAMED]) + (f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else "")
    message = f"{len(bad)} of {len(found)} masks are bad, and {needed} good ones are needed: {files}"
    raise NumericError("masks_bad", message, bad=len(bad), found=len(found), files=files)

"""What is good and weak about a model, and what to photograph next time, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workers.package.report.judged import Judged

GOOD_OUTLINE, FAIR_OUTLINE = 0.97, 0.93
GOOD_COLOUR, FAIR_COLOUR = 22.0, 18.0
"""dB, on the object."""
_FIGURES = {"psnr": "psnr_fg", "ssim": "ssim_fg", "psnr_whole": "psnr", "ssim_whole": "ssim"}
_OFF = 0.9
"""Outline IoU below which a photo is named."""
_UNSEEN = 0.03
_NAMED = 5
MORE_PHOTOS = "Take twenty photos or more, from all around the object: a shape from one photo is a guess."


def summary(views: Sequence[Judged]) -> dict[str, Any]:
    """Means on the photos held out, or on those used where none was; `grade`: good, fair or weak."""
    judged = [view for view in views if view.held_out] or list(views)
    outline = float(np.mean([view.iou for view in judged]))
    compared = [view.figures for view in judged if view.figures]
    figures = {
        name: round(float(np.mean([each[key] for each in compared])), 4)
        for name, key in _FIGURES.items()
        if compared and all(key in each for each in compared)
    }
    colour = figures.get("psnr", 0.0)
    grade = "weak"
    if outline >= FAIR_OUTLINE and colour >= FAIR_COLOUR:
        grade = "good" if outline >= GOOD_OUTLINE and colour >= GOOD_COLOUR else "fair"
    return {
        "grade": grade,
        "on": "held out" if judged[0].held_out else "used",
        "views": len(judged),
        "iou": round(outline, 4),
        "iou_min": round(min(view.iou for view in views), 4),
        **figures,
    }


def opening(found: Mapping[str, Any]) -> str:
    which = "that were kept out of the making" if found["on"] == "held out" else "that it was made from"
    said = f"On {found['views']} photos {which}, its outline agrees to {found['iou']:.1%}"
    if "psnr" in found:
        said += f", and its colours to {found['psnr']:.1f} dB (SSIM {found['ssim']:.3f})"
    return said + "."


def weaknesses(
    views: Sequence[Judged],
    share: float,
    generated: bool,
    hygiene: Mapping[str, Any],
    dataset: Mapping[str, Any],
    masks: Mapping[str, Any],
    scale: float | None,
) -> list[str]:
    """Sentences, the gravest first. share: of the surface that a photo shows; generated: whether even that is
    a guess; dataset: what prepare tells of the photos; masks: verdicts by photo."""
    found = []
    if generated:
        found.append(
            f"The shape was generated from one photo, not measured. {1 - share:.0%} of the surface is not in "
            "that photo: it has the colours of what is, mirrored."
        )
    elif 1 - share > _UNSEEN:
        found.append(
            f"{1 - share:.0%} of the surface is in none of the photos. It was closed smoothly and coloured "
            "like what lies around it: made up, not measured."
        )
    off = sorted((view for view in views if view.iou < _OFF), key=lambda view: view.iou)
    if off:
        names = _named([f"{view.name} ({view.iou:.2f})" for view in off])
        why = "thin parts are missing" if generated else "the mask or the camera's position is off there"
        found.append(f"The outline does not fit in {names}: {why}.")
    doubtful = [stem for stem, mask in masks.items() if mask.get("verdict") != "good"]
    if doubtful:
        found.append(f"The masks of {_named(doubtful)} look doubtful: have them reviewed.")
    poses, quality = dataset.get("poses", {}), dataset.get("quality", {})
    lost = poses.get("photos", 0) - poses.get("registered", 0)
    if lost > 0:
        found.append(f"{lost} of {poses['photos']} photos have no place among the others, and were left out.")
    for fault, meaning in (
        ("blurred", "blurred"),
        ("over_exposed", "too bright"),
        ("under_exposed", "too dark"),
    ):
        if named := quality.get(fault):
            found.append(f"{_named(named)} {'is' if len(named) == 1 else 'are'} {meaning}.")
    if not (hygiene["watertight"] and hygiene["consistent"]):
        found.append(f"The surface is open: {hygiene['holes']} edges have one face only.")
    if hygiene["parts"] > 1:
        found.append(f"The model is in {hygiene['parts']} pieces that do not touch.")
    if scale is None:
        found.append("Nothing in the capture tells its size: the model's unit is not a metre.")
    return found


def _named(names: Sequence[str]) -> str:
    if len(names) <= _NAMED:
        return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"

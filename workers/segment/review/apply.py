"""Proposed masks and a person's decisions on them, made into the masks to go on with."""

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.errors import InputError, ReviewLeavesTooFew, ReviewMaskInvalid, ReviewUnknownImage
from workers.geometry.cameras import read_cameras
from workers.geometry.images import encoded, read_grey, read_rgb, write_png
from workers.runtime.safe_input import read_mask
from workers.segment.outlines import outlines

NEEDED = 6
"""Masks, of as many images or more."""
THRESHOLD = 128
SUPPORT = "support.json"


@dataclass(frozen=True)
class Choice:
    """Use the proposed mask of an image, use the one in the file `mask`, or leave the image out."""

    keep: bool
    mask: Path | None = None


@dataclass(frozen=True)
class Plan:
    """Stems in the images' order: whose mask is used as proposed, whose is replaced, and what a person left
    out."""

    kept: tuple[str, ...]
    replaced: tuple[str, ...]
    discarded: tuple[str, ...]


def plan(images: Sequence[str], proposed: Collection[str], choices: Mapping[str, Choice]) -> Plan:
    """What follows from `choices`, for the stems of all `images` and of those a mask is `proposed` for. An
    image that is not mentioned is kept as proposed.

    Raises ReviewUnknownImage, ReviewMaskInvalid (kept, and there is no mask), ReviewLeavesTooFew.
    """
    for stem in choices:
        if stem not in images:
            raise ReviewUnknownImage(f"there is no image {stem!r:.200} to decide on", file=stem[:100])
    for stem, choice in choices.items():
        if choice.keep and choice.mask is None and stem not in proposed:
            raise _invalid(stem, "none was proposed, and none is given")
    replaced = tuple(stem for stem in images if stem in choices and choices[stem].mask is not None)
    discarded = tuple(stem for stem in images if stem in choices and not choices[stem].keep)
    kept = tuple(stem for stem in images if stem in proposed and stem not in {*replaced, *discarded})
    found, needed = len(kept) + len(replaced), least(len(images))
    if found < needed:
        raise ReviewLeavesTooFew(
            f"{found} of {len(images)} masks are left; {needed} are needed", found=found, needed=needed
        )
    return Plan(kept, replaced, discarded)


def least(images: int) -> int:
    """How many masks must be left of that many images."""
    return min(NEEDED, images)


def replacements(choices: Mapping[str, Choice], size: tuple[int, int]) -> dict[str, NDArray[np.uint8]]:
    """The masks (h,w) that a person made, by stem, of images of that size (w,h). Nothing is resampled.

    Raises ReviewMaskInvalid.
    """
    return {stem: _mask(choice.mask, stem, size) for stem, choice in choices.items() if choice.mask}


def _mask(path: Path, stem: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    try:
        picture = read_mask(path, "it")
    except InputError as error:
        raise _invalid(stem, error.message) from None
    if picture.size != size or picture.alpha is None:
        found, wanted = ("{} x {}".format(*each) for each in (picture.size, size))
        raise _invalid(stem, f"it has {found} pixels, its photo {wanted}")
    if picture.alpha.max() < THRESHOLD:
        raise _invalid(stem, "nothing is marked in it")
    return picture.alpha


def apply(dataset: Path, proposed: Path, choices: Mapping[str, Choice], outputs: Path) -> dict[str, Any]:
    """Read `cameras.json` and `images/` of the folder `dataset` and the masks `<stem>.png` in `proposed`;
    write the masks to go on with to `outputs`, proposed ones byte for byte, and `outlines.jpg`. Returns
    metrics.

    Raises what `plan` and `replacements` raise.
    """
    cameras, _ = read_cameras(dataset / "cameras.json")
    photos = {Path(name).stem: dataset / "images" / name for name in cameras.names}
    decided = plan(list(photos), {path.stem for path in proposed.glob("*.png")}, choices)
    made = replacements(choices, (cameras.width, cameras.height))
    for stem in decided.kept:
        if read_grey(proposed / f"{stem}.png").shape != (cameras.height, cameras.width):
            raise _invalid(stem, "the proposed one is not of its photo's size")
        shutil.copyfile(proposed / f"{stem}.png", outputs / f"{stem}.png")
    if (proposed / SUPPORT).exists():
        shutil.copyfile(proposed / SUPPORT, outputs / SUPPORT)
    for stem, mask in made.items():
        write_png(outputs / f"{stem}.png", mask)
    masks = {
        stem: read_grey(outputs / f"{stem}.png") for stem in photos if (outputs / f"{stem}.png").exists()
    }
    sheet = outlines({stem: (read_rgb(photos[stem]), mask) for stem, mask in masks.items()})
    (outputs / "outlines.jpg").write_bytes(encoded(sheet, ".jpg"))
    coverage = float(np.mean([(mask >= THRESHOLD).mean() for mask in masks.values()]))
    return {
        "images": len(masks),
        "mean_coverage": round(coverage, 4),
        "review": {
            "kept": list(decided.kept),
            "replaced": list(decided.replaced),
            "discarded": list(decided.discarded),
        },
    }


def _invalid(stem: str, reason: str) -> ReviewMaskInvalid:
    return ReviewMaskInvalid(f"the mask decided on for {stem}: {reason}", file=stem, reason=reason)

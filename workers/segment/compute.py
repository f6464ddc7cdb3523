"""Dataset in, one mask for each image out: `<stem>.png`, 0 or 255 with a soft edge, and `outlines.jpg`, which
shows them to a person. Bad masks are left out. `support.json`, where the object stands on something that was
found: {"plane": [a, b, c, d]}, a x + b y + c z + d being the height over it in the capture's world.

Masks that came with the upload are used as they are; where none came they are made.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import Cameras, photo_frames, read_cameras
from workers.geometry.errors import NumericError
from workers.geometry.images import encoded, read_grey, read_rgb, write_png
from workers.segment.hints import marked
from workers.segment.outlines import outlines
from workers.segment.segmenters import of_posed, of_single
from workers.segment.sharpen import sharpen
from workers.segment.verdicts import Verdict, kept, verdicts

Report = Callable[[float, dict[str, Any]], None]

_MANY = 0.5  # of the masks doubtful is worth a warning
_HEEDED = 0.02  # of what was marked, that may come out otherwise
_UNSURE = 0.9  # confidence in the mask of a single picture below which it is doubtful: it runs high


@dataclass(frozen=True)
class Dataset:
    """images (N,h,w,3); alphas (N,h,w), where masks came along; frames (N,4): what is photo; cameras, unless
    there is but one picture, or several without poses; listed: as `hints.marked` wants them.
    """

    stems: list[str]
    images: NDArray[np.uint8]
    alphas: NDArray[np.uint8] | None
    frames: NDArray[np.int64]
    cameras: Cameras | None
    listed: list[dict[str, Any]]


@dataclass(frozen=True)
class Found:
    """Masks soft (N,h,w) in [0,1] and who made them; support (4,): the plane that the object stands on, in
    the capture's world, and sure: the confidence in each mask, where those are known.
    """

    segmenter: str
    soft: NDArray[np.floating]
    support: NDArray[np.float64] | None = None
    sure: list[float | None] | None = None


def run(inputs: Path, outputs: Path, parameters: dict[str, Any], report: Report) -> dict[str, Any]:
    """`parameters`: "threshold", "segmenter", "weights" (digests by name of files in `inputs / "weights"`),
    and "hints".

    Raises NumericError: "object_not_found", "masks_bad", "hint_unknown_image", "hint_misses_object", and what
    networks raise.
    """
    report(0.0, {"step": "reading"})
    data = read(inputs / "dataset")
    weights = inputs / "weights", parameters["weights"]
    said = marked(parameters["hints"], data.listed, data.images)
    try:
        found = _found(data, parameters["segmenter"], said, weights, report)
    except NumericError as error:
        if error.code == "object_not_found" and parameters["hints"]:
            raise NumericError("hint_misses_object", f"by the hints, {error}") from None
        raise
    masks = [sharpen(each, parameters["threshold"], tidy=data.alphas is None) for each in found.soft]
    sure = found.sure or [None] * len(masks)
    judged = verdicts(np.stack(masks) > 127, data.images, data.frames, data.cameras)
    judged = [_doubted(verdict, confidence) for verdict, confidence in zip(judged, sure, strict=True)]
    used = kept(judged, data.stems)
    for i in used:
        write_png(outputs / f"{data.stems[i]}.png", masks[i])
    if found.support is not None:
        (outputs / "support.json").write_text(json.dumps({"plane": found.support.tolist()}))
    sheet = outlines({data.stems[i]: (data.images[i], masks[i]) for i in used})
    (outputs / "outlines.jpg").write_bytes(encoded(sheet, ".jpg"))
    report(1.0, {"step": "done"})
    told = {
        stem: asdict(verdict) | ({} if confidence is None else {"confidence": round(confidence, 4)})
        for stem, verdict, confidence in zip(data.stems, judged, sure, strict=True)
    }
    metrics = {
        "images": len(used),
        "segmenter": found.segmenter,
        "mean_coverage": round(float(np.mean([(masks[i] > 127).mean() for i in used])), 4),
        "masks": told,
    }
    left_out = [stem for i, stem in enumerate(data.stems) if i not in used]
    warnings = _warnings(left_out, told)
    if data.alphas is None:
        warnings += _unheeded(said, masks, data.stems)
    return {"metrics": metrics, "warnings": warnings}


def read(dataset: Path) -> Dataset:
    """Of `images/*.png`, `alpha/*.png` and `cameras.json`; the latter two may be absent. NumericError
    "too_few_images".
    """
    listing, paths = dataset / "cameras.json", sorted((dataset / "images").glob("*.png"))
    listed = json.loads(listing.read_text())["images"] if listing.exists() else []
    posed = bool(listed) and all(image["c2w"] is not None for image in listed)
    if listed:
        paths = [dataset / "images" / image["image"] for image in listed]
    if not paths:
        raise NumericError("too_few_images", f"there is no image in {dataset / 'images'}", found=0, needed=1)
    images = np.stack([read_rgb(path) for path in paths])
    height, width = images.shape[1:3]
    if not listed:
        whole = {"crop": [0, 0, width, height], "source_size": [width, height], "w": width, "h": height}
        listed = [{"source": path.name, **whole} for path in paths]
    alphas = [dataset / "alpha" / path.name for path in paths]
    return Dataset(
        stems=[path.stem for path in paths],
        images=images,
        alphas=np.stack([read_grey(path) for path in alphas]) if alphas[0].exists() else None,
        frames=photo_frames(listing)
        if listing.exists()
        else np.tile([0, 0, width, height], (len(images), 1)),
        cameras=read_cameras(listing)[0] if posed else None,
        listed=listed,
    )


def _found(
    data: Dataset,
    name: str,
    said: NDArray[np.float32],
    weights: tuple[Path, dict[str, str]],
    report: Report,
) -> Found:
    def tell(part: float, step: str) -> None:
        report(0.05 + 0.85 * part, {"step": step})

    if data.alphas is not None:
        return Found("uploaded", data.alphas / np.float32(255))
    if data.cameras is not None:
        made = of_posed(name, data.images, data.frames, data.cameras, said, weights, tell)
        return Found("multiview" if name == "auto" else name, *made)
    each = [
        of_single(name, image, here, weights, tell) for image, here in zip(data.images, said, strict=True)
    ]
    own = "single" if name in ("auto", "multiview") else name
    return Found(own, np.stack([mask for mask, _ in each]), sure=[confidence for _, confidence in each])


def _doubted(verdict: Verdict, confidence: float | None) -> Verdict:
    if confidence is None or confidence >= _UNSURE or verdict.verdict == "bad":
        return verdict
    reason = "Looked at in other ways, this photo has another object: too much in it stands out."
    return replace(verdict, verdict="doubtful", reasons=(*verdict.reasons, reason))


def _warnings(left_out: list[str], told: dict[str, dict[str, Any]]) -> list[str]:
    warnings = [f"The photo {stem} was left out. {' '.join(told[stem]['reasons'])}" for stem in left_out]
    doubtful = [stem for stem, mask in told.items() if mask["verdict"] == "doubtful"]
    if len(doubtful) > _MANY * len(told):
        first = told[doubtful[0]]["reasons"][0]
        warnings.append(f"{len(doubtful)} of {len(told)} masks are doubtful. {doubtful[0]}: {first}")
    return warnings


def _unheeded(said: NDArray[np.float32], masks: list[NDArray[np.uint8]], stems: list[str]) -> list[str]:
    """Of what somebody marked, what did not come true."""
    against = [
        ((here > 0) & (mask <= 127)) | ((here < 0) & (mask > 127))
        for here, mask in zip(said, masks, strict=True)
    ]
    return [
        f"What was marked in {stem} could not all be followed: look at its outline."
        for stem, here, other in zip(stems, said, against, strict=True)
        if other.sum() > _HEEDED * (here != 0).sum()
    ]

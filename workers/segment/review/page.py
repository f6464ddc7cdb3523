"""The page on which a person looks at proposed masks and mends them: one HTML file, nothing fetched."""

import base64
import io
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from workers.geometry.cameras import read_cameras
from workers.geometry.images import encoded, read_grey, read_rgb
from workers.segment.review.apply import least

_LARGEST = 512  # pixels of a photo's side, as the page shows it
_QUALITY = 85  # of its JPEG
_ORDER = ("bad", "doubtful", "", "good")


def page(
    dataset: Path, masks: Path, judged: Mapping[str, Mapping[str, Any]], content: str | None = None
) -> str:
    """For the images that `dataset/cameras.json` lists and their masks `<stem>.png`, where there is one.

    `judged`: by stem, "verdict" and "reasons" (see `segment.verdicts`), where they are known. Doubtful masks
    come first. Masks keep their size, for they come back; photos are shrunk. `content`: of the masks, which
    the decisions repeat (see `contracts.review`). ValueError where a mask is not of its photo's size.
    """
    cameras, _ = read_cameras(dataset / "cameras.json")
    shown = []
    for name in cameras.names:
        stem, mask = Path(name).stem, masks / f"{Path(name).stem}.png"
        verdict = judged.get(stem, {})
        shown.append(
            {
                "name": stem,
                "photo": _photo(read_rgb(dataset / "images" / name)),
                "mask": _alpha(_sized(mask, (cameras.height, cameras.width))) if mask.exists() else None,
                "verdict": str(verdict.get("verdict", "")),
                "reasons": [str(reason) for reason in verdict.get("reasons", ())],
            }
        )
    shown.sort(key=lambda image: (_ORDER.index(image["verdict"]), image["name"]))
    proposal = {
        "width": cameras.width,
        "height": cameras.height,
        "needed": least(len(shown)),
        "content": content,
        "images": shown,
    }
    parts = {
        "/*STYLE*/": _source("page.css"),
        "/*SCRIPT*/": _source("page.js"),
        # In a script element only "</script" and "<!--" could end the data early.
        "/*PROPOSAL*/": json.dumps(proposal).replace("<", "\\u003c"),
    }
    written = _source("page.html")
    for slot, content in parts.items():
        written = written.replace(slot, content, 1)
    return written


def _sized(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    mask = read_grey(path)
    if mask.shape != size:
        raise ValueError(
            f"{path.name} has {mask.shape[1]} x {mask.shape[0]} pixels, its photo {size[1]} x {size[0]}"
        )
    return mask


def _source(name: str) -> str:
    return files("workers.segment.review").joinpath(name).read_text()


def _photo(photo: NDArray[np.uint8]) -> str:
    """As the data URL of a JPEG, no larger than is shown."""
    scale = _LARGEST / max(photo.shape[:2])
    if scale < 1:
        photo = np.asarray(
            cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
    return _url("jpeg", encoded(photo, ".jpg", cv2.IMWRITE_JPEG_QUALITY, _QUALITY))


def _alpha(mask: NDArray[np.uint8]) -> str:
    """As the data URL of a white PNG whose alpha is the mask: what a canvas can draw with."""
    content = io.BytesIO()
    white = Image.new("L", mask.shape[::-1], 255)
    Image.merge("LA", (white, Image.fromarray(mask))).save(content, "PNG")
    return _url("png", content.getvalue())


def _url(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"

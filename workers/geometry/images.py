"""Pictures on disk; unlike OpenCV's own functions these fail aloud."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write (h,w) grey or (h,w,3) RGB. Raises OSError, where the disk is full say."""
    path.write_bytes(encoded(image, ".png"))


def write_hdr(path: Path, image: NDArray[np.float32]) -> None:
    """Write (h,w,3) linear RGB as Radiance's RGBE. Raises OSError, where the disk is full say."""
    done, content = cv2.imencode(".hdr", cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR))
    if not done:
        raise ValueError(f"an image of shape {image.shape} cannot be written as .hdr")
    path.write_bytes(content.tobytes())


def encoded(image: NDArray[np.uint8], suffix: str, *options: int) -> bytes:
    """The bytes of a picture file of that kind, (h,w) grey or (h,w,3) RGB; options are OpenCV's.

    Raises ValueError where OpenCV cannot encode it.
    """
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    done, content = cv2.imencode(suffix, pixels, list(options))
    if not done:
        raise ValueError(f"an image of shape {image.shape} cannot be written as {suffix}")
    return content.tobytes()


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """(h,w,3) RGB. Raises ValueError for a file that is no picture."""
    return np.asarray(cv2.cvtColor(_read(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)


def read_grey(path: Path) -> NDArray[np.uint8]:
    """(h,w). Raises ValueError for a file that is no picture."""
    return np.asarray(_read(path, cv2.IMREAD_GRAYSCALE), np.uint8)


def _read(path: Path, mode: int) -> Any:
    image = cv2.imread(str(path), mode)
    if image is None:
        raise ValueError(f"{path.name} is not a readable picture")
    return image


def window_of(cover: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of a square, as far as the picture goes, around what is covered, with a margin; of the
    whole picture where nothing is."""
    height, width = cover.shape
    rows, columns = np.flatnonzero(cover.any(axis=1)), np.flatnonzero(cover.any(axis=0))
    if not len(rows):
        return slice(0, height), slice(0, width)
    side = int(min(1.15 * max(np.ptp(rows), np.ptp(columns)) + 8, height, width))
    top, left = (
        int(np.clip((ends[0] + ends[-1] - side) // 2, 0, length - side))
        for ends, length in ((rows, height), (columns, width))
    )
    return slice(top, top + side), slice(left, left + side)

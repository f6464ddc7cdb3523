"""Files of shapes, read with one kind of error."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class BadShape(ValueError):
    """A shape that cannot be learned from; its text, a plain sentence, says why and names the file at fault
    among the shape's.
    """


def arrays(path: Path, **shapes: tuple[int, ...]) -> tuple[Any, ...]:
    """Arrays of an npz by name, as float64 of these shapes, -1 for any length. BadShape."""
    try:
        with np.load(path) as file:
            found = [file[name].astype(np.float64) for name in shapes]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BadShape(f"{path.name} cannot be read ({error})") from error
    for each, (name, shape) in zip(found, shapes.items(), strict=True):
        fits = each.ndim == len(shape) and all(b in (-1, a) for a, b in zip(each.shape, shape, strict=True))
        if not fits or not np.isfinite(each).all():
            raise BadShape(f"{name} of {path.name} is not as it should be")
    return tuple(found)


def picture(path: Path) -> NDArray[np.uint8]:
    """(h,w,3) sRGB, or (h,w,4) where it has alpha. BadShape."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGBA" if "A" in image.getbands() else "RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise BadShape(f"{path.name} cannot be read as a picture ({error})") from error

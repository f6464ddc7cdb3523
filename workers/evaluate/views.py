"""Photos with a camera and the object's outline, as `transforms*.json` describes them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from workers.evaluate.errors import CannotEvaluate
from workers.geometry.cameras import Cameras

_FEW = 24  # views from which on some are held out, as `phototwin run` does
_EVERY = 8
_PLAIN, _OTHERS = ("L", "RGB", "RGBA"), {"1": "L", "LA": "RGBA", "PA": "RGBA"}  # of Pillow's modes
_DISTORTION = ("k1", "k2", "p1", "p2", "k3")


@dataclass(frozen=True)
class View:
    """camera: one, for the photo at `picture`, undistorted; distortion: k1, k2, p1, p2, k3 (OpenCV) of the
    photo as stored; mask: a picture, bright on the object, or None where the photo's own alpha says it.
    held_out: whether the capture names it a view for testing.
    """

    camera: Cameras
    picture: Path
    mask: Path | None
    distortion: tuple[float, ...]
    held_out: bool

    def read(self) -> tuple[Cameras, NDArray[np.uint8], NDArray[np.uint8]]:
        """The camera at the photo's own size, its pixels (h,w,3) sRGB and the object's cover (h,w), 0..255.

        CannotEvaluate for pictures that are missing or broken, and where nothing says what is object.
        """
        photo = _picture(self.picture)
        height, width = photo.shape[:2]
        camera = self.camera.scaled(width, height)
        if self.mask is not None:
            cover = _picture(self.mask)
            cover = cover[..., -1] if cover.ndim == 3 else cover
            if cover.shape != (height, width):
                resized = cv2.resize(cover, (width, height), interpolation=cv2.INTER_AREA)
                cover = np.asarray(resized, np.uint8)
        elif photo.ndim == 3 and photo.shape[2] == 4:
            cover = photo[..., 3]
        else:
            raise CannotEvaluate(
                f"{self.picture} has neither transparency nor a mask, so its object is unknown"
            )
        colour = np.repeat(photo[..., None], 3, axis=2) if photo.ndim == 2 else photo[..., :3]
        if not any(self.distortion):
            return camera, colour, np.asarray(cover)
        fx, fy, cx, cy = camera.intrinsics[0]
        matrix = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])  # pixel centres at whole numbers
        flat = (cv2.undistort(image, matrix, np.array(self.distortion)) for image in (colour, cover))
        return camera, np.asarray(next(flat), np.uint8), np.asarray(next(flat), np.uint8)


def read_views(path: Path, pictures: Path | None = None, masks: Path | None = None) -> list[View]:
    """All frames of a transforms file (nerfstudio's or instant-ngp's), whose paths start at its own folder or
    at `pictures`; with `masks`, the mask of a frame is the PNG of its picture's stem there.

    CannotEvaluate for a file that cannot be used.
    """
    if not path.is_file():
        raise CannotEvaluate(f"{path} is missing")
    try:
        document = json.loads(path.read_text())
        frames = [{**document, **frame} for frame in document["frames"]]
        views = [_view(frame, pictures or path.parent, masks) for frame in frames]
    except CannotEvaluate:
        raise
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise CannotEvaluate(f"{path} does not describe cameras ({type(error).__name__}: {error})") from error
    if not views:
        raise CannotEvaluate(f"{path} lists no frames")
    return views


def held_out(views: list[View]) -> tuple[list[View], str]:
    """The views to judge by, and in words which these are: those the capture names, else those that
    `phototwin run` keeps back unless told otherwise, else all where they are few.
    """
    named = [view for view in views if view.held_out]
    if named:
        return named, "test views"
    if len(views) >= _FEW:
        return views[_EVERY // 2 :: _EVERY], f"every {_EVERY}th view"
    return views, "all views"


def _view(frame: dict[str, Any], folder: Path, masks: Path | None) -> View:
    name = str(frame["file_path"])
    picture = folder / name
    if not picture.suffix:
        picture = picture.with_name(picture.name + ".png")
    mask = masks / f"{picture.stem}.png" if masks else None
    if mask is None and frame.get("mask_path"):
        mask = folder / str(frame["mask_path"])
    width, height = (int(frame[key]) if frame.get(key) else 0 for key in ("w", "h"))
    if not (width and height):
        height, width = _picture(picture).shape[:2]
    fx = frame.get("fl_x") or 0.5 * width / math.tan(0.5 * frame["camera_angle_x"])
    middle = frame.get("cx", width / 2), frame.get("cy", height / 2)
    pose = np.array(frame["transform_matrix"], np.float64)
    if pose.shape not in ((3, 4), (4, 4)) or not np.isfinite(pose).all():
        raise CannotEvaluate(f"the transform_matrix of {name} is not 4x4 numbers")
    intrinsics = np.array([[fx, frame.get("fl_y") or fx, *middle]], np.float64)
    return View(
        Cameras((name,), intrinsics, width, height, np.vstack([pose[:3], [0, 0, 0, 1]])[None]),
        picture,
        mask,
        tuple(float(frame.get(key) or 0) for key in _DISTORTION),
        frame.get("split") == "test",
    )


def _picture(path: Path) -> NDArray[np.uint8]:
    """(h,w) grey, (h,w,3) RGB or (h,w,4) RGBA, as stored."""
    if not path.is_file():
        raise CannotEvaluate(f"the picture {path} is missing")
    try:
        with Image.open(path) as picture:
            plain = picture if picture.mode in _PLAIN else picture.convert(_OTHERS.get(picture.mode, "RGB"))
            return np.asarray(plain, np.uint8)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise CannotEvaluate(f"{path} is not a readable picture") from error

"""One photo as a square image of the dataset, with its camera, its mask, and how good a photo it is."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from contracts.errors import CameraUnsupported, MaskEmpty
from workers.geometry.images import write_png
from workers.prepare.capture import Shot
from workers.prepare.orientation import oriented, upright_mask
from workers.prepare.quality.photos import Photo, photo_quality
from workers.prepare.rectify import (
    Crop,
    cropped_intrinsics,
    folds,
    rectify,
    rectify_straight_alpha,
    square_crop,
    whole_crop,
)
from workers.runtime.safe_input import Picture, read_image, read_mask

THRESHOLD = 128


@dataclass(frozen=True)
class Prepared:
    """One image of the dataset: its camera, the crop it was cut from, and its mask's bounding box."""

    shot: Shot
    stem: str
    intrinsics: tuple[float, float, float, float]
    crop: Crop
    c2w: NDArray[np.float64]
    """NaN where it is not known: of a single picture."""
    box: tuple[int, int, int, int] | None
    photo: tuple[int, int]
    """Width and height of the photo, upright, in the pixels that the crop is in."""
    quality: Photo


def prepare(shot: Shot, stem: str, outputs: Path, size: int, use_masks: bool) -> Prepared:
    """Writes images/<stem>.png, size x size, and alpha/<stem>.png where the shot has a mask.

    Raises CameraUnsupported, MaskEmpty, SizeMismatch, and as `read_image`.
    """
    picture = read_image(shot.image, shot.name)
    lens = shot.lens
    assert lens is not None, "without poses it is estimated"
    pose = np.full((4, 4), np.nan) if shot.c2w is None else shot.c2w
    camera = oriented(lens, pose, picture.size, picture.orientation, shot.name)
    mask = _mask(shot, picture) if use_masks else None
    if shot.c2w is None:
        crop = whole_crop(*picture.size)
    else:
        solid = None if mask is None else mask >= THRESHOLD
        crop = square_crop(camera.intrinsics, *picture.size, solid, size)
    if folds(camera.intrinsics, lens.distortion, crop):
        raise CameraUnsupported(f"the distortion of {shot.name} is so strong that it folds the picture over")
    geometry = (camera.intrinsics, lens.distortion, crop, size)
    if mask is None:
        rgb, alpha = rectify(picture.rgb, *geometry), None
    elif mask is picture.alpha:
        rgb, alpha = rectify_straight_alpha(picture.rgb, mask, *geometry)
    else:
        rgb = rectify(picture.rgb, *geometry)
        alpha = rectify(mask, *geometry, border=cv2.BORDER_CONSTANT)
    write_png(outputs / "images" / f"{stem}.png", rgb)
    if alpha is not None:
        write_png(outputs / "alpha" / f"{stem}.png", alpha)
    return Prepared(
        shot=shot,
        stem=stem,
        intrinsics=cropped_intrinsics(camera.intrinsics, crop, size),
        crop=crop,
        c2w=camera.c2w,
        box=None if alpha is None else _bounding_box(alpha, shot.name),
        photo=picture.size,
        quality=photo_quality(rgb, alpha),
    )


def _bounding_box(alpha: NDArray[np.uint8], name: str) -> tuple[int, int, int, int]:
    """left, top, right, bottom of what is at least half covered. Raises MaskEmpty."""
    rows, columns = np.nonzero(alpha >= THRESHOLD)
    if not len(rows):
        raise MaskEmpty(f"the mask of {name} is empty", file=name)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def _mask(shot: Shot, picture: Picture) -> NDArray[np.uint8] | None:
    """(H, W), from the mask file or else the photo's own alpha, where that is not opaque all over."""
    if shot.mask is None:
        opaque = picture.alpha is None or bool(picture.alpha.min() == 255)
        return None if opaque else picture.alpha
    mask = read_mask(shot.mask, shot.mask.name).alpha
    return None if mask is None else upright_mask(mask, shot.mask.name, picture)

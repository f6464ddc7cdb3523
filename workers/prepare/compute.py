"""Uploaded files in, normalised dataset out:

    images/<stem>.png     square, undistorted, all of one size: 512 x 512, up to 1024 x 1024 for `high`
    alpha/<stem>.png      8-bit masks, where they came with the upload
    poses_bounds.npy      LLFF
    cameras.json          authoritative: intrinsics, poses, crops, world frame

EXIF is used to turn pictures upright and goes no further: no location leaves this stage.
"""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from contracts.errors import CameraUnsupported, MaskEmpty, MasksIncomplete, PosesMissing
from workers.geometry.cameras import Cameras, to_llff, write_cameras
from workers.geometry.images import write_png
from workers.prepare import llff, transforms
from workers.prepare.capture import Shot, Upload, World, checked_shots
from workers.prepare.frame import bounds, object_sphere, to_normalised
from workers.prepare.orientation import upright, upright_mask
from workers.prepare.rectify import cropped_intrinsics, folds, rectify, rectify_straight_alpha, square_crop
from workers.runtime.safe_input import Picture, read_image, read_mask, read_size

LEAST_SIZE, SIZE_STEP = 512, 64
THRESHOLD = 128

Report = Callable[[float, dict[str, Any]], None]


@dataclass(frozen=True)
class Prepared:
    """One image of the dataset: its camera, the crop it was cut from, and its mask's bounding box."""

    shot: Shot
    stem: str
    intrinsics: tuple[float, float, float, float]
    crop: tuple[float, float, float, float]
    c2w: NDArray[np.float64]
    box: tuple[int, int, int, int] | None
    photo: tuple[int, int]
    """Width and height of the photo, upright, in the pixels that the crop is in."""


def run(inputs: Path, outputs: Path, parameters: dict[str, Any], report: Report) -> dict[str, Any]:
    """Raises the InputErrors that say what is wrong with the capture."""
    report(0.0, {"step": "reading"})
    if parameters["ignore_poses"]:
        raise PosesMissing("poses are to be ignored, and estimating them is not built yet")
    shots, world = read_capture(Upload(inputs / "upload"), parameters["kind"])
    checked_shots(shots)
    size = image_size([read_size(shot.image, shot.name) for shot in shots], parameters["largest"])
    (outputs / "images").mkdir()
    (outputs / "alpha").mkdir()
    stems = unique_stems([shot.name for shot in shots])
    prepared = []
    use_masks = not parameters["ignore_masks"]
    # Two at a time: decoding and resampling leave Python's lock, and large photos need much memory.
    with ThreadPoolExecutor(2) as pool:
        done = pool.map(lambda shot, stem: _prepare(shot, stem, outputs, size, use_masks), shots, stems)
        for index, image in enumerate(done, start=1):
            prepared.append(image)
            report(index / len(shots), {"step": f"photo {index} of {len(shots)}"})
    masked = _check_masks(prepared)
    if not masked:
        (outputs / "alpha").rmdir()
    _write_cameras(outputs, prepared, size, masked, world)
    report(1.0, {"step": "done"})
    unknown = [name for name, value in asdict(world).items() if value is None]
    warnings = [f"The capture does not say its world's {' and '.join(unknown)}."] if unknown else []
    return {
        "warnings": warnings,
        "metrics": {
            "images": len(prepared),
            "masked": masked,
            "posed": True,
            "size": size,
            "world": asdict(world),
        },
    }


def read_capture(upload: Upload, kind: str) -> tuple[list[Shot], World]:
    """The capture, in whichever layout it is (`kind` auto) or is said to be (llff, transforms)."""
    listing = None if kind == "llff" else upload.transforms()
    if listing is not None:
        return transforms.read(upload, listing)
    bounds_file = None if kind == "transforms" else upload.find("poses_bounds.npy")
    if bounds_file is not None:
        return llff.read(upload, bounds_file)
    upload.reject()


def image_size(photos: list[tuple[int, int]], most: int) -> int:
    """Side of the square images made from photos of these sizes (width, height): as large as what half of the
    photos have to show, since more pixels than that cost time and tell nothing."""
    shorter = float(np.median([min(photo) for photo in photos]))
    return max(LEAST_SIZE, min(most, int(shorter) // SIZE_STEP * SIZE_STEP))


def unique_stems(names: list[str]) -> list[str]:
    """File stems fit for any system, each used once."""
    stems: list[str] = []
    for name in names:
        stem = re.sub(r"[^A-Za-z0-9._-]", "_", Path(name).stem).lstrip(".")[:100] or "image"
        candidate, number = stem, 1
        while candidate in stems:
            number += 1
            candidate = f"{stem}-{number}"
        stems.append(candidate)
    return stems


def _prepare(shot: Shot, stem: str, outputs: Path, size: int, use_masks: bool) -> Prepared:
    picture = read_image(shot.image, shot.name)
    camera = upright(shot, picture)
    mask = _mask(shot, picture) if use_masks else None
    solid = None if mask is None else mask >= THRESHOLD
    crop = square_crop(camera.intrinsics, *picture.size, solid, size)
    if folds(camera.intrinsics, shot.distortion, crop):
        raise CameraUnsupported(f"the distortion of {shot.name} is so strong that it folds the picture over")
    geometry = (camera.intrinsics, shot.distortion, crop, size)
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


def _check_masks(prepared: list[Prepared]) -> bool:
    """Whether there are masks. Raises MasksIncomplete."""
    without = [image.shot.name for image in prepared if image.box is None]
    if without and len(without) < len(prepared):
        raise MasksIncomplete(
            f"{len(without)} of {len(prepared)} images have no mask, {without[0]} first", file=without[0]
        )
    return not without


def _write_cameras(outputs: Path, prepared: list[Prepared], size: int, masked: bool, world: World) -> None:
    cameras = Cameras(
        names=tuple(f"{image.stem}.png" for image in prepared),
        intrinsics=np.array([image.intrinsics for image in prepared]),
        width=size,
        height=size,
        c2w=np.array([image.c2w for image in prepared]),
    )
    boxes = np.array([image.box for image in prepared], np.float64) if masked else None
    centre, radius = object_sphere(cameras.c2w, cameras.intrinsics, boxes)
    near, far = bounds(cameras.c2w, centre, radius)
    np.save(outputs / "poses_bounds.npy", to_llff(cameras, near, far))
    write_cameras(
        outputs / "cameras.json",
        cameras,
        sources=[image.shot.name for image in prepared],
        source_sizes=[image.photo for image in prepared],
        crops=[image.crop for image in prepared],
        world={**asdict(world), "to_normalised": to_normalised(centre, radius)},
    )

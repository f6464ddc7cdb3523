"""The worker's input folder, read into a scene."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import photo_frames, read_cameras
from workers.geometry.errors import NumericError
from workers.geometry.images import read_grey, read_rgb
from workers.reconstruct.methods.model import Scene
from workers.reconstruct.threads import each

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Dataset:
    """What was read.

    scene: the photos a mask was given for, cameras in the normalised frame. from_world: (4,4) similarity from
    the capture's world to that frame.
    """

    scene: Scene
    from_world: NDArray[np.float64]


def read_dataset(inputs: Path) -> Dataset:
    """Read `dataset/cameras.json`, `dataset/images/*.png`, `masks/*.png` (same stem) and, where it is there,
    `masks/support.json` under `inputs`.

    An image without a mask was discarded by a person and is left out.
    NumericError: "masks_missing" where none has one, "too_few_images" where only one of several has,
    "image_unreadable", "size_mismatch".
    """
    cameras, world = read_cameras(inputs / "dataset" / "cameras.json")
    masks = [inputs / "masks" / f"{Path(name).stem}.png" for name in cameras.names]
    kept = [i for i, mask in enumerate(masks) if mask.exists()]
    if not kept:
        raise NumericError("masks_missing", f"none of the {len(cameras)} images has a mask")
    if len(kept) < 2 <= len(cameras):
        raise NumericError("too_few_images", "only one image has a mask", found=1, needed=2)
    cameras = cameras.select(kept)
    from_world = np.array(world["to_normalised"], np.float64)
    size = (cameras.height, cameras.width)
    photos = [inputs / "dataset" / "images" / name for name in cameras.names]
    scene = Scene(
        images=np.stack(each(lambda path: _checked(read_rgb, path, size), photos)),
        masks=np.stack(each(lambda i: _checked(read_grey, masks[i], size) > 127, kept)),
        cameras=cameras,
        frames=photo_frames(inputs / "dataset" / "cameras.json")[kept],
        support=_support(inputs / "masks" / "support.json"),
    )
    return Dataset(scene.transformed(from_world), from_world)


def _support(path: Path) -> NDArray[np.float64] | None:
    """See `Scene`; known where masks were made from the photos."""
    return np.array(json.loads(path.read_text())["plane"], np.float64) if path.exists() else None


def _checked(read: Callable[[Path], Image], path: Path, size: tuple[int, int]) -> Image:
    """The picture at `path`, which must be of that size (h, w)."""
    try:
        image = read(path)
    except ValueError as error:
        raise NumericError("image_unreadable", str(error), file=path.name) from None
    if image.shape[:2] != size:
        found = f"{path.name} is of {image.shape[1]}x{image.shape[0]} pixels"
        raise NumericError("size_mismatch", f"{found}, not {size[1]}x{size[0]}", file=path.name)
    return image


def split(count: int, every: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices used and held out: from 24 photos on every `every`-th is held out, none for 0 or fewer
    photos.
    """
    index = np.arange(count)
    held = (index % every == every // 2) if every > 0 and count >= 24 else np.zeros(count, bool)
    return index[~held], index[held]

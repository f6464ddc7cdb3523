"""The worker's input folder, read into a scene."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from workers.geometry.cameras import photo_frames, read_cameras
from workers.geometry.errors import NumericError
from workers.reconstruct.methods.model import Scene


@dataclass(frozen=True)
class Dataset:
    """scene: the photos a mask was given for, cameras in the normalised frame. from_world: (4,4) similarity
    from the
    capture's world to that frame."""

    scene: Scene
    from_world: NDArray[np.float64]


def read_dataset(inputs: Path) -> Dataset:
    """Read `dataset/cameras.json`, `dataset/images/*.png` and `masks/*.png` (0 or 255, same stem) under
    `inputs`.

    An image without a mask was discarded by a person and is left out.
    NumericError: "masks_missing" where fewer than two have one; "image_unreadable", "mask_size_differs".
    """
    cameras, world = read_cameras(inputs / "dataset" / "cameras.json")
    masks = [inputs / "masks" / f"{Path(name).stem}.png" for name in cameras.names]
    kept = [i for i, mask in enumerate(masks) if mask.exists()]
    if len(kept) < 2:
        raise NumericError("masks_missing", images=len(cameras), masks=len(kept))
    cameras = cameras.select(kept)
    from_world = np.array(world["to_normalised"], np.float64)
    size = (cameras.height, cameras.width)
    scene = Scene(
        images=np.stack(
            [_read(inputs / "dataset" / "images" / n, cv2.IMREAD_COLOR, size) for n in cameras.names]
        ),
        masks=np.stack([_read(masks[i], cv2.IMREAD_GRAYSCALE, size) > 127 for i in kept]),
        cameras=cameras.transformed(from_world),
        frames=photo_frames(inputs / "dataset" / "cameras.json")[kept],
    )
    return Dataset(scene, from_world)


def _read(path: Path, mode: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Image (h,w) or (h,w,3) RGB of that size (h, w)."""
    image = cv2.imread(str(path), mode)
    if image is None:
        raise NumericError("image_unreadable", image=path.name)
    if image.shape[:2] != size:
        raise NumericError(
            "mask_size_differs", image=path.name, found=list(image.shape[:2]), expected=list(size)
        )
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return np.asarray(image, np.uint8)


def split(count: int, every: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices used and held out: from 24 photos on every `every`-th is held out, none for 0 or fewer
    photos.
    """
    index = np.arange(count)
    held = (index % every == every // 2) if every > 0 and count >= 24 else np.zeros(count, bool)
    return index[~held], index[held]

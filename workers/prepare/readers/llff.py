"""Reader of the LLFF layout: `poses_bounds.npy` beside `images/`."""

from pathlib import Path

import numpy as np

from contracts.errors import CountMismatch, ImageMissing, PoseInvalid, PosesUnreadable
from workers.geometry.cameras import from_llff
from workers.prepare.capture import Capture, Lens, Shot, Upload, check_count, checked_pose
from workers.runtime.safe_input import read_npy

IMAGE_LIST = "poses_bounds.images.txt"
MAX_LIST_CHARACTERS = 1 << 20


def read(upload: Upload, path: Path) -> Capture:
    """One shot for each row; the images are those of `images/` in the order of their names, or
    those that `poses_bounds.images.txt` lists, one path a line. LLFF says nothing of its world.

    Raises PosesUnreadable, PoseInvalid, CountMismatch, ImageMissing, TooFewImages,
    TooManyImages.
    """
    rows = read_npy(path, path.name)
    if rows.ndim != 2 or rows.shape[1] != 17:
        shape = " x ".join(map(str, rows.shape)) or "a single number"
        raise PosesUnreadable(f"{path.name} is {shape}, not N x 17", file=path.name)
    images = _images(upload, path)
    if len(images) != len(rows):
        raise CountMismatch(
            f"{path.name} has {len(rows)} rows for {len(images)} images",
            images=len(images),
            poses=len(rows),
        )
    check_count(len(images))
    c2w, height, width, focal, _, _ = from_llff(rows)
    shots = []
    for index, image in enumerate(images):
        name = image.relative_to(upload.root).as_posix()
        size = (float(width[index]), float(height[index]))
        f = float(focal[index])
        if not np.isfinite([f, *size]).all() or min(f, *size) <= 0:
            raise PoseInvalid(f"row {index} of {path.name}, for {name}, has no valid h, w, f", file=name)
        shots.append(
            Shot(
                name=name,
                image=image,
                mask=upload.find_mask(path.parent, image),
                lens=Lens(size, (f, f)),
                c2w=checked_pose(c2w[index], name),
            )
        )
    return Capture(shots)


def _images(upload: Upload, path: Path) -> list[Path]:
    listing = path.parent / IMAGE_LIST
    if listing in upload.files:
        with listing.open(errors="replace") as file:
            lines = file.read(MAX_LIST_CHARACTERS).splitlines()
        return [upload.resolve(path.parent, line.strip(), IMAGE_LIST) for line in lines if line.strip()]
    images = upload.images(path.parent / "images") or upload.images(path.parent)
    if not images:
        raise ImageMissing(f"beside {path.name} there is no folder 'images' with pictures", file="images")
    return images

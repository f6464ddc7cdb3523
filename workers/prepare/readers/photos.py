"""Reader of plain photos: no poses, and lenses only as far as EXIF tells."""

from pathlib import Path

from workers.prepare.capture import Capture, Shot, Upload, check_most
from workers.runtime.safe_input import IMAGE_SUFFIXES

ASIDE = ("mask", "masks", "alpha", "depth", "depths", "confidence", "thumbnails")
"""Folders with pictures that are no photos."""


FEWER = 8
"""Photos beside a video are something else: its thumbnail, say."""


def find(upload: Upload) -> Path | None:
    """The folder that the photos lie below."""
    photos = len(_photos(upload))
    return upload.root if photos >= FEWER or (photos and not upload.videos()) else None


def read(upload: Upload, path: Path) -> Capture:
    """All photos below `path`, in the order of their names. Raises TooManyImages."""
    photos = _photos(upload)
    check_most(len(photos))
    return Capture(
        [
            Shot(
                name=photo.relative_to(upload.root).as_posix(),
                image=photo,
                mask=upload.find_mask(photo.parent, photo),
            )
            for photo in photos
        ]
    )


def _photos(upload: Upload) -> list[Path]:
    return [
        path
        for path in upload.files
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not any(part.lower() in ASIDE for part in path.relative_to(upload.root).parts[:-1])
    ]

"""Reading what strangers upload: bounded in count, bytes and pixels, and never trusted.

Meant to run in the computing child process, which holds no secrets.
"""

import errno
import io
import json
import math
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from contracts.errors import (
    ArchiveUnsafe,
    FormatUnsupported,
    ImageTooLarge,
    ImageTooSmall,
    ImageUnreadable,
    InputError,
    PosesUnreadable,
    UploadTooLarge,
)
from workers.runtime.picture_parts import TooManyParts, check_parts

MAX_ENTRIES = 5000
MAX_UNPACKED_BYTES = 4 << 30
MAX_DEPTH = 20
MAX_RATIO = 200
"""Of unpacked to packed bytes of one entry; photos hardly shrink at all."""
MAX_DIRECTORY_BYTES = 8 << 20
"""Of an archive's list of its entries."""
MAX_PIXELS = 50_000_000
MAX_IMAGE_BYTES = 256 << 20
MIN_SIDE = 64
MAX_JSON_BYTES = 16 << 20
MAX_NPY_BYTES = 8 << 20
CHUNK = 1 << 20
BAND = 64
"""Rows of a picture that are converted at once."""

DEEP = ("I", "I;16", "I;16B", "I;16L", "F")
"""Modes of pictures of more than 8 bits."""
FORMATS = ("JPEG", "PNG", "WEBP", "HEIF")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif")
SEND_INSTEAD = "Send photos as JPEG, PNG or WebP."

try:
    import pillow_heif
except ImportError:
    HEIF_INSTALLED = False
else:
    HEIF_INSTALLED = True
    pillow_heif.register_heif_opener()

TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what turns the stored pixels upright."""

Image.MAX_IMAGE_PIXELS = None  # our own limit, below, is checked before any pixel is decoded


@dataclass(frozen=True)
class Picture:
    """A decoded photo, turned upright as its EXIF says.

    rgb: (H, W, 3) uint8, sRGB. alpha: (H, W) uint8, or None where the file has none.
    stored_size: (width, height) as in the file; orientation: EXIF's, 1 to 8.
    """

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None
    stored_size: tuple[int, int]
    orientation: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), upright."""
        return self.rgb.shape[1], self.rgb.shape[0]


def read_image(path: Path, name: str) -> Picture:
    """Decode a photo; `name` is what its sender calls it.

    Raises FormatUnsupported, ImageTooLarge, ImageTooSmall, ImageUnreadable, UploadTooLarge.
    """
    with _opened(path, name) as image:
        orientation = _orientation(image)
        stored = image.size
        upright = image.transpose(TRANSPOSE[orientation]) if orientation in TRANSPOSE else image
        if upright.mode in DEEP:
            upright = _eight_bits(upright)
        has_alpha = "A" in upright.mode or "transparency" in upright.info
        pixels = np.asarray(upright.convert("RGBA" if has_alpha else "RGB"))
    alpha = np.ascontiguousarray(pixels[..., 3]) if has_alpha else None
    return Picture(np.ascontiguousarray(pixels[..., :3]), alpha, stored, orientation)


@dataclass(frozen=True)
class Glance:
    """A photo at a glance, turned upright. grey: (h, w), reduced. size: (width, height) of the photo itself.
    orientation: EXIF's, 1 to 8. focal: as a multiple of the photo's longer side, where EXIF tells."""

    grey: NDArray[np.uint8]
    size: tuple[int, int]
    orientation: int
    focal: float | None


def read_glance(path: Path, name: str, longest: int) -> Glance:
    """A photo in grey, at most `longest` pixels a side; of large JPEGs only what that takes is decoded.

    Raises as `read_image`.
    """
    with _opened(path, name) as image:
        orientation, focal, stored = _orientation(image), _focal(image), image.size
        image.draft("L", (longest, longest))  # never smaller than that
        grey = (_eight_bits(image) if image.mode in DEEP else image).convert("L")
        grey.thumbnail((longest, longest), Image.Resampling.BOX)
        upright = grey.transpose(TRANSPOSE[orientation]) if orientation in TRANSPOSE else grey
    turned = orientation in (5, 6, 7, 8)
    return Glance(np.array(upright, np.uint8), stored[::-1] if turned else stored, orientation, focal)


def read_size(path: Path, name: str) -> tuple[int, int]:
    """Width and height of a photo as stored, without decoding it. Raises as `read_image`."""
    with _opened(path, name) as image:
        return image.size


def read_taken(path: Path, name: str) -> datetime | None:
    """When a photo was taken, as its EXIF says; without a zone where that says none, and None where it does
    not say, or what is no time. Raises as `read_image`."""
    with _opened(path, name) as image, suppress(Exception):
        told = image.getexif().get_ifd(0x8769)
        zone, part = str(told.get(0x9011, "")).strip("\0 "), str(told.get(0x9291, "")).strip("\0 ")
        when = datetime.strptime(
            str(told[0x9003]).strip("\0 ") + zone, "%Y:%m:%d %H:%M:%S" + "%z" * bool(zone)
        )
        return when + timedelta(seconds=float(f"0.{part}") if part.isdigit() else 0)
    return None


def read_mask(path: Path, name: str) -> Picture:
    """A mask as a Picture whose alpha is the mask: the file's own alpha where that says anything,
    else its brightness. Raises as `read_image`."""
    picture = read_image(path, name)
    if picture.alpha is not None and picture.alpha.min() < 255:
        return picture
    red, green, blue = np.moveaxis(picture.rgb, 2, 0)
    brightness = np.maximum(np.maximum(red, green), blue)
    brightest = int(brightness.max())
    if 0 < brightest < 128:  # 0 and 1, say, instead of 0 and 255
        brightness = brightness * np.uint8(255 // brightest)
    return Picture(picture.rgb, brightness, picture.stored_size, picture.orientation)


@contextmanager
def _opened(path: Path, name: str) -> Iterator[Image.Image]:
    if path.stat().st_size > MAX_IMAGE_BYTES:
        limit = f"{MAX_IMAGE_BYTES / 1e6:.0f} MB in one photo"
        raise UploadTooLarge(f"{name} is larger than {limit}", limit=limit)
    try:
        check_parts(path)
        with Image.open(path, formats=FORMATS if HEIF_INSTALLED else FORMATS[:-1]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageTooLarge(
                    f"{name} has {image.width} x {image.height} pixels; at most {MAX_PIXELS} are accepted",
                    file=name,
                    limit=MAX_PIXELS // 1_000_000,
                )
            if min(image.size) < MIN_SIDE:
                raise ImageTooSmall(
                    f"{name} has {image.width} x {image.height} pixels; a side needs {MIN_SIDE} at least",
                    file=name,
                    needed=MIN_SIDE,
                )
            yield image
    except UnidentifiedImageError:
        with path.open("rb") as file:
            head = file.read(16)
        if not head:
            raise ImageUnreadable(f"{name} is empty", file=name) from None
        if _claims_a_format_we_read(head):
            raise ImageUnreadable(f"{name} is damaged: no decoder accepts it", file=name) from None
        if _is_heif(head):
            raise FormatUnsupported(
                f"{name} is HEIC, for which no decoder is installed here (phototwin[heic] brings one)",
                file=name,
                advice="Set the camera to its most compatible format, JPEG, or convert the photos to it.",
            ) from None
        raise FormatUnsupported(
            f"{name} is not a JPEG, PNG, WebP or HEIC picture (it begins with {head.hex(' ')})",
            file=name,
            advice=SEND_INSTEAD,
        ) from None
    except InputError:
        raise
    except TooManyParts as error:
        raise ImageUnreadable(f"{name} is no photo: {error}", file=name) from None
    except Exception as error:  # a decoder fed with damaged or hostile bytes may raise anything
        _reraise_full_disk(error)
        raise ImageUnreadable(f"{name} is damaged: {type(error).__name__}: {error}", file=name) from None


def _orientation(image: Image.Image) -> int:
    """EXIF's, 1 to 8; garbage there is no reason to refuse a sound picture."""
    with suppress(Exception):
        return int(image.getexif().get(0x0112, 1))
    return 1


def _focal(image: Image.Image) -> float | None:
    """From the focal length that would show as much on 35 mm film, which is told for the diagonal."""
    with suppress(Exception):
        on_film = float(image.getexif().get_ifd(0x8769).get(0xA405, 0))
        if 5 < on_film < 1000:
            return on_film / math.hypot(36, 24) * math.hypot(*image.size) / max(image.size)
    return None


def _reraise_full_disk(error: Exception) -> None:
    """The one OSError that is no fault of the input's."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        raise error


def _claims_a_format_we_read(head: bytes) -> bool:
    return (
        head.startswith((b"\xff\xd8\xff", b"\x89PNG"))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (HEIF_INSTALLED and _is_heif(head))
    )


def _is_heif(head: bytes) -> bool:
    return head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1", b"ftyphevc")


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit and float pictures to 8 bits, from their nominal range."""
    values = np.asarray(image)
    top = 1.0 if image.mode == "F" and values.max() <= 1 else 65535.0
    converted = np.empty(values.shape, np.uint8)
    for row in range(0, len(values), BAND):
        exact = np.nan_to_num(values[row : row + BAND].astype(np.float64))
        converted[row : row + BAND] = np.clip(exact / top * 255 + 0.5, 0, 255)
    return Image.fromarray(converted)


def read_json(path: Path, name: str) -> Any:
    """Raises PosesUnreadable."""
    size = path.stat().st_size
    if size > MAX_JSON_BYTES:
        raise PosesUnreadable(f"{name} has {size} bytes; at most {MAX_JSON_BYTES} are read", file=name)
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError, MemoryError) as error:
        raise PosesUnreadable(f"{name} is not JSON: {error}", file=name) from None


def read_npy(path: Path, name: str) -> NDArray[np.float64]:
    """A numeric array of finite size; never unpickled, never larger than its file.

    Raises PosesUnreadable.
    """
    size = path.stat().st_size
    if size > MAX_NPY_BYTES:
        raise PosesUnreadable(f"{name} has {size} bytes; at most {MAX_NPY_BYTES} are read", file=name)
    try:
        # Mapping checks the claimed shape against the file's size before anything is allocated.
        mapped = np.lib.format.open_memmap(path, mode="r")
        if mapped.dtype.kind not in "fiu":
            raise ValueError(f"its values are {mapped.dtype}, not numbers")
        return np.array(mapped, np.float64)
    except Exception as error:  # numpy's header parser raises whatever Python's own parser does
        raise PosesUnreadable(f"{name} is not a plain .npy array: {error}", file=name) from None


def extract_zip(path: Path, folder: Path, name: str) -> None:
    """Unpack an archive's files into a folder.

    Raises ArchiveUnsafe (leaves the folder, links, encryption, bombs, damage), UploadTooLarge.
    """
    try:
        with _Archive(path) as file, zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(entries) > MAX_ENTRIES:
                raise ArchiveUnsafe(f"{name} has {len(entries)} files; at most {MAX_ENTRIES} are accepted")
            if sum(entry.compress_size for entry in entries) > path.stat().st_size:
                raise ArchiveUnsafe(f"{name} has files that overlap each other")
            left = MAX_UNPACKED_BYTES
            for entry in entries:
                target = folder / _checked_name(entry, name)
                left -= _extract_entry(archive, entry, target, name, left)
    except InputError:
        raise
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise ArchiveUnsafe(f"{name} uses one name for a file and a folder, or twice") from None
    except Exception as error:  # an unpacker fed with damaged or hostile bytes may raise anything
        _reraise_full_disk(error)
        raise ArchiveUnsafe(
            f"{name} is damaged or encrypted: {type(error).__name__}: {str(error)[:200]}"
        ) from None


class _Archive(io.FileIO):
    """A file of which nothing is read in one piece that is larger than an honest list of entries: `zipfile`
    reads the list so, and makes an object of some hundred bytes of each of its 46."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise ValueError(f"its list of entries has {size} bytes; at most {MAX_DIRECTORY_BYTES} are read")
        return super().read(size)


def _checked_name(entry: zipfile.ZipInfo, name: str) -> PurePosixPath:
    raw = entry.filename
    path = PurePosixPath(raw)
    if not path.parts or len(path.parts) > MAX_DEPTH:
        raise ArchiveUnsafe(f"{name}: entry {raw!r:.100} has no name, or too many folders in it")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveUnsafe(f"{name}: entry {raw!r:.100} is packed in a way few programs read; use plain zip")
    if "\\" in raw or "\0" in raw or ":" in path.parts[0] or path.is_absolute() or ".." in path.parts:
        raise ArchiveUnsafe(f"{name}: entry {raw!r:.200} leads out of the archive's folder")
    if any(len(part.encode()) > 255 for part in path.parts):
        raise ArchiveUnsafe(f"{name}: entry {raw!r:.100} has too long a name")
    mode = entry.external_attr >> 16
    if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
        raise ArchiveUnsafe(f"{name}: entry {raw!r:.200} is a link or a device, not a file")
    if entry.file_size > MAX_RATIO * max(entry.compress_size, 1024):
        raise ArchiveUnsafe(f"{name}: entry {raw!r:.200} would grow more than {MAX_RATIO} times")
    return path


def _extract_entry(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, name: str, left: int
) -> int:
    """Returns the bytes written, counted as they come: the archive's own figures may lie."""
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(entry) as source, target.open("xb") as sink:
        while chunk := source.read(CHUNK):
            written += len(chunk)
            if written > left:
                limit = f"{MAX_UNPACKED_BYTES / 1e9:.1f} GB"
                raise UploadTooLarge(f"{name} unpacks to more than {limit}", limit=limit)
            sink.write(chunk)
    return written

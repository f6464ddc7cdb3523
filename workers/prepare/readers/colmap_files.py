"""Parser of COLMAP's sparse models, binary and text, written by strangers.

https://colmap.github.io/format.html. Nothing is allocated by a count that a file claims: a record that the
file does not hold ends the reading.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from contracts.errors import CameraUnsupported, PosesUnreadable

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

MAX_BYTES = 512 << 20
MAX_LINE = 4 << 20
MAX_NAME = 1024
MAX_IMAGES = 20_000
MAX_POINTS = 1_000_000
BEYOND_MEASURE = 1e15
PARAMETERS = {
    "SIMPLE_PINHOLE": 3,
    "PINHOLE": 4,
    "SIMPLE_RADIAL": 4,
    "RADIAL": 5,
    "OPENCV": 8,
    "OPENCV_FISHEYE": 8,
    "FULL_OPENCV": 12,
    "FOV": 5,
    "SIMPLE_RADIAL_FISHEYE": 4,
    "RADIAL_FISHEYE": 5,
    "THIN_PRISM_FISHEYE": 12,
}
"""How many each camera model has; the binary files number the models in this order."""


@dataclass(frozen=True)
class Camera:
    """size: width, height in pixels. parameters: as many as PARAMETERS says for the model."""

    model: str
    size: tuple[int, int]
    parameters: tuple[float, ...]


@dataclass(frozen=True)
class Image:
    """quaternion (w, x, y, z) and translation: OpenCV world-to-camera. seen: ids of the points in
    it, -1 where one was not made a point."""

    name: str
    camera: int
    quaternion: tuple[float, ...]
    translation: tuple[float, ...]
    seen: Ids


@dataclass(frozen=True)
class Model:
    """cameras by id; images in the file's order; points: their ids (P,), ascending, and places (P,3)."""

    cameras: dict[int, Camera]
    images: list[Image]
    point_ids: Ids
    points: Array


def parse(folder: Path) -> Model:
    """The model of which cameras.bin or cameras.txt is in `folder`. Points are optional, and those after the
    first million are not read.

    Raises PosesUnreadable, which names the file and the line or byte; CameraUnsupported.
    """
    binary = (folder / "cameras.bin").is_file()
    suffix, readers = ("bin", _BINARY) if binary else ("txt", _TEXT)
    paths = [folder / f"{part}.{suffix}" for part in ("cameras", "images", "points3D")]
    if not paths[1].is_file():
        raise PosesUnreadable(f"beside {paths[0].name} there is no {paths[1].name}", file=paths[1].name)
    read_cameras, read_images, read_points = readers
    cameras = dict(islice(read_cameras(paths[0]), MAX_IMAGES))
    images = list(islice(read_images(paths[1]), MAX_IMAGES + 1))
    for image in images:
        if image.camera not in cameras:
            message = f"{paths[1].name}: {image.name} is by camera {image.camera}, not in {paths[0].name}"
            raise PosesUnreadable(message, file=paths[1].name)
    if not 0 < len(images) <= MAX_IMAGES:
        amount = f"more than {MAX_IMAGES} images" if images else "no image"
        raise PosesUnreadable(f"{paths[1].name} lists {amount}", file=paths[1].name)
    points = dict(islice(read_points(paths[2]), MAX_POINTS)) if paths[2].is_file() else {}
    ids = sorted(points)
    places = np.array([points[number] for number in ids], np.float64).reshape(-1, 3)
    return Model(cameras, images, np.array(ids, np.int64), places)


class _Records:
    """A binary file, read from front to back."""

    def __init__(self, path: Path) -> None:
        self.name, self._data, self._at = path.name, _bytes(path), 0

    def take(self, layout: struct.Struct) -> tuple[int | float, ...]:
        self._skip(layout.size)
        return layout.unpack_from(self._data, self._at - layout.size)

    def count(self, smallest: int) -> int:
        """The next number, of records that take `smallest` bytes each at least."""
        (count,) = self.take(_COUNT)
        if count * smallest > len(self._data) - self._at:
            self.fail(f"claims {count} records")
        return int(count)

    def columns(self, count: int, dtype: np.dtype[np.void]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
        self._skip(count * dtype.itemsize)
        return np.frombuffer(self._data, dtype, count, self._at - count * dtype.itemsize)

    def text(self) -> str:
        end = self._data.find(b"\0", self._at, self._at + MAX_NAME)
        if end < 0:
            self.fail("has a name without an end")
        start, self._at = self._at, end + 1
        return self._data[start:end].decode("utf-8", "replace")

    def _skip(self, size: int) -> None:
        if size > len(self._data) - self._at:
            self.fail("ends in the middle of a record")
        self._at += size

    def fail(self, what: str) -> NoReturn:
        raise PosesUnreadable(f"{self.name} {what}, at byte {self._at}", file=self.name)

    def finite(self, numbers: tuple[float, ...]) -> tuple[float, ...]:
        if not _sound(numbers):
            self.fail("has a number that is not finite")
        return numbers


_COUNT = struct.Struct("<Q")
_CAMERA = struct.Struct("<iiQQ")
_IMAGE = struct.Struct("<i7di")
_POINT = struct.Struct("<Q3d3BdQ")
_SEEN = np.dtype([("x", "<f8"), ("y", "<f8"), ("point", "<i8")])
_TRACK = np.dtype([("image", "<i4"), ("place", "<i4")])


def _binary_cameras(path: Path) -> Iterator[tuple[int, Camera]]:
    file = _Records(path)
    for _ in range(file.count(_CAMERA.size)):
        number, kind, width, height = map(int, file.take(_CAMERA))
        if not 0 <= kind < len(PARAMETERS):
            raise CameraUnsupported(f"{path.name}: camera model {kind} is not supported")
        model = list(PARAMETERS)[kind]
        parameters = file.finite(file.take(struct.Struct(f"<{PARAMETERS[model]}d")))
        yield number, Camera(model, (width, height), parameters)


def _binary_images(path: Path) -> Iterator[Image]:
    file = _Records(path)
    for _ in range(file.count(_IMAGE.size)):
        _, *pose, camera = file.take(_IMAGE)
        pose = list(file.finite(tuple(pose)))
        name = file.text()
        seen = file.columns(file.count(_SEEN.itemsize), _SEEN)["point"]
        yield Image(name, int(camera), tuple(pose[:4]), tuple(pose[4:]), seen)


def _binary_points(path: Path) -> Iterator[tuple[int, tuple[float, ...]]]:
    file = _Records(path)
    for _ in range(file.count(_POINT.size)):
        number, x, y, z, *_, length = file.take(_POINT)
        file.columns(int(length), _TRACK)
        if number >= 1 << 63:
            file.fail("has a point of an impossible id")
        yield int(number), file.finite((x, y, z))


def _text_cameras(path: Path) -> Iterator[tuple[int, Camera]]:
    for line, fields in _lines(path):
        try:
            number, model, width, height = int(fields[0]), fields[1], int(fields[2]), int(fields[3])
            parameters = _finite(fields[4:])
            if model not in PARAMETERS:
                raise CameraUnsupported(f"{path.name}: camera model {model!r:.60} is not supported")
            if len(parameters) != PARAMETERS[model]:
                raise ValueError(f"{model} has {PARAMETERS[model]} parameters")
        except (ValueError, IndexError) as error:
            _reject(path, line, "camera", error)
        yield number, Camera(model, (width, height), parameters)


def _text_images(path: Path) -> Iterator[Image]:
    lines = _lines(path, points_follow=True)
    for line, fields in lines:
        try:
            pose = _finite(fields[1:8])
            camera, name = int(fields[8]), " ".join(fields[9:])
            if not 0 < len(name) <= MAX_NAME:
                raise ValueError("there is no name")
            line, points = next(lines, (line + 1, []))
            if len(points) % 3:
                raise ValueError("its points are not x, y and id each")
            seen = np.array(points[2::3], np.int64)
        except (ValueError, IndexError, OverflowError) as error:
            _reject(path, line, "image", error)
        yield Image(name, camera, pose[:4], pose[4:], seen)


def _text_points(path: Path) -> Iterator[tuple[int, tuple[float, ...]]]:
    for line, fields in _lines(path):
        try:
            number, place = int(fields[0]), _finite(fields[1:4])
            if len(place) != 3 or not 0 <= number < 1 << 63:
                raise ValueError("it has no id and place")
        except (ValueError, IndexError) as error:
            _reject(path, line, "point", error)
        yield number, place


def _lines(path: Path, points_follow: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of each line but empty ones and comments; where `points_follow`, of the line after
    each of them too, whatever is in it."""
    follows = False
    file = BytesIO(_bytes(path))
    for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), start=1):
        if len(line) == MAX_LINE:
            raise PosesUnreadable(
                f"{path.name}, line {number} is longer than {MAX_LINE} bytes", file=path.name
            )
        fields = line.decode("utf-8", "replace").split()
        if follows:
            follows = False
            yield number, fields
        elif fields and not fields[0].startswith("#"):
            follows = points_follow
            yield number, fields


def _finite(fields: list[str]) -> tuple[float, ...]:
    numbers = tuple(map(float, fields))
    if not _sound(numbers):
        raise ValueError("a number is not finite")
    return numbers


def _sound(numbers: tuple[float, ...]) -> bool:
    """Finite, and such that its square is too. False for a NaN, which no comparison holds for."""
    return all(abs(number) < BEYOND_MEASURE for number in numbers)


def _reject(path: Path, line: int, what: str, error: Exception) -> NoReturn:
    raise PosesUnreadable(f"{path.name}, line {line} is no {what}: {error!s:.200}", file=path.name) from None


def _bytes(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise PosesUnreadable(f"{path.name} has {size} bytes; at most {MAX_BYTES} are read", file=path.name)
    return path.read_bytes()


_BINARY = (_binary_cameras, _binary_images, _binary_points)
_TEXT = (_text_cameras, _text_images, _text_points)

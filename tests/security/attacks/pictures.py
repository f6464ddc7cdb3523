"""Pictures that attack their decoder, each in the place of one photo of a sound capture."""

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from PIL import Image

PHOTO = "images/photo_03.png"
DAMAGED = frozenset({"image_unreadable"})
TOO_LARGE = frozenset({"image_too_large"})
UNSUPPORTED = frozenset({"format_unsupported"})
MISFIT = frozenset({"size_mismatch"})
"""To the camera that the capture says it was taken with; nothing else is wrong with it."""
HARMLESS = frozenset({"done"})
SIDE = 7071
"""Of the largest square picture that is accepted."""

Write = Callable[[Path], object]


def _photo(make: Callable[[], bytes], place: str = PHOTO) -> Write:
    return lambda folder: (folder / place).write_bytes(make())


def _saved(kind: str, size: tuple[int, int] = (160, 120), mode: str = "RGB", **how: object) -> bytes:
    body = io.BytesIO()
    Image.new(mode, size).save(body, kind, **how)
    return body.getvalue()


def _chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(
    width: int, height: int, depth: int = 8, colour: int = 2, rows: bytes = b"", more: bytes = b""
) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND")


def _png_with(more: bytes) -> bytes:
    """A sound picture, with something between its header and its pixels."""
    return _png(160, 120, rows=bytes(120 * 481), more=more)


def _flood(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


def _sixteen_bits() -> bytes:
    return _png(SIDE, SIDE, 16, 0, bytes(SIDE * (2 * SIDE + 1)))


def _jpeg_of(width: int, height: int) -> bytes:
    """A small JPEG that claims another size."""
    return re.sub(
        rb"(\xff\xc0..\x08)....",
        lambda m: m[1] + struct.pack(">HH", height, width),
        _saved("JPEG"),
        flags=re.S,
    )


def _scans() -> bytes:
    """One of its scans ten thousand times: each goes over all of the picture."""
    body = _saved("JPEG", (4000, 3000), "L", progressive=True)
    return body[:-2] + body[body.rindex(b"\xff\xda") : -2] * 10_000 + body[-2:]


def _hidden_scans() -> bytes:
    """As above, behind markers that have no length: who takes what follows for one skips the scans."""
    body = _saved("JPEG", (4000, 3000), "L", progressive=True)
    scan = body[body.rindex(b"\xff\xda") : -2]
    hidden = b"\xff\x01" + (scan * (0xFFDA // len(scan))).ljust(0xFFDA, b"\0")
    return body[:-2] + hidden * 20 + body[-2:]


def _segments(segment: bytes, count: int) -> bytes:
    body, jfif = _saved("JPEG"), 20
    return body[:jfif] + segment * count + body[jfif:]


def _exif(ifd: bytes) -> bytes:
    """A JPEG whose EXIF is this TIFF directory, at byte 8."""
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + ifd
    return _segments(b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif, 1)


def _entry(tag: int, kind: int, count: int, value: int) -> bytes:
    return struct.pack(">HHII", tag, kind, count, value)


def _webp(width: int, height: int, flags: int, body: bytes) -> bytes:
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    chunks = b"VP8X" + struct.pack("<II", 10, flags) + size + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def _webp_animation(width: int, height: int) -> bytes:
    frame = bytes(6) + struct.pack("<I", 63)[:3] * 2 + bytes(4) + _saved("WEBP", (64, 64))[12:]
    animation = b"ANIM" + struct.pack("<I", 6) + bytes(6) + b"ANMF" + struct.pack("<I", len(frame)) + frame
    return _webp(width, height, 2, animation)


def _heic(claimed: tuple[int, int]) -> bytes:
    body = _saved("HEIF", (1024, 1024), quality=10)
    return body.replace(struct.pack(">II", 1024, 1024), struct.pack(">II", *claimed))


def _tiff() -> bytes:
    """Tiles of 2^16 x 2^16, a picture of 2^31 x 2^31."""
    sizes = [_entry(tag, 4, 1, value) for tag, value in ((256, 1 << 31), (257, 1 << 31), (322, 1 << 16))]
    return b"MM\0*\0\0\0\x08" + struct.pack(">H", len(sizes)) + b"".join(sizes) + bytes(4)


def _with_zip_behind(body: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../outside.png", "x")
    return body + archive.getvalue()


def _of_a_gigabyte(folder: Path) -> None:
    (folder / PHOTO).write_bytes(_saved("WEBP"))
    with (folder / PHOTO).open("ab") as file:
        file.truncate(1 << 30)


SVG = b"""<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<svg xmlns="http://www.w3.org/2000/svg"><text>&x;</text><image href="http://127.0.0.1/x.png"/></svg>"""
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n(%pipe%touch outside.png) (w) file\n%%EOF"
HTML = b"<script>alert(1)</script>"

ATTACKS: dict[str, tuple[Write, frozenset[str]]] = {
    "PNG of 2^31 x 2^31": (_photo(lambda: _png((1 << 31) - 1, (1 << 31) - 1)), TOO_LARGE),
    "PNG of 60000 x 60000": (_photo(lambda: _png(60_000, 60_000)), TOO_LARGE),
    "PNG of 1 x 50 million": (_photo(lambda: _png(1, 50_000_000)), frozenset({"image_too_small"})),
    "PNG of no pixels": (_photo(lambda: _png(0, 0)), frozenset({"image_too_small", "image_unreadable"})),
    "PNG whose pixels never end": (
        _photo(lambda: _png(160, 120, rows=bytes(60_000_000))),
        HARMLESS,
    ),
    "PNG with a profile bomb": (
        _photo(lambda: _png_with(_chunk(b"iCCP", b"a\0\0" + _flood(100_000_000)))),
        DAMAGED,
    ),
    "PNG with a text bomb": (
        _photo(lambda: _png_with(_chunk(b"zTXt", b"a\0\0" + _flood(100_000_000)))),
        DAMAGED,
    ),
    "PNG with a hundred text bombs": (
        _photo(lambda: _png_with(_chunk(b"zTXt", b"a\0\0" + _flood(1_000_000)) * 100)),
        DAMAGED,
    ),
    "PNG with a translated text bomb": (
        _photo(lambda: _png_with(_chunk(b"iTXt", b"a\0\1\0\0\0" + _flood(100_000_000)))),
        DAMAGED,
    ),
    "PNG with a million empty chunks": (_photo(lambda: _png_with(_chunk(b"prIv") * 1_000_000)), DAMAGED),
    "PNG with a chunk beyond its end": (_photo(lambda: _png_with(b"\x7f\xff\xff\xffprIv")), DAMAGED),
    "APNG of a million frames": (
        _photo(lambda: _png_with(_chunk(b"acTL", struct.pack(">II", 1_000_000, 0)))),
        HARMLESS,
    ),
    "PNG of 16 bits, as large as may be": (_photo(_sixteen_bits), MISFIT),
    "JPEG of 65535 x 65535": (_photo(lambda: _jpeg_of(65_535, 65_535)), TOO_LARGE),
    "JPEG with more pixels than data": (_photo(lambda: _jpeg_of(7000, 7000)), MISFIT | DAMAGED),
    "JPEG of ten thousand scans": (_photo(_scans), DAMAGED),
    "JPEG of scans out of sight": (_photo(_hidden_scans), DAMAGED),
    "JPEG of a million segments": (_photo(lambda: _segments(b"\xff\xe1\0\2", 1_000_000)), DAMAGED),
    "JPEG with a megabyte between segments": (_photo(lambda: _segments(b"x" * 1_000_000, 1)), DAMAGED),
    "EXIF that points to itself": (
        _photo(lambda: _exif(struct.pack(">H", 1) + _entry(0x8769, 4, 1, 8) + struct.pack(">I", 8))),
        HARMLESS,
    ),
    "EXIF of four billion values": (
        _photo(lambda: _exif(struct.pack(">H", 1) + _entry(0x0112, 3, 0xFFFFFFFF, 8) + bytes(4))),
        HARMLESS,
    ),
    "EXIF of 65535 entries": (
        _photo(lambda: _exif(b"\xff\xff" + _entry(0x0112, 3, 1, 9 << 16) * 5000)),
        HARMLESS,
    ),
    "TIFF of huge tiles": (_photo(_tiff), UNSUPPORTED),
    "WebP of 16384 x 16384": (_photo(lambda: _webp_animation(16_384, 16_384)), TOO_LARGE),
    "WebP that lies about its size": (_photo(lambda: _webp(7000, 7000, 0, _saved("WEBP")[12:])), DAMAGED),
    "WebP in a file of a gigabyte": (_of_a_gigabyte, frozenset({"upload_too_large"})),
    "HEIC that lies about its size": (_photo(lambda: _heic((64, 64))), DAMAGED),
    "HEIC of 2^31 x 2^31": (_photo(lambda: _heic(((1 << 31) - 1, (1 << 31) - 1))), TOO_LARGE | DAMAGED),
    "SVG with an external entity": (_photo(lambda: SVG), UNSUPPORTED),
    "EPS with a command": (_photo(lambda: EPS), UNSUPPORTED),
    "GIF": (_photo(lambda: _saved("GIF")), UNSUPPORTED),
    "BMP": (_photo(lambda: _saved("BMP")), UNSUPPORTED),
    "JPEG that is a zip too": (_photo(lambda: _with_zip_behind(_saved("JPEG"))), HARMLESS),
    "GIF that is a zip too": (_photo(lambda: _with_zip_behind(_saved("GIF"))), UNSUPPORTED),
    "JPEG that is a page too": (
        _photo(lambda: _segments(b"\xff\xfe" + struct.pack(">H", len(HTML) + 2) + HTML, 1)),
        HARMLESS,
    ),
    "page called a picture": (_photo(lambda: HTML), UNSUPPORTED),
    "mask of 60000 x 60000": (_photo(lambda: _png(60_000, 60_000), "masks/photo_03.png"), TOO_LARGE),
    "mask of another size": (
        _photo(lambda: _saved("PNG", (80, 200), "L"), "masks/photo_03.png"),
        MISFIT,
    ),
    "mask that is a program": (_photo(lambda: b"\x7fELF" + bytes(99), "masks/photo_03.png"), UNSUPPORTED),
}

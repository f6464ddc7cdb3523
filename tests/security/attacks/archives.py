"""Zip files that attack whoever unpacks them."""

import io
import random
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from workers.runtime.safe_input import MAX_ENTRIES

UNSAFE = frozenset({"archive_unsafe"})
NO_CAPTURE = frozenset({"format_unsupported"})
"""Harmless to unpack, with nothing in it that we read."""

Fill = Callable[[zipfile.ZipFile], object]
Write = Callable[[Path], object]


def _zip(fill: Fill) -> bytes:
    body = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        fill(archive)
    return body.getvalue()


def _of(fill: Fill, spoil: Callable[[bytearray], object] = lambda _: None) -> Write:
    """The archive that `fill` fills, its bytes spoilt afterwards."""

    def write(folder: Path) -> None:
        body = bytearray(_zip(fill))
        spoil(body)
        (folder / "capture.zip").write_bytes(body)

    return write


def _named(name: str, mode: int = 0, content: str = "x") -> Fill:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return lambda archive: archive.writestr(info, content)


def _through_a_link(archive: zipfile.ZipFile) -> None:
    _named("images", stat.S_IFLNK | 0o777, "/tmp")(archive)
    _named("images/outside.png")(archive)


def _field(signature: bytes, offset: int, value: bytes) -> Callable[[bytearray], None]:
    """Overwrite a field of every record with a signature."""

    def spoil(body: bytearray) -> None:
        at = body.find(signature)
        while at >= 0:
            body[at + offset : at + offset + len(value)] = value
            at = body.find(signature, at + 1)

    return spoil


def _renamed(old: bytes, new: bytes) -> Callable[[bytearray], None]:
    def spoil(body: bytearray) -> None:
        body[:] = body.replace(old, new)

    return spoil


def _sizes(packed: int | None, unpacked: int) -> Callable[[bytearray], None]:
    """Lie about them in both headers."""

    def spoil(body: bytearray) -> None:
        for signature, offset in ((b"PK\3\4", 18), (b"PK\1\2", 20)):
            if packed is not None:
                _field(signature, offset, struct.pack("<I", packed))(body)
            _field(signature, offset + 4, struct.pack("<I", unpacked))(body)

    return spoil


def _overlapping(folder: Path) -> None:
    """After David Fifield, "A better zip bomb" (WOOT 2019): a thousand files, each made of the next one's
    header, quoted, and of that file."""
    content = random.Random(1).randbytes(1000) + bytes(200_000)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed, last = packer.compress(content) + packer.flush(), 999
    body, header, entries = b"", b"", list[tuple[bytes, int, bytes]]()
    for number in range(last, -1, -1):
        if body:
            packed = struct.pack("<BHH", 0, len(header), len(header) ^ 0xFFFF) + body
            content = header + content
        name = b"%04d.pdf" % number
        facts = struct.pack(
            "<5H3I2H", 20, 0, 8, 0, 33, zlib.crc32(content), len(packed), len(content), len(name), 0
        )
        header = b"PK\3\4" + facts + name
        body = header + packed
        entries.append((facts, len(body), name))
    listed = b"".join(
        b"PK\1\2" + struct.pack("<H", 20) + facts + struct.pack("<HHHII", 0, 0, 0, 0, len(body) - size) + name
        for facts, size, name in entries
    )
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, last + 1, last + 1, len(listed), len(body), 0)
    (folder / "capture.zip").write_bytes(body + listed + end)


def _long_list(folder: Path) -> None:
    """Half a million entries in the list, and no file."""
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    count, size = 500_000, 500_000 * len(entry)
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, size, 1)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    (folder / "capture.zip").write_bytes(entry * count + end64 + locator + end)


def _zip64_lies(folder: Path) -> None:
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1 << 62, 1 << 62, 1 << 62, 1 << 62)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, 0, 1)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    (folder / "capture.zip").write_bytes(end64 + locator + end)


def _two_archives(folder: Path) -> None:
    for name in ("a.zip", "b.zip"):
        (folder / name).write_bytes(_zip(_named("a.png")))


def _many(archive: zipfile.ZipFile) -> None:
    for number in range(MAX_ENTRIES + 1):
        archive.writestr(f"{number}.png", "")


def _clash(archive: zipfile.ZipFile) -> None:
    for name in ("a", "a/b"):
        archive.writestr(name, "x")


def _twice(archive: zipfile.ZipFile) -> None:
    for content in ("one", "two"):
        archive.writestr("a.png", content)


ATTACKS: dict[str, tuple[Write, frozenset[str]]] = {
    "slip upwards": (_of(_named("../outside.png")), UNSAFE),
    "slip in the middle": (_of(_named("a/../../outside.png")), UNSAFE),
    "slip to the root": (_of(_named("/tmp/outside.png")), UNSAFE),
    "slip to a share": (_of(_named("//host/share/outside.png")), UNSAFE),
    "slip by backslashes": (_of(_named("..\\outside.png")), UNSAFE),
    "slip by a drive": (_of(_named("C:outside.png")), UNSAFE),
    "symbolic link": (_of(_named("a.png", stat.S_IFLNK | 0o777, "/etc/passwd")), UNSAFE),
    "file below a symbolic link": (_of(_through_a_link), UNSAFE),
    "character device": (_of(_named("a.png", stat.S_IFCHR | 0o666)), UNSAFE),
    "block device": (_of(_named("a.png", stat.S_IFBLK | 0o666)), UNSAFE),
    "pipe": (_of(_named("a.png", stat.S_IFIFO | 0o666)), UNSAFE),
    "socket": (_of(_named("a.png", stat.S_IFSOCK | 0o666)), UNSAFE),
    "bomb of zeros": (_of(lambda z: z.writestr("a.png", b"\0" * 30_000_000)), UNSAFE),
    "bomb of overlapping files": (_overlapping, UNSAFE),
    "bomb within an archive within": (
        _of(lambda z: z.writestr("b.zip", _zip(lambda y: y.writestr("c.png", b"\0" * 10_000_000)))),
        NO_CAPTURE,
    ),
    "many files": (_of(_many), UNSAFE),
    "list of half a million entries": (_long_list, UNSAFE),
    "zip64 beyond the file": (_zip64_lies, UNSAFE),
    "smaller than it says": (_of(_named("a.pdf"), _sizes(None, 100_000)), UNSAFE | NO_CAPTURE),
    "larger than it says": (_of(lambda z: z.writestr("a.png", bytes(9000)), _sizes(None, 10)), UNSAFE),
    "packed size beyond the file": (_of(_named("a.png"), _sizes(1 << 30, 1)), UNSAFE),
    "sizes of 4 GiB": (_of(_named("a.png"), _sizes(0xFFFFFFFE, 0xFFFFFFFE)), UNSAFE),
    "headers that lie elsewhere": (_of(_named("a.png"), _field(b"PK\1\2", 42, b"\xff\xff\xff\x7f")), UNSAFE),
    "encrypted": (_of(_named("a.png"), _field(b"PK\1\2", 8, b"\1")), UNSAFE),
    "unknown compression": (_of(_named("a.png"), _field(b"PK\1\2", 10, b"\x63\0")), UNSAFE),
    "one name twice": (_of(_twice), UNSAFE),
    "file and folder of one name": (_of(_clash), UNSAFE),
    "itself": (_of(_named("capture.zip")), UNSAFE),
    "name with a NUL": (_of(_named("a.pngXexe"), _renamed(b"pngX", b"png\0")), UNSAFE | NO_CAPTURE),
    "name of an impossible encoding": (
        _of(_named("ä.pdf"), _renamed("ä".encode(), b"\xff\xfe")),
        UNSAFE,
    ),
    "name that reads backwards": (_of(_named("a\u202egnp.exe")), NO_CAPTURE),
    "name with terminal escapes": (_of(_named("\x1b[2J\x1b]0;x\x07.pdf")), NO_CAPTURE),
    "name of 60000 letters": (_of(_named("n" * 60_000)), UNSAFE),
    "no name": (_of(_named(".")), UNSAFE),
    "fifty folders deep": (_of(_named("d/" * 50 + "a.png")), UNSAFE),
    "two archives": (_two_archives, NO_CAPTURE),
    "cut off": (_of(_named("a.png"), lambda b: b.__delitem__(slice(-10, None))), UNSAFE),
    "no archive": (lambda folder: (folder / "a.zip").write_bytes(b"PK\3\4"), UNSAFE),
    "empty file": (lambda folder: (folder / "a.zip").write_bytes(b""), UNSAFE),
    "tar with a hard link": (
        lambda folder: (folder / "a.tar").write_bytes(b"a.png".ljust(156, b"\0") + b"1/etc/passwd"),
        NO_CAPTURE,
    ),
}

"""How many parts the file of a picture has, counted before a decoder sees it: each costs the decoder time and
memory, whatever few bytes it takes in the file. A scan of a progressive JPEG says of a whole picture what is
said in thirty bytes, and there may be a million of them.
"""

import mmap
import re
from pathlib import Path

MAX_SCANS = 64
"""Of a JPEG; the usual progressive one has ten."""
MAX_SEGMENTS = 1024
"""Of 64 KiB at most, before and between a JPEG's scans."""
MAX_CHUNKS = 100_000
"""Of a PNG: one as large as we read has 40 thousand if its writer puts 8 KiB into each."""
MAX_JUNK = 1 << 16
"""Bytes between a JPEG's segments."""

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)
_END, _SCAN = 0xD9, 0xDA
_WITHOUT_LENGTH = (0x01, 0xD8)


class TooManyParts(ValueError):
    """The message says of what."""


def check_parts(path: Path) -> None:
    """Raises TooManyParts; of what is no JPEG or PNG, or ends too early, decoders tell."""
    with path.open("rb") as file:
        head = file.read(len(PNG))
        if not head.startswith((JPEG, PNG)):
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if head == PNG:
                _check_chunks(content)
            else:
                _check_segments(content)


def _check_segments(content: mmap.mmap) -> None:
    """JPEG, ITU-T T.81 annex B: markers, most with a length, and after those of scans the scan itself."""
    at, scans, segments, in_scan = 2, 0, 0, False
    while found := _MARKER.search(content, at):
        if not in_scan and found.start() - at > MAX_JUNK:
            raise TooManyParts(f"it has more than {MAX_JUNK} bytes between its segments")
        code = found[1][0]
        if code == _END:
            return
        segments, scans = segments + 1, scans + (code == _SCAN)
        if segments > MAX_SEGMENTS or scans > MAX_SCANS:
            raise TooManyParts(f"it has more than {MAX_SCANS} scans or {MAX_SEGMENTS} segments")
        at, in_scan = found.end(), in_scan and code in _WITHOUT_LENGTH
        if code not in _WITHOUT_LENGTH:
            at, in_scan = at + int.from_bytes(content[at : at + 2]), code == _SCAN


def _check_chunks(content: mmap.mmap) -> None:
    """PNG: length, type, that many bytes, and four of checksum."""
    at = len(PNG)
    for _ in range(MAX_CHUNKS):
        if at + 8 > len(content) or content[at + 4 : at + 8] == b"IEND":
            return
        at += 12 + int.from_bytes(content[at : at + 4])
    raise TooManyParts(f"it has more than {MAX_CHUNKS} chunks")

"""Videos that attack their demuxer or decoder, or are none. What they refer to must not be looked at."""

import struct
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import av

from tests.unit import videos

DAMAGED = frozenset({"video_unreadable"})
UNSUPPORTED = frozenset({"format_unsupported"})
TOO_LONG = frozenset({"video_too_long"})
READ = frozenset({"too_few_images"})
"""As far as it goes: six frames are too few to estimate poses from, so that a trial ends there."""
CANARY = "canary.ts"
"""A file in the folder above the upload, for videos to refer to."""
SAMPLES = 80_000_000

Write = Callable[[Path], object]


@cache
def sound(suffix: str = ".mp4", frames: int = 6) -> bytes:
    """A short video of the test pattern, in an MP4 index first."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"clip{suffix}")
        return videos.write(path, videos.views([k / 20 for k in range(frames)])).read_bytes()


def _clip(content: bytes | Callable[[], bytes], name: str = "clip.mp4") -> Write:
    return lambda folder: (folder / name).write_bytes(content() if callable(content) else content)


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", len(body) + 8) + kind + body


FTYP = _box(b"ftyp", b"isom\0\0\0\0isom")


def _field(box: bytes, offset: int, value: bytes) -> Callable[[], bytes]:
    """The sound video with bytes of a box, counted from its kind, overwritten wherever that occurs."""
    return lambda: _set(sound(), box, offset, value)


def _set(body: bytes, box: bytes, offset: int, value: bytes) -> bytes:
    spoilt, at = bytearray(body), body.find(box)
    while at >= 0:
        spoilt[at + offset : at + offset + len(value)] = value
        at = body.find(box, at + 1)
    return bytes(spoilt)


def _many_samples() -> bytes:
    """Of one byte each, all in one chunk, in a table that takes none of the file."""
    body = _set(sound(), b"stsz", 8, struct.pack(">II", 1, SAMPLES))
    return _set(body, b"stsc", 12, struct.pack(">I", SAMPLES))


def _many_samples_in_a_fragment() -> bytes:
    """All by default as long and as large as each other, so that the run takes none of the file."""
    body = sound()
    extends = _box(b"mvex", _box(b"trex", struct.pack(">6I", 0, 1, 1, 1, 1, 0)))
    start = body.index(b"moov") - 4
    end = start + int.from_bytes(body[start : start + 4])
    moov = _box(b"moov", body[start + 8 : end], extends)
    header = _box(b"tfhd", struct.pack(">4I", 0x020018, 1, 1, 1))
    fragment = _box(
        b"moof", _box(b"mfhd", bytes(8)), _box(b"traf", header, _box(b"trun", struct.pack(">II", 0, SAMPLES)))
    )
    return body[:start] + moov + body[end:] + fragment + _box(b"mdat", bytes(100))


def _packed_index() -> bytes:
    """QuickTime's compressed index, of 1.9 GB."""
    packer, size = zlib.compressobj(9), 1900
    packed = packer.compress(_box(b"moov")) + packer.flush(zlib.Z_FULL_FLUSH)
    packed += (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)) * size
    content = _box(b"cmvd", struct.pack(">I", (size << 20) + 8), packed)
    return FTYP + _box(b"moov", _box(b"cmov", _box(b"dcom", b"zlib"), content))


def _referring(kind: bytes, record: bytes) -> bytes:
    """The sound video with another reference to where its pictures are."""
    body = sound()
    place = body.index(b"url \0\0\0\1")
    longer = body[:place] + kind + bytes(4) + record + body[place + 8 :]
    for box in (kind, b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        at = longer.rindex(box, 0, place + 4) - 4
        size = int.from_bytes(longer[at : at + 4]) + len(record)
        longer = longer[:at] + struct.pack(">I", size) + longer[at + 4 :]
    return longer


def _alias() -> bytes:
    """QuickTime's alias of a file in the folder above, in the place of the reference to itself."""
    path = b"in/" + CANARY.encode()
    names = struct.pack(">HH", 2, len(path)) + path + bytes(len(path) % 2)
    names += struct.pack(">HH", 0, 2) + b"in"
    record = bytes(10 + 28 + 12 + 64 + 16) + struct.pack(">HH", 2, 1) + bytes(16) + names
    return _referring(b"alis", record + b"\xff\xff\0\0" + bytes(8))


def of_two_sizes(frames: int = 6) -> bytes:
    """So many frames, and then some of 16 x 16 pixels."""
    with tempfile.TemporaryDirectory() as folder:
        parts = []
        for name, side in (("a.mkv", None), ("b.mkv", 16)):
            images = videos.views([k / 20 for k in range(12 if side else frames)])
            small = [image[:side, :side] for image in images]
            how = {"x264-params": "repeat-headers=1"}
            parts.append(videos.write(Path(folder, name), small, key_every=1, options=how))
        joined = Path(folder, "c.mkv")
        with (
            av.open(str(joined), "w") as target,
            av.open(str(parts[0])) as first,
            av.open(str(parts[1])) as second,
        ):
            stream = target.add_stream_from_template(first.streams.video[0])
            for later, source in enumerate((first, second)):
                for packet in source.demux(video=0):
                    if packet.pts is not None:
                        packet.pts, packet.dts, packet.stream = (
                            packet.pts + 100 * frames * later,
                            None,
                            stream,
                        )
                        target.mux(packet)
        return joined.read_bytes()


def _ebml(body: bytes) -> bytes:
    return b"\x1aE\xdf\xa3" + body


def attacks(port: int) -> dict[str, tuple[Write, frozenset[str]]]:
    """They refer to that port of this machine, and to the canary."""
    address, file = f"http://127.0.0.1:{port}/a.ts".encode(), b"../" + CANARY.encode()
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n%b\n#EXTINF:9,\n%b\n#EXT-X-ENDLIST\n"
    playlist %= (address, file)
    dash = b'<MPD type="static"><Period><BaseURL>%b</BaseURL></Period></MPD>' % address
    return {
        "playlist called a video": (_clip(playlist), UNSUPPORTED),
        "playlist behind a video's first bytes": (_clip(FTYP + playlist), DAMAGED | UNSUPPORTED),
        "playlist within a video": (_clip(FTYP + _box(b"mdat", playlist)), DAMAGED | UNSUPPORTED),
        "playlist in a Matroska": (_clip(_ebml(playlist), "clip.mkv"), DAMAGED | UNSUPPORTED),
        "list of files called a video": (_clip(b"ffconcat version 1.0\nfile '%b'\n" % file), UNSUPPORTED),
        "DASH called a video": (_clip(dash, "clip.webm"), UNSUPPORTED),
        "session description called a video": (
            _clip(b"v=0\nc=IN IP4 127.0.0.1\nm=video %d RTP/AVP 96\n" % port),
            UNSUPPORTED,
        ),
        "video whose pictures are at an address": (
            _clip(lambda: _referring(b"url ", address + b"\0")),
            DAMAGED | READ,
        ),
        "video whose pictures are in a file": (_clip(_alias), DAMAGED | READ),
        "AVI": (_clip(b"RIFF\xff\xff\xff\xffAVI LIST", "clip.avi"), UNSUPPORTED),
        "program called a video": (_clip(b"\x7fELF" + bytes(2000)), UNSUPPORTED),
        "nothing behind the first box": (_clip(FTYP), DAMAGED | UNSUPPORTED),
        "empty video": (_clip(b" "), UNSUPPORTED),
        "boxes within boxes": (_clip(lambda: FTYP + b"\0\0\0\0moov" * 100_000), DAMAGED | UNSUPPORTED),
        "a box of 2^63 bytes": (
            _clip(FTYP + struct.pack(">I4sQ", 1, b"moov", (1 << 63) - 1)),
            DAMAGED | UNSUPPORTED,
        ),
        "an index of gigabytes in kilobytes": (_clip(_packed_index, "clip.mov"), DAMAGED | UNSUPPORTED),
        "80 million samples in no bytes": (_clip(_many_samples), DAMAGED),
        "80 million samples in a fragment": (_clip(_many_samples_in_a_fragment), DAMAGED),
        "frames of 65535 x 65535": (_clip(_field(b"avc1", 28, b"\xff" * 4)), DAMAGED | READ),
        "time that stands still": (_clip(_field(b"mdhd", 16, bytes(4))), TOO_LONG | DAMAGED | READ),
        "a duration without end": (
            _clip(_field(b"stts", 8, struct.pack(">III", 1, 6, 0x7FFFFFFF))),
            TOO_LONG | READ,
        ),
        "times of nothing": (
            _clip(_field(b"stts", 4, struct.pack(">I", 0xFFFFFFFF))),
            DAMAGED | READ | TOO_LONG,
        ),
        "an edit list that plays nothing": (
            _clip(_field(b"elst", 8, b"\xff" * 12)),
            DAMAGED | READ | TOO_LONG,
        ),
        "parameters of another video": (_clip(_field(b"avcC", 12, b"\xff" * 16)), DAMAGED | READ),
        "Matroska of 2^56 bytes": (
            _clip(_ebml(b"\x01" + b"\xff" * 7 + bytes(99)), "clip.mkv"),
            DAMAGED | UNSUPPORTED,
        ),
        "Matroska with an endless number": (
            _clip(lambda: _set(sound(".mkv"), b"\x44\x89", 2, b"\0" * 9), "clip.mkv"),
            DAMAGED | READ,
        ),
        "frames of two sizes": (_clip(of_two_sizes, "clip.mkv"), READ | frozenset({"image_too_small"})),
        "cut off in the index": (_clip(lambda: sound()[:400]), DAMAGED | UNSUPPORTED),
        "cut off in the first picture": (
            _clip(lambda: sound()[: sound().index(b"mdat") + 40]),
            DAMAGED | READ,
        ),
        "cut off in the middle": (_clip(lambda: sound()[: len(sound()) * 2 // 3]), DAMAGED | READ),
    }

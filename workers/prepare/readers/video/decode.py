"""Opening a file that may be a video, and decoding no more of it than is wanted.

FFmpeg, through PyAV, gets the bytes of one open file: it is told which of two demuxers to use, opens no
other file or address whatever the video refers to, and has four decoders to choose from. It runs in the
computing child, on two threads at most, and what it has to do is bounded beforehand: packets are counted
before any is decoded, and of memory it gets no more than decoding takes, whatever sizes the file claims.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from contracts.errors import (
    FormatUnsupported,
    ImageTooLarge,
    ImageTooSmall,
    UploadTooLarge,
    VideoTooLong,
    VideoUnreadable,
)
from workers.prepare.readers.video.memory import at_most
from workers.runtime.safe_input import MAX_PIXELS, MAX_UNPACKED_BYTES, MIN_SIDE

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

MAX_SECONDS = 600
MAX_FRAMES = 60_000
MAX_DECODED_PIXELS = 40_000_000_000
"""Of all frames: ten minutes of 1080p at 30 frames a second, or eighty seconds of 4K at 60."""
MAX_MEMORY = 1500 << 20
"""Bytes; 8K with sixteen frames of reference takes half of it."""
MAX_ASPECT = 4
THREADS = 2

DECODERS = ("h264", "hevc", "vp9", "av1", "libdav1d")
SEND_INSTEAD = "Record the video as MP4 or MOV, in H.264 or HEVC, or send photos."
QUICKTIME_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
MATROSKA_MAGIC = b"\x1aE\xdf\xa3"
OPTIONS = {"protocol_whitelist": "none", "codec_whitelist": ",".join(DECODERS), "max_streams": "64"}
OPTIONS_OF = {"mov": {"enable_drefs": "0", "use_absolute_path": "0"}, "matroska": {}}


@contextmanager
def opened(path: Path, name: str) -> Iterator[Video]:
    """A video that is within our limits; `name` is what its sender calls it. What a decoder does not like
    while the context lasts becomes VideoUnreadable too.

    Raises FormatUnsupported, UploadTooLarge, VideoTooLong, VideoUnreadable, ImageTooLarge, ImageTooSmall.
    """
    try:
        from av.error import FFmpegError
    except ImportError:
        raise FormatUnsupported(
            f"{name} is a video, for which no decoder is installed here (phototwin[video] brings one)",
            file=name,
            advice="Send photos as JPEG instead, 40 to 80 from all sides.",
        ) from None
    if path.stat().st_size > MAX_UNPACKED_BYTES:
        limit = f"{MAX_UNPACKED_BYTES / 1e9:.1f} GB"
        raise UploadTooLarge(f"{name} is larger than {limit}", limit=limit)
    try:
        with path.open("rb") as file, at_most(MAX_MEMORY):
            yield Video(file, name)
    except FFmpegError as error:
        raise VideoUnreadable(f"{name} is damaged: {error.strerror}", file=name) from None
    except MemoryError:
        message = f"{name} takes more than {MAX_MEMORY >> 20} MB of memory to read"
        raise VideoUnreadable(message, file=name) from None


class Video:
    """The frames of a video, by their index in the order they are shown.

    times: seconds from the first frame, of each. seconds: how long it plays. rate: frames a second.
    aspect: of a pixel, its width over its height. damaged: whether anything of the file is missing or
    could not be decoded so far. decoded: how many frames were, so far.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self.damaged = False
        self.decoded = 0
        self._file = file
        with self._demuxer() as (container, stream):
            self.aspect = _aspect(stream)
            self._check_size(stream)
            self._size = stream.codec_context.width, stream.codec_context.height
            self._find_frames(container, stream)

    def frames(self, every: float) -> Iterator[tuple[int, VideoFrame]]:
        """(index, frame) from the first to the last, at least `every` seconds apart."""
        due = 0.0
        with self._demuxer() as (container, stream):
            if every * self.rate >= 4:  # then enough are left without those that no other is made from
                stream.codec_context.skip_frame = "NONREF"
            for index, frame in self._decoded(container, stream):
                if self.times[index] >= due:
                    due = self.times[index] + 0.99 * every
                    yield index, frame

    def pick(self, wanted: list[int]) -> Iterator[tuple[int, VideoFrame]]:
        """(index, frame) of those wanted, each once and in order, less what is too damaged to decode."""
        with self._demuxer() as (container, stream):
            decoded, reached = self._decoded(container, stream), -1
            for key, group in groupby(sorted(set(wanted)), self._key_before):
                left = list(group)
                if key > reached + 1:
                    container.seek(self._stamps[key], stream=stream)
                    decoded = self._decoded(container, stream)
                for reached, frame in decoded:
                    if reached in left:
                        yield reached, frame
                    if reached >= left[-1]:
                        break

    def nearest(self, time: float) -> int:
        """The frame that is shown closest to a time in seconds."""
        after = bisect_right(self.times, time)
        around = range(max(after - 1, 0), min(after + 1, len(self.times)))
        return min(around, key=lambda index: abs(self.times[index] - time))

    @contextmanager
    def _demuxer(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        import av

        self._file.seek(0)
        kind = _demuxer_for(self._file.read(12), self.name)
        self._file.seek(0)
        with av.open(
            self._file,
            "r",
            format=kind,
            options=OPTIONS | OPTIONS_OF[kind],
            metadata_errors="replace",
            buffer_size=1 << 18,
        ) as container:
            stream = self._stream(container)
            stream.codec_context.thread_count = THREADS
            stream.codec_context.thread_type = "AUTO"
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            yield container, stream

    def _stream(self, container: InputContainer) -> VideoStream:
        for stream in container.streams.video:
            if stream.codec_context and stream.codec_context.codec.name in DECODERS:
                return stream
        raise FormatUnsupported(
            f"{self.name} has no video in H.264, HEVC, VP9 or AV1", file=self.name, advice=SEND_INSTEAD
        )

    def _check_size(self, stream: VideoStream) -> None:
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height * max(self.aspect, 1 / self.aspect) > MAX_PIXELS:
            raise ImageTooLarge(
                f"a frame of {self.name} has {width} x {height} pixels; at most {MAX_PIXELS} are accepted",
                file=self.name,
                limit=MAX_PIXELS // 1_000_000,
            )
        if min(width, height) < MIN_SIDE:
            raise ImageTooSmall(
                f"a frame of {self.name} has {width} x {height} pixels; a side needs {MIN_SIDE} at least",
                file=self.name,
                needed=MIN_SIDE,
            )

    def _find_frames(self, container: InputContainer, stream: VideoStream) -> None:
        """Reads the packets' time stamps. Raises VideoTooLong, VideoUnreadable."""
        pixels = stream.codec_context.width * stream.codec_context.height
        most = min(MAX_FRAMES, MAX_DECODED_PIXELS // pixels)
        stamps: dict[int, bool] = {}
        for count, packet in enumerate(self._packets(container, stream)):
            if count > most:  # the last packet of all is empty
                self._reject_length(f"{most} frames of that size", f"more than {most} frames")
            if packet.pts is not None and not packet.is_discard:
                stamps[packet.pts] = packet.is_keyframe
        if not stamps or stream.time_base is None:
            raise VideoUnreadable(f"{self.name} has no frames", file=self.name)
        self._stamps = sorted(stamps)
        self._places = {stamp: index for index, stamp in enumerate(self._stamps)}
        self._keys = [index for index, stamp in enumerate(self._stamps) if stamps[stamp]]
        self.times = [float((stamp - self._stamps[0]) * stream.time_base) for stamp in self._stamps]
        self.seconds = self.times[-1] * len(self.times) / max(len(self.times) - 1, 1)
        if self.seconds > MAX_SECONDS:
            self._reject_length(f"{MAX_SECONDS // 60} minutes", f"{self.seconds:.0f} s")
        self.rate = len(self.times) / max(self.seconds, 1e-3)
        self.damaged |= self._cut_off(container, stream)

    def _cut_off(self, container: InputContainer, stream: VideoStream) -> bool:
        """Whether the file ends before what its index promises; in Matroska, before its duration."""
        size = self._file.seek(0, 2)
        if any(entry.pos + entry.size > size for entry in stream.index_entries):
            return True
        promised = (container.duration or 0) / 1_000_000 if "matroska" in container.format.name else 0.0
        return promised > 1.02 * self.seconds + 1

    def _reject_length(self, limit: str, found: str) -> NoReturn:
        raise VideoTooLong(f"{self.name} has {found}; at most {limit}", file=self.name, limit=limit)

    def _key_before(self, index: int) -> int:
        """The key frame that decoding has to start from."""
        place = bisect_right(self._keys, index)
        return self._keys[place - 1] if place else 0

    def _packets(self, container: InputContainer, stream: VideoStream) -> Iterator[Any]:
        """The stream's packets, up to where the file breaks off."""
        from av.error import FFmpegError

        try:
            yield from container.demux(stream)
        except FFmpegError:
            self.damaged = True

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[tuple[int, VideoFrame]]:
        from av.error import FFmpegError

        for packet in self._packets(container, stream):
            try:
                frames = packet.decode()
            except FFmpegError:
                self.damaged = True
                continue
            for frame in frames:
                self.decoded += 1
                sound = not frame.is_corrupt and (frame.width, frame.height) == self._size
                self.damaged |= not sound
                if frame.pts in self._places and sound:
                    yield self._places[frame.pts], frame


def _demuxer_for(head: bytes, name: str) -> str:
    """Chosen by us, not by FFmpeg's guess: lists of other files begin with none of this."""
    if head[4:8] in QUICKTIME_BOXES:
        return "mov"
    if head.startswith(MATROSKA_MAGIC):
        return "matroska"
    raise FormatUnsupported(
        f"{name} is not an MP4, MOV, Matroska or WebM video (it begins with {head.hex(' ')})",
        file=name,
        advice=SEND_INSTEAD,
    )


def _aspect(stream: VideoStream) -> Fraction:
    """1 where the video does not say, or says what no camera records."""
    aspect = stream.sample_aspect_ratio
    return aspect if aspect and Fraction(1, MAX_ASPECT) <= aspect <= MAX_ASPECT else Fraction(1)

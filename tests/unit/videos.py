"""Small videos made with the same library that reads them, of a textured plane that a camera moves along."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray

Image = NDArray[np.uint8]
WIDTH, HEIGHT = 256, 192
TIME_BASE = Fraction(1, 12800)
TURNED_RIGHT = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
"""The track matrix of a phone held upright: the stored picture has to be turned 90 degrees clockwise."""


def plane(width: int = 2400, height: int = HEIGHT) -> Image:
    """(height, width, 3): coloured blobs of several sizes."""
    rng = np.random.default_rng(7)
    total = np.zeros((height, width, 3))
    for size in (2, 5, 12, 30):
        noise = rng.standard_normal((height // size + 2, width // size + 2, 3))
        total += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 28 * total, 0, 255).astype(np.uint8)


def views(places: Sequence[float], blurred: Sequence[int] = ()) -> list[Image]:
    """What a camera sees at places along the plane, in widths of the picture; some shaken."""
    wall = plane()
    seen = []
    for index, place in enumerate(places):
        shift = np.array([[1, 0, -place * WIDTH], [0, 1, 0]])
        view = cv2.warpAffine(wall, shift, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)
        seen.append(np.asarray(cv2.blur(view, (15, 1)) if index in blurred else view, np.uint8))
    return seen


def write(
    path: Path,
    images: Sequence[NDArray[Any]],
    *,
    codec: str = "libx264",
    rate: int = 10,
    times: Sequence[float] | None = None,
    pixel_format: str = "yuv420p",
    matrix: Sequence[int] | None = None,
    aspect: Fraction | None = None,
    colours: tuple[int, int, int, int] = (1, 1, 1, 1),
    tagged: bool = True,
    key_every: int = 8,
    options: dict[str, str] | None = None,
) -> Path:
    """Write (H, W, 3) images, uint8 or uint16. colours: range, matrix, transfer, primaries as H.273 numbers
    them, and whether the video is tagged with that."""
    height, width = images[0].shape[:2]
    own = {"x265-params": "log-level=none:pools=1:frame-threads=1"} if codec == "libx265" else {}
    with av.open(
        str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}
    ) as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=rate))
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        context = stream.codec_context
        context.thread_count, context.gop_size, context.time_base = 1, key_every, TIME_BASE
        context.color_range, context.colorspace, context.color_trc, context.color_primaries = (
            colours if tagged else (0, 2, 2, 2)
        )
        stream.options = {"preset": "ultrafast", "crf": "4", **own, **(options or {})}
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if matrix is not None:
            stream.set_display_matrix(list(matrix))
        for index, image in enumerate(images):
            frame = _converted(image, pixel_format, colours)
            if not tagged:
                frame.color_range, frame.colorspace, frame.color_trc, frame.color_primaries = 0, 2, 2, 2
            frame.pts = round((times[index] if times else index / rate) / TIME_BASE)
            frame.time_base = TIME_BASE
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _converted(image: NDArray[Any], pixel_format: str, colours: tuple[int, int, int, int]) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(image, "rgb24" if image.dtype == np.uint8 else "rgb48le")
    matrix = {6: 5}.get(colours[1], colours[1])
    converted = frame.reformat(
        format=pixel_format,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=2,
        dst_color_range=colours[0],
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP,
        threads=1,
    )
    converted.color_range, converted.colorspace = colours[:2]
    converted.color_trc, converted.color_primaries = colours[2:]
    return converted

"""Video in, sharp pictures out: the frames worth keeping, written beside it."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from contracts.errors import VideoUnreadable
from workers.geometry.images import encoded
from workers.prepare.capture import Capture, Shot, Upload
from workers.prepare.readers.video import pixels, selection
from workers.prepare.readers.video.decode import Video, opened

FRAMES = 60
MEASURED_EVERY = 0.1
"""Seconds; less where the video is so short that its windows would hold few frames."""
CANDIDATES = 4
"""In each window, at least."""
LEAST_SECONDS, LEAST_FRAMES = 30, 50
"""Of which VISOR's method wants one."""


def read(upload: Upload, path: Path, frames: int = FRAMES) -> Capture:
    """About so many frames of a video as shots without lens and pose, in the order of the walk.

    Raises FormatUnsupported, UploadTooLarge, VideoTooLong, VideoUnreadable, ImageTooLarge, ImageTooSmall.
    """
    name = path.relative_to(upload.root).as_posix()
    folder = unused(path)
    with opened(path, name) as video:
        measured: list[int] = []
        meter = selection.Meter()
        shown: dict[str, Any] = {}
        for index, frame in video.frames(min(MEASURED_EVERY, video.seconds / (CANDIDATES * frames))):
            measured.append(index)
            meter.add(pixels.luma(frame))
            shown = shown or {"hdr": pixels.is_hdr(frame), "rotation": pixels.rotation(frame)}
        if not measured:
            raise VideoUnreadable(f"no frame of {name} can be decoded", file=name)
        kept = meter.choose(frames)
        written = _write(video, [measured[place] for place in kept], folder)
        times = [video.times[index] for index in measured]
        blurred = meter.blurred(times)
        shots = [Shot(image.relative_to(upload.root).as_posix(), image) for image in written.values()]
        metrics = {
            "seconds": round(video.seconds, 3),
            "frames": len(video.times),
            "frames_decoded": video.decoded,
            "frames_measured": len(measured),
            "frames_kept": len(shots),
            "kept": [
                {"image": shot.name, "time": round(video.times[index], 3)}
                for shot, index in zip(shots, written, strict=True)
            ],
            "blurred": _rounded(blurred),
            **shown,
        }
        warnings = _warnings(video, len(shots), blurred, meter.standing(times))
    return Capture(shots, ordered=True, warnings=warnings, metrics={"video": metrics})


def unused(path: Path) -> Path:
    """A folder for the frames of the video at `path`, which nothing else has."""
    folder = path.with_suffix("")
    while folder.exists():
        folder = folder.with_name(f"{folder.name}_")
    return folder


def frames_at(path: Path, times: list[float], folder: Path) -> list[Path]:
    """A picture in the folder for each time in seconds from the first frame: the frame shown nearest to it.

    Raises VideoUnreadable, also where nothing was recorded at a time, and as `read`.
    """
    with opened(path, path.name) as video:
        gap = max(MEASURED_EVERY, 2 * float(np.median(np.diff(video.times)))) if len(video.times) > 1 else 0.0
        wanted = [video.nearest(time) for time in times]
        for time, index in zip(times, wanted, strict=True):
            if not abs(video.times[index] - time) <= gap:
                raise VideoUnreadable(f"{path.name} shows nothing at {time:.3f} s", file=path.name)
        written = _write(video, wanted, folder)
        if lost := sorted(set(wanted) - set(written)):
            raise VideoUnreadable(f"frame {lost[0]} of {path.name} cannot be decoded", file=path.name)
    return [written[index] for index in wanted]


def _write(video: Video, wanted: list[int], folder: Path) -> dict[int, Path]:
    """Index -> picture, in order. As JPEG: PNG takes seven times as long, and the video itself lost more."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for index, frame in video.pick(wanted):
        written[index] = folder / f"frame_{index:05d}.jpg"
        written[index].write_bytes(_jpeg(pixels.to_rgb(frame, video.aspect)))
    return written


def _jpeg(rgb: NDArray[np.uint8]) -> bytes:
    full_colour = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    quality = [cv2.IMWRITE_JPEG_QUALITY, 97, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full_colour]
    return encoded(rgb, ".jpg", *quality)


def _warnings(
    video: Video, kept: int, blurred: list[selection.Stretch], standing: list[selection.Stretch]
) -> list[str]:
    found = []
    if video.damaged:
        found.append(f"The video is damaged or cut off; of {video.seconds:.1f} s what could be read is used.")
    if video.seconds < LEAST_SECONDS and kept < LEAST_FRAMES:
        found.append(
            f"The video is short: {video.seconds:.1f} s with {kept} different views. Walk around the object "
            f"for at least {LEAST_SECONDS} s, as VISOR's method wants it."
        )
    if blurred:
        found.append(f"The video is blurred {_said(blurred)}: move slower there, in more light.")
    if standing:
        found.append(f"The camera stood still {_said(standing)}: that time adds no views of the object.")
    return found


def _said(stretches: list[selection.Stretch]) -> str:
    return ", ".join(f"from {start:.1f} to {end:.1f} s" for start, end in stretches)


def _rounded(stretches: list[selection.Stretch]) -> list[list[float]]:
    return [[round(time, 3) for time in stretch] for stretch in stretches]

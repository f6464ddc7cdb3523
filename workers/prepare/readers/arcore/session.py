"""Reader of `session.jsonl` (see `contracts.session`): the photos of an ARCore session, their cameras in one
world.
"""

from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.errors import PosesUnreadable
from contracts.session import Pose, SessionFrame, SessionHeader, parse_line
from workers.prepare.capture import MAX_IMAGES, Capture, Shot, Upload, check_count
from workers.prepare.readers.arcore.anchors import Anchors
from workers.prepare.readers.arcore.compensation import Compensation, compensate
from workers.prepare.readers.arcore.published import compensation_matrix
from workers.prepare.readers.arcore.recording import (
    OF_A_RECORDING,
    WORLD,
    along_the_way,
    poses,
    shots,
    turned,
)
from workers.prepare.readers.video import frames_at, unused

Array = NDArray[np.float64]

MAX_ANCHORS = 200
"""Of a session, all frames together; a few are plenty."""
MAX_BYTES = 64 << 20
MAX_LINE = 1 << 20
MAX_VALUES = 1 << 22
"""Numbers and words, of the whole file: each takes several times its own bytes once it is read."""


def read(upload: Upload, path: Path) -> Capture:
    """Frames that were not tracked are left out, drift is taken out of the poses of the others; of a video,
    frames are taken that are spread evenly along the way.

    `compensation_matrix` of the arrays has a row for each shot, see `published.compensation_matrix`.
    Raises PosesUnreadable (which names the line), PoseInvalid, ImageMissing, TooFewImages,
    TooManyImages, and what videos raise.
    """
    header, every = parse(path)
    frames = [frame for frame in every if frame.camera.tracking_state == "TRACKING"]
    warnings = []
    if lost := len(every) - len(frames):
        warnings.append(f"{lost} of {len(every)} photos were left out: the phone did not know where it was.")
    if header.video is not None:
        frames = _evenly(frames, MAX_IMAGES)
    check_count(len(frames))
    named = len({anchor.id for frame in frames for anchor in frame.anchors})
    if named > MAX_ANCHORS:
        message = f"{path.name} has {named} anchors; at most {MAX_ANCHORS} are read"
        raise PosesUnreadable(message, file=path.name)
    anchors = gather(frames)
    result = compensate(poses(frames), anchors)
    if not anchors.names:
        warnings.append(
            "The session has no anchors, so the drift of the phone's poses could not be corrected."
        )
    elif gaps := int(result.carried.sum()):
        warnings.append(
            f"No anchor was tracked at {gaps} of {len(frames)} photos; the last correction was kept."
        )
    c2w = turned(result.c2w, header.image_rotation // 90 if header.pose_axes == "sensor" else 0)
    images = _images(upload, path, header, frames, c2w)
    found = shots(upload, path.parent, frames, c2w, images)
    return Capture(
        found,
        WORLD,
        ordered=True,
        tracked=True,
        warnings=warnings,
        metrics={"session": _metrics(frames, anchors.names, result, lost)},
        arrays={"compensation_matrix": _matrix(found, c2w[list(images)])},
    )


def parse(path: Path) -> tuple[SessionHeader, list[SessionFrame]]:
    """Raises PosesUnreadable."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        message = f"{path.name} has {size} bytes; at most {MAX_BYTES} are read"
        raise PosesUnreadable(message, file=path.name)
    header, frames, values = None, list[SessionFrame](), 0
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE + 1), b""), start=1):
            where = f"{path.name}, line {number}"
            values += 1 + line.count(b",")
            if len(line) > MAX_LINE or values > MAX_VALUES:
                limit = f"{MAX_LINE} bytes" if len(line) > MAX_LINE else f"{MAX_VALUES} values in all"
                raise PosesUnreadable(f"{where}: at most {limit} are read", file=path.name)
            if not line.strip():
                continue
            try:
                record = parse_line(line.removeprefix(BOM_UTF8))
            except ValueError as error:
                raise PosesUnreadable(f"{where}: {error}", file=where) from None
            if isinstance(record, SessionHeader) != (header is None):
                raise PosesUnreadable(
                    f"{where}: just the first line must be the session's header", file=where
                )
            if isinstance(record, SessionHeader):
                header = record
                continue
            if frames and record.frame_index <= frames[-1].frame_index:
                raise PosesUnreadable(f"{where}: frame_index must count up", file=where)
            if header and (header.video is None) != (record.video_time is None):
                message = f"{where}: video_time goes with a video in the header, and image without"
                raise PosesUnreadable(message, file=where)
            frames.append(record)
    if header is None:
        raise PosesUnreadable(f"{path.name} is empty", file=path.name)
    return header, frames


def gather(frames: list[SessionFrame]) -> Anchors:
    """The anchors of all frames, in the order in which they appear."""
    first = {anchor.id: (anchor, k) for k in reversed(range(len(frames))) for anchor in frames[k].anchors}
    names = sorted(first, key=lambda name: first[name][1])
    column = {name: j for j, name in enumerate(names)}
    current = np.zeros((len(frames), len(names), 7))
    tracked = np.zeros((len(frames), len(names)), bool)
    for k, frame in enumerate(frames):
        for anchor in frame.anchors:
            current[k, column[anchor.id]] = _numbers(anchor.current_pose)
            tracked[k, column[anchor.id]] = anchor.tracking_state == "TRACKING"
    return Anchors(
        names=tuple(names),
        initial=np.array([_numbers(first[name][0].initial_pose) for name in names]).reshape(-1, 7),
        current=current,
        tracked=tracked,
        created=np.array([first[name][1] for name in names], np.int64),
    )


def _numbers(pose: Pose) -> tuple[float, ...]:
    return (*pose.position, *pose.quaternion_xyzw)


def _evenly(items: list[SessionFrame], most: int) -> list[SessionFrame]:
    if len(items) <= most:
        return items
    return [items[k] for k in np.linspace(0, len(items) - 1, most).round().astype(int)]


def _images(
    upload: Upload, path: Path, header: SessionHeader, frames: list[SessionFrame], c2w: Array
) -> dict[int, Path]:
    """The picture of each frame, or of the frames chosen from a video."""
    if header.video is None:
        where = f"{path.name}: the image"
        return {k: upload.resolve(path.parent, str(f.image), where) for k, f in enumerate(frames)}
    video = upload.resolve(path.parent, header.video, f"{path.name}: the video")
    chosen = along_the_way(c2w, OF_A_RECORDING)
    times = [float(frames[k].video_time or 0) for k in chosen]
    found: dict[Path, int] = {}
    for k, image in zip(chosen, frames_at(video, times, unused(video)), strict=True):
        found.setdefault(image, k)  # two times may mean one picture
    return {k: image for image, k in found.items()}


def _matrix(shots: list[Shot], c2w: Array) -> Array:
    """A row for each shot; NaN for depths that its frame does not give."""
    lenses = [shot.lens for shot in shots if shot.lens]
    depths = np.array([shot.depth or (np.nan, np.nan) for shot in shots])
    return compensation_matrix(
        c2w,
        size=[lens.size or (0, 0) for lens in lenses],
        focal=[lens.focal[0] for lens in lenses],
        near=depths[:, 0],
        far=depths[:, 1],
    )


def _metrics(
    frames: list[SessionFrame], names: tuple[str, ...], result: Compensation, lost: int
) -> dict[str, Any]:
    indices = [frame.frame_index for frame in frames]
    anchors = [
        {
            "id": name,
            "used_in": int(result.used[:, j].sum()),
            "left_out_in": [indices[k] for k in np.flatnonzero(result.left_out[:, j])],
            "noise_metres": _known(result.noise[j, 0]),
            "noise_degrees": _known(np.degrees(result.noise[j, 1])),
            "noisy": bool(result.noisy[j]),
        }
        for j, name in enumerate(names)
    ]
    jumps = [
        {"frame": indices[jump.frame], "metres": round(jump.metres, 4), "degrees": round(jump.degrees, 3)}
        for jump in result.jumps
    ]
    return {
        "frames": len(frames),
        "not_tracked": lost,
        "without_anchors": [indices[k] for k in np.flatnonzero(result.carried)],
        "anchors": anchors,
        "jumps": jumps,
    }


def _known(value: float) -> float | None:
    return round(float(value), 5) if np.isfinite(value) else None

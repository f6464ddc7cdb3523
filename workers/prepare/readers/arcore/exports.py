"""What other recorders export, as the session that they might have written: Record3D's folder and the "all
data" export of 3D Scanner App. Both record ARKit, which corrects its poses by itself and has no anchors to
tell.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from contracts.errors import PosesUnreadable
from contracts.session import SessionFrame
from workers.geometry.rotations import to_matrix
from workers.prepare.capture import Capture, Upload
from workers.prepare.readers.arcore.recording import recorded
from workers.runtime.safe_input import read_json, read_size

RECORD3D = ("metadata", "metadata.json")
SCANNER = re.compile(r"frame_(\d+)\.json")


def find_record3d(upload: Upload) -> Path | None:
    """Record3D's metadata, beside a folder rgb/ or rgbd/ of pictures."""
    path = upload.find(*RECORD3D)
    return path if path and _record3d_photos(upload, path) else None


def read_record3d(upload: Upload, path: Path) -> Capture:
    """Its metadata has `w`, `h`, `K` (3x3, column-major) or `perFrameIntrinsicCoeffs` (fx, fy, cx, cy), and
    `poses` (qx, qy, qz, qw, x, y, z; OpenGL camera-to-world with the axes of the pictures), a pose for each
    number N of rgb/N.jpg.

    Raises PosesUnreadable and as `recording.recorded`.
    """
    document = read_json(path, path.name)
    photos = _record3d_photos(upload, path)
    frames = []
    try:
        width, height, matrix = document["w"], document["h"], document["K"]
        lenses = document.get("perFrameIntrinsicCoeffs") or []
        for number, pose in enumerate(document["poses"]):
            if number not in photos:
                continue
            fx, fy, cx, cy = lenses[number] if lenses else (matrix[0], matrix[4], matrix[6], matrix[7])
            right, up, back = to_matrix(pose[:4]).T.tolist()
            columns = [*right, 0.0, *up, 0.0, *back, 0.0, *pose[4:7], 1.0]
            lens = {"width": width, "height": height, "fx": fx, "fy": fy, "cx": cx, "cy": cy}
            frames.append(_frame(number, photos[number].relative_to(path.parent), columns, lens))
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise PosesUnreadable(f"{path.name} is not Record3D's: {_said(error)}", file=path.name) from None
    return recorded(upload, path, frames)


def find_scanner(upload: Upload) -> Path | None:
    """The first of 3D Scanner App's frames that has a picture."""
    return next((path for path in upload.files if _scanner_photo(upload, path)), None)


def read_scanner(upload: Upload, path: Path) -> Capture:
    """frame_00012.json beside frame_00012.jpg has `cameraPoseARFrame` (4x4 camera-to-world, row-major:
    ARKit's transform, OpenGL axes of the sensor, as which the pictures are stored) and `intrinsics` (3x3,
    row-major). Most frames have no picture, and are passed over.

    Raises PosesUnreadable and as `recording.recorded`.
    """
    return recorded(upload, path, list(_scanner_frames(upload, path.parent)))


def _scanner_frames(upload: Upload, folder: Path) -> Iterator[SessionFrame]:
    for path in upload.files:
        photo = _scanner_photo(upload, path)
        if path.parent != folder or photo is None:
            continue
        document = read_json(path, path.name)
        try:
            rows, k = document["cameraPoseARFrame"], document["intrinsics"]
            width, height = read_size(photo, photo.name)
            lens = {"width": width, "height": height, "fx": k[0], "fy": k[4], "cx": k[2], "cy": k[5]}
            columns = [rows[4 * row + column] for column in range(4) for row in range(4)]
            yield _frame(int(path.stem.removeprefix("frame_")), photo.relative_to(folder), columns, lens)
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise PosesUnreadable(
                f"{path.name} is not 3D Scanner App's: {_said(error)}", file=path.name
            ) from None


def _frame(number: int, photo: Path, columns: list[Any], lens: dict[str, Any]) -> SessionFrame:
    return SessionFrame.model_validate(
        {
            "type": "frame",
            "frame_index": number,
            "image": photo.as_posix(),
            "camera": {"pose_matrix": tuple(columns), "tracking_state": "TRACKING"},
            "intrinsics": lens,
        }
    )


def _record3d_photos(upload: Upload, path: Path) -> dict[int, Path]:
    for folder in ("rgb", "rgbd"):
        photos = {int(p.stem): p for p in upload.images(path.parent / folder) if p.stem.isdecimal()}
        if photos:
            return photos
    return {}


def _scanner_photo(upload: Upload, path: Path) -> Path | None:
    photo = path.with_suffix(".jpg")
    return photo if SCANNER.fullmatch(path.name) and photo.is_file() else None


def _said(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"{type(error).__name__}: {error}"[:200]

"""Reader of `transforms.json` as nerfstudio and instant-ngp write it.

https://docs.nerf.studio/quickstart/data_conventions.html
"""

import math
from collections import ChainMap
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from contracts.errors import CameraUnsupported, PoseInvalid, PosesUnreadable
from workers.prepare.capture import Capture, Lens, Shot, Upload, World, check_count, checked_pose
from workers.runtime.safe_input import read_json

SMALLEST_ANGLE = 1e-3
PINHOLE_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")


def read(upload: Upload, path: Path) -> Capture:
    """The shots of the frames that the file lists, in its order; and its world, of which the layout says
    nothing, but two keys of ours may: `world_up`, a vector, and `metres_per_unit`.

    Raises PosesUnreadable, PoseInvalid, CameraUnsupported, ImageMissing, TooFewImages, TooManyImages.
    """
    document = read_json(path, path.name)
    frames = document.get("frames") if isinstance(document, dict) else None
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise PosesUnreadable(f"{path.name} has no list 'frames'", file=path.name)
    check_count(len(frames))  # before a hundred thousand are looked at
    world = _world(document, path)
    return Capture([_shot(upload, path, ChainMap(frame, document)) for frame in frames], world)


def _world(document: dict[str, Any], path: Path) -> World:
    scale, up = _number(document, "metres_per_unit", path), document.get("world_up")
    if scale is not None and scale <= 0:
        raise PosesUnreadable(
            f"{path.name}: metres_per_unit is {scale:g}; it must be above 0", file=path.name
        )
    if up is None:
        return World(None, scale)
    try:
        vector = np.array(up, np.float64)
        length = float(np.linalg.norm(vector))
    except (ValueError, TypeError, OverflowError):
        vector, length = np.empty(0), 0.0
    if vector.shape != (3,) or not np.isfinite(length) or length == 0:
        raise PosesUnreadable(f"{path.name}: world_up is {up!r:.100}, not a vector", file=path.name)
    x, y, z = (vector / length).tolist()
    return World((x, y, z), scale)


def _shot(upload: Upload, path: Path, frame: Mapping[str, Any]) -> Shot:
    name = frame.get("file_path")
    if not isinstance(name, str) or not name:
        raise PosesUnreadable(f"{path.name}: a frame has no 'file_path'", file=path.name)
    image = upload.resolve(path.parent, name, f"{path.name}: the image")
    _check_model(frame)
    mask_name = frame.get("mask_path")
    named = isinstance(mask_name, str) and mask_name
    mask = (
        upload.resolve(path.parent, str(mask_name), f"{path.name}: the mask")
        if named
        else upload.find_mask(path.parent, image)
    )
    width, height = _number(frame, "w", path), _number(frame, "h", path)
    cx, cy = _number(frame, "cx", path), _number(frame, "cy", path)
    size = (width, height) if width and height else None
    return Shot(
        name=image.relative_to(upload.root).as_posix(),
        image=image,
        mask=mask,
        lens=Lens(
            size=size,
            focal=_focal(frame, size, path),
            centre=(cx, cy) if cx is not None and cy is not None and size else None,
            distortion=_distortion(frame, path),
        ),
        c2w=_pose(frame, name, path),
    )


def _check_model(frame: Mapping[str, Any]) -> None:
    model = frame.get("camera_model") or "OPENCV"
    fisheye = frame.get("is_fisheye") or frame.get("ftheta_p0") is not None
    if fisheye or str(model).upper() not in PINHOLE_MODELS:
        raise CameraUnsupported(f"camera model {'fisheye' if fisheye else model!r:.100} is not supported")


def _focal(frame: Mapping[str, Any], size: tuple[float, float] | None, path: Path) -> tuple[float, float]:
    """Pixels, or multiples of the width where the frame gives no size."""
    fx, fy = _number(frame, "fl_x", path), _number(frame, "fl_y", path)
    angle_x, angle_y = _number(frame, "camera_angle_x", path), _number(frame, "camera_angle_y", path)
    if fx is None and angle_x is not None:
        fx = _from_angle(angle_x, size[0] if size else 1.0)
        if fy is None and size and angle_y is not None:
            fy = _from_angle(angle_y, size[1])
    elif fx is not None and size is None:
        raise PosesUnreadable(f"{path.name} gives fl_x but not w and h", file=path.name)
    if fx is None or fx <= 0 or (fy is not None and fy <= 0):
        raise PosesUnreadable(
            f"{path.name} gives no valid focal length (fl_x or camera_angle_x)", file=path.name
        )
    return fx, fx if fy is None else fy


def _from_angle(angle: float, extent: float) -> float:
    """Focal length of a field of view; 0 for one that is none."""
    possible = SMALLEST_ANGLE < angle < math.pi - SMALLEST_ANGLE
    return 0.5 * extent / math.tan(0.5 * angle) if possible else 0.0


def _distortion(frame: Mapping[str, Any], path: Path) -> tuple[float, float, float, float, float]:
    if _number(frame, "k4", path):
        raise CameraUnsupported("distortion with k4 is not supported; send k1, k2, p1, p2, k3 at most")
    k1 = _number(frame, "k1", path)
    k1 = _number(frame, "k", path) if k1 is None else k1
    k2, p1, p2, k3 = (_number(frame, name, path) or 0.0 for name in ("k2", "p1", "p2", "k3"))
    return k1 or 0.0, k2, p1, p2, k3


def _pose(frame: Mapping[str, Any], name: str, path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        rows = np.array(frame.get("transform_matrix"), np.float64)
    except (ValueError, TypeError, OverflowError):
        rows = np.empty(0)
    if rows.shape not in ((4, 4), (3, 4)):
        raise PoseInvalid(
            f"{path.name}: transform_matrix of {name!r:.200} is not 4x4 numbers", file=name[:300]
        )
    return checked_pose(np.vstack([rows[:3], [0, 0, 0, 1]]), name[:300])


def _number(frame: Mapping[str, Any], key: str, path: Path) -> float | None:
    value = frame.get(key)
    if value is None:
        return None
    with suppress(OverflowError):
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    raise PosesUnreadable(f"{path.name}: {key} is {value!r:.100}, not a finite number", file=path.name)

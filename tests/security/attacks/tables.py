"""Files of numbers and names that attack their parser, beside the photos of a sound capture."""

import io
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.captures import Rig, llff_rows

UNREADABLE = frozenset({"poses_unreadable"})
INVALID = frozenset({"pose_invalid"})
MISSING = frozenset({"image_missing"})
CANARY = "pickle-was-executed"
"""A file that a pickle makes, where it is executed, in the folder that is current."""
LISTS = b"[" + b"[]," * 400_000 + b"[]]"

Write = Callable[[Path], object]


def _instead(name: str, content: bytes | Callable[[], bytes]) -> Write:
    """In the place of transforms.json."""

    def write(folder: Path) -> None:
        (folder / "transforms.json").unlink()
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content() if callable(content) else content)

    return write


# poses_bounds.npy


class _Touch:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {CANARY}",)


def _npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
    size = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + size + header.encode() + data


def _shaped(shape: str, descr: str = "'<f8'", order: str = "False", data: bytes = bytes(8 * 17 * 8)) -> bytes:
    return _npy(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n", data)


def _poses(value: float, column: int) -> Callable[[], bytes]:
    def make() -> bytes:
        rows, body = llff_rows(Rig()), io.BytesIO()
        rows[3, column] = value
        np.save(body, rows)
        return body.getvalue()

    return make


def _llff(content: bytes | Callable[[], bytes]) -> Write:
    return _instead("poses_bounds.npy", content)


NPY: dict[str, tuple[Write, frozenset[str]]] = {
    "npy of a pickle": (_llff(lambda: _shaped("(1,)", "'|O'", data=pickle.dumps([_Touch()]))), UNREADABLE),
    "pickle called npy": (_llff(lambda: pickle.dumps(_Touch())), UNREADABLE),
    "npy whose header is a program": (
        _llff(_npy(f"__import__('os').system('touch {CANARY}')\n")),
        UNREADABLE,
    ),
    "npy of 2^60 rows": (_llff(_shaped("(1152921504606846976, 17)")), UNREADABLE),
    "npy of -1 rows": (_llff(_shaped("(-1, 17)")), UNREADABLE),
    "npy whose size overflows to 0": (_llff(_shaped("(4294967296, 4294967296)")), UNREADABLE),
    "npy of a thousand dimensions": (_llff(_shaped("(" + "1," * 1000 + ")")), UNREADABLE),
    "npy of no rows": (_llff(_shaped("(0, 17)", data=b"")), UNREADABLE | {"count_mismatch"}),
    "npy in columns": (_llff(_shaped("(8, 17)", order="True")), INVALID),
    "npy of records": (_llff(_shaped("(8,)", "[('a', '<f8', (17,))]")), UNREADABLE),
    "npy of texts": (_llff(_shaped("(8, 17)", "'<U2'")), UNREADABLE),
    "npy of numbers without size": (_llff(_shaped("(8, 17)", "'|V0'")), UNREADABLE),
    "npy with a header of megabytes": (_llff(lambda: _npy(" " * 7_000_000, version=2)), UNREADABLE),
    "npy with a header of 100 MB": (_llff(lambda: _npy(" " * 100_000_000, version=2)), UNREADABLE),
    "npy with a header of 4 GiB": (_llff(b"\x93NUMPY\2\0\xff\xff\xff\xff"), UNREADABLE),
    "npy with a deep header": (_llff(_npy("(" * 9000)), UNREADABLE),
    "npy with NaN": (_llff(_poses(np.nan, 3)), INVALID),
    "npy with infinity": (_llff(_poses(np.inf, 3)), INVALID),
    "npy with 1e308 in a pose": (_llff(_poses(1e308, 3)), INVALID),
    "npy with 1e308 in a rotation": (_llff(_poses(1e308, 0)), INVALID),
    "npy with a height of 1e308": (_llff(_poses(1e308, 4)), frozenset({"size_mismatch"})),
    "npy with a focal length of 1e308": (_llff(_poses(1e308, 14)), INVALID | UNREADABLE),
}


# transforms.json


def _edited(**values: Any) -> Write:
    def write(folder: Path) -> None:
        path = folder / "transforms.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return write


def _frame(**values: Any) -> Write:
    def write(folder: Path) -> None:
        path = folder / "transforms.json"
        document = json.loads(path.read_text())
        document["frames"][2].update(values)
        path.write_text(json.dumps(document))

    return write


def _spliced(content: bytes) -> Write:
    """More at the beginning of the document."""

    def write(folder: Path) -> None:
        path = folder / "transforms.json"
        path.write_bytes(b"{" + content + b"," + path.read_bytes()[1:])

    return write


def _many_keys() -> bytes:
    return b",".join(b'"%x":0' % number for number in range(1_000_000))


HUGE = 10**400

TRANSFORMS: dict[str, tuple[Write, frozenset[str]]] = {
    "transforms upwards": (_frame(file_path="../../../etc/passwd"), MISSING),
    "transforms to the root": (_frame(file_path="/etc/passwd"), MISSING),
    "transforms to an address": (_frame(file_path="http://127.0.0.1/photo.png"), MISSING),
    "transforms to a file address": (_frame(file_path="file:///etc/passwd"), MISSING),
    "transforms by backslashes": (_frame(file_path="..\\..\\secret.png"), MISSING),
    "transforms to a NUL": (_frame(file_path="images/photo_02.png\0.txt"), MISSING),
    "transforms to a name without end": (_frame(file_path="x" * 1_000_000), MISSING),
    "transforms with a mask elsewhere": (_frame(mask_path="/etc/passwd"), MISSING),
    "transforms to a list": (_frame(file_path=["images/photo_02.png"]), UNREADABLE),
    "transforms of 10^400": (_edited(fl_x=HUGE), UNREADABLE),
    "transforms with a place of 10^400": (_frame(transform_matrix=[[HUGE] * 4] * 4), INVALID),
    "transforms with a place of 1e308": (_frame(transform_matrix=[[1e308] * 4] * 4), INVALID),
    "transforms with a place a hundred deep": (
        _frame(transform_matrix=json.loads("[" * 100 + "]" * 100)),
        INVALID,
    ),
    "transforms with a place of a million": (_frame(transform_matrix=[0] * 1_000_000), INVALID),
    "transforms of a number of 10^6 digits": (_spliced(b'"x":' + b"9" * 1_000_000), UNREADABLE),
    "transforms 10^5 deep": (_spliced(b'"x":' + b"[" * 100_000), UNREADABLE),
    "transforms 900 deep": (_spliced(b'"x":' + b"[" * 900 + b"]" * 900), frozenset({"done"})),
    "transforms of a name twice": (_spliced(b'"frames":[]'), frozenset({"done"})),
    "transforms of a million names": (_spliced(_many_keys()), frozenset({"done"})),
    "transforms of a million lists": (_spliced(b'"x":' + LISTS), frozenset({"done"})),
    "transforms of a million frames": (_edited(frames=[{}] * 1_000_000), frozenset({"too_many_images"})),
    "transforms of 20 MB": (_edited(x="x" * 20_000_000), UNREADABLE),
    "transforms with NaN": (_edited(cx=float("nan")), UNREADABLE),
    "transforms with a fisheye": (
        _edited(camera_model=["FISHEYE"] * 1000),
        frozenset({"camera_unsupported"}),
    ),
}


# session.jsonl

POSE = {"position": [0.0, 0.0, 0.0], "quaternion_xyzw": [0.0, 0.0, 0.0, 1.0]}


def session_frame(index: int, **more: Any) -> dict[str, Any]:
    rig = Rig()
    return {
        "type": "frame",
        "frame_index": index,
        "image": f"images/photo_{index % rig.views:02d}.png",
        "camera": {
            "pose_matrix": rig.c2w[index % rig.views].T.ravel().tolist(),
            "tracking_state": "TRACKING",
        },
        "intrinsics": {"width": 160, "height": 120, "fx": 170.0, "fy": 170.0, "cx": 80.0, "cy": 60.0},
        **more,
    }


def _anchor(name: str) -> dict[str, Any]:
    return {"id": name, "tracking_state": "TRACKING", "initial_pose": POSE, "current_pose": POSE}


def _session(*lines: bytes | dict[str, Any], header: bytes = b'{"type":"session"}') -> Write:
    def make() -> bytes:
        return b"\n".join([header, *(x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines)])

    return _instead("session.jsonl", make)


def _many_numbers() -> bytes:
    paused = session_frame(0, camera={"pose_matrix": [0] * 16, "tracking_state": "PAUSED"}, x=[0] * 50_000)
    line = json.dumps(paused, separators=(",", ":")).replace('"frame_index":0', '"frame_index":%d')
    return b'{"type":"session"}\n' + b"\n".join((line % number).encode() for number in range(100))


def _many_anchors() -> bytes:
    frames = [
        session_frame(k, anchors=[_anchor(f"{k}-{number}") for number in range(50)]) for k in range(600)
    ]
    return b'{"type":"session"}\n' + b"\n".join(json.dumps(frame).encode() for frame in frames)


SESSIONS: dict[str, tuple[Write, frozenset[str]]] = {
    "session of a million lines": (
        _instead("session.jsonl", b'{"type":"session"}\n' * 1_000_000),
        UNREADABLE,
    ),
    "session of a million empty lines": (_instead("session.jsonl", b"\n" * 5_000_000), UNREADABLE),
    "session of a line of 100 MB": (_instead("session.jsonl", lambda: b" " * 100_000_000), UNREADABLE),
    "session of a line of 2 MB": (_session(b'{"type":"frame","x":"' + b"x" * 2_000_000 + b'"}'), UNREADABLE),
    "session of five million numbers": (_instead("session.jsonl", _many_numbers), UNREADABLE),
    "session of 30 thousand anchors": (_instead("session.jsonl", _many_anchors), UNREADABLE),
    "session of lists": (_instead("session.jsonl", b'{"type":"session","x":%b}' % LISTS), UNREADABLE),
    "session 10^5 deep": (_session(b"[" * 100_000), UNREADABLE),
    "session of a type without end": (_session(b'{"type":"' + b"x" * 900_000 + b'"}'), UNREADABLE),
    "session with NaN": (_session(json.dumps(session_frame(0, min_depth=float("nan"))).encode()), UNREADABLE),
    "session with 1e999": (_session(b'{"type":"frame","frame_index":1e999}'), UNREADABLE),
    "session with half a character": (_session(b'{"type":"session","session_id":"\\ud800"}'), UNREADABLE),
    "session with a number of 10^5 digits": (
        _session(b'{"type":"frame","frame_index":' + b"9" * 100_000 + b"}"),
        UNREADABLE,
    ),
    "session with an image upwards": (_session(session_frame(0, image="../../../etc/passwd")), UNREADABLE),
    "session with a video at an address": (
        _session(session_frame(0), header=b'{"type":"session","video":"http://127.0.0.1/a.mp4"}'),
        UNREADABLE,
    ),
    "session that is no text": (_session(bytes(range(256))), UNREADABLE),
}


# COLMAP


def _colmap(cameras: bytes, images: bytes, points: bytes = b"", suffix: str = "bin") -> Write:
    def write(folder: Path) -> None:
        (folder / "transforms.json").unlink()
        (folder / "sparse/0").mkdir(parents=True)
        for name, content in (("cameras", cameras), ("images", images), ("points3D", points)):
            (folder / f"sparse/0/{name}.{suffix}").write_bytes(content)

    return write


MANY = struct.pack("<Q", 1 << 60)
CAMERA = struct.pack("<QiiQQ4d", 1, 1, 1, 160, 120, 170, 170, 80, 60)
IMAGE = struct.pack("<i7di", 1, 1, 0, 0, 0, 0, 0, 0, 1) + b"photo_00.png\0"
ONE = struct.pack("<Q", 1)
TEXT = b"1 PINHOLE 160 120 170 170 80 60\n"

MODELS: dict[str, tuple[Write, frozenset[str]]] = {
    "COLMAP of 2^60 cameras": (_colmap(MANY, ONE + IMAGE + bytes(8)), UNREADABLE),
    "COLMAP of 2^60 images": (_colmap(CAMERA, MANY + IMAGE), UNREADABLE),
    "COLMAP of 2^60 points in an image": (_colmap(CAMERA, ONE + IMAGE + MANY), UNREADABLE),
    "COLMAP of 2^60 points": (_colmap(CAMERA, ONE + IMAGE + bytes(8), MANY), UNREADABLE),
    "COLMAP of a track of 2^60": (
        _colmap(CAMERA, ONE + IMAGE + bytes(8), ONE + struct.pack("<Q3d3Bd", 1, 0, 0, 1, 0, 0, 0, 0) + MANY),
        UNREADABLE,
    ),
    "COLMAP of a name without end": (_colmap(CAMERA, ONE + IMAGE[:64] + b"x" * 1_000_000), UNREADABLE),
    "COLMAP of an unknown model": (
        _colmap(CAMERA[:12] + b"\x7f" + CAMERA[13:], ONE + IMAGE + bytes(8)),
        frozenset({"camera_unsupported"}),
    ),
    "COLMAP of a line of 10 MB": (_colmap(TEXT, b"1 " * 5_000_000, suffix="txt"), UNREADABLE),
    "COLMAP of numbers of 10^6 digits": (
        _colmap(b"9" * 1_000_000 + b" PINHOLE 1 1", b"", suffix="txt"),
        UNREADABLE,
    ),
    "COLMAP with an image upwards": (
        _colmap(TEXT, b"1 1 0 0 0 0 0 0 1 ../../../etc/passwd\n\n" * 8, suffix="txt"),
        MISSING,
    ),
    "COLMAP that is empty": (_colmap(b"", b"", suffix="txt"), UNREADABLE),
    "COLMAP of NaN": (_colmap(TEXT, b"1 nan 0 0 0 0 0 0 1 photo_00.png\n\n" * 8, suffix="txt"), UNREADABLE),
}

ATTACKS = {**NPY, **TRANSFORMS, **SESSIONS, **MODELS}

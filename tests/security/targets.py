"""What reads what strangers send, each with valid inputs of its kind to start from.

A target takes the bytes and a folder for its own use, and returns or raises one of the errors in
`contracts.errors`; anything else is a bug of ours.
"""

import atexit
import base64
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from contracts.envelope import Envelope, sender
from contracts.errors import ContractError, InputError
from contracts.events import DatasetUploaded
from contracts.review import PREFIX, DecisionsFile
from tests import captures
from tests.captures import Rig
from tests.security.attacks.clips import sound
from tests.security.attacks.tables import session_frame
from tests.security.mutators import (
    Mutator,
    spoilt_bytes,
    spoilt_early,
    spoilt_json,
    spoilt_lines,
)
from tests.unit.test_arcore_exports import record3d, scanner
from tests.unit.test_arcore_session import anchor
from tests.unit.test_colmap import as_binary, capture_of
from workers.decisions import unpacked
from workers.geometry.errors import NumericError
from workers.prepare.capture import Upload, checked_shots
from workers.prepare.readers import video
from workers.prepare.readers.layouts import read_capture
from workers.runtime.safe_input import extract_zip, read_glance, read_image, read_mask
from workers.segment.hints import marked
from workers.upload import CaptureError, files_of

Seeds = Callable[[], list[bytes]]
EXAMPLES = Path(__file__).parents[2] / "contracts/schemas/examples"


@dataclass(frozen=True)
class Target:
    """What reads a kind of input, valid ones, and what spoils them."""

    read: Callable[[bytes, Path], object]
    seeds: Seeds
    mutators: tuple[Mutator, ...] = (spoilt_bytes, spoilt_early)


def _event(body: bytes, _: Path) -> None:
    sender(body)
    envelope = Envelope.parse(body)
    again = Envelope.parse(envelope.encode())
    assert type(again.data) is type(envelope.data)


def _hints(body: bytes, _: Path) -> None:
    event = Envelope.parse(body).data
    assert isinstance(event, DatasetUploaded)
    images = [
        {"source": f"images/{k}.jpg", "w": 64, "h": 64, "crop": [4, 0, 64, 64], "source_size": [72, 64]}
        for k in range(3)
    ]
    try:
        marked([h.model_dump() for h in event.options.hints], images, np.zeros((3, 64, 64, 3), np.uint8))
    except NumericError as error:
        raise InputError(error.code) from None


def _decisions(body: bytes, folder: Path) -> None:
    for choice in unpacked(DecisionsFile.parse(body), folder).values():
        if choice.mask is not None:
            read_mask(choice.mask, "it")


def _archive(body: bytes, folder: Path) -> None:
    (folder / "capture.zip").write_bytes(body)
    (folder / "unpacked").mkdir()
    extract_zip(folder / "capture.zip", folder / "unpacked", "capture.zip")
    assert {path.name for path in folder.iterdir()} == {"capture.zip", "unpacked"}


def _picture(body: bytes, folder: Path) -> None:
    path = folder / "photo"
    path.write_bytes(body)
    read_glance(path, "photo", 100)
    assert read_mask(path, "photo").size == read_image(path, "photo").size


def _video(body: bytes, folder: Path) -> None:
    (folder / "clip.mp4").write_bytes(body)
    video.read(Upload(folder), folder / "clip.mp4")


def _listing(body: bytes, folder: Path) -> None:
    """What the command line reads before it sends anything."""
    (folder / "transforms.json").write_bytes(body)
    try:
        files_of(folder / "transforms.json")
    except CaptureError:
        raise InputError("no capture") from None


def _beside(name: str, write: Callable[[Path], object]) -> Target:
    """The file of that name, of a capture that `write` writes; the others stay as they are."""

    @cache
    def whole() -> Path:
        folder = Path(tempfile.mkdtemp(prefix="phototwin-seed-"))
        atexit.register(shutil.rmtree, folder)
        write(folder / "capture")
        return folder / "capture"

    def read(body: bytes, folder: Path) -> None:
        root = folder / "upload"
        shutil.copytree(whole(), root, copy_function=_linked)
        (root / name).unlink()
        (root / name).write_bytes(body)
        checked_shots(read_capture(Upload(root)).shots)

    is_json = name.endswith(".json") or name == "metadata"
    spoilt = spoilt_json if is_json else spoilt_lines if name.endswith(".jsonl") else spoilt_early
    return Target(read, lambda: [(whole() / name).read_bytes()], (spoilt, spoilt, spoilt_bytes))


def _linked(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def _session(folder: Path) -> None:
    captures.write(folder, Rig())
    lines: list[dict[str, Any]] = [{"type": "session"}]
    lines += [session_frame(k, anchors=[anchor(0.01 * k)], timestamp_ns=k) for k in range(8)]
    (folder / "session.jsonl").write_text("\n".join(map(json.dumps, lines)))


def _binary_model(folder: Path) -> None:
    as_binary(capture_of(folder))


def _saved(kind: str, **how: object) -> bytes:
    body = io.BytesIO()
    Image.fromarray(Rig().photo(0)).save(body, kind, **how)
    return body.getvalue()


def _with_alpha() -> bytes:
    body = io.BytesIO()
    Image.fromarray(np.dstack([Rig().photo(0), Rig().mask(0)])).save(body, "PNG")
    return body.getvalue()


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0xA405] = 26
    return exif


def _zips() -> list[bytes]:
    bodies = []
    for packing in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w", packing) as archive:
            for k in range(3):
                archive.writestr(f"images/{k}.png", _saved("PNG"))
            archive.writestr("transforms.json", '{"frames": []}')
        bodies.append(body.getvalue())
    return bodies


def _events() -> list[bytes]:
    """One of each type and version."""
    return [path.read_bytes() for path in sorted(EXAMPLES.glob("*.json"))]


def _hinted() -> list[bytes]:
    document = json.loads((EXAMPLES / "dataset.uploaded.v1.json").read_bytes())
    taps = [{"x": 0.5, "y": 0.25, "object": True}, {"x": 0, "y": 1, "object": False}]
    boxed = {"image": "images/1.jpg", "box": [0.1, 0.2, 0.8, 0.9], "taps": taps}
    document["data"]["options"] = {"hints": [boxed, {"image": "2.jpg", "taps": taps}]}
    return [json.dumps(document).encode()]


def _decided() -> list[bytes]:
    mask = PREFIX + base64.b64encode(_with_alpha()).decode()
    images = {"a": {"keep": True, "mask": mask}, "b": {"keep": False}, "c": {"keep": True}}
    return [json.dumps({"images": images, "proposal": "0" * 64}).encode()]


def _listed() -> list[bytes]:
    frames = [{"file_path": f"images/{k}", "mask_path": f"masks/{k}.png"} for k in range(3)]
    return [json.dumps({"frames": frames}).encode()]


TARGETS: dict[str, Target] = {
    "events": Target(_event, _events, (spoilt_json, spoilt_json, spoilt_bytes)),
    "hints": Target(_hints, _hinted, (spoilt_json,)),
    "decisions.json": Target(_decisions, _decided, (spoilt_json, spoilt_bytes)),
    "zip": Target(_archive, _zips),
    "PNG": Target(_picture, lambda: [_saved("PNG", exif=_exif()), _with_alpha()]),
    "JPEG": Target(_picture, lambda: [_saved("JPEG", exif=_exif()), _saved("JPEG", progressive=True)]),
    "WebP": Target(_picture, lambda: [_saved("WEBP", exif=_exif()), _saved("WEBP", lossless=True)]),
    "HEIC": Target(_picture, lambda: [_saved("HEIF", exif=_exif())]),
    "poses_bounds.npy": _beside("poses_bounds.npy", lambda f: captures.write(f, Rig(), layout="llff")),
    "transforms.json": _beside("transforms.json", lambda f: captures.write(f, Rig())),
    "transforms.json to send": Target(_listing, _listed, (spoilt_json, spoilt_bytes)),
    "session.jsonl": _beside("session.jsonl", _session),
    "COLMAP cameras": _beside("sparse/0/cameras.bin", _binary_model),
    "COLMAP images": _beside("sparse/0/images.bin", _binary_model),
    "COLMAP points": _beside("sparse/0/points3D.bin", _binary_model),
    "COLMAP text": _beside("sparse/0/images.txt", capture_of),
    "Record3D": _beside("metadata", record3d),
    "3D Scanner App": _beside("frame_00003.json", scanner),
    "MP4": Target(_video, lambda: [sound(".mp4")]),
    "Matroska": Target(_video, lambda: [sound(".mkv")]),
}


class Untyped(AssertionError):
    """An input that ended as none may."""


def ends(target: Target, body: bytes) -> str:
    """The code of the error that it ends in, or "accepted". Raises Untyped."""
    with tempfile.TemporaryDirectory(prefix="phototwin-fuzz-") as folder:
        try:
            target.read(body, Path(folder))
        except (InputError, ContractError) as error:
            return getattr(error, "code", "rejected")
        except Exception as error:
            raise Untyped(f"{type(error).__name__}: {error!s:.300}") from error
    return "accepted"

"""Which layout a capture is in."""

from collections.abc import Callable
from pathlib import Path

from contracts.errors import FormatUnsupported
from workers.prepare.capture import LAYOUTS as OF_CAPTURES
from workers.prepare.capture import Capture, Upload
from workers.prepare.readers import colmap, llff, photos, transforms, video
from workers.prepare.readers.arcore import exports, session

Find = Callable[[Upload], Path | None]
Read = Callable[[Upload, Path], Capture]

LAYOUTS: list[tuple[str, Find, Read]] = [
    ("session", lambda upload: upload.find("session.jsonl"), session.read),
    ("transforms", Upload.transforms, transforms.read),
    ("llff", lambda upload: upload.find("poses_bounds.npy"), llff.read),
    ("record3d", exports.find_record3d, exports.read_record3d),
    ("scanner", exports.find_scanner, exports.read_scanner),
    ("colmap", colmap.find, colmap.read),
    ("photos", photos.find, photos.read),
    ("video", Upload.video, video.read),
]
"""By the name that an event's `kind` gives it; looked for in this order."""


def read_capture(upload: Upload, kind: str = "auto") -> Capture:
    """The capture, in whichever layout it is (`kind` auto) or is said to be.

    Raises the InputErrors that say what is wrong with it.
    """
    for name, find, read in LAYOUTS:
        if kind in ("auto", name) and (found := find(upload)) is not None:
            return read(upload, found)
    if kind != "auto":
        raise FormatUnsupported(
            f"the capture is announced as {kind}, but nothing in it is of that kind",
            file="The capture",
            advice=f"Announce it as what it is, or leave `kind` to be found. {OF_CAPTURES}",
        )
    upload.reject()

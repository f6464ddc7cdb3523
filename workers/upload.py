"""What a mobile backend does: put a capture's files into the store, announce them."""

import hashlib
import json
import mimetypes
import os
from collections.abc import Iterator
from pathlib import Path

from contracts.events import DatasetUploaded, Options, UploadedFile
from workers.runtime.safe_input import IMAGE_SUFFIXES
from workers.runtime.storage import ObjectStore


class CaptureError(ValueError):
    """The path given is no capture; the message says why."""


def files_of(capture: Path) -> list[tuple[str, Path]]:
    """(name within the upload, path) of each file to send. Raises CaptureError.

    A folder is sent whole, hidden files aside; of a transforms*.json named itself, the file with
    the pictures and masks that it lists; anything else as the one file it is.
    """
    if not capture.exists():
        raise CaptureError(f"{capture} does not exist")
    if capture.is_dir():
        found = sorted(_walk(capture))
    elif capture.suffix == ".json":
        found = [(capture.name, capture), *_listed(capture)]
    else:
        found = [(capture.name, capture)]
    if not found:
        raise CaptureError(f"{capture} is an empty folder")
    return found


async def upload(
    store: ObjectStore, capture: Path, *, tenant: str, capture_id: str, options: Options
) -> DatasetUploaded:
    """The event that announces the capture, once all of its files are in the store.

    Raises CaptureError, StorageUnavailable.
    """
    prefix = f"captures/{tenant}/{capture_id}/upload/"
    uploaded = []
    for name, path in files_of(capture):
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        await store.put(prefix + name, path, media_type)
        uploaded.append(UploadedFile(key=prefix + name, bytes=path.stat().st_size, sha256=sha256))
    return DatasetUploaded(tenant=tenant, capture_id=capture_id, files=tuple(uploaded), options=options)


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if not name.startswith(".") and path.is_file():
                yield path.relative_to(folder).as_posix(), path


def _listed(transforms: Path) -> list[tuple[str, Path]]:
    try:
        frames = json.loads(transforms.read_bytes())["frames"]
        names = [str(f[key]) for f in frames for key in ("file_path", "mask_path") if f.get(key)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CaptureError(f"{transforms} is no transforms.json: {error!r}") from None
    base = transforms.parent.resolve()
    found: dict[str, Path] = {}
    for name in names:
        for suffix in ("", *IMAGE_SUFFIXES):
            path = (base / f"{name}{suffix}").resolve()
            if path.is_file() and path.is_relative_to(base):
                found[path.relative_to(base).as_posix()] = path
                break
    return sorted(found.items())

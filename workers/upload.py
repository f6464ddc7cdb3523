"""What a mobile backend does: put a capture's files into the store, announce them."""

import hashlib
import json
import mimetypes
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from contracts.dataset import outcome_key
from contracts.envelope import Envelope
from contracts.events import DatasetUploaded, Event, Options, UploadedFile
from contracts.fields import Contract
from workers.runtime.safe_input import IMAGE_SUFFIXES
from workers.runtime.storage import NotFound, ObjectStore

C = TypeVar("C", bound=Contract)


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
    elif capture.suffix == ".jsonl":
        raise CaptureError(f"{capture} has no photos in it; name the folder that it is in")
    elif capture.suffix == ".json":
        found = [(capture.name, capture), *_listed(capture)]
    else:
        found = [(capture.name, capture)]
    if not found:
        raise CaptureError(f"{capture} is an empty folder")
    return found


async def upload(
    store: ObjectStore,
    capture: Path,
    *,
    tenant: str,
    capture_id: str,
    options: Options,
    generation: int = 0,
) -> DatasetUploaded:
    """The event that announces the capture, once all of its files are in the store.

    Raises CaptureError, also where this generation has ended already; StorageUnavailable.
    """
    found = files_of(capture)
    whose = _checked(Event, tenant=tenant, capture_id=capture_id, generation=generation)
    if (outcome := await _outcome(store, whose)) is not None:
        raise CaptureError(
            f"generation {generation} of {capture_id} has ended with {outcome.routing_key}; to have it done "
            f"again publish it as generation {generation + 1}"
        )
    uploaded = []
    for name, path in found:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        key = f"{whose.folder}upload/{name}"
        uploaded.append(_checked(UploadedFile, key=key, bytes=path.stat().st_size, sha256=sha256))
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        await store.put(key, path, media_type)
    return _checked(
        DatasetUploaded, **whose.model_dump(), files=tuple(uploaded), options=options.model_dump()
    )


async def _outcome(store: ObjectStore, event: Event) -> Event | None:
    try:
        return Envelope.parse(await store.get(outcome_key(event))).data
    except NotFound:
        return None


def _checked(kind: type[C], **fields: Any) -> C:
    """Raises CaptureError, which names the field that breaks the contract."""
    try:
        return kind(**fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise CaptureError(f"{field}: {first['msg']} (it is {first['input']!r:.200})") from None


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if Path(parent, name).is_symlink():
                raise CaptureError(f"{Path(parent, name)} is a link to a folder; put the folder itself there")
        for name in names:
            path = Path(parent, name)
            if not name.startswith(".") and path.is_file():
                yield path.relative_to(folder).as_posix(), path


def _listed(transforms: Path) -> list[tuple[str, Path]]:
    """What a transforms*.json names, and masks where they are looked for by convention."""
    base = transforms.parent.resolve()
    found: dict[str, Path] = {}
    try:
        for frame in json.loads(transforms.read_bytes())["frames"]:
            image = _existing(base, frame.get("file_path"))
            mask = _existing(base, frame.get("mask_path"))
            if image is not None and mask is None:
                mask = _existing(base, f"masks/{image.stem}.png")
            found |= {path.relative_to(base).as_posix(): path for path in (image, mask) if path}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CaptureError(f"{transforms} is no transforms.json: {error!r:.300}") from None
    return sorted(found.items())


def _existing(base: Path, name: str | None) -> Path | None:
    """The file below `base` that a path means, its suffix given or not."""
    if not name:
        return None
    for suffix in ("", *IMAGE_SUFFIXES):
        with suppress(OSError):  # a name that no file can have
            path = (base / f"{name}{suffix}").resolve()
            if path.is_file() and path.is_relative_to(base):
                return path
    return None

"""One job's dealings with the object store: its key, its inputs, its result."""

import asyncio
import hashlib
import mimetypes
import platform
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from contracts.dataset import (
    Artefact,
    Manifest,
    Producer,
    artefact_key,
    job_key,
    manifest_key,
    manifest_ref,
    running_key,
)
from contracts.errors import (
    ObjectDamaged,
    StorageUnavailable,
    UploadChanged,
    UploadMissing,
    UploadTooLarge,
)
from contracts.events import Event, UploadedFile
from contracts.fields import ManifestRef
from workers.runtime.compute import Computed
from workers.runtime.storage import NotFound, ObjectStore
from workers.runtime.worker import Inputs, Worker

TRANSFERS = 8
LIBRARIES = ("numpy", "numba", "scipy", "opencv-python-headless", "pillow", "xatlas", "fast-simplification")
MEDIA_TYPES = {
    ".glb": "model/gltf-binary",
    ".png": "image/png",
    ".hdr": "image/vnd.radiance",
    ".obj": "model/obj",
    ".mtl": "model/mtl",
    ".npy": "application/octet-stream",
    ".usdz": "model/vnd.usdz+zip",
    ".webp": "image/webp",
}

OnBytes = Callable[[int], None]
A = TypeVar("A")
R = TypeVar("R")


class Job:
    """A job of `worker` for `event`: the same key, and so the same place, whoever runs it."""

    def __init__(self, worker: Worker[Any], event: Event, store: ObjectStore, inputs: Inputs, key: str):
        self.worker = worker
        self.event = event
        self.inputs = inputs
        self.key = key
        self._store = store

    @classmethod
    async def of(cls, worker: Worker[Any], event: Event, store: ObjectStore) -> "Job":
        """Raises UploadMissing and StorageUnavailable: where an upload came without a digest, the
        store's etag takes its place."""
        inputs = worker.inputs(event)
        uploads = await _gather(lambda upload: _with_digest(store, upload), inputs.uploads)
        inputs = replace(inputs, uploads=tuple(uploads))
        digests = {upload.key: upload.sha256 or f"{upload.etag}" for upload in uploads}
        digests |= {name: ref.content for name, ref in inputs.manifests.items()}
        asked, parameters = worker.question(event, digests)
        key = job_key(event, worker.stage, asked, worker.algorithm, parameters)
        return cls(worker, event, store, inputs, key)

    async def mark(self) -> None:
        """Have the store say that the job is worked on: for whoever tidies up. Raises StorageUnavailable."""
        key = running_key(self.event, self.key)
        await self._store.put_if_absent(key, b"", "application/octet-stream")

    async def unmark(self) -> None:
        with suppress(StorageUnavailable):  # a mark that stays ages, and is then no longer heeded
            await self._store.delete(running_key(self.event, self.key))

    async def existing(self) -> tuple[Manifest, ManifestRef] | None:
        """The result, where this job was done before, by whomever."""
        key = manifest_key(self.event, self.worker.stage, self.key)
        try:
            body = await self._store.get(key)
        except NotFound:
            return None
        return _read_manifest(key, body)

    async def fetch(self, folder: Path, limit: int, on_bytes: OnBytes) -> None:
        """All inputs into the folder, each checked against its digest.

        Raises UploadMissing, UploadChanged, UploadTooLarge, ObjectDamaged, StorageUnavailable.
        """
        if sum(upload.bytes for upload in self.inputs.uploads) > limit:
            raise UploadTooLarge(f"the upload has more than {limit} bytes", limit=f"{limit / 1e9:.1f} GB")
        prefix = self.event.folder + "upload/"

        async def fetch_upload(upload: UploadedFile) -> None:
            path = folder / "upload" / upload.key.removeprefix(prefix)
            await _fetch_upload(self._store, upload, path, on_bytes)

        await _gather(fetch_upload, self.inputs.uploads)
        for name, ref in self.inputs.manifests.items():
            manifest = await self.manifest(ref)
            wanted = self.inputs.only.get(name)
            artefacts = [a for a in manifest.artefacts if wanted is None or a.name in wanted]
            if self.inputs.with_manifests:
                (folder / name).mkdir(parents=True, exist_ok=True)
                (folder / name / "manifest.json").write_bytes(manifest.encode())

            async def fetch_artefact(artefact: Artefact, below: Path = folder / name) -> None:
                await _fetch_artefact(self._store, artefact, below / artefact.name, on_bytes)

            await _gather(fetch_artefact, artefacts)

    async def manifest(self, ref: ManifestRef) -> Manifest:
        """Another stage's manifest. Raises ObjectDamaged, StorageUnavailable."""
        try:
            body = await self._store.get(ref.key)
        except NotFound:
            raise ObjectDamaged(f"{ref.key} is missing", key=ref.key) from None
        if hashlib.sha256(body).hexdigest() != ref.sha256:
            raise ObjectDamaged(f"{ref.key} is not what the event announced", key=ref.key)
        return _read_manifest(ref.key, body)[0]

    async def put(self, folder: Path, computed: Computed, on_bytes: OnBytes) -> tuple[Manifest, ManifestRef]:
        """The result: artefacts first, the manifest last. Where another worker's manifest is there
        by then, that one counts and is returned."""
        artefacts = await _gather(
            lambda path: self._put_artefact(path, path.relative_to(folder).as_posix(), on_bytes),
            sorted(path for path in folder.rglob("*") if path.is_file()),
        )
        parameters = self.worker.parameters(self.event)
        manifest = Manifest(
            stage=self.worker.stage,
            job_key=self.key,
            tenant=self.event.tenant,
            capture_id=self.event.capture_id,
            generation=self.event.generation,
            inputs={name: ref.key for name, ref in self.inputs.manifests.items()},
            parameters=parameters,
            producer=producer(self.worker, parameters.get("seed", 0)),
            artefacts=tuple(artefacts),
            usage=computed.usage,
            metrics=computed.metrics,
            warnings=computed.warnings,
            created=datetime.now(UTC),
        )
        key = manifest_key(self.event, self.worker.stage, self.key)
        body = manifest.encode()
        if await self._store.put_if_absent(key, body, "application/json"):
            return manifest, manifest_ref(key, body, manifest)
        return _read_manifest(key, await self._store.get(key))

    async def _put_artefact(self, path: Path, name: str, on_bytes: OnBytes) -> Artefact:
        sha256, size = await asyncio.to_thread(_digest, path), path.stat().st_size
        media_type = MEDIA_TYPES.get(path.suffix) or mimetypes.guess_type(name)[0]
        key = artefact_key(self.event, self.worker.stage, self.key, sha256, name)
        artefact = Artefact(
            name=name,
            key=key,
            sha256=sha256,
            bytes=size,
            media_type=media_type or "application/octet-stream",
        )
        await self._store.put(key, path, artefact.media_type)
        on_bytes(size)
        return artefact


def producer(worker: Worker[Any], seed: int) -> Producer:
    """All that would be needed to make the result again."""
    return Producer(
        name=f"phototwin-{worker.stage}",
        version=_installed("phototwin") or "unknown",
        algorithm=worker.algorithm,
        device=f"cpu {platform.machine()}",
        seed=seed,
        libraries={name: installed for name in LIBRARIES if (installed := _installed(name))},
    )


@cache
def _installed(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _read_manifest(key: str, body: bytes) -> tuple[Manifest, ManifestRef]:
    try:
        manifest = Manifest.model_validate_json(body)
    except ValidationError as error:
        raise ObjectDamaged(f"{key} is not a manifest: {error}", key=key) from None
    return manifest, manifest_ref(key, body, manifest)


async def _with_digest(store: ObjectStore, upload: UploadedFile) -> UploadedFile:
    if upload.sha256 or upload.etag:
        return upload
    try:
        stat = await store.stat(upload.key)
    except NotFound:
        raise _upload_missing(upload) from None
    return upload.model_copy(update={"etag": stat.etag})


async def _fetch_upload(store: ObjectStore, upload: UploadedFile, path: Path, on_bytes: OnBytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if upload.etag and not upload.sha256 and (await store.stat(upload.key)).etag != upload.etag:
            raise _upload_changed(upload, "its etag differs")
        fetched = await store.download(upload.key, path, upload.bytes)
    except NotFound:
        raise _upload_missing(upload) from None
    if fetched.bytes != upload.bytes:
        raise _upload_changed(upload, f"it does not have the announced {upload.bytes} bytes")
    if upload.sha256 and fetched.sha256 != upload.sha256:
        raise _upload_changed(upload, "its SHA-256 differs")
    on_bytes(fetched.bytes)


async def _fetch_artefact(store: ObjectStore, artefact: Artefact, path: Path, on_bytes: OnBytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        fetched = await store.download(artefact.key, path, artefact.bytes)
    except NotFound:
        raise ObjectDamaged(f"{artefact.key} is missing", key=artefact.key) from None
    if fetched.sha256 != artefact.sha256:
        raise ObjectDamaged(f"{artefact.key} is not what its manifest says", key=artefact.key)
    on_bytes(fetched.bytes)


def _upload_missing(upload: UploadedFile) -> UploadMissing:
    return UploadMissing(f"{upload.key} is not in the store", file=Path(upload.key).name)


def _upload_changed(upload: UploadedFile, how: str) -> UploadChanged:
    return UploadChanged(f"{upload.key} is not what was announced: {how}", file=Path(upload.key).name)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _gather(action: Callable[[A], Awaitable[R]], items: Iterable[A]) -> list[R]:
    """The action on all items at once, a few at a time; the first error cancels the rest."""
    slots = asyncio.Semaphore(TRANSFERS)

    async def in_turn(item: A) -> R:
        async with slots:
            return await action(item)

    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(in_turn(item)) for item in items]
    except* Exception as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in running]

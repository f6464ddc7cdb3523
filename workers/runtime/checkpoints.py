"""States that a computation saves on its way, so that whoever does the same job anew goes on from there.

They are files in a folder the computation sees. Their keys hold their digests: what cannot be read back as it
was written is passed over, and workers on the same job at once cannot spoil each other's.
"""

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from contracts.dataset import checkpoint_folder
from contracts.errors import PhototwinError
from workers.runtime.job import Job, OnBytes
from workers.runtime.logs import get_logger
from workers.runtime.storage import Listed, NotFound, ObjectStore

INTERVAL = 0.5
PAUSE = 10.0  # where the store would not take one
FAREWELL_SECONDS = 5.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
"""Of the files that are kept; others, hidden ones say, are the computation's own affair."""


class Checkpoints:
    """The checkpoints of one job. Whatever goes wrong with them is logged and is no fault of the job's."""

    def __init__(self, store: ObjectStore, job: Job, *, begun: bool) -> None:
        """begun: whether somebody may have worked on it before; else there are none to be looked for."""
        self._store = store
        self._some = begun
        self._prefix = checkpoint_folder(job.event, job.key)
        # By name: the key of what the store has of ours, and which version of the file that is.
        self._keys: dict[str, str] = {}
        self._seen: dict[str, tuple[int, int]] = {}
        self._turn = asyncio.Lock()
        self._log = get_logger()

    async def fetch(self, folder: Path, on_bytes: OnBytes) -> None:
        """What earlier runs of this job left, into the folder: of each name the newest that is whole."""
        if not self._some:
            return
        try:
            found = await self._store.below(self._prefix)
        except PhototwinError as error:
            self._log.warning("checkpoints out of reach, starting anew", error=error.message)
            return
        for listed in sorted(found, key=lambda listed: listed.modified, reverse=True):
            sha256, _, name = listed.key.removeprefix(self._prefix).partition("/")
            if NAME.fullmatch(name) and name not in self._keys:
                await self._fetch(listed, sha256, folder / name, on_bytes)
        if self._keys:
            self._log.info("job resumed", checkpoints=sorted(self._keys))

    async def _fetch(self, listed: Listed, sha256: str, path: Path, on_bytes: OnBytes) -> None:
        part = path.with_name(f".{path.name}")
        try:
            fetched = await self._store.download(listed.key, part, listed.bytes)
            if fetched.sha256 == sha256:
                part.rename(path)
                self._keys[path.name], self._seen[path.name] = listed.key, _version(path)
                on_bytes(fetched.bytes)
            else:
                self._log.warning("checkpoint ignored", key=listed.key, error="its SHA-256 differs")
        except (PhototwinError, NotFound, OSError) as error:
            self._log.warning("checkpoint ignored", key=listed.key, error=str(error))
        part.unlink(missing_ok=True)

    @asynccontextmanager
    async def kept(self, folder: Path, on_bytes: OnBytes) -> AsyncIterator[None]:
        """While inside, what appears in the folder is put into the store, one file at a time. A computation
        that is stopped leaves its last state there too."""
        keeping = asyncio.create_task(self._keep(folder, on_bytes))
        try:
            yield
        except asyncio.CancelledError:
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await self._keep_once(folder, on_bytes)
            raise
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})

    async def _keep(self, folder: Path, on_bytes: OnBytes) -> None:
        while True:
            if not await self._keep_once(folder, on_bytes):
                await asyncio.sleep(PAUSE)
            await asyncio.sleep(INTERVAL)

    async def _keep_once(self, folder: Path, on_bytes: OnBytes) -> bool:
        """Whether all that is there is in the store now."""
        async with self._turn:
            for path in _newest_first(folder):
                try:
                    await self._put(path, on_bytes)
                except (PhototwinError, NotFound, OSError) as error:
                    self._log.warning("checkpoint not stored", name=path.name, error=str(error))
                    return False
        return True

    async def _put(self, path: Path, on_bytes: OnBytes) -> None:
        """The file's present version, unless the store has it; the one before goes once this one is there."""
        version = _version(path)
        if version == self._seen.get(path.name):
            return
        # The computation replaces its files as it likes: a second name holds on to this one's bytes.
        held = path.with_name(f".{path.name}.held")
        held.unlink(missing_ok=True)
        os.link(path, held)
        size = held.stat().st_size
        key = f"{self._prefix}{await asyncio.to_thread(_digest, held)}/{path.name}"
        self._some = True
        await self._store.put(key, held, "application/octet-stream")
        held.unlink()
        on_bytes(size)
        before = self._keys.get(path.name, key)
        self._keys[path.name], self._seen[path.name] = key, version
        self._log.info("checkpoint stored", name=path.name, bytes=size)
        if before != key:
            with suppress(PhototwinError):  # `drop` will
                await self._store.delete(before)

    async def drop(self) -> None:
        """All of them, whoever put them: the job is done."""
        if not self._some:
            return
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                for listed in await self._store.below(self._prefix):
                    await self._store.delete(listed.key)
        except (PhototwinError, TimeoutError) as error:
            self._log.warning("checkpoints left behind", folder=self._prefix, error=str(error))


def _newest_first(folder: Path) -> list[Path]:
    found = []
    with suppress(FileNotFoundError):  # removed by the computation, which it may
        for path in folder.iterdir():
            if NAME.fullmatch(path.name) and path.is_file():
                found.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(found, reverse=True)]


def _version(path: Path) -> tuple[int, int]:
    """Another one for each file that is put in this one's place."""
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

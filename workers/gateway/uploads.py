"""Files on their way into the store."""

import asyncio
import mimetypes
from collections.abc import Coroutine, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from contracts.events import UploadedFile
from workers.gateway import api
from workers.gateway.links.interface import Links, Missing, Target, UploadLost
from workers.gateway.problems import UploadIncomplete

AT_A_TIME = 16
T = TypeVar("T")


class Announced(BaseModel):
    """A file that a client has said it will send; `upload`: the id of its upload in parts."""

    model_config = ConfigDict(frozen=True)

    name: str
    bytes: int
    sha256: str | None = None
    upload: str | None = None
    etag: str | None = None
    """Once it is known to be there."""

    @property
    def media_type(self) -> str:
        return mimetypes.guess_type(f"a{PurePosixPath(self.name).suffix}")[0] or "application/octet-stream"


class Uploads:
    """folder: the capture's, in the store; base: the address by which the client reached us."""

    def __init__(self, links: Links, folder: str, seconds: int) -> None:
        self._links, self._folder, self._seconds = links, folder, seconds

    async def begin(self, files: Iterable[api.NewFile]) -> list[Announced]:
        """Raises StorageUnavailable."""
        return await _few_at_a_time(
            self._begun(Announced(name=file.name, bytes=file.bytes, sha256=file.sha256)) for file in files
        )

    async def targets(
        self, files: list[Announced], arrived: dict[str, int], base: str
    ) -> tuple[api.Uploads, list[Announced]]:
        """Where what is missing goes, and the files, of which some are begun anew where the store has given
        up what was sent of them. arrived: sizes by key, of what is there. Raises StorageUnavailable."""
        expires = datetime.now(UTC) + timedelta(seconds=self._seconds)

        async def one(file: Announced) -> tuple[Target, Announced]:
            if file.etag is not None:
                return Target(received=True), file
            try:
                return await self._target(file, arrived, base), file
            except UploadLost:
                file = await self._begun(file)
                return await self._target(file, arrived, base), file

        found = await _few_at_a_time(map(one, files))
        told = tuple(_told(target, file) for target, file in found)
        return api.Uploads(expires=expires, files=told), [file for _, file in found]

    async def finish(self, files: list[Announced]) -> list[Announced]:
        """All of them, as they are in the store. Raises UploadIncomplete, StorageUnavailable."""
        missing: list[str] = []

        async def one(file: Announced) -> Announced:
            if file.etag is not None:
                return file
            try:
                found = await self._links.finish(self._key(file), file.bytes, file.upload)
            except Missing:
                missing.append(file.name)
                return file
            return file.model_copy(update={"etag": found.etag})

        done = await _few_at_a_time(map(one, files))
        if missing:
            some = ", ".join(sorted(missing)[:5]) + (", ..." if len(missing) > 5 else "")
            raise UploadIncomplete(
                f"{len(missing)} of {len(files)} files are not there: {some}", missing=sorted(missing)
            )
        return done

    async def abort(self, files: Iterable[Announced]) -> None:
        """What was sent in parts and not finished takes room until it is given up."""

        async def one(file: Announced) -> None:
            if file.upload is not None and file.etag is None:
                await self._links.abort(self._key(file), file.upload)

        await _few_at_a_time(map(one, files))

    def event_files(self, files: Iterable[Announced]) -> tuple[UploadedFile, ...]:
        return tuple(
            UploadedFile(key=self._key(file), bytes=file.bytes, etag=file.etag, sha256=file.sha256)
            for file in files
        )

    async def _begun(self, file: Announced) -> Announced:
        upload = await self._links.begin(self._key(file), file.bytes, file.media_type)
        return file.model_copy(update={"upload": upload})

    async def _target(self, file: Announced, arrived: dict[str, int], base: str) -> Target:
        return await self._links.target(
            self._key(file), file.bytes, file.media_type, file.upload, base, arrived=arrived
        )

    def _key(self, file: Announced) -> str:
        return f"{self._folder}upload/{file.name}"


def _told(target: Target, file: Announced) -> api.UploadTarget:
    return api.UploadTarget(
        name=file.name,
        bytes=file.bytes,
        received=target.received,
        url=target.url,
        headers=dict(target.headers),
        parts=tuple(api.PartTarget.model_validate(part, from_attributes=True) for part in target.parts),
    )


async def _few_at_a_time(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    free = asyncio.Semaphore(AT_A_TIME)

    async def one(each: Coroutine[Any, Any, T]) -> T:
        async with free:
            return await each

    return list(await asyncio.gather(*map(one, work)))

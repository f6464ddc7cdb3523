"""What arrives for a folder store: written aside as it comes, and then moved to its place, whole.

{folder}/{name}                     the object
{folder}/.aside-{upload id}-0       there while an upload in parts is open; 32 hexadecimal digits
{folder}/.aside-{upload id}-{n}     its part n, whole
"""

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from contracts.errors import StorageUnavailable
from workers.gateway.links.interface import Missing, Slice, UploadLost, missing
from workers.gateway.problems import LinkRefused
from workers.runtime.folder import ASIDE, CHUNK
from workers.runtime.storage import NotFound

T = TypeVar("T")


class Arrivals:
    """Below `root`. All raise StorageUnavailable."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def do(self, key: str, action: Callable[[Path], T]) -> T:
        """With the path of a key, off the loop. Raises NotFound."""
        with _errors(key):
            return await asyncio.to_thread(action, self._path(key))

    async def begin(self, key: str) -> str:
        upload_id = secrets.token_hex(16)

        def open_(path: Path) -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            _part(path, upload_id, 0).touch()

        await self.do(key, open_)
        return upload_id

    async def sizes(self, key: str, upload_id: str, wanted: list[Slice]) -> dict[int, int]:
        """Number -> size of each part that is there. Raises UploadLost."""
        return await self.do(key, lambda path: _sizes(path, upload_id, wanted))

    async def assemble(self, key: str, upload_id: str, wanted: list[Slice]) -> None:
        """The object of its parts, which are then gone. Raises Missing, UploadLost."""

        def place(path: Path) -> None:
            if lacking := missing(wanted, _sizes(path, upload_id, wanted)):
                raise Missing(f"{key}: {len(lacking)} of its {len(wanted)} parts are not there")
            with _aside(path) as aside:
                try:
                    with aside.open("wb") as whole:
                        for part in wanted:
                            with _part(path, upload_id, part.number).open("rb") as piece:
                                shutil.copyfileobj(piece, whole, CHUNK)
                except FileNotFoundError:  # another has finished it meanwhile, or removed it
                    raise _lost(key) from None
                aside.replace(path)
            _close(path, upload_id)

        await self.do(key, place)

    async def abort(self, key: str, upload_id: str) -> None:
        await self.do(key, lambda path: _close(path, upload_id))

    async def receive(self, key: str, size: int, chunks: AsyncIterator[bytes]) -> None:
        """An object of just that size. Raises LinkRefused where it is not."""
        with _errors(key):
            await _receive(self._path(key), size, chunks)

    async def receive_part(
        self, key: str, upload_id: str, number: int, size: int, chunks: AsyncIterator[bytes]
    ) -> None:
        """Raises LinkRefused, also where the upload is over, be it meanwhile."""
        path = self._path(key)
        opened, part = _part(path, upload_id, 0), _part(path, upload_id, number)
        with _errors(key):
            if opened.exists():  # else it is not even read
                await _receive(part, size, chunks)
            if not opened.exists():
                part.unlink(missing_ok=True)
                raise LinkRefused("its upload is over")

    def _path(self, key: str) -> Path:
        path = self._root / key
        if not path.resolve().is_relative_to(self._root.resolve()):
            raise StorageUnavailable(f"key {key!r} leaves the store's folder")
        return path


async def _receive(path: Path, size: int, chunks: AsyncIterator[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _aside(path) as aside:
        arrived = 0
        with aside.open("wb") as file:
            async for chunk in chunks:
                arrived += len(chunk)
                if arrived > size:
                    break
                await asyncio.to_thread(file.write, chunk)
        if arrived != size:
            raise LinkRefused(f"it is for {size} bytes, and {'more' if arrived > size else arrived} came")
        aside.replace(path)


def _sizes(path: Path, upload_id: str, wanted: list[Slice]) -> dict[int, int]:
    found = {}
    for part in wanted:
        with suppress(FileNotFoundError):
            found[part.number] = _part(path, upload_id, part.number).stat().st_size
    if not _part(path, upload_id, 0).exists():  # not before: it may be closed while we look
        raise _lost(path.name)
    return found


def _close(path: Path, upload_id: str) -> None:
    _part(path, upload_id, 0).unlink(missing_ok=True)  # first: without it, what is left of the others is void
    for part in path.parent.glob(f"{ASIDE}{upload_id}-*"):
        part.unlink(missing_ok=True)


def _part(path: Path, upload_id: str, number: int) -> Path:
    return path.with_name(f"{ASIDE}{upload_id}-{number}")


def _lost(name: str) -> UploadLost:
    return UploadLost(f"{name}: there is no such upload in parts")


@contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """A temporary file in the target's folder, gone afterwards."""
    handle, name = tempfile.mkstemp(prefix=ASIDE, dir=target.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def _errors(key: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise NotFound(key) from None
    except OSError as error:
        raise StorageUnavailable(f"{key}: {error}") from error

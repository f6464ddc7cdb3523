"""A folder as object store: keys are paths below it."""

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import BinaryIO, TypeVar

from contracts.errors import StorageUnavailable
from workers.runtime.storage import Fetched, Listed, NotFound, Stat, local_disk

CHUNK = 1 << 20
ASIDE = ".aside-"
T = TypeVar("T")


class FolderStore:
    """`storage.ObjectStore` below `root`. Objects appear whole: written aside, then linked in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    async def stat(self, key: str) -> Stat:
        def look(path: Path) -> Stat:
            with path.open("rb") as file:
                return Stat(path.stat().st_size, hashlib.file_digest(file, "md5").hexdigest())

        return await self._do(key, look)

    async def get(self, key: str) -> bytes:
        return await self._do(key, Path.read_bytes)

    async def download(self, key: str, path: Path, limit: int) -> Fetched:
        def copy(source: Path) -> Fetched:
            with source.open("rb") as reader, local_disk(path), path.open("wb") as writer:
                return _copy(reader, writer, limit)

        return await self._do(key, copy)

    async def put(self, key: str, path: Path, media_type: str) -> None:
        def place(target: Path) -> None:
            with self._aside(target) as aside:
                shutil.copyfile(path, aside)
                aside.replace(target)

        await self._do(key, place)

    async def put_if_absent(self, key: str, body: bytes, media_type: str) -> bool:
        def place(target: Path) -> bool:
            with self._aside(target) as aside:
                aside.write_bytes(body)
                try:
                    os.link(aside, target)
                except FileExistsError:
                    return False
                return True

        return await self._do(key, place)

    async def below(self, folder: str) -> list[Listed]:
        return [each async for each in self.listing(folder)]

    async def listing(self, folder: str) -> AsyncIterator[Listed]:
        """A page is what lies in one folder."""

        def look(path: Path) -> tuple[list[Listed], list[str]]:
            files, folders = [], []
            for name in sorted(os.listdir(path)):
                with suppress(FileNotFoundError):  # deleted since
                    stat, key = (path / name).stat(), f"{within}{name}"
                    if S_ISDIR(stat.st_mode) and not (path / name).is_symlink():
                        folders.append(f"{key}/")
                    elif S_ISREG(stat.st_mode) and not name.startswith(ASIDE):
                        files.append(Listed(key, stat.st_size, stat.st_mtime))
            return files, folders

        ahead = [folder]
        while ahead:
            within = ahead.pop()
            with suppress(NotFound):
                files, folders = await self._do(within, look)
                for each in files:
                    yield each
                ahead += reversed(folders)

    async def delete(self, key: str) -> None:
        with suppress(NotFound):
            await self._do(key, Path.unlink)

    async def _do(self, key: str, action: Callable[[Path], T]) -> T:
        path = self.root / key
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise StorageUnavailable(f"key {key!r} leaves the store's folder")
        try:
            return await asyncio.to_thread(action, path)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFound(key) from None
        except OSError as error:
            raise StorageUnavailable(f"{key}: {error}") from error

    @contextmanager
    def _aside(self, target: Path) -> Iterator[Path]:
        """A temporary file in the target's folder, gone afterwards."""
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=ASIDE, dir=target.parent)
        os.close(handle)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)


def _copy(reader: BinaryIO, writer: BinaryIO, limit: int) -> Fetched:
    digest, size = hashlib.sha256(), 0
    while size <= limit and (chunk := reader.read(min(CHUNK, limit + 1 - size))):
        digest.update(chunk)
        writer.write(chunk)
        size += len(chunk)
    return Fetched(size, digest.hexdigest())

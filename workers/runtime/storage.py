"""Object storage: one interface, S3 (`s3.S3Store`) and a folder (`folder.FolderStore`)."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from contracts.errors import DiskFull, StorageUnavailable


class NotFound(LookupError):
    """There is no object of that key."""


class StorageDenied(StorageUnavailable):
    """Our key to the store does not open this."""


@dataclass(frozen=True)
class Stat:
    bytes: int
    etag: str


@dataclass(frozen=True)
class Fetched:
    """What was downloaded: its size and the SHA-256 (hex) of its bytes."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Listed:
    """An object as a listing shows it; `modified` in Unix seconds, by the store's clock."""

    key: str
    bytes: int
    modified: float


@contextmanager
def local_disk(path: Path) -> Iterator[None]:
    """What goes wrong with our own file is no fault of the store's. Raises DiskFull."""
    try:
        yield
    except OSError as error:
        raise DiskFull(f"cannot write {path}: {error}") from error


class ObjectStore(Protocol):
    """All methods raise StorageUnavailable where the store cannot be reached or refuses (StorageDenied), and
    those that read raise NotFound. A reader sees an object whole or not at all."""

    async def stat(self, key: str) -> Stat: ...

    async def get(self, key: str) -> bytes:
        """For small objects."""

    async def download(self, key: str, path: Path, limit: int) -> Fetched:
        """To a file, reading at most `limit` bytes and one more."""

    async def put(self, key: str, path: Path, media_type: str) -> None:
        """From a file, replacing what is there."""

    async def put_if_absent(self, key: str, body: bytes, media_type: str) -> bool:
        """False where an object of that key exists already; of two at once just one gets true."""

    async def below(self, folder: str) -> list[Listed]:
        """All objects whose keys begin with `folder`, which ends in a slash; in no order."""

    def listing(self, folder: str) -> AsyncIterator[Listed]:
        """The same a page at a time, however many there are. What lies in one folder comes one after
        another."""

    async def delete(self, key: str) -> None:
        """Also where there is no such object."""


async def captures(store: ObjectStore, below: str = "captures/") -> AsyncIterator[tuple[str, list[Listed]]]:
    """Each capture's folder with all of its objects, one capture at a time: a store holds more than memory
    does. Raises StorageUnavailable."""
    capture, objects = "", list[Listed]()
    async for each in store.listing(below):
        parts = each.key.split("/", 3)
        if len(parts) < 4:  # no object of ours
            continue
        if (folder := "/".join(parts[:3]) + "/") != capture:
            if objects:
                yield capture, objects
            capture, objects = folder, []
        objects.append(each)
    if objects:
        yield capture, objects

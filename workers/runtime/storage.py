"""Object storage: one interface, S3 (`s3.S3Store`) and a folder (`folder.FolderStore`)."""

from collections.abc import Iterator
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

    async def delete(self, key: str) -> None:
        """Also where there is no such object."""

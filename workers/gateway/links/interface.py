"""Links by which clients put objects into the store and get them, with no gateway in between: to S3
(`s3.S3Links`), or to the gateway's own `/store` where the store is a folder (`folder.FolderLinks`).

Whoever has a link may do what it is for, until it expires, and nothing else: put one object, or one part of
it, of exactly its size; or get one. Above `PART_BYTES` an object is put in parts, so that a lost connection
costs no more than one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote

from workers.runtime.storage import Stat

PART_BYTES = 16 << 20
MOST_PARTS = 10_000
"""That S3 takes."""
EXPOSED = ("ETag", "Content-Length", "Content-Range", "Accept-Ranges")
"""The headers that pages of other origins get to see."""


class Missing(Exception):
    """It has not arrived, or not all of it; the message says what is missing."""


class UploadLost(Missing):
    """The store knows nothing (any more) of this upload in parts: `begin` another."""


@dataclass(frozen=True)
class Slice:
    """A part of an object: its number, from 1; where it begins, and its size, in bytes."""

    number: int
    offset: int
    bytes: int


@dataclass(frozen=True)
class Part(Slice):
    received: bool
    url: str | None
    """To PUT it to; None where it is received."""


@dataclass(frozen=True)
class Target:
    """Where an object is PUT, with `headers`; `url` is None where it is received, or goes in parts. It is
    received when all of its parts are, too, which `finish` then puts together."""

    received: bool
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()


class Links(Protocol):
    """All methods raise StorageUnavailable where the store cannot be reached or refuses. `size` in bytes;
    `upload_id` is what `begin` said; `base` is the gateway's URL as the client knows it."""

    async def begin(self, key: str, size: int, media_type: str) -> str | None:
        """The id of a new upload in parts; None for what is small enough to go without."""

    async def target(
        self,
        key: str,
        size: int,
        media_type: str,
        upload_id: str | None,
        base: str,
        *,
        arrived: Mapping[str, int] | None = None,
    ) -> Target:
        """Fresh links for what is still missing. `arrived`: the sizes of the objects that are there, by key,
        where a listing has told them: this one is not asked for then. Raises UploadLost."""

    async def finish(self, key: str, size: int, upload_id: str | None) -> Stat:
        """Make an object of its parts, where it has any, and see that it is there; as often as one likes.
        Raises Missing, also where an object of another size is there; UploadLost."""

    async def abort(self, key: str, upload_id: str) -> None:
        """Remove the parts; also where there is no such upload."""

    async def download(
        self, key: str, base: str, *, name: str, media_type: str, seconds: int, inline: bool = True
    ) -> str:
        """A URL to GET it by for so long. It is served under that name and media type whatever it was put
        as; inline: to be shown, rather than saved."""


def in_parts(size: int) -> bool:
    return size > PART_BYTES


def slices(size: int) -> list[Slice]:
    """What an object is put in: of equal size, but for the last."""
    step = max(PART_BYTES, -(-size // MOST_PARTS))
    offsets = enumerate(range(0, size, step), 1)
    return [Slice(number, offset, min(step, size - offset)) for number, offset in offsets]


def missing(wanted: list[Slice], sizes: Mapping[int, int]) -> list[Slice]:
    """Those of the parts that are not there in their size; `sizes`: number -> size of what is there."""
    return [part for part in wanted if sizes.get(part.number) != part.bytes]


def linked(wanted: list[Slice], urls: Mapping[int, str]) -> tuple[Part, ...]:
    """`urls`: number -> where to PUT it, of those that are missing."""
    return tuple(
        Part(part.number, part.offset, part.bytes, part.number not in urls, urls.get(part.number))
        for part in wanted
    )


def disposition(name: str, inline: bool) -> str:
    """The header Content-Disposition (RFC 6266): the name once for those who know ASCII only."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in name)
    kind = "inline" if inline else "attachment"
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"

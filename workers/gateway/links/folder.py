"""Links to a folder store: to the gateway itself, which serves them by `links.routes`."""

import time
from collections.abc import AsyncIterator, Mapping
from typing import BinaryIO
from urllib.parse import quote

from workers.gateway.links.arrivals import Arrivals
from workers.gateway.links.interface import (
    Missing,
    Target,
    UploadLost,
    in_parts,
    linked,
    missing,
    slices,
)
from workers.gateway.links.statement import Statement
from workers.runtime.folder import FolderStore
from workers.runtime.storage import NotFound, Stat


class FolderLinks:
    """`interface.Links`; its statements are signed by `secret`, which replicas on one folder share, and a
    link to put by is good for `upload_seconds`."""

    def __init__(self, store: FolderStore, secret: bytes, upload_seconds: int = 3600) -> None:
        self._store, self.secret, self._seconds = store, secret, upload_seconds
        self._arrivals = Arrivals(store.root)

    async def begin(self, key: str, size: int, media_type: str) -> str | None:
        return await self._arrivals.begin(key) if in_parts(size) else None

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
        if (arrived.get(key) if arrived is not None else await self._size(key)) == size:
            return Target(received=True)
        expires = int(time.time()) + self._seconds
        if upload_id is None:
            url = self._url(Statement("put", key, expires, media_type, size), base)
            return Target(received=False, url=url, headers={"Content-Type": media_type})
        wanted = slices(size)
        lacking = missing(wanted, await self._arrivals.sizes(key, upload_id, wanted))
        links = {
            part.number: self._url(
                Statement("put", key, expires, media_type, part.bytes, upload_id, part.number), base
            )
            for part in lacking
        }
        return Target(received=not lacking, parts=linked(wanted, links))

    async def finish(self, key: str, size: int, upload_id: str | None) -> Stat:
        lost: UploadLost | None = None
        if upload_id is not None:
            try:
                await self._arrivals.assemble(key, upload_id, slices(size))
            except UploadLost as error:  # perhaps because it is finished: then the object is there
                lost = error
        if (found := await self._size(key)) != size:
            has = "is not there" if found is None else f"has {found} bytes, not {size}"
            raise lost or Missing(f"{key} {has}")
        return await self._store.stat(key)

    async def abort(self, key: str, upload_id: str) -> None:
        await self._arrivals.abort(key, upload_id)

    async def download(
        self, key: str, base: str, *, name: str, media_type: str, seconds: int, inline: bool = True
    ) -> str:
        expires = int(time.time()) + seconds
        return self._url(Statement("get", key, expires, media_type, name=name, inline=inline), base)

    async def receive(self, said: Statement, chunks: AsyncIterator[bytes]) -> None:
        """What is put by a link that says so. Raises LinkRefused where it is of another size."""
        if said.part:
            await self._arrivals.receive_part(said.key, said.upload_id, said.part, said.size, chunks)
        else:
            await self._arrivals.receive(said.key, said.size, chunks)

    async def opened(self, said: Statement) -> BinaryIO:
        """The object of a link to get it by; it stays whole while another takes its place. Raises
        NotFound."""
        return await self._arrivals.do(said.key, lambda path: path.open("rb"))

    async def _size(self, key: str) -> int | None:
        """Without reading it all, as the store does for its digest."""
        try:
            return await self._arrivals.do(key, lambda path: path.stat().st_size)
        except NotFound:
            return None

    def _url(self, said: Statement, base: str) -> str:
        name = said.name or said.key.rpartition("/")[2]
        return f"{base.rstrip('/')}/store/{said.token(self.secret)}/{quote(name.replace('/', '_'), safe='')}"

"""A capture's events as they happen: server-sent events, as WHATWG has them (HTML, 9.2)."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

from sqlalchemy import select, tuple_
from sqlalchemy.exc import SQLAlchemyError

from workers.gateway.captures import Captures
from workers.gateway.database.session import Database
from workers.gateway.database.tables import CaptureRow, JournalRow
from workers.gateway.gateway import Gateway
from workers.gateway.hub import Hub, Key
from workers.gateway.problems import Absent
from workers.gateway.status import Teller

ALIVE_SECONDS = 15.0
LOOK_SECONDS = 3.0
"""What another replica enters is found so soon at the latest; our own is told of at once."""
LOOKED_FOR = 500
"""Captures in one query."""
LONGEST_SECONDS = 300.0
"""Then the client comes again, and has to show its key."""
RETRY_MILLISECONDS = 1000


async def stream(
    gateway: Gateway, captures: Captures, teller: Teller, row: CaptureRow, last: int | None
) -> AsyncIterator[str]:
    """First how it is, then all that happens: what happened after number `last` comes first, where that is
    given. Ends where the capture is deleted, and when we do."""
    key = (row.tenant, row.capture_id)
    number = row.number if last is None else last
    state = ""
    ends = time.monotonic() + LONGEST_SECONDS
    with gateway.hub.listen(key) as listener:
        while not gateway.hub.closed and time.monotonic() < ends:
            listener.news.clear()
            told: list[str] = []
            if listener.moved:
                listener.moved = False
                try:
                    row = await captures.row(row.capture_id)
                except Absent:
                    yield message("deleted", "{}")
                    return
                if row.number > number or row.state != state:
                    for entry in await _after(gateway, row, number):
                        told.append(message(entry.kind, entry.body, entry.number))
                    told.append(message("status", (await teller.status(row)).model_dump_json(), row.number))
                    number, state = row.number, row.state
            while listener.progress:
                told.append(message("job.progress", listener.progress.popleft().decode()))
            if told:
                yield "".join(told)
            try:
                async with asyncio.timeout(ALIVE_SECONDS):
                    await listener.news.wait()
            except TimeoutError:
                yield ": \n\n"


async def look_around(database: Database, hub: Hub) -> None:
    """Has listeners told of what other replicas do to their captures. Until it is cancelled."""
    seen: dict[Key, tuple[int, str]] = {}
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        keys = hub.listened_to()
        with suppress(SQLAlchemyError, OSError):
            found = await _standing(database, keys)
            for key in keys:
                if found.get(key) != seen.get(key):
                    hub.moved(key)
            seen = found


async def _standing(database: Database, keys: list[Key]) -> dict[Key, tuple[int, str]]:
    """Number and state of those that are there."""
    found: dict[Key, tuple[int, str]] = {}
    for first in range(0, len(keys), LOOKED_FOR):
        some = keys[first : first + LOOKED_FOR]
        asked = select(CaptureRow.tenant, CaptureRow.capture_id, CaptureRow.number, CaptureRow.state)
        asked = asked.where(tuple_(CaptureRow.tenant, CaptureRow.capture_id).in_(some))
        async with database.read() as session:
            for tenant, capture_id, number, state in await session.execute(asked):
                found[tenant, capture_id] = (number, state)
    return found


async def _after(gateway: Gateway, row: CaptureRow, number: int) -> list[JournalRow]:
    asked = (
        select(JournalRow)
        .where(
            JournalRow.tenant == row.tenant,
            JournalRow.capture_id == row.capture_id,
            JournalRow.number > number,
            JournalRow.number <= row.number,
        )
        .order_by(JournalRow.number)
    )
    async with gateway.database.read() as session:
        return list(await session.scalars(asked))


def message(event: str, data: str, id: int | None = None) -> str:
    lines = [f"event: {event}"]
    lines += [f"id: {id}"] if id is not None else [f"retry: {RETRY_MILLISECONDS}"]
    lines += [f"data: {data}"]  # JSON as we write it has no line breaks
    return "\n".join(lines) + "\n\n"

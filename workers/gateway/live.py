"""A capture's events as they happen: server-sent events, as WHATWG has them (HTML, 9.2)."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

from sqlalchemy import select

from workers.gateway.captures import Captures
from workers.gateway.database.tables import CaptureRow, JournalRow
from workers.gateway.gateway import Gateway
from workers.gateway.problems import Absent
from workers.gateway.status import Teller

ALIVE_SECONDS = 15.0
LOOK_SECONDS = 3.0
"""What another replica enters is found so soon at the latest; our own is told of at once."""
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
    quiet, begun, looked, state = 0.0, False, 0.0, ""
    ends = time.monotonic() + LONGEST_SECONDS
    with gateway.hub.listen(key) as listener:
        while not gateway.hub.closed and time.monotonic() < ends:
            listener.news.clear()
            told = False
            if listener.moved or time.monotonic() - looked >= LOOK_SECONDS:
                listener.moved, looked = False, time.monotonic()
                try:
                    row = await captures.row(row.capture_id)
                except Absent:
                    yield message("deleted", "{}")
                    return
            if row.number > number or row.state != state or not begun:
                for entry in await _after(gateway, row, number):
                    number = entry.number
                    yield message(entry.kind, entry.body, number)
                yield message("status", (await teller.status(row)).model_dump_json(), row.number)
                number, state, begun, told = row.number, row.state, True, True
            while listener.progress:
                yield message("job.progress", listener.progress.popleft().decode())
                told = True
            quiet = 0.0 if told else quiet + LOOK_SECONDS
            if quiet >= ALIVE_SECONDS:
                yield ": \n\n"
                quiet = 0.0
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await listener.news.wait()


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
    async with gateway.database.begin() as session:
        return list(await session.scalars(asked))


def message(event: str, data: str, id: int | None = None) -> str:
    lines = [f"event: {event}"]
    lines += [f"id: {id}"] if id is not None else [f"retry: {RETRY_MILLISECONDS}"]
    lines += [f"data: {data}"]  # JSON as we write it has no line breaks
    return "\n".join(lines) + "\n\n"

"""Keeps the database up with what the workers say: each event is entered once, whichever replica is first."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from broker.interface import Broker, Message
from contracts.dataset import Manifest
from contracts.envelope import Envelope
from contracts.errors import BrokerUnavailable, ContractError
from contracts.events import DatasetUploaded, Event, JobProgress
from workers.gateway import metrics
from workers.gateway.database.session import Database, Session, is_away
from workers.gateway.database.tables import AuditRow, CaptureRow, JournalRow, PositionRow
from workers.gateway.hub import Hub, key_of
from workers.gateway.record import ENDED, Record, fold, result_of
from workers.gateway.webhooks.sender import Sender
from workers.runtime.logs import get_logger
from workers.runtime.patience import patiently
from workers.runtime.storage import NotFound, ObjectStore

STREAM = "outcomes"
RACES = 5


class Follower:
    """lasting: whether the broker's stream outlives this process, and with it the offsets in it."""

    def __init__(
        self,
        database: Database,
        broker: Broker,
        store: ObjectStore,
        sender: Sender,
        hub: Hub,
        *,
        lasting: bool,
    ) -> None:
        self._database, self._broker, self._store = database, broker, store
        self._sender, self._hub, self._lasting = sender, hub, lasting
        self._log = get_logger()
        self.listening = 0
        """How many of its two sources it listens to."""

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._for_ever(self._follow))
            group.create_task(self._for_ever(self._listen))

    async def _for_ever(self, action: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await action()
            except Exception as error:  # whatever it is: an index that stands still helps nobody
                self._log.error("following is interrupted", error=f"{type(error).__name__}: {error}"[:500])
            await asyncio.sleep(1)

    async def _follow(self) -> None:
        start: int | str = await self._position() if self._lasting else "first"
        async with self._broker.outcomes(start) as entries:
            self.listening += 1
            try:
                async for offset, message in entries:
                    await self._enter(offset, message)
            finally:
                self.listening -= 1

    async def _enter(self, offset: int, message: Message) -> None:
        try:
            envelope = Envelope.parse(message.body)
        except ContractError:  # a worker has refused it too, and told its sender
            await self._past(offset)
            return
        try:
            await patiently(partial(self.apply, envelope, offset), lambda _: None)
        except Exception as error:
            if is_away(error):
                raise  # it is entered when the database is back
            # One that cannot be entered must not keep all later ones out.
            self._log.error(
                "event not entered", event_id=envelope.id, error=f"{type(error).__name__}: {error}"
            )
            await self._past(offset)

    async def _listen(self) -> None:
        async with self._broker.progress() as messages:
            self.listening += 1
            try:
                async for message in messages:
                    with suppress(ContractError):
                        event = Envelope.parse(message.body).data
                        if isinstance(event, JobProgress):
                            self._hub.heard(event, message.body)
            finally:
                self.listening -= 1

    async def apply(self, envelope: Envelope, offset: int | None = None) -> bool:
        """Enter an event into its capture's journal and record; whether it was new.

        Raises StorageUnavailable, BrokerUnavailable, and what the database raises."""
        manifest = None if await self._known(envelope) else await self._manifest(envelope.data)
        for _ in range(RACES):
            try:
                async with self._database.begin() as session:
                    record = await self._apply(session, envelope, manifest)
                    if offset is not None and self._lasting:
                        await _advance(session, offset)
            except IntegrityError:  # another replica was entering the same
                await asyncio.sleep(0.02)
            else:
                break
        else:
            raise BrokerUnavailable(f"event {envelope.id} could not be entered")
        self.entered(envelope)
        if record is not None:
            metrics.note(envelope, record)
        return record is not None

    async def enter(
        self, session: Session, row: CaptureRow, envelope: Envelope, manifest: Manifest | None = None
    ) -> Record:
        """Into the row, which is locked, and its journal; call `entered` once that is committed. Returns what
        the row holds then."""
        record = fold(Record.model_validate(row.record), envelope, manifest)
        row.number += 1
        row.state = record.state if row.state != "deleting" else row.state
        row.updated = max(row.updated, envelope.time)
        row.record = record.model_dump(mode="json")
        event, body = envelope.data, envelope.encode().decode()
        of = {"tenant": row.tenant, "capture_id": row.capture_id}
        entry = JournalRow(
            **of, number=row.number, event_id=envelope.id, kind=event.routing_key, at=envelope.time, body=body
        )
        session.add(entry)
        await self._sender.enqueue(session, **of, event_id=envelope.id, kind=event.routing_key, body=body)
        if record.state in ENDED:
            self._hub.forget(key_of(event))
        return record

    def entered(self, envelope: Envelope) -> None:
        self._hub.moved(key_of(envelope.data))
        self._sender.wake()

    async def _apply(self, session: Session, envelope: Envelope, manifest: Manifest | None) -> Record | None:
        """The capture's record with the event in it; None where it was there, or the capture is deleted."""
        event = envelope.data
        row = await session.get(CaptureRow, key_of(event), with_for_update=True)
        if row is None:
            if await _was_deleted(session, event):
                return None
            row = _new_row(envelope)
            session.add(row)
            await session.flush()
        elif row.state == "deleting" or await _has(session, envelope):
            return None
        return await self.enter(session, row, envelope, manifest)

    async def _known(self, envelope: Envelope) -> bool:
        """Whether another replica has entered it by now."""
        async with self._database.read() as session:
            return await _has(session, envelope)

    async def _manifest(self, event: Event) -> Manifest | None:
        result = result_of(event)
        if result is None:
            return None
        try:
            return Manifest.model_validate_json(await self._store.get(result[1].key))
        except (NotFound, ValueError):
            return None

    async def _position(self) -> int | str:
        async with self._database.begin() as session:
            row = await session.get(PositionRow, STREAM)
            return "first" if row is None else row.following

    async def _past(self, offset: int) -> None:
        if self._lasting:
            async with self._database.begin() as session:
                await _advance(session, offset)


def _new_row(envelope: Envelope) -> CaptureRow:
    """Of a capture that was announced without us."""
    event = envelope.data
    files: list[dict[str, Any]] = []
    if isinstance(event, DatasetUploaded):
        files = [
            {
                "name": file.key.removeprefix(f"{event.folder}upload/"),
                "bytes": file.bytes,
                "sha256": file.sha256,
            }
            for file in event.files
        ]
    record = Record(created=envelope.time, state="working")
    return CaptureRow(
        tenant=event.tenant,
        capture_id=event.capture_id,
        name="",
        state="working",
        number=0,
        created=envelope.time,
        updated=envelope.time,
        record=record.model_dump(mode="json"),
        files=files,
    )


async def _has(session: Session, envelope: Envelope) -> bool:
    of = envelope.data
    asked = select(JournalRow.number).where(
        JournalRow.tenant == of.tenant,
        JournalRow.capture_id == of.capture_id,
        JournalRow.event_id == envelope.id,
    )
    return (await session.scalar(asked)) is not None


async def _was_deleted(session: Session, of: Event) -> bool:
    asked = select(AuditRow.id).where(
        AuditRow.tenant == of.tenant, AuditRow.capture_id == of.capture_id, AuditRow.action == "deleted"
    )
    return (await session.scalar(asked.limit(1))) is not None


async def _advance(session: Session, offset: int) -> None:
    if await session.get(PositionRow, STREAM) is None:
        session.add(PositionRow(stream=STREAM, following=offset + 1))
        return
    later = update(PositionRow).where(PositionRow.stream == STREAM, PositionRow.following <= offset)
    await session.execute(later.values(following=offset + 1))

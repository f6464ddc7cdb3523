"""What can be done with a capture. What is asked of the pipeline goes to the broker first, under an id that
follows from what is asked, and is entered here then: whoever is interrupted in between does it again, and
nothing takes effect twice."""

import hashlib
import json
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import undefer

from broker.interface import Message
from contracts.dataset import announced_key, capture_key
from contracts.envelope import MEDIA_TYPE, Envelope, event_id
from contracts.events import CaptureCancelled, DatasetUploaded, Event
from workers.gateway import api, quota
from workers.gateway.access import Principal
from workers.gateway.audit import noted
from workers.gateway.database.session import Session
from workers.gateway.database.tables import AuditRow, CaptureRow, JournalRow, WebhookRow
from workers.gateway.gateway import Gateway
from workers.gateway.problems import (
    Absent,
    CaptureExists,
    RequestInvalid,
    StateConflict,
)
from workers.gateway.record import ENDED, Record
from workers.gateway.status import possible
from workers.gateway.uploads import Announced, Uploads
from workers.gateway.webhooks.guard import check
from workers.gateway.webhooks.sender import new_webhook
from workers.runtime import tracing
from workers.runtime.storage import NotFound

SOURCE = "phototwin/gateway"
_BY_KEY = uuid.UUID("0f6f6a1e-9c0b-5d39-8f0e-3e2a7a51c8d4")
"""Any will do."""


class Captures:
    """Those of one tenant, as one of its members sees them. All methods raise Absent for what is not there,
    StorageUnavailable, BrokerUnavailable."""

    def __init__(self, gateway: Gateway, principal: Principal) -> None:
        self.principal = principal
        self._gateway, self._tenant, self._who = gateway, principal.tenant, principal.who

    async def row(self, capture_id: str, *, files: bool = False) -> CaptureRow:
        async with self._gateway.database.read() as session:
            return await self._row(session, capture_id, files=files)

    async def create(self, asked: api.NewCapture, key: str | None = None) -> tuple[CaptureRow, str | None]:
        """Its row, and the secret of its callback. key: the request's `Idempotency-Key`, by which a request
        that was interrupted and comes again finds its capture. Raises CaptureExists, QuotaReached, TooLarge,
        RequestInvalid, AddressRefused."""
        quota.check_files(self._gateway.settings, asked.files)
        quota.check_options(asked.options)
        if asked.callback is not None:
            check(str(asked.callback), self._gateway.settings.webhook_networks)
        drawn = uuid.uuid4() if key is None else uuid.uuid5(_BY_KEY, f"{self._tenant}\n{key}")
        event = Event(tenant=self._tenant, capture_id=asked.capture_id or drawn.hex)
        now = datetime.now(UTC)
        if await self._claim(event, asked, now, key):  # nothing but the answer was missing
            return await self.row(event.capture_id, files=True), await self._secret(event)
        try:
            return await self._enter(event, asked, now)
        except CaptureExists:
            raise
        except Exception:
            if key is None:  # nobody can come back to it
                await self._gateway.store.delete(capture_key(event))
            raise

    async def _enter(
        self, event: Event, asked: api.NewCapture, now: datetime
    ) -> tuple[CaptureRow, str | None]:
        announced = await self._uploads(event).begin(asked.files)
        record = Record(created=now, options=asked.options)
        row = CaptureRow(
            tenant=event.tenant,
            capture_id=event.capture_id,
            name=asked.name,
            state=record.state,
            number=0,
            created=now,
            updated=now,
            record=record.model_dump(mode="json"),
            files=[file.model_dump() for file in announced],
        )
        hook: WebhookRow | None = None
        try:
            async with self._gateway.database.begin() as session:
                await quota.check(self._gateway, session, self._tenant)
                session.add(row)
                if asked.callback is not None:
                    hook = new_webhook(event.tenant, str(asked.callback), (), event.capture_id)
                    session.add(hook)
                session.add(noted(self._tenant, self._who, "created", event.capture_id, files=len(announced)))
        except IntegrityError:
            raise CaptureExists(f"there is a capture {event.capture_id}") from None
        return row, hook.secret if hook else None

    async def targets(self, row: CaptureRow, base: str) -> api.Uploads:
        """Where its missing files go. Raises StateConflict."""
        if row.state != "uploading":
            raise StateConflict(f"the capture is {row.state}: it takes no files now")
        uploads, files = self._uploads(row), _files(row)
        folder = f"{Event(tenant=row.tenant, capture_id=row.capture_id).folder}upload/"
        arrived = {entry.key: entry.bytes for entry in await self._gateway.store.below(folder)}
        told, found = await uploads.targets(files, arrived, base)
        if found != files:
            await self._update(row.capture_id, found)
        return told

    async def complete(self, capture_id: str) -> CaptureRow:
        """Raises UploadIncomplete, StateConflict."""
        row = await self.row(capture_id, files=True)
        record = Record.model_validate(row.record)
        if row.state in ("working", "review", "done"):  # asked twice
            return row
        _able(row, record, "complete")
        uploads = self._uploads(row)
        files = await uploads.finish(_files(row))
        previous = record.stages["prepare"].result
        event = DatasetUploaded(
            tenant=row.tenant,
            capture_id=row.capture_id,
            generation=record.generation,
            files=uploads.event_files(files),
            previous=previous,
            options=record.options,
        )
        await self._update(capture_id, files)
        envelope = wrapped(event, event.model_dump_json())
        await self._gateway.store.put_if_absent(announced_key(event), envelope.encode(), MEDIA_TYPE)

        def announced(row: CaptureRow, record: Record) -> Envelope | None:
            if row.state in ("working", "review", "done"):  # somebody else was faster
                return None
            _able(row, record, "complete")
            if _names(_files(row)) != _names(files):
                raise StateConflict("files were added meanwhile: upload them, and complete it again")
            return envelope

        return await self.say(capture_id, announced)

    async def append(self, capture_id: str, asked: api.MoreFiles) -> CaptureRow:
        """Its row, uploading once more. Raises StateConflict, RequestInvalid, TooLarge, QuotaReached."""
        row = await self.row(capture_id, files=True)
        self._check_added(row, asked)
        if row.state != "uploading":
            await self.check_quota()
        added = await self._uploads(row).begin(asked.files)
        async with self._gateway.database.begin() as session:
            row = await self._row(session, capture_id, files=True, change=True)
            record = self._check_added(row, asked)  # once more: somebody else may have added some
            if row.state != "uploading":
                generation = record.generation + 1
                record = record.but(state="uploading", generation=generation, error=None, failed_stage=None)
            row.files = [*row.files, *(file.model_dump() for file in added)]
            row.state, row.updated = "uploading", datetime.now(UTC)
            row.record = record.model_dump(mode="json")
            session.add(noted(self._tenant, self._who, "appended", capture_id, files=len(added)))
        self._gateway.hub.moved((self._tenant, capture_id))
        return row

    def _check_added(self, row: CaptureRow, asked: api.MoreFiles) -> Record:
        """Raises StateConflict, RequestInvalid, TooLarge."""
        record, have = _able(row, Record.model_validate(row.record), "append"), _files(row)
        quota.check_files(self._gateway.settings, (*have, *asked.files))
        if both := _names(have) & _names(asked.files):
            raise RequestInvalid(f"the capture has a file {min(both)} already; give the new one another name")
        zips = sorted(name for name in _names(have) | _names(asked.files) if name.lower().endswith(".zip"))
        if zips:
            raise RequestInvalid(
                f"of {zips[0]} and files beside it one would not be used; make a new capture"
            )
        try:
            api.side_by_side((*have, *asked.files))
        except ValueError as error:
            raise RequestInvalid(str(error)) from None
        return record

    async def _update(self, capture_id: str, files: list[Announced]) -> None:
        """What is known of the files now; some may have been added meanwhile."""
        known = {file.name: file.model_dump() for file in files}
        async with self._gateway.database.begin() as session:
            row = await self._row(session, capture_id, files=True, change=True)
            row.files = [known.get(file["name"], file) for file in row.files]

    async def cancel(self, capture_id: str, reason: str) -> CaptureRow:
        """Raises StateConflict."""
        row = await self.row(capture_id, files=True)
        if row.state == "uploading":
            await self._uploads(row).abort(_files(row))

        def cancelled(row: CaptureRow, record: Record) -> Envelope | None:
            if row.state == "cancelled":  # asked twice
                return None
            _able(row, record, "cancel")
            if row.state == "uploading":  # what never came is not waited for when more are added
                row.files = [file for file in row.files if file.get("etag") is not None]
            return self._cancellation(row, record, reason)

        return await self.say(capture_id, cancelled, "cancelled", reason=reason)

    async def retry(self, capture_id: str, asked: api.Retry) -> CaptureRow:
        """From a stage on. Raises StateConflict, RequestInvalid, QuotaReached."""
        row = await self.row(capture_id)
        record = _able(row, Record.model_validate(row.record), "retry")
        await self.check_quota()
        begun = record.stages[asked.stage].input
        if begun is None:
            raise StateConflict(f"the capture has not come to the stage {asked.stage}; retry an earlier one")
        event = (await self.entry(row, begun)).data
        changes: dict[str, object] = {"attempt": 0}
        if asked.options is not None:
            quota.check_options(asked.options)
            changes["options"] = asked.options

        def retried(row: CaptureRow, record: Record) -> Envelope:
            _able(row, record, "retry")
            generation = record.generation + 1
            again = event.model_copy(update={**changes, "generation": generation})
            return wrapped(again, str(generation))

        return await self.say(capture_id, retried, "retried", stage=asked.stage)

    async def delete(self, capture_id: str) -> bool:
        """Whether all of it is gone by now; else it will be, as soon as no worker is at it any more."""
        row = await self.row(capture_id, files=True)
        if row.state == "uploading":
            await self._uploads(row).abort(_files(row))
        never_announced = Record.model_validate(row.record).uploaded is None
        if row.state not in (*ENDED, "deleting") and not never_announced:
            await self.say(capture_id, lambda row, record: self._cancellation(row, record, "deleted"))
        async with self._gateway.database.begin() as session:
            row = await self._row(session, capture_id, change=True)
            row.state, row.updated = "deleting", datetime.now(UTC)
            session.add(noted(self._tenant, self._who, "asked to delete", capture_id))
        self._gateway.hub.moved((self._tenant, capture_id))
        return await self._gateway.remover.remove((self._tenant, capture_id))

    async def say(
        self,
        capture_id: str,
        make: Callable[[CaptureRow, Record], Envelope | None],
        action: str = "",
        **detail: object,
    ) -> CaptureRow:
        """Publish what `make` makes of the capture as it stands, unless that is None, and enter it. Meanwhile
        nobody else changes the capture; where we die in between, the stream of outcomes has it entered."""
        gateway = self._gateway
        async with gateway.database.begin() as session:
            row = await self._row(session, capture_id, files=True, change=True)
            envelope = make(row, Record.model_validate(row.record))
            if envelope is None:
                return row
            await gateway.broker.publish(Message(envelope.encode(), envelope.data.routing_key, envelope.id))
            await gateway.follower.enter(session, row, envelope)
            if action:
                session.add(noted(self._tenant, self._who, action, capture_id, **detail))
        gateway.follower.entered(envelope)
        return row

    def _cancellation(self, row: CaptureRow, record: Record, reason: str) -> Envelope:
        event = CaptureCancelled(
            tenant=row.tenant, capture_id=row.capture_id, generation=record.generation, reason=reason
        )
        return wrapped(event, str(record.generation))

    async def downloaded(self, capture_id: str, told: api.Downloaded) -> None:
        async with self._gateway.database.begin() as session:
            row = await self._row(session, capture_id, change=True)
            record = Record.model_validate(row.record).but(download=round(told.seconds, 3))
            row.record = record.model_dump(mode="json")

    async def entry(self, row: CaptureRow, id: str) -> Envelope:
        """An event out of its journal. Raises StateConflict."""
        asked = select(JournalRow.body).where(
            JournalRow.tenant == row.tenant,
            JournalRow.capture_id == row.capture_id,
            JournalRow.event_id == id,
        )
        async with self._gateway.database.begin() as session:
            body = await session.scalar(asked)
        if body is None:
            raise StateConflict("what that stage began with is not known any more; retry an earlier one")
        return Envelope.parse(body.encode())

    async def _row(
        self, session: Session, capture_id: str, *, files: bool = False, change: bool = False
    ) -> CaptureRow:
        asked = select(CaptureRow).where(
            CaptureRow.tenant == self._tenant, CaptureRow.capture_id == capture_id
        )
        if files:
            asked = asked.options(undefer(CaptureRow.files))
        row: CaptureRow | None = await session.scalar(asked.with_for_update() if change else asked)
        if row is None:
            raise Absent(f"there is no capture {capture_id:.64}")
        return row

    async def _secret(self, of: Event) -> str | None:
        """Of the capture's callback."""
        asked = select(WebhookRow.secret).where(
            WebhookRow.tenant == of.tenant, WebhookRow.capture_id == of.capture_id
        )
        async with self._gateway.database.begin() as session:
            secret: str | None = await session.scalar(asked)
            return secret

    async def _claim(self, event: Event, asked: api.NewCapture, now: datetime, key: str | None) -> bool:
        """The id is ours, and was nobody's before, unless by the same request, which was interrupted; whether
        that had come as far as the index. Raises CaptureExists, QuotaReached."""
        claim = {
            "tenant": event.tenant,
            "capture_id": event.capture_id,
            "name": asked.name,
            "created": now.isoformat(),
            "options": asked.options.model_dump(mode="json", exclude_defaults=True),
            "files": [file.model_dump(exclude_none=True) for file in asked.files],
            "request": key and hashlib.sha256(key.encode()).hexdigest(),
        }
        async with self._gateway.database.begin() as session:
            known = await session.get(CaptureRow, (event.tenant, event.capture_id))
            if known is None:
                await quota.check(self._gateway, session, self._tenant)
            used = select(AuditRow.id).where(
                AuditRow.tenant == event.tenant,
                AuditRow.capture_id == event.capture_id,
                AuditRow.action == "deleted",
            )
            gone = await session.scalar(used.limit(1))
        store, place = self._gateway.store, capture_key(event)
        if known is None and gone is None:
            if await store.put_if_absent(place, json.dumps(claim).encode(), "application/json"):
                return False
        elif gone is not None or key is None:
            raise CaptureExists(f"there is, or was, a capture {event.capture_id}")
        try:
            first = {**json.loads(await store.get(place)), "created": claim["created"]}
        except NotFound:  # it was announced without us
            first = {}
        if key is None or first != claim:
            raise CaptureExists(f"there is a capture {event.capture_id}")
        return known is not None

    async def check_quota(self) -> None:
        async with self._gateway.database.begin() as session:
            await quota.check(self._gateway, session, self._tenant)

    async def open(self) -> int:
        """How many are being uploaded or worked on."""
        async with self._gateway.database.read() as session:
            return await quota.open_captures(session, self._tenant)

    def _uploads(self, of: CaptureRow | Event) -> Uploads:
        folder = Event(tenant=of.tenant, capture_id=of.capture_id).folder
        return Uploads(self._gateway.links, folder, self._gateway.settings.upload_seconds)


def _able(row: CaptureRow, record: Record, action: str) -> Record:
    if action not in possible(row.state, record):
        raise StateConflict(f"the capture is {row.state}: that cannot be asked of it now ({action})")
    return record


def _names(files: Sequence[api.NewFile | Announced]) -> set[str]:
    return {file.name for file in files}


def _files(row: CaptureRow) -> list[Announced]:
    return [Announced.model_validate(file) for file in row.files]


def wrapped(event: Event, what: str) -> Envelope:
    """Under an id that is the same whenever the same is asked of the capture."""
    told = hashlib.sha256(what.encode()).hexdigest()
    return Envelope.wrap(
        event,
        id=event_id(event.event_type(), f"{event.folder}{event.generation}{told}"),
        source=SOURCE,
        traceparent=tracing.traceparent(),
    )

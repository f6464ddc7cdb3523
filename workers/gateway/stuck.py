"""Captures that nobody is at, though they have not ended: their events were lost. What they wait for is
published once more; whoever has done it says so again, and nobody does it twice."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from broker.interface import Broker, Message
from broker.topology import Topology
from contracts.envelope import Envelope
from contracts.events import DatasetUploaded, Event, Stage, UploadedFile
from workers.gateway.begun import BEGIN, KINDS
from workers.gateway.captures import wrapped
from workers.gateway.database.session import Database
from workers.gateway.database.tables import CaptureRow, JournalRow
from workers.gateway.reconcile import in_store
from workers.gateway.record import STAGES
from workers.runtime.settings import Settings
from workers.runtime.storage import ObjectStore


@dataclass(frozen=True)
class Looked:
    """stuck: what to publish once more. passed: how many captures may be stuck too and were passed over, and
    in `why` the reasons, a sentence each."""

    stuck: list[Envelope]
    passed: int
    why: list[str]


async def latest_inputs(
    database: Database, older: timedelta = timedelta(0), only: Event | None = None
) -> list[Envelope]:
    """With what the present stage of every capture in work began, or of `only` one, if that has heard nothing
    new for so long. Those that have been silent for longest come first."""
    quiet = datetime.now(UTC) - older
    async with database.begin() as session:
        rows = select(CaptureRow).where(CaptureRow.state == "working", CaptureRow.updated <= quiet)
        if only is not None:
            rows = rows.where(CaptureRow.tenant == only.tenant, CaptureRow.capture_id == only.capture_id)
        found = []
        for row in list(await session.scalars(rows.order_by(CaptureRow.updated))):
            asked = (
                select(JournalRow.body)
                .where(
                    JournalRow.tenant == row.tenant,
                    JournalRow.capture_id == row.capture_id,
                    JournalRow.kind.in_(KINDS),
                )
                .order_by(JournalRow.number.desc())
            )
            found += [Envelope.parse(body.encode()) for body in await session.scalars(asked.limit(1))]
    return found


async def stuck(
    database: Database, store: ObjectStore, broker: Broker, settings: Settings, older: timedelta
) -> Looked:
    """Of these inputs those that no worker is at, and that wait in no queue, as far as can be told without
    taking messages out of it: where anything waits for a stage, none of its captures is said to be stuck.
    Raises BrokerUnavailable, StorageUnavailable."""
    inputs = await latest_inputs(database, older)
    found, passed, why = list[Envelope](), 0, list[str]()
    again = await _retried(broker, settings.topology)
    for stage in STAGES:
        silent = [envelope for envelope in inputs if BEGIN[type(envelope.data)] == stage]
        waiting = await _waiting(broker, settings.topology, stage)
        if silent and (waiting or again):
            passed += len(silent)
            wait = f"{waiting} wait for it" if waiting else f"{again} wait to be tried again, maybe by it"
            why.append(
                f"{stage}: not looked at, {wait}: its {len(silent)} silent captures may be among them; "
                f"silent for longest is {named(silent[0].data)}"
            )
            continue
        for envelope in silent:
            if (mark := await _mark(store, envelope.data, settings)) is None:
                found.append(envelope)
                continue
            passed += 1
            since, until = (_clock(at) for at in (mark, mark + _lasts(settings)))
            why.append(f"{named(envelope.data)}: a mark of {since} says it is worked on, until {until}")
    return Looked(found, passed, why)


async def idle_because(database: Database, whose: Event) -> str | None:
    """Why `latest_inputs` has nothing of a capture; None where the index has no such capture."""
    async with database.begin() as session:
        row = await session.get(CaptureRow, (whose.tenant, whose.capture_id))
    if row is None:
        return None
    if row.state == "working":
        return f"nothing of {named(whose)} was ever begun: what announced it could not be read"
    return f"{named(whose)} is {row.state}, and waits for no worker"


def named(event: Event) -> str:
    return f"{event.capture_id} of tenant {event.tenant}"


async def unannounced(store: ObjectStore, older: timedelta, only: Event | None = None) -> list[Envelope]:
    """Uploads of which no event has told anybody, and the last of whose files is older: announced here as
    whoever uploaded them would have, with the options left out. Those that were created by the gateway are
    its clients' to complete. Raises StorageUnavailable."""
    found = []
    async for whose, entries in in_store(store, only):
        within = {entry.key.removeprefix(whose.folder).partition("/")[0] for entry in entries}
        uploaded = [entry for entry in entries if entry.key.startswith(f"{whose.folder}upload/")]
        uploaded.sort(key=lambda entry: entry.key)  # the event's id is the same each time
        young = max((entry.modified for entry in uploaded), default=time.time())
        if within == {"upload"} and time.time() - young >= older.total_seconds():
            files = tuple(UploadedFile(key=entry.key, bytes=entry.bytes) for entry in uploaded)
            event = whose.followed_by(DatasetUploaded, files=files)
            found.append(wrapped(event, event.model_dump_json()))
    return found


async def publish(broker: Broker, envelopes: list[Envelope]) -> None:
    """Raises BrokerUnavailable, EventReturned."""
    for envelope in envelopes:
        await broker.publish(Message(envelope.encode(), envelope.data.routing_key, envelope.id))


def _lasts(settings: Settings) -> float:
    """A mark that is older was left by a worker that was killed: it cannot be at its job any more."""
    return 2 * settings.time_limit


async def _mark(store: ObjectStore, event: Event, settings: Settings) -> float | None:
    """When a worker that may still be at the capture began."""
    marks = [mark.modified for mark in await store.below(f"{event.folder}running/")]
    latest = max(marks, default=0.0)
    return latest if latest > time.time() - _lasts(settings) else None


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%MZ}"


async def _waiting(broker: Broker, topology: Topology, stage: Stage) -> int:
    """How many messages wait for a stage."""
    queues = [*topology.live_queues(stage), topology.lost_letter_queue(stage)]
    return sum([await broker.depth(queue) for queue in queues])


async def _retried(broker: Broker, topology: Topology) -> int:
    """How many wait to be tried again, for whichever stage."""
    return sum([await broker.depth(topology.retry(delay)) for delay in topology.retry_delays])

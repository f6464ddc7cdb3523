"""Captures that nobody is at, though they have not ended: their events were lost. What they wait for is
published once more; whoever has done it says so again, and nobody does it twice."""

import time
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from broker.interface import Broker, Message
from broker.topology import Topology
from contracts.envelope import Envelope
from contracts.events import DatasetUploaded, Event, MasksReviewed, Stage, UploadedFile
from workers.gateway.captures import wrapped
from workers.gateway.database.session import Database
from workers.gateway.database.tables import CaptureRow, JournalRow
from workers.gateway.reconcile import in_store
from workers.gateway.record import INPUTS, STAGES
from workers.runtime.settings import Settings
from workers.runtime.storage import ObjectStore

BEGIN: dict[type[Event], Stage] = {**INPUTS, MasksReviewed: "segment"}


async def latest_inputs(database: Database, older: timedelta = timedelta(0)) -> list[Envelope]:
    """With what the present stage of every capture in work began, if that has heard nothing new for so
    long."""
    kinds = [kind.routing_key for kind in BEGIN]
    quiet = datetime.now(UTC) - older
    async with database.begin() as session:
        rows = select(CaptureRow).where(CaptureRow.state == "working", CaptureRow.updated <= quiet)
        found = []
        for row in list(await session.scalars(rows)):
            asked = (
                select(JournalRow.body)
                .where(
                    JournalRow.tenant == row.tenant,
                    JournalRow.capture_id == row.capture_id,
                    JournalRow.kind.in_(kinds),
                )
                .order_by(JournalRow.number.desc())
            )
            found += [Envelope.parse(body.encode()) for body in await session.scalars(asked.limit(1))]
    return found


async def stuck(
    database: Database, store: ObjectStore, broker: Broker, settings: Settings, older: timedelta
) -> list[Envelope]:
    """Of these inputs those that no worker is at, and that wait in no queue, as far as can be told without
    taking messages out of it: where anything waits for a stage, none of its captures is said to be stuck.
    Raises BrokerUnavailable, StorageUnavailable."""
    idle = {stage: not await _waiting(broker, settings.topology, stage) for stage in STAGES}
    waiting = [e for e in await latest_inputs(database, older) if idle[BEGIN[type(e.data)]]]
    return [envelope for envelope in waiting if not await _is_worked_on(store, envelope.data, settings)]


async def unannounced(store: ObjectStore, older: timedelta) -> list[Envelope]:
    """Uploads of which no event has told anybody, and the last of whose files is older: announced here as
    whoever uploaded them would have, with the options left out. Those that were created by the gateway are
    its clients' to complete. Raises StorageUnavailable."""
    found = []
    for whose, entries in await in_store(store):
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


async def _is_worked_on(store: ObjectStore, event: Event, settings: Settings) -> bool:
    """A mark that is older than a job may last was left by a worker that was killed."""
    since = time.time() - 2 * settings.time_limit
    return any(mark.modified > since for mark in await store.below(f"{event.folder}running/"))


async def _waiting(broker: Broker, topology: Topology, stage: Stage) -> int:
    """How many messages wait for a stage, or for any in a queue of those that are tried again."""
    retries = [topology.retry(delay) for delay in topology.retry_delays]
    queues = [*topology.live_queues(stage), topology.lost_letter_queue(stage), *retries]
    return sum([await broker.depth(queue) for queue in queues])

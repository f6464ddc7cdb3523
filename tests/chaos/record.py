"""What a run left behind: the stream of outcomes, the object store, the dead letters, the queues."""

import asyncio
import hashlib
from dataclasses import dataclass, field

from broker.deadletter import Filter, browse
from broker.interface import Message
from broker.rabbitmq import Broker
from broker.topology import CANCELLATIONS, CONSUMES
from contracts.dataset import Manifest
from contracts.envelope import Envelope
from contracts.errors import ContractError
from contracts.events import CaptureCancelled, Event
from tests.chaos.captures import Plan
from tests.chaos.diary import Entry
from workers.runtime.s3 import S3Store

READERS = 16
ENDED = "/outcomes/0.json"
MARK = Message(b"{}", "chaos.over", "chaos-over")
"""Bound for by the stream alone: what comes before it is all there was."""


@dataclass(frozen=True)
class Stored:
    """An object; `modified` in Unix seconds."""

    sha256: str
    bytes: int
    modified: float


@dataclass(frozen=True)
class Letter:
    """A dead letter; `capture` as `tenant/id`, empty where nobody knows whose."""

    id: str
    code: str
    capture: str


@dataclass
class Record:
    """`events`: whenever one was published, in order; `bodies`: of manifests and recorded endings, by key;
    `left`: messages that still wait, by queue."""

    plan: Plan
    events: list[Envelope] = field(default_factory=list)
    objects: dict[str, Stored] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    diary: list[Entry] = field(default_factory=list)

    @property
    def manifests(self) -> dict[str, Manifest]:
        return {
            key: Manifest.model_validate_json(body)
            for key, body in self.bodies.items()
            if key.endswith("/manifest.json")
        }

    @property
    def recorded(self) -> dict[str, Envelope]:
        """By capture, how it ended as the store has it."""
        bodies = [body for key, body in self.bodies.items() if key.endswith(ENDED)]
        return {whose(envelope.data): envelope for envelope in map(Envelope.parse, bodies)}

    @property
    def cancelled(self) -> dict[str, float]:
        """By capture, when it was, in Unix seconds."""
        return {
            capture: self.objects[f"captures/{capture}{ENDED}"].modified
            for capture, envelope in self.recorded.items()
            if isinstance(envelope.data, CaptureCancelled)
        }


def whose(event: Event) -> str:
    """The capture, as `captures.Capture.name`."""
    return f"{event.tenant}/{event.capture_id}"


async def gather(plan: Plan, diary: list[Entry], broker: Broker, store: S3Store) -> Record:
    """Once nobody works any more."""
    record = Record(plan, diary=diary)
    await broker.publish(MARK)
    record.events = await _entries(broker)
    slots = asyncio.Semaphore(READERS)

    async def look(key: str, modified: float) -> None:
        async with slots:
            body = await store.get(key)
        record.objects[key] = Stored(hashlib.sha256(body).hexdigest(), len(body), modified)
        if key.endswith(("/manifest.json", ENDED)):
            record.bodies[key] = body

    listed = await store.below("captures/")
    await asyncio.gather(*(look(each.key, each.modified) for each in listed))
    async with browse(broker, broker.topology, Filter()) as found:
        for held in found:
            said = held.letter.summary()
            capture = whose(held.letter.event) if held.letter.event is not None else ""
            record.letters.append(Letter(held.letter.message.id, str(said["code"]), capture))
    for queue in queues(broker):
        record.left[queue] = await broker.depth(queue)
    return record


def queues(broker: Broker) -> list[str]:
    """All in which something can wait to be done."""
    topology = broker.topology
    live = [queue for worker in CONSUMES for queue in topology.live_queues(worker)]
    lost = [topology.lost_letter_queue(worker) for worker in CONSUMES]
    retries = [topology.retry(delay) for delay in topology.retry_delays]
    return [*live, *lost, *retries, topology.cancellations, topology.lost_letter_queue(CANCELLATIONS)]


async def _entries(broker: Broker) -> list[Envelope]:
    places: dict[int, Envelope] = {}  # a consumer that reconnects is sent what it has seen
    async with asyncio.timeout(180), broker.outcomes() as outcomes:
        async for place, message in outcomes:
            if message.id == MARK.id:
                break
            if (envelope := readable(message)) is not None:
                places[place] = envelope
    return [places[place] for place in sorted(places)]


def readable(message: Message) -> Envelope | None:
    """None of poison."""
    try:
        return Envelope.parse(message.body)
    except ContractError:
        return None

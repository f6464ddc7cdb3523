"""Events that were given up: why, told to whom, and what can be done with them.

A worker puts what it gives up into its dead-letter queue, with the reasons in headers, and publishes
`capture.failed`. What kills its worker again and again the broker takes out of circulation; `bury` does the
same for those.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from broker.interface import Broker, Delivery, Headers, Message
from broker.topology import CANCELLATIONS, CONSUMES, Topology
from contracts.envelope import Envelope, child_traceparent, event_id, new_traceparent, sender
from contracts.errors import CaptureCancelled, ContractError, PhototwinError, WorkerDied
from contracts.events import MAX_GENERATION, CaptureFailed, Event, Failure, Options, Stage

WORKERS = (*CONSUMES, CANCELLATIONS)
REPLAYS = 1000
"""Replays are the generations that this divides; those between are the senders' own."""


def headers(error: PhototwinError, worker: str, attempts: int) -> Headers:
    """What a dead letter says of itself."""
    said: dict[str, str | int] = {
        "phototwin-error-code": error.code,
        "phototwin-error-message": encodable(error.message)[:2000],
        "phototwin-stage": worker,
        "phototwin-attempts": attempts,
        "phototwin-time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if stack := error.params.get("stack"):
        said["phototwin-stack"] = encodable(stack)[-8000:]
    return said


def announcement(event: Event, stage: Stage, cause: str, parent: str, error: PhototwinError) -> Message:
    """`capture.failed`. cause: the id of the event that failed, which makes the announcement's own."""
    failure = Failure(
        code=error.code,
        message=encodable(error.message)[:4000],
        sentence=encodable(error.sentence)[:1000],
        action=encodable(error.action)[:1000],
        params={name: encodable(value) for name, value in error.params.items() if name != "stack"},
    )
    failed = event.followed_by(CaptureFailed, stage=stage, error=failure)
    envelope = Envelope.wrap(
        failed,
        id=announcement_id(event, stage, cause),
        source=f"phototwin/{stage}",
        traceparent=child_traceparent(parent),
    )
    return Message(envelope.encode(), failed.routing_key, envelope.id)


def announcement_id(event: Event, stage: Stage, cause: str) -> str:
    """Of the `capture.failed` that an event's failure leads to."""
    return event_id(CaptureFailed.event_type(), f"{event.folder}{stage}/{cause}")


Announce = Callable[[Event, Message], Awaitable[bool]]


async def bury(worker: str, delivery: Delivery, announce: Announce) -> Headers:
    """One message out of the queue of what the broker has given up: its sender is told by `announce`. Returns
    the headers it got.

    Raises BrokerUnavailable, EventReturned, DeliveryLost, and what `announce` does.
    """
    error = WorkerDied(f"{worker} was killed over this event, or lost it, as often as the broker allows")
    event, parent = sender(delivery.message.body), new_traceparent()
    try:
        envelope = Envelope.parse(delivery.message.body)
        event, parent = envelope.data, envelope.traceparent
    except ContractError:
        pass  # whose it is may be known all the same
    if event is not None and worker in CONSUMES:
        stage: Stage = worker  # type: ignore[assignment]
        with suppress(CaptureCancelled):  # then nobody waits for it
            await announce(event, announcement(event, stage, delivery.message.id, parent, error))
    said = headers(error, worker, 1 + (event.attempt if event is not None else 0))
    await delivery.dead_letter(worker, said)
    return said


@dataclass(frozen=True)
class DeadLetter:
    """`envelope` is None where the message is no event that we can read, `event` where nobody knows whose."""

    worker: str
    message: Message
    envelope: Envelope | None
    event: Event | None

    @classmethod
    def of(cls, worker: str, message: Message) -> "DeadLetter":
        try:
            envelope = Envelope.parse(message.body)
        except ContractError:
            return cls(worker, message, None, sender(message.body))
        return cls(worker, message, envelope, envelope.data)

    def summary(self) -> dict[str, Any]:
        said, event = self.message.headers, self.event
        return {
            "id": self.message.id,
            "worker": self.worker,
            "code": said.get("phototwin-error-code"),
            "message": said.get("phototwin-error-message"),
            "attempts": said.get("phototwin-attempts"),
            "time": said.get("phototwin-time"),
            "type": self.envelope.type if self.envelope else None,
            "tenant": event.tenant if event else None,
            "capture_id": event.capture_id if event else None,
            "generation": event.generation if event else None,
        }


@dataclass(frozen=True)
class Filter:
    """Which dead letters are meant; None is any. `since` and `before` know their time zone."""

    id: str | None = None
    worker: str | None = None
    code: str | None = None
    tenant: str | None = None
    capture_id: str | None = None
    since: datetime | None = None
    before: datetime | None = None

    @property
    def is_everything(self) -> bool:
        return self == Filter()

    def matches(self, letter: DeadLetter) -> bool:
        summary = letter.summary()
        named = {name: wanted for name, wanted in vars(self).items() if name not in ("since", "before")}
        if any(wanted is not None and summary[name] != wanted for name, wanted in named.items()):
            return False
        if self.since is None and self.before is None:
            return True
        try:
            time = datetime.fromisoformat(str(summary["time"]))
        except ValueError:
            return False
        return (self.since is None or time >= self.since) and (self.before is None or time < self.before)


@asynccontextmanager
async def browse(broker: Broker, topology: Topology, wanted: Filter) -> AsyncIterator[list["Held"]]:
    """The dead letters meant, oldest first, held until the context ends; those not settled by then lie where
    they lay. Raises BrokerUnavailable."""
    workers = [worker for worker in WORKERS if wanted.worker in (None, worker)]
    queues = {worker: topology.dead_letter_queue(worker) for worker in workers}
    found = []
    async with broker.inbox(list(queues.values())) as inbox:
        for worker, queue in queues.items():
            while (delivery := await inbox.take(queue)) is not None:
                held = Held(DeadLetter.of(worker, delivery.message), delivery)
                if wanted.matches(held.letter):
                    found.append(held)
        yield sorted(found, key=lambda held: str(held.letter.summary()["time"]))


@dataclass(frozen=True)
class Held:
    """A dead letter in our hands."""

    letter: DeadLetter
    delivery: Delivery

    async def drop(self) -> None:
        """Gone for good."""
        await self.delivery.ack()

    @property
    def next_generation(self) -> int:
        """The one it is replayed as. Raises CannotReplay."""
        letter = self.letter
        if letter.envelope is None:
            raise CannotReplay(
                f"{letter.message.id}: what cannot be read cannot be replayed; publish it anew, corrected, "
                "and drop this one"
            )
        generation = (letter.envelope.data.generation // REPLAYS + 1) * REPLAYS
        if generation > MAX_GENERATION:
            raise CannotReplay(f"{letter.message.id}: was replayed too often; publish it as a new capture")
        return generation

    async def replay(self, broker: Broker, topology: Topology) -> int:
        """To its worker once more; returns the generation it has from now on, the next of the thousands: so
        that all is computed again, and the outcome is mistaken neither for the failed run's nor for that of a
        generation which the sender has begun meanwhile. Replayed twice, through a fault between its two
        steps, it is the same event twice.

        Raises CannotReplay, BrokerUnavailable, EventReturned, DeliveryLost.
        """
        letter, generation = self.letter, self.next_generation
        assert letter.envelope is not None
        event = letter.envelope.data
        again = letter.envelope.model_copy(
            update={
                "id": event_id(letter.envelope.type, f"{letter.envelope.id}/{generation}"),
                "data": event.model_copy(update={"attempt": 0, "generation": generation}),
            }
        )
        await broker.send(
            _queue(topology, letter.worker, event), Message(again.encode(), event.routing_key, again.id)
        )
        await self.delivery.ack()
        return generation


class CannotReplay(ValueError):
    """The message says why."""


def _queue(topology: Topology, worker: str, event: Event) -> str:
    if worker == CANCELLATIONS:
        return topology.cancellations
    options: Options = getattr(event, "options", Options())
    return topology.lane_queue(worker, options.lane, event.tenant)


def encodable(value: Any) -> Any:
    """A text with what cannot be written as UTF-8 replaced: file names of strangers hold anything."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value

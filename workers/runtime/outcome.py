"""How a capture ends: once for each generation, whatever its workers and copies of its events come to.

The terminal event, `model.ready`, `capture.failed` or `capture.cancelled`, is put into the store if there is
none yet. Who comes second keeps to the first one's: a failure is announced again, a cancelled generation is
passed over.
"""

from broker.interface import Broker, Message
from contracts.dataset import outcome_key
from contracts.envelope import MEDIA_TYPE, Envelope
from contracts.errors import CaptureCancelled as Cancelled
from contracts.events import CaptureCancelled, CaptureFailed, Event
from workers.runtime.logs import get_logger
from workers.runtime.storage import NotFound, ObjectStore

BACK = 100
"""How many generations before the one named are cancelled with it, at most."""


class Outcomes:
    """Raises, in all methods, StorageUnavailable; BrokerUnavailable and EventReturned where it publishes."""

    def __init__(self, broker: Broker, store: ObjectStore) -> None:
        self._broker, self._store = broker, store

    async def announce(self, event: Event, message: Message) -> bool:
        """Publish how the generation of `event` ended: with `message`, or else as is recorded. Whether it is
        with `message`. Raises CaptureCancelled where it was cancelled."""
        if await self._record(event, message.body):
            recorded = message
        else:
            recorded = _message(await self._store.get(outcome_key(event)))
            _check(event, recorded)
        if recorded.id != message.id:
            get_logger().warning("the capture has ended before", recorded=recorded.routing_key)
        await self._broker.publish(recorded)
        return recorded.id == message.id

    async def failed(self, event: Event) -> Message | None:
        """The announcement of its failure, where its generation has failed. Raises CaptureCancelled."""
        try:
            recorded = _message(await self._store.get(outcome_key(event)))
        except NotFound:
            return None
        _check(event, recorded)
        return recorded if recorded.routing_key == CaptureFailed.routing_key else None

    async def cancel(self, envelope: Envelope) -> None:
        """The generation of a `capture.cancelled`, and those before it: unless they have ended otherwise."""
        event = envelope.data
        for generation in range(max(0, event.generation - BACK), event.generation + 1):
            of = event.model_copy(update={"generation": generation})
            await self._record(of, envelope.model_copy(update={"data": of}).encode())

    async def _record(self, event: Event, body: bytes) -> bool:
        return await self._store.put_if_absent(outcome_key(event), body, MEDIA_TYPE)


def _message(body: bytes) -> Message:
    envelope = Envelope.parse(body)
    return Message(body, envelope.data.routing_key, envelope.id)


def _check(event: Event, recorded: Message) -> None:
    if recorded.routing_key == CaptureCancelled.routing_key:
        raise Cancelled(f"generation {event.generation} of {event.capture_id} is cancelled")

"""What a worker does beside its jobs: small things, with its own queues."""

from collections.abc import Awaitable, Callable
from functools import partial

from broker.deadletter import bury, headers
from broker.interface import Broker, Delivery, Inbox
from broker.topology import CANCELLATIONS, Topology
from contracts.envelope import Envelope
from contracts.errors import ComputeFailed, ContractError, EventUnknown
from contracts.events import LANES, CaptureCancelled, Options, Stage
from workers.runtime.logs import get_logger
from workers.runtime.metrics import Metrics
from workers.runtime.outcome import Outcomes
from workers.runtime.patience import patiently
from workers.runtime.storage import ObjectStore

PREFETCH = 20
Handle = Callable[[Delivery], Awaitable[None]]


class Chores:
    """Each runs until it is cancelled."""

    def __init__(self, broker: Broker, store: ObjectStore, topology: Topology, metrics: Metrics) -> None:
        self._broker, self._store, self._topology, self._metrics = broker, store, topology, metrics
        self.attending = 0
        """How many of them have begun."""

    async def sort(self, stage: Stage) -> None:
        """Arrivals into their lane, next to those of tenants in the same shard."""

        async def sort_one(delivery: Delivery) -> None:
            await self._forward(stage, delivery)

        await self._attend(self._topology.arrivals(stage), stage, sort_one)

    async def sort_all(self, stage: Stage, inbox: Inbox) -> None:
        """The same, of what there is now; then all of it is in its lane. Raises BrokerUnavailable."""
        while (delivery := await inbox.take(self._topology.arrivals(stage))) is not None:
            await self._forward(stage, delivery)

    async def heed_cancellations(self) -> None:
        """The store is told, where whoever works on the capture looks every second."""
        await self._attend(self._topology.cancellations, CANCELLATIONS, self._heed)

    async def bury_lost(self, worker: str) -> None:
        """Tell the senders of what the broker has given up, and keep it with the dead letters."""

        async def bury_one(delivery: Delivery) -> None:
            said = await bury(worker, delivery, Outcomes(self._broker, self._store).announce)
            get_logger().error("given up by the broker", event_id=delivery.message.id, worker=worker)
            self._metrics.dead_lettered.labels(worker, said["phototwin-error-code"]).inc()

        await self._attend(self._topology.lost_letter_queue(worker), worker, bury_one)

    async def _forward(self, stage: Stage, delivery: Delivery) -> None:
        await delivery.forward(_lane_queue(self._topology, stage, delivery.message.body))

    async def _heed(self, delivery: Delivery) -> None:
        try:
            envelope = Envelope.parse(delivery.message.body)
            event = envelope.data
            if not isinstance(event, CaptureCancelled):
                raise EventUnknown(f"{event.event_type()} is no cancellation")
        except ContractError as error:
            await delivery.dead_letter(CANCELLATIONS, headers(error, CANCELLATIONS, 1))
            return
        await Outcomes(self._broker, self._store).cancel(envelope)
        get_logger().info("capture cancelled", capture_id=event.capture_id, tenant=event.tenant)
        await delivery.ack()

    async def _attend(self, queue: str, stage: str, handle: Handle) -> None:
        def stalled(code: str) -> None:
            self._metrics.stalls.labels(stage, code).inc()

        async with self._broker.consume(queue, PREFETCH) as deliveries:
            self.attending += 1
            async for delivery in deliveries:
                try:
                    await patiently(partial(handle, delivery), stalled)
                except Exception as error:  # no message may end the worker
                    get_logger().error("chore failed", queue=queue, error=f"{type(error).__name__}: {error}")
                    said = headers(ComputeFailed(f"{type(error).__name__}: {error}"), stage, 1)
                    await patiently(partial(delivery.dead_letter, stage, said), stalled)


def _lane_queue(topology: Topology, stage: Stage, body: bytes) -> str:
    """Where it belongs; what cannot be read goes to the head of the line, to be refused there."""
    try:
        event = Envelope.parse(body).data
    except ContractError:
        return topology.lane_queues(stage, LANES[0])[0]
    options: Options = getattr(event, "options", Options())
    return topology.lane_queue(stage, options.lane, event.tenant)

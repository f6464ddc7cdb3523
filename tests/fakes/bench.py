"""A broker, a store and shells on them, for the tests of the shell."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker.embedded import Broker
from broker.interface import AGAIN, Message
from broker.topology import Topology
from contracts.envelope import Envelope, new_traceparent
from contracts.events import CaptureCancelled, DatasetUploaded, Event, UploadedFile
from tests.fakes.worker import Obedient
from workers.runtime.compute import Compute
from workers.runtime.folder import FolderStore
from workers.runtime.metrics import Metrics
from workers.runtime.outcome import Outcomes
from workers.runtime.run_loop import RunLoop
from workers.runtime.settings import Settings

TOPOLOGY = Topology(prefix="test", retry_delays=(0.05, 0.1))
PATIENCE = 120.0
"""Whatever takes as long does not come any more, however busy the machine."""


@dataclass
class Bench:
    """A broker, a store, and as many shells on them as the test wants."""

    folder: Path
    broker: Broker
    store: FolderStore
    settings: Settings
    metrics: Metrics

    @property
    def diary(self) -> Path:
        return self.folder / "diary"

    @property
    def computed(self) -> int:
        """How often the computation was begun."""
        return len(self.diary.read_text().splitlines()) if self.diary.exists() else 0

    @property
    def steps(self) -> list[int]:
        """The steps that `add up` has done, by whichever of its runs."""
        diary = Path(f"{self.diary}.steps")
        return [int(line) for line in diary.read_text().splitlines()] if diary.exists() else []

    async def upload(self, do: str, *, capture_id: str = "c1", **more: Any) -> DatasetUploaded:
        orders = self.folder / "orders.json"
        orders.write_text(json.dumps({"do": do, "diary": str(self.diary), **more}))
        key = f"captures/default/{capture_id}/upload/orders.json"
        await self.store.put(key, orders, "application/json")
        digest = hashlib.sha256(orders.read_bytes()).hexdigest()
        file = UploadedFile(key=key, bytes=orders.stat().st_size, sha256=digest)
        return DatasetUploaded(capture_id=capture_id, files=(file,))

    async def publish(self, event: Event, id: str = "event-1", *, again: bool = False) -> Envelope:
        """again: as one that a worker has given back."""
        envelope = Envelope.wrap(event, id=id, source="test", traceparent=new_traceparent())
        headers = {AGAIN: 1} if again else {}
        await self.broker.publish(Message(envelope.encode(), event.routing_key, id, headers))
        return envelope

    async def cancel(self, capture_id: str) -> None:
        """As a worker does that has read of it."""
        event = CaptureCancelled(capture_id=capture_id)
        envelope = Envelope.wrap(event, id="cancel", source="test", traceparent=new_traceparent())
        await Outcomes(self.broker, self.store).cancel(envelope)

    @asynccontextmanager
    async def shell(self) -> AsyncIterator[asyncio.Event]:
        """A running shell; setting the event yielded asks it to end."""
        compute, stop = Compute(("tests.fakes.task",), 1), asyncio.Event()
        worker = Obedient(self.settings)
        loop = RunLoop(worker, self.broker, self.store, compute, self.settings, self.metrics)
        running = asyncio.create_task(loop.run(stop))
        try:
            yield stop
            stop.set()
            await asyncio.wait_for(running, PATIENCE)
        finally:
            running.cancel()
            await compute.close()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - the condition is a file's or a list's state
                await asyncio.sleep(0.02)

    def outcomes(self, kind: type[Event]) -> list[Envelope]:
        parsed = [Envelope.parse(message.body) for message in self.broker._log if message.id != "raw"]
        return [envelope for envelope in parsed if isinstance(envelope.data, kind)]

    async def dead(self) -> list[Message]:
        queue = self.broker._queues[TOPOLOGY.dead_letter_queue("prepare")]
        return [item.message for item in queue.ready]

    async def depth(self) -> int:
        """How many events wait for the worker."""
        return sum([await self.broker.depth(queue) for queue in TOPOLOGY.live_queues("prepare")])

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"phototwin_{name}", labels) or 0.0

"""A broker inside one process, for `phototwin run` and for tests: the topology's own semantics,
nothing kept when the process ends."""

import asyncio
import math
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from broker.interface import AGAIN, Headers, Message
from broker.topology import Topology
from contracts.errors import BrokerUnavailable, EventReturned


@dataclass
class _Queued:
    """A message in a queue; `routing_key` is that of its last publish, as AMQP has it, which for a
    retry is not the event's."""

    message: Message
    routing_key: str
    returns: int = 0


@dataclass
class _Queue:
    name: str
    arguments: dict[str, Any]
    ready: deque[_Queued] = field(default_factory=deque)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    consumers: int = 0


class Broker:
    """`broker.interface.Broker` in this process; use it from one event loop only."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._queues = {q.name: _Queue(q.name, dict(q.arguments)) for q in topology.queues()}
        self._policies = [(re.compile(p.pattern), p.definition) for p in topology.policies()]
        self._log: list[Message] = []
        self._logged = asyncio.Condition()
        self._listeners: list[asyncio.Queue[Message]] = []
        self._timers: set[asyncio.Task[None]] = set()
        self._closed = False

    async def publish(self, message: Message) -> None:
        await self.route(self.topology.events, message.routing_key, message)

    async def send(self, queue: str, message: Message) -> None:
        await self.route(self.topology.work, queue, message)

    async def publish_progress(self, message: Message) -> None:
        for listener in self._listeners:
            listener.put_nowait(message)

    async def route(self, exchange: str, routing_key: str, message: Message, ttl: float = math.inf) -> None:
        """Into every queue bound to the exchange for the key; raises EventReturned where there is none."""
        if self._closed:
            raise BrokerUnavailable("the broker was closed")
        kinds = {e.name: e.type for e in self.topology.exchanges()}
        targets = [
            b.queue
            for b in self.topology.bindings()
            if b.exchange == exchange and _matches(kinds[exchange], b.routing_key, routing_key)
        ]
        if not targets:
            raise EventReturned(f"no queue is bound to {exchange} for routing key {routing_key!r}")
        for target in targets:
            await self._enqueue(self._queues[target], _Queued(message, routing_key), most=ttl)

    async def _enqueue(
        self, queue: _Queue, item: _Queued, *, front: bool = False, most: float = math.inf
    ) -> None:
        if queue.name == self.topology.outcomes:
            async with self._logged:
                self._log.append(item.message)
                self._logged.notify_all()
            return
        if ttl := queue.arguments.get("x-message-ttl"):
            timer = asyncio.create_task(self._expire(queue, item, min(most, ttl / 1000)))
            self._timers.add(timer)
            timer.add_done_callback(self._timers.discard)
            return
        async with queue.arrived:
            queue.ready.appendleft(item) if front else queue.ready.append(item)
            queue.arrived.notify()

    async def _expire(self, queue: _Queue, item: _Queued, seconds: float) -> None:
        await asyncio.sleep(seconds)
        with suppress(BrokerUnavailable):
            await self.route(queue.arguments["x-dead-letter-exchange"], item.routing_key, item.message)

    async def _return(self, queue: _Queue, item: _Queued) -> None:
        """Back to the queue's head after a consumer ended without settling; dead once too often."""
        arguments = queue.arguments
        rules = [arguments.get("x-delivery-limit", math.inf)]
        rules += [
            definition.get("delivery-limit", math.inf)
            for pattern, definition in self._policies
            if pattern.match(queue.name)
        ]
        if 0 <= min(rules) <= item.returns:
            await self.route(
                arguments["x-dead-letter-exchange"], arguments["x-dead-letter-routing-key"], item.message
            )
        else:
            await self._enqueue(queue, replace(item, returns=item.returns + 1), front=True)

    @asynccontextmanager
    async def consume(self, queue: str, prefetch: int) -> AsyncIterator[AsyncGenerator["Delivery", None]]:
        source, unsettled = self._queues[queue], asyncio.Semaphore(prefetch)
        pending: list[Delivery] = []

        async def deliveries() -> AsyncGenerator[Delivery, None]:
            while True:
                yield await self._deliver(source, unsettled, pending)

        generator = deliveries()
        source.consumers += 1
        try:
            yield generator
        finally:
            source.consumers -= 1
            await generator.aclose()
            for delivery in pending:
                await delivery.lost()

    @asynccontextmanager
    async def inbox(self, queues: Sequence[str]) -> AsyncIterator["Inbox"]:
        inbox = Inbox(self, {queue: self._queues[queue] for queue in queues})
        try:
            yield inbox
        finally:
            await inbox.close()

    async def _deliver(
        self, queue: _Queue, unsettled: asyncio.Semaphore, pending: list["Delivery"]
    ) -> "Delivery":
        """The next message of the queue, once another may be unsettled."""
        await unsettled.acquire()
        try:
            async with queue.arrived:
                await queue.arrived.wait_for(lambda: queue.ready)
                pending.append(Delivery(self, queue, queue.ready.popleft(), unsettled))
        except asyncio.CancelledError:
            unsettled.release()
            raise
        return pending[-1]

    @asynccontextmanager
    async def outcomes(
        self, offset: int | str = "first"
    ) -> AsyncIterator[AsyncGenerator[tuple[int, Message], None]]:
        start = {"first": 0, "next": len(self._log)}[offset] if isinstance(offset, str) else offset

        async def entries() -> AsyncGenerator[tuple[int, Message], None]:
            place = start
            while True:
                async with self._logged:
                    while len(self._log) <= place:
                        await self._logged.wait()
                yield place, self._log[place]
                place += 1

        generator = entries()
        try:
            yield generator
        finally:
            await generator.aclose()

    @asynccontextmanager
    async def progress(self) -> AsyncIterator[AsyncGenerator[Message, None]]:
        inbox: asyncio.Queue[Message] = asyncio.Queue()

        async def messages() -> AsyncGenerator[Message, None]:
            while True:
                yield await inbox.get()

        self._listeners.append(inbox)
        generator = messages()
        try:
            yield generator
        finally:
            self._listeners.remove(inbox)
            await generator.aclose()

    async def depth(self, queue: str) -> int:
        return len(self._queues[queue].ready)

    async def listeners(self, queue: str) -> int:
        return self._queues[queue].consumers

    def fault(self) -> str | None:
        return None

    async def close(self) -> None:
        self._closed = True
        for timer in self._timers:
            timer.cancel()


class Inbox:
    """`broker.interface.Inbox` of the embedded broker."""

    def __init__(self, broker: Broker, queues: dict[str, _Queue]) -> None:
        self._broker, self._queues = broker, queues
        self._pending: list[Delivery] = []
        self._arrived: asyncio.Queue[Delivery] = asyncio.Queue()
        self._listening: list[asyncio.Task[None]] = []

    async def take(self, queue: str) -> "Delivery | None":
        source = self._queues[queue]
        if not source.ready:
            return None
        return await self._broker._deliver(source, asyncio.Semaphore(1), self._pending)

    async def listen(self) -> None:
        async def hear(queue: _Queue) -> None:
            unsettled = asyncio.Semaphore(1)
            while True:
                await self._arrived.put(await self._broker._deliver(queue, unsettled, self._pending))

        self._listening = [asyncio.create_task(hear(queue)) for queue in self._queues.values()]

    async def arrival(self) -> "Delivery":
        return await self._arrived.get()

    async def hush(self) -> None:
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)
        while not self._arrived.empty():
            await self._arrived.get_nowait().give_back()

    async def close(self) -> None:
        """What is unsettled comes again."""
        for task in self._listening:
            task.cancel()
        for delivery in self._pending:
            await delivery.lost()


class Delivery:
    """`broker.interface.Delivery` of the embedded broker."""

    def __init__(self, broker: Broker, queue: _Queue, item: _Queued, slot: asyncio.Semaphore) -> None:
        self.message = item.message
        self.returns = item.returns
        self.again = item.returns > 0 or AGAIN in item.message.headers
        self._broker, self._queue, self._item, self._slot = broker, queue, item, slot
        self._settled = False

    async def ack(self) -> None:
        if not self._settled:
            self._settled = True
            self._slot.release()

    async def retry(self, body: bytes, delay: float) -> None:
        exchange = self._broker.topology.retry(delay)
        await self._broker.route(exchange, self._queue.name, replace(self.message, body=body), delay)
        await self.ack()

    async def give_back(self) -> None:
        headers = {**self.message.headers, AGAIN: 1}
        await self._broker.send(self._queue.name, replace(self.message, headers=headers))
        await self.ack()

    async def forward(self, queue: str) -> None:
        await self._broker.send(queue, self.message)
        await self.ack()

    async def dead_letter(self, worker: str, headers: Headers) -> None:
        message = replace(self.message, headers={**self.message.headers, **headers})
        topology = self._broker.topology
        await self._broker.route(topology.dead, topology.dead_letter_queue(worker), message)
        await self.ack()

    async def lost(self) -> None:
        """The consumer has ended: what it did not settle comes again."""
        if not self._settled:
            await self.ack()
            with suppress(BrokerUnavailable):
                await self._broker._return(self._queue, self._item)


def _matches(kind: str, pattern: str, routing_key: str) -> bool:
    """The binding patterns that our topology uses: exact keys and a lone `#`."""
    return kind == "fanout" or pattern in ("#", routing_key)

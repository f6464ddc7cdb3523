"""A broker inside one process, for `phototwin run` and for tests: the topology's own semantics,
nothing kept when the process ends."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from broker.interface import Headers, Message
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


class Broker:
    """`broker.interface.Broker` in this process; use it from one event loop only."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._queues = {q.name: _Queue(q.name, dict(q.arguments)) for q in topology.queues()}
        self._log: list[Message] = []
        self._logged = asyncio.Condition()
        self._listeners: list[asyncio.Queue[Message]] = []
        self._timers: set[asyncio.Task[None]] = set()
        self._closed = False

    async def publish(self, message: Message) -> None:
        if not await self.route(self.topology.events, message.routing_key, message):
            raise EventReturned(f"no queue is bound for routing key {message.routing_key!r}")

    async def publish_progress(self, message: Message) -> None:
        for listener in self._listeners:
            listener.put_nowait(message)

    async def route(self, exchange: str, routing_key: str, message: Message) -> bool:
        """Into every queue bound to the exchange for the key; false where there is none."""
        if self._closed:
            raise BrokerUnavailable("the broker was closed")
        kinds = {e.name: e.type for e in self.topology.exchanges()}
        targets = [
            b.queue
            for b in self.topology.bindings()
            if b.exchange == exchange and _matches(kinds[exchange], b.routing_key, routing_key)
        ]
        if exchange == "":
            targets = [routing_key]
        for target in targets:
            await self._enqueue(self._queues[target], _Queued(message, routing_key))
        return bool(targets)

    async def _enqueue(self, queue: _Queue, item: _Queued, *, front: bool = False) -> None:
        if queue.name == self.topology.outcomes:
            async with self._logged:
                self._log.append(item.message)
                self._logged.notify_all()
            return
        if ttl := queue.arguments.get("x-message-ttl"):
            timer = asyncio.create_task(self._expire(queue, item, ttl / 1000))
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
        limit = queue.arguments.get("x-delivery-limit")
        if limit is not None and item.returns >= limit:
            arguments = queue.arguments
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
                await unsettled.acquire()
                async with source.arrived:
                    await source.arrived.wait_for(lambda: source.ready)
                    delivery = Delivery(self, source, source.ready.popleft(), unsettled)
                pending.append(delivery)
                yield delivery

        generator = deliveries()
        try:
            yield generator
        finally:
            await generator.aclose()
            for delivery in pending:
                await delivery.lost()

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

    async def close(self) -> None:
        self._closed = True
        for timer in self._timers:
            timer.cancel()


class Delivery:
    """`broker.interface.Delivery` of the embedded broker."""

    def __init__(self, broker: Broker, queue: _Queue, item: _Queued, slot: asyncio.Semaphore) -> None:
        self.message = item.message
        self.returns = item.returns
        self._broker, self._queue, self._item, self._slot = broker, queue, item, slot
        self._settled = False

    async def ack(self) -> None:
        if not self._settled:
            self._settled = True
            self._slot.release()

    async def retry(self, body: bytes, delay: float) -> None:
        exchange = self._broker.topology.retry(delay)
        await self._broker.route(exchange, self._queue.name, replace(self.message, body=body))
        await self.ack()

    async def give_back(self) -> None:
        await self._broker.route("", self._queue.name, self.message)
        await self.ack()

    async def dead_letter(self, headers: Headers) -> None:
        message = replace(self.message, headers={**self.message.headers, **headers})
        await self._broker.route(self._broker.topology.dead, self._queue.name, message)
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

"""The broker interface on RabbitMQ (3.10 and later), over aio-pika.

Publishing and consuming have a connection each, so that a connection blocked by a broker alarm
still carries acknowledgements. Both reconnect by themselves; a consumer resumes on its own.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Self

import aio_pika
from aio_pika.abc import (
    AbstractIncomingMessage,
    AbstractQueue,
    AbstractRobustChannel,
    AbstractRobustConnection,
)
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, ChannelPreconditionFailed, PublishError

from broker.interface import Headers, Message
from broker.topology import Topology
from contracts.errors import BrokerUnavailable, DeliveryLost, EventReturned

CONTENT_TYPE = "application/cloudevents+json"
GOODBYE_SECONDS = 3.0


class Broker:
    """`broker.interface.Broker` on RabbitMQ; make one with `connect`."""

    def __init__(
        self,
        topology: Topology,
        publishing: AbstractRobustConnection,
        consuming: AbstractRobustConnection,
        confirmed: AbstractRobustChannel,
        timeout: float,
    ) -> None:
        self.topology = topology
        self._publishing = publishing
        self._consuming = consuming
        self._confirmed = confirmed
        self._timeout = timeout
        self._transient: AbstractRobustChannel | None = None

    @classmethod
    async def connect(cls, url: str, topology: Topology, *, name: str, timeout: float = 30.0) -> Self:
        """`name` is what the broker's management page shows; `timeout` in seconds bounds each
        operation. Raises BrokerUnavailable."""
        with _broker_errors(f"cannot connect to RabbitMQ as {name}"):
            options: dict[str, Any] = {"reconnect_interval": 1, "timeout": timeout, "heartbeat": 30}
            publishing = await aio_pika.connect_robust(
                url, client_properties={"connection_name": f"{name} publish"}, **options
            )
            consuming = await aio_pika.connect_robust(
                url, client_properties={"connection_name": f"{name} consume"}, **options
            )
            confirmed = await publishing.channel(publisher_confirms=True, on_return_raises=True)
        return cls(topology, publishing, consuming, confirmed, timeout)

    async def publish(self, message: Message) -> None:
        await self.publish_to(self.topology.events, message.routing_key, message)

    async def publish_to(self, exchange: str, routing_key: str, message: Message) -> None:
        """Persistent, confirmed, mandatory, to any exchange (`""` is the default one)."""
        outgoing = aio_pika.Message(
            message.body,
            headers=dict(message.headers) or None,
            content_type=CONTENT_TYPE,
            message_id=message.id,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        try:
            with _broker_errors(f"cannot publish to {exchange or routing_key}"):
                async with asyncio.timeout(self._timeout):
                    target = (
                        await self._confirmed.get_exchange(exchange, ensure=False)
                        if exchange
                        else self._confirmed.default_exchange
                    )
                    await target.publish(outgoing, routing_key, mandatory=True)
        except PublishError:
            raise EventReturned(
                f"no queue is bound to {exchange or 'the default exchange'} for {routing_key!r}; "
                "run 'phototwin topology apply'"
            ) from None

    async def publish_progress(self, message: Message) -> None:
        with _broker_errors("cannot publish progress"):
            async with asyncio.timeout(self._timeout):
                if self._transient is None:
                    self._transient = await self._publishing.channel(publisher_confirms=False)
                exchange = await self._transient.get_exchange(self.topology.progress, ensure=False)
                body = aio_pika.Message(message.body, content_type=CONTENT_TYPE, message_id=message.id)
                await exchange.publish(body, message.routing_key, mandatory=False)

    @asynccontextmanager
    async def consume(self, queue: str, prefetch: int) -> AsyncIterator[AsyncGenerator["Delivery", None]]:
        async with self._incoming(queue, prefetch) as incoming:

            async def deliveries() -> AsyncGenerator[Delivery, None]:
                try:
                    while True:
                        yield Delivery(self, queue, await incoming.get())
                finally:
                    await incoming.stop()
                    while not incoming.empty():
                        await Delivery(self, queue, incoming.get_nowait()).give_back()

            generator = deliveries()
            try:
                yield generator
            finally:
                with suppress(BrokerUnavailable):  # what is not given back comes again all the same
                    await generator.aclose()

    @asynccontextmanager
    async def outcomes(
        self, offset: int | str = "first"
    ) -> AsyncIterator[AsyncGenerator[tuple[int, Message], None]]:
        arguments = {"x-stream-offset": offset}
        async with self._incoming(self.topology.outcomes, 100, arguments) as incoming:

            async def entries() -> AsyncGenerator[tuple[int, Message], None]:
                while True:
                    message = await incoming.get()
                    await message.ack()
                    place = int(message.headers["x-stream-offset"])  # type: ignore[arg-type]
                    # A chunk of the stream is delivered whole, also what lies before the offset.
                    if not isinstance(offset, int) or place >= offset:
                        yield place, _message(message)

            yield entries()

    @asynccontextmanager
    async def progress(self) -> AsyncIterator[AsyncGenerator[Message, None]]:
        with _broker_errors("cannot listen to progress"):
            channel = await self._consuming.channel(publisher_confirms=False)
            queue = await channel.declare_queue(exclusive=True, auto_delete=True)
            await queue.bind(self.topology.progress)
        async with queue.iterator(no_ack=True) as incoming:

            async def messages() -> AsyncGenerator[Message, None]:
                async for message in incoming:
                    yield _message(message)

            yield messages()
        await channel.close()

    async def depth(self, queue: str) -> int:
        with _broker_errors(f"cannot inspect {queue}"):
            async with asyncio.timeout(self._timeout):
                channel = await self._consuming.channel(publisher_confirms=False)
                try:
                    found = await channel.declare_queue(queue, passive=True, robust=False)
                    return found.declaration_result.message_count or 0
                finally:
                    await channel.close()

    def fault(self) -> str | None:
        """One sentence where a connection is down (it is then being made again), else None."""
        for name, connection in (("publishing", self._publishing), ("consuming", self._consuming)):
            if not connection.connected.is_set():
                return f"the {name} connection to RabbitMQ is down"
        return None

    async def apply(self) -> None:
        """Create what the topology names and is missing. Raises BrokerUnavailable where something
        of that name exists with other properties."""
        with _broker_errors("cannot apply the topology"):
            channel = await self._publishing.channel(publisher_confirms=False)
            async with channel:
                for exchange in self.topology.exchanges():
                    await channel.declare_exchange(exchange.name, exchange.type, durable=True)
                for queue in self.topology.queues():
                    await channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))
                for binding in self.topology.bindings():
                    bound = await channel.get_queue(binding.queue, ensure=False)
                    await bound.bind(binding.exchange, binding.routing_key)

    async def close(self) -> None:
        await _goodbye(self._publishing.close())
        await _goodbye(self._consuming.close())

    @asynccontextmanager
    async def _incoming(
        self, queue: str, prefetch: int, arguments: dict[str, Any] | None = None
    ) -> AsyncIterator["_Incoming"]:
        """Messages of a queue as they arrive; closing the channel gives back what is unsettled."""
        with _broker_errors(f"cannot consume {queue}"):
            channel = await self._consuming.channel(publisher_confirms=False)
            await channel.set_qos(prefetch_count=prefetch)
            incoming = _Incoming(await channel.declare_queue(queue, passive=True))
            await incoming.start(arguments)
        try:
            yield incoming
        finally:
            await _goodbye(channel.close())


class _Incoming(asyncio.Queue[AbstractIncomingMessage]):
    """What a consumer was sent and nobody has taken yet."""

    def __init__(self, source: AbstractQueue) -> None:
        super().__init__()
        self._source = source

    async def start(self, arguments: dict[str, Any] | None) -> None:
        self._tag = await self._source.consume(self.put, arguments=arguments)

    async def stop(self) -> None:
        await _goodbye(self._source.cancel(self._tag))


class Delivery:
    """`broker.interface.Delivery` on RabbitMQ."""

    def __init__(self, broker: Broker, queue: str, incoming: AbstractIncomingMessage) -> None:
        self.message = _message(incoming)
        self.returns = int(incoming.headers.get("x-delivery-count") or 0)  # type: ignore[arg-type]
        self._broker, self._queue, self._incoming = broker, queue, incoming

    async def ack(self) -> None:
        try:
            with _broker_errors("cannot acknowledge"):
                await self._incoming.ack()
        except BrokerUnavailable as error:
            raise DeliveryLost(error.message) from error

    async def retry(self, body: bytes, delay: float) -> None:
        message = Message(body, self.message.routing_key, self.message.id)
        await self._move(self._broker.topology.retry(delay), message)

    async def give_back(self) -> None:
        await self._move("", self.message)

    async def dead_letter(self, headers: Headers) -> None:
        message = self.message
        headers = {**message.headers, **headers}
        dead = Message(message.body, message.routing_key, message.id, headers)
        await self._move(self._broker.topology.dead, dead)

    async def _move(self, exchange: str, message: Message) -> None:
        """Safely elsewhere first."""
        await self._broker.publish_to(exchange, self._queue, message)
        await self.ack()


def _message(incoming: AbstractIncomingMessage) -> Message:
    # Headers that the broker itself adds (x-death, x-delivery-count, ...) are not the message's own.
    headers = {
        name: value
        for name, value in incoming.headers.items()
        if isinstance(value, str | int) and name.startswith("phototwin-")
    }
    return Message(incoming.body, incoming.routing_key or "", incoming.message_id or "", headers)


async def _goodbye(farewell: Awaitable[object]) -> None:
    """Said politely where the broker answers; where it does not, it notices by itself, and whatever was
    unsettled comes again."""
    with suppress(BrokerUnavailable), _broker_errors("cannot close"):
        async with asyncio.timeout(GOODBYE_SECONDS):
            await farewell


@contextmanager
def _broker_errors(doing: str) -> Iterator[None]:
    """Whatever aio-pika raises, as one error of ours that says what could not be done."""
    try:
        yield
    except PublishError:
        raise
    except (ChannelNotFoundEntity, ChannelPreconditionFailed) as error:
        raise BrokerUnavailable(f"{doing}: {error}; run 'phototwin topology apply'") from error
    except (AMQPError, OSError, TimeoutError, RuntimeError) as error:
        raise BrokerUnavailable(f"{doing}: {type(error).__name__}: {error}") from error

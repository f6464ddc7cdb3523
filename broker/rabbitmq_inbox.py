"""What comes out of RabbitMQ: deliveries, and the queues that they come from."""

import asyncio
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aio_pika.abc import AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, ChannelPreconditionFailed, DeliveryError
from aiormq.exceptions import ChannelAccessRefused

from broker.interface import AGAIN, Headers, Message
from contracts.errors import BrokerUnavailable, DeliveryLost

if TYPE_CHECKING:
    from broker.rabbitmq import Broker

GOODBYE_SECONDS = 3.0


class Incoming(asyncio.Queue[tuple[AbstractQueue, AbstractIncomingMessage]]):
    """What we were sent and nobody has taken yet."""

    def __init__(self) -> None:
        super().__init__()
        self._tags: list[tuple[AbstractQueue, str]] = []

    async def start(self, source: AbstractQueue, arguments: dict[str, Any] | None = None) -> None:
        async def hold(message: AbstractIncomingMessage) -> None:
            await self.put((source, message))

        self._tags.append((source, await source.consume(hold, arguments=arguments)))

    async def stop(self) -> None:
        tags, self._tags = self._tags, []
        await asyncio.gather(*(goodbye(source.cancel(tag)) for source, tag in tags))


class Inbox:
    """`broker.interface.Inbox` on one channel."""

    def __init__(self, broker: "Broker", sources: Mapping[str, AbstractQueue], timeout: float) -> None:
        self._broker, self._sources, self._timeout = broker, sources, timeout
        self._incoming = Incoming()

    async def take(self, queue: str) -> "Delivery | None":
        with broker_errors(f"cannot take from {queue}"):
            async with asyncio.timeout(self._timeout):
                message = await self._sources[queue].get(fail=False, timeout=self._timeout)
        return None if message is None else Delivery(self._broker, queue, message)

    async def listen(self) -> None:
        try:
            with broker_errors("cannot consume"):
                async with asyncio.timeout(self._timeout):
                    await asyncio.gather(*map(self._incoming.start, self._sources.values()))
        except BrokerUnavailable:
            await self._incoming.stop()  # those that were started, or they would be started twice
            raise

    async def arrival(self) -> "Delivery":
        source, message = await self._incoming.get()
        return Delivery(self._broker, source.name, message)

    async def hush(self) -> None:
        await self._incoming.stop()
        while not self._incoming.empty():
            source, message = self._incoming.get_nowait()
            with suppress(DeliveryLost):  # then it is given back already
                await Delivery(self._broker, source.name, message).give_back()


class Delivery:
    """`broker.interface.Delivery` on RabbitMQ."""

    def __init__(self, broker: "Broker", queue: str, incoming: AbstractIncomingMessage) -> None:
        self.message = read(incoming)
        self.returns = int(incoming.headers.get("x-delivery-count") or 0)  # type: ignore[arg-type]
        self.again = bool(incoming.redelivered) or AGAIN in self.message.headers
        self._broker, self._queue, self._incoming = broker, queue, incoming

    async def ack(self) -> None:
        await self._settle(self._incoming.ack(), "cannot acknowledge")

    async def retry(self, body: bytes, delay: float) -> None:
        topology = self._broker.topology
        again = Message(body, self.message.routing_key, self.message.id)
        await self._move(topology.retry(delay), self._queue, again, min(delay, max(topology.retry_delays)))

    async def give_back(self) -> None:
        if self._broker.version.returning_is_free:
            await self._settle(self._incoming.nack(requeue=True), "cannot give back")
        else:
            message = replace(self.message, headers={**self.message.headers, AGAIN: 1})
            await self._move(self._broker.topology.work, self._queue, message)

    async def forward(self, queue: str) -> None:
        await self._move(self._broker.topology.work, queue, self.message)

    async def dead_letter(self, worker: str, headers: Headers) -> None:
        message = self.message
        dead = Message(message.body, message.routing_key, message.id, {**message.headers, **headers})
        topology = self._broker.topology
        await self._move(topology.dead, topology.dead_letter_queue(worker), dead)

    async def _move(
        self, exchange: str, routing_key: str, message: Message, expiration: float | None = None
    ) -> None:
        """Safely elsewhere first."""
        await self._broker.publish_to(exchange, routing_key, message, expiration)
        await self.ack()

    async def _settle(self, settling: Awaitable[object], doing: str) -> None:
        try:
            with broker_errors(doing):
                await settling
        except BrokerUnavailable as error:
            raise DeliveryLost(error.message) from error


def read(incoming: AbstractIncomingMessage) -> Message:
    # Headers that the broker itself adds (x-death, x-delivery-count, ...) are not the message's own.
    headers = {
        name: value
        for name, value in incoming.headers.items()
        if isinstance(value, str | int) and name.startswith("phototwin-")
    }
    return Message(incoming.body, incoming.routing_key or "", incoming.message_id or "", headers)


async def goodbye(farewell: Awaitable[object]) -> None:
    """Said politely where the broker answers; where it does not, it notices by itself, and whatever was
    unsettled comes again."""
    with suppress(BrokerUnavailable), broker_errors("cannot close"):
        async with asyncio.timeout(GOODBYE_SECONDS):
            await farewell


@contextmanager
def broker_errors(doing: str) -> Iterator[None]:
    """Whatever aio-pika raises, as one error of ours that says what could not be done; but what becomes of
    a message that was published is for the publisher to judge."""
    try:
        yield
    except DeliveryError:
        raise
    except ChannelNotFoundEntity as error:
        raise BrokerUnavailable(f"{doing}: {error}; run 'phototwin topology apply'") from error
    except ChannelPreconditionFailed as error:
        hint = "where it is a queue or exchange of other properties, empty and delete it first"
        raise BrokerUnavailable(f"{doing}: {error}; {hint}") from error
    except ChannelAccessRefused as error:
        raise BrokerUnavailable(f"{doing}: {error}; run 'phototwin topology users'") from error
    except (AMQPError, OSError, TimeoutError, RuntimeError) as error:
        raise BrokerUnavailable(f"{doing}: {type(error).__name__}: {error}") from error

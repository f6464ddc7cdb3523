"""The broker interface on RabbitMQ (3.10 and later), over aio-pika.

Publishing and consuming have a connection each, so that a connection blocked by a broker alarm
still carries acknowledgements. Both reconnect by themselves; a consumer resumes on its own.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import aio_pika
from aio_pika.abc import AbstractRobustChannel, AbstractRobustConnection
from aio_pika.exceptions import ChannelNotFoundEntity, DeliveryError, PublishError

from broker.interface import Message
from broker.management import Management
from broker.rabbitmq_inbox import Delivery, Inbox, Incoming, broker_errors, goodbye, read
from broker.topology import Topology
from broker.versions import Version
from contracts.errors import BrokerUnavailable, EventReturned

CONTENT_TYPE = "application/cloudevents+json"
BLOCKED = "RabbitMQ takes no messages for the time being: its memory or its disk is nearly full"


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
        self._checked: object = None
        self._lost: dict[AbstractRobustConnection, str] = {}
        for connection in (publishing, consuming):
            connection.close_callbacks.add(self._note)
        found = getattr(self._connection(), "server_properties", None) or {}
        self.version = Version.parse(str(found.get("version", "")))

    @classmethod
    async def connect(
        cls, url: str, topology: Topology, *, name: str, ca_file: str | None = None, timeout: float = 30.0
    ) -> Self:
        """`name` is what the broker's management page shows; `timeout` in seconds bounds each
        operation. With amqps the broker's certificate is verified whatever the URL says: by the authorities
        in `ca_file`, or the system's. Raises BrokerUnavailable."""
        with broker_errors(f"cannot connect to RabbitMQ as {name}"):
            options: dict[str, Any] = {"reconnect_interval": 1, "timeout": timeout, "heartbeat": 30}
            options["ssl_context"] = ssl.create_default_context(cafile=ca_file)
            publishing = await aio_pika.connect_robust(
                url, client_properties={"connection_name": f"{name} publish"}, **options
            )
            consuming = await aio_pika.connect_robust(
                url, client_properties={"connection_name": f"{name} consume"}, **options
            )
            confirmed = await publishing.channel(publisher_confirms=True, on_return_raises=True)
        return cls(topology, publishing, consuming, confirmed, timeout)

    async def publish(self, message: Message) -> None:
        await self._check_outcomes()
        await self.publish_to(self.topology.events, message.routing_key, message)

    async def _check_outcomes(self) -> None:
        """Once for each connection. RabbitMQ (3.10) that was killed answers again before its streams do, and
        confirms for about half a second what its other queues got and the stream of outcomes never will."""
        if self._connection() is self._checked is not None:
            return
        outcomes = self.topology.outcomes
        try:
            with broker_errors(f"cannot inspect {outcomes}"):
                async with asyncio.timeout(self._timeout):
                    await self._publishing.connected.wait()
                    connection = self._connection()
                    channel = await self._publishing.channel(publisher_confirms=False)
                    async with channel:
                        await channel.declare_queue(outcomes, passive=True, robust=False)
        except BrokerUnavailable as error:
            if isinstance(error.__cause__, ChannelNotFoundEntity):
                raise EventReturned(
                    f"{outcomes} is not there, or not yet; run 'phototwin topology apply'"
                ) from error
            raise
        self._checked = connection

    def _connection(self) -> Any:
        """The one that we publish over at present: another after each reconnection."""
        return getattr(self._publishing.transport, "connection", None)

    async def send(self, queue: str, message: Message) -> None:
        await self.publish_to(self.topology.work, queue, message)

    async def publish_to(
        self, exchange: str, routing_key: str, message: Message, expiration: float | None = None
    ) -> None:
        """Persistent, confirmed, mandatory, to any exchange; `expiration` in seconds."""
        outgoing = aio_pika.Message(
            message.body,
            headers=dict(message.headers) or None,
            content_type=CONTENT_TYPE,
            message_id=message.id,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            expiration=expiration,
        )
        try:
            with broker_errors(f"cannot publish to {exchange}"):
                async with asyncio.timeout(self._timeout):
                    target = await self._confirmed.get_exchange(exchange, ensure=False)
                    await target.publish(outgoing, routing_key, mandatory=True)
        except PublishError:
            raise EventReturned(
                f"no queue is bound to {exchange} for {routing_key!r}; run 'phototwin topology apply'"
            ) from None
        except DeliveryError:
            raise BrokerUnavailable(
                f"{exchange} takes no {routing_key!r} now: a queue it leads to is full, or has no leader"
            ) from None
        except BrokerUnavailable as error:
            if await self.blocked():
                raise BrokerUnavailable(f"{error.message}; {BLOCKED}") from error
            raise

    async def publish_progress(self, message: Message) -> None:
        with broker_errors("cannot publish progress"):
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
                        yield Delivery(self, queue, (await incoming.get())[1])
                finally:
                    await incoming.stop()
                    while not incoming.empty():
                        await Delivery(self, queue, incoming.get_nowait()[1]).give_back()

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
                    _, message = await incoming.get()
                    await message.ack()
                    place = int(message.headers["x-stream-offset"])  # type: ignore[arg-type]
                    # A chunk of the stream is delivered whole, also what lies before the offset.
                    if not isinstance(offset, int) or place >= offset:
                        yield place, read(message)

            yield entries()

    @asynccontextmanager
    async def progress(self) -> AsyncIterator[AsyncGenerator[Message, None]]:
        with broker_errors("cannot listen to progress"):
            channel = await self._consuming.channel(publisher_confirms=False)
            queue = await channel.declare_queue(exclusive=True, auto_delete=True)
            await queue.bind(self.topology.progress)
        async with queue.iterator(no_ack=True) as incoming:

            async def messages() -> AsyncGenerator[Message, None]:
                async for message in incoming:
                    yield read(message)

            yield messages()
        await channel.close()

    async def depth(self, queue: str) -> int:
        return (await self._inspected(queue))[0]

    async def listeners(self, queue: str) -> int:
        return (await self._inspected(queue))[1]

    async def _inspected(self, queue: str) -> tuple[int, int]:
        """How many messages and consumers it has."""
        with broker_errors(f"cannot inspect {queue}"):
            async with asyncio.timeout(self._timeout):
                channel = await self._consuming.channel(publisher_confirms=False)
                try:
                    found = await channel.declare_queue(queue, passive=True, robust=False)
                    told = found.declaration_result
                    return told.message_count or 0, told.consumer_count or 0
                finally:
                    await channel.close()

    @asynccontextmanager
    async def inbox(self, queues: Sequence[str]) -> AsyncIterator[Inbox]:
        with broker_errors("cannot consume"):
            channel = await self._consuming.channel(publisher_confirms=False)
            await channel.set_qos(prefetch_count=1)  # of each consumer
            sources = {queue: await channel.declare_queue(queue, passive=True) for queue in queues}
        inbox = Inbox(self, sources, self._timeout)
        try:
            yield inbox
        finally:
            await goodbye(channel.close())

    def fault(self) -> str | None:
        """One sentence where a connection is down (it is then being made again), else None."""
        for name, connection in (("publishing", self._publishing), ("consuming", self._consuming)):
            if not connection.connected.is_set():
                return f"the {name} connection to RabbitMQ is down{self._lost.get(connection, '')}"
        return None

    def _note(self, connection: Any, error: BaseException | None = None) -> None:
        """Why it ended, or could not be made again."""
        self._lost[connection] = f": {type(error).__name__}: {error}"[:500] if error else ""

    async def blocked(self) -> bool:
        """Whether the broker has asked us to publish nothing for a while."""
        underlay = self._connection()
        if underlay is None or not underlay.connected.is_set():
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await underlay.ready()
                return False
        return True

    async def check(self, queues: Sequence[str]) -> None:
        """Raises BrokerUnavailable where one of these, or an exchange, is missing."""
        with broker_errors("the topology is not whole"):
            channel = await self._publishing.channel(publisher_confirms=False)
            async with channel:
                for exchange in self.topology.exchanges():
                    await channel.declare_exchange(exchange.name, exchange.type, passive=True)
                for queue in queues:
                    await channel.declare_queue(queue, passive=True)

    async def apply(self, management: Management) -> None:
        """Create what the topology names and is missing, and set its policies. Raises BrokerUnavailable
        where something of that name exists with other properties."""
        with broker_errors("cannot apply the topology"):
            channel = await self._publishing.channel(publisher_confirms=False)
            async with channel:
                for exchange in self.topology.exchanges():
                    await channel.declare_exchange(exchange.name, exchange.type, durable=True)
                for queue in self.topology.queues():
                    await channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))
                for binding in self.topology.bindings():
                    bound = await channel.get_queue(binding.queue, ensure=False)
                    await bound.bind(binding.exchange, binding.routing_key)
        for policy in self.topology.policies(self.version):
            await management.put_policy(policy)

    async def close(self) -> None:
        await goodbye(self._publishing.close())
        await goodbye(self._consuming.close())

    @asynccontextmanager
    async def _incoming(
        self, queue: str, prefetch: int, arguments: dict[str, Any] | None = None
    ) -> AsyncIterator["Incoming"]:
        """Messages of a queue as they arrive; closing the channel gives back what is unsettled."""
        with broker_errors(f"cannot consume {queue}"):
            channel = await self._consuming.channel(publisher_confirms=False)
            await channel.set_qos(prefetch_count=prefetch)
            incoming = Incoming()
            await incoming.start(await channel.declare_queue(queue, passive=True), arguments)
        try:
            yield incoming
        finally:
            await goodbye(channel.close())

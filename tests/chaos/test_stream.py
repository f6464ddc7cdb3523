"""What only the long form happens upon: the moment in which RabbitMQ is back and its stream is not."""

import asyncio
import uuid

import aio_pika
import pytest

from broker.interface import Message
from broker.management import Management
from broker.rabbitmq import Broker
from broker.topology import Topology
from contracts.errors import EventReturned
from tests.servers.rabbitmq import Broker as Server


async def test_nothing_is_published_past_a_stream_that_is_away(rabbitmq: Server) -> None:
    topology = Topology(prefix=f"stream-{uuid.uuid4().hex[:8]}", shards=1)
    applier = await Broker.connect(rabbitmq.url, topology, name="test")
    await applier.apply(Management.of(rabbitmq.url, rabbitmq.management_url))
    async with await aio_pika.connect(rabbitmq.url) as connection, connection.channel() as channel:
        await channel.queue_delete(topology.outcomes)
    broker = await Broker.connect(rabbitmq.url, topology, name="test")
    with pytest.raises(EventReturned, match="topology apply"):
        await broker.publish(Message(b"{}", "dataset.uploaded", "1"))
    assert await broker.depth(topology.arrivals("prepare")) == 0
    await applier.apply(Management.of(rabbitmq.url, rabbitmq.management_url))
    await broker.publish(Message(b"{}", "dataset.uploaded", "1"))
    async with asyncio.timeout(60):
        while await broker.depth(topology.arrivals("prepare")) != 1:  # noqa: ASYNC110 - a busy RabbitMQ counts later
            await asyncio.sleep(0.1)
    await applier.close()
    await broker.close()

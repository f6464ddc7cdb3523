"""The test servers are real: they keep the promises that the workers build on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from uuid import uuid4

import aio_pika
import aioboto3
import pytest
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustChannel
from aiobotocore.config import AioConfig
from aiormq import spec
from botocore.exceptions import ClientError
from types_aiobotocore_s3 import S3Client

from tests.servers.ceph import ObjectStore
from tests.servers.rabbitmq import Broker, RabbitMQ

SETTLING_SECONDS = 2
PERSISTENT = aio_pika.Message(b"photo", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)


@pytest.fixture
async def channel(rabbitmq: Broker) -> AsyncIterator[AbstractRobustChannel]:
    async with await aio_pika.connect_robust(rabbitmq.url) as connection:
        yield await connection.channel(publisher_confirms=True)


@pytest.fixture
async def client(s3: ObjectStore) -> AsyncIterator[S3Client]:
    async with s3_client(s3, s3.secret) as client:
        yield client


def s3_client(s3: ObjectStore, secret: str) -> AbstractAsyncContextManager[S3Client]:
    return aioboto3.Session().client(
        "s3",
        region_name="us-east-1",
        endpoint_url=s3.endpoint_url,
        aws_access_key_id=s3.key,
        aws_secret_access_key=secret,
        config=AioConfig(s3={"addressing_style": "path"}),
    )


async def test_a_quorum_queue_confirms_and_delivers(channel: AbstractRobustChannel) -> None:
    queue = await channel.declare_queue(
        f"quorum-{uuid4()}", durable=True, arguments={"x-queue-type": "quorum"}
    )
    confirmation = await channel.default_exchange.publish(PERSISTENT, queue.name)
    assert isinstance(confirmation, spec.Basic.Ack)
    message = await queue.get(timeout=60)
    assert message.body == b"photo"
    await message.ack()
    await queue.delete(if_unused=False, if_empty=False)


async def test_a_stream_queue_replays_to_every_reader(channel: AbstractRobustChannel) -> None:
    stream = await channel.declare_queue(
        f"stream-{uuid4()}", durable=True, arguments={"x-queue-type": "stream"}
    )
    await channel.default_exchange.publish(PERSISTENT, stream.name)
    await channel.set_qos(prefetch_count=10)
    for _ in range(2):
        arrived: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def read(message: AbstractIncomingMessage, arrived: asyncio.Future[bytes] = arrived) -> None:
            await message.ack()
            arrived.set_result(message.body)

        reader = await stream.consume(read, arguments={"x-stream-offset": "first"})
        assert await asyncio.wait_for(arrived, timeout=60) == b"photo"
        await stream.cancel(reader)
    await stream.delete(if_unused=False, if_empty=False)


async def test_a_confirmed_message_outlives_a_killed_broker() -> None:
    with RabbitMQ() as server:
        async with await aio_pika.connect(server.broker.url) as connection:
            channel = await connection.channel()
            await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
            # Confirmed messages are on disk; a new quorum queue is written down only up to a second later.
            await asyncio.sleep(SETTLING_SECONDS)
            await channel.default_exchange.publish(PERSISTENT, "kept")
        server.restart()
        async with await aio_pika.connect(server.broker.url) as connection:
            queue = await (await connection.channel()).get_queue("kept", ensure=False)
            assert (await queue.get(timeout=60, no_ack=True)).body == b"photo"


async def test_an_object_comes_back(client: S3Client, s3: ObjectStore) -> None:
    key = f"object-{uuid4()}"
    await client.put_object(Bucket=s3.bucket, Key=key, Body=b"pixels")
    response = await client.get_object(Bucket=s3.bucket, Key=key)
    assert await response["Body"].read() == b"pixels"


async def test_of_many_conditional_puts_one_wins(client: S3Client, s3: ObjectStore) -> None:
    key = f"manifest-{uuid4()}"

    async def put(body: bytes) -> str:
        try:
            await client.put_object(Bucket=s3.bucket, Key=key, Body=body, IfNoneMatch="*")
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "won"

    assert await put(b"first") == "won"
    assert await put(b"second") == "PreconditionFailed"
    await client.delete_object(Bucket=s3.bucket, Key=key)
    outcomes = await asyncio.gather(*(put(b"%d" % writer) for writer in range(8)))
    assert sorted(outcomes) == ["PreconditionFailed"] * 7 + ["won"]


async def test_a_wrong_secret_is_refused(s3: ObjectStore) -> None:
    async with s3_client(s3, "wrong") as stranger:
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            await stranger.list_objects_v2(Bucket=s3.bucket)

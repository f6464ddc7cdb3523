"""What `tests.bench.events` compares, each a process: `python -m tests.bench.consumers KIND`."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from broker.rabbitmq import Broker
from contracts.dataset import Manifest, Usage, job_key, manifest_key, manifest_ref, outcome_key
from contracts.envelope import Envelope, child_traceparent, event_id
from contracts.events import DatasetUploaded, PosesReady
from tests.fakes.worker import Obedient
from workers.runtime import logs, s3
from workers.runtime.compute import Compute, Computed
from workers.runtime.job import producer
from workers.runtime.metrics import Metrics
from workers.runtime.run_loop import RunLoop
from workers.runtime.s3 import S3Store
from workers.runtime.settings import Settings, from_environment
from workers.runtime.storage import NotFound
from workers.runtime.worker import Inputs

USAGE = Usage(wall_seconds=0, cpu_seconds=0, peak_rss_mb=0)


class Idle(Obedient):
    """Fetches nothing."""

    def inputs(self, event: DatasetUploaded) -> Inputs:
        return Inputs()


class NoCompute(Compute):
    async def run(self, *_: Any, **__: Any) -> Computed:
        return Computed({}, (), USAGE)


async def phototwin(settings: Settings, stop: asyncio.Event) -> None:
    async with s3.connect(settings) as store:
        broker = await Broker.connect(settings.amqp_url.get_secret_value(), settings.topology, name="bench")
        loop = RunLoop(Idle(settings), broker, store, NoCompute((), 1), settings, Metrics())
        await loop.run(stop)
        await broker.close()


class Hop:
    """The same by hand: what the two others do with an event."""

    def __init__(self, settings: Settings, store: S3Store) -> None:
        self._worker, self._store, self._topology = Idle(settings), store, settings.topology

    async def next_event(self, body: bytes) -> tuple[bytes, str, str]:
        """The event to publish, its routing key and its id."""
        envelope = Envelope.parse(body)
        event = envelope.data
        assert isinstance(event, DatasetUploaded)
        parameters = self._worker.parameters(event)
        key = job_key(event, self._worker.stage, {}, self._worker.algorithm, parameters)
        place = manifest_key(event, self._worker.stage, key)
        await asyncio.gather(self._absent(outcome_key(event)), self._absent(place))
        manifest = Manifest(
            stage=self._worker.stage,
            job_key=key,
            tenant=event.tenant,
            capture_id=event.capture_id,
            generation=event.generation,
            inputs={},
            parameters=parameters,
            producer=producer(self._worker, 0),
            artefacts=(),
            usage=USAGE,
            metrics={},
            warnings=(),
            created=envelope.time,
        )
        encoded = manifest.encode()
        assert await self._store.put_if_absent(place, encoded, "application/json")
        ready = self._worker.reply(event, manifest, manifest_ref(place, encoded, manifest))
        id = event_id(PosesReady.event_type(), f"{event.folder}{key}")
        parent = child_traceparent(envelope.traceparent)
        answer = Envelope.wrap(ready, id=id, source="phototwin/prepare", traceparent=parent)
        routing_key = self._topology.routing_key(ready.routing_key, "interactive", event.tenant)
        return answer.encode(), routing_key, id

    async def _absent(self, key: str) -> None:
        try:
            await self._store.get(key)
        except NotFound:
            return
        raise AssertionError(f"{key} is there")


async def raw(settings: Settings, stop: asyncio.Event) -> None:
    topology = settings.topology
    async with (
        s3.connect(settings) as store,
        await aio_pika.connect_robust(settings.amqp_url.get_secret_value()) as connection,
    ):
        hop = Hop(settings, store)
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        await channel.set_qos(prefetch_count=1)
        events = await channel.get_exchange(topology.events, ensure=False)

        async def handle(incoming: AbstractIncomingMessage) -> None:
            body, routing_key, id = await hop.next_event(incoming.body)
            message = aio_pika.Message(body, message_id=id, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await events.publish(message, routing_key, mandatory=True)
            await incoming.ack()

        queue = await channel.declare_queue(
            topology.lane_queue("prepare", "interactive", "default"), passive=True
        )
        await queue.consume(handle)
        await stop.wait()


async def faststream(settings: Settings, stop: asyncio.Event) -> None:
    from faststream import AckPolicy
    from faststream.rabbit import Channel, ExchangeType, RabbitBroker, RabbitExchange, RabbitQueue
    from faststream.rabbit.annotations import RabbitMessage

    topology = settings.topology
    async with s3.connect(settings) as store:
        hop = Hop(settings, store)
        broker = RabbitBroker(settings.amqp_url.get_secret_value(), logger=None)
        lane = topology.lane_queue("prepare", "interactive", "default")
        events = RabbitExchange(topology.events, type=ExchangeType.TOPIC, durable=True, declare=False)
        publisher = broker.publisher(exchange=events, persist=True, mandatory=True)

        @broker.subscriber(
            RabbitQueue(lane, durable=True, declare=False),
            channel=Channel(prefetch_count=1, publisher_confirms=True, on_return_raises=True),
            ack_policy=AckPolicy.MANUAL,
        )
        async def handle(message: RabbitMessage) -> None:
            body, routing_key, id = await hop.next_event(message.body)
            await publisher.publish(body, routing_key=routing_key, message_id=id)
            await message.ack()

        async with broker:
            await broker.start()
            await stop.wait()


KINDS = {"phototwin": phototwin, "aio-pika": raw, "faststream": faststream}


async def main(kind: str) -> None:
    settings = from_environment()
    logs.configure(settings.log_level)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await KINDS[kind](settings, stop)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    asyncio.run(main(sys.argv[1]))

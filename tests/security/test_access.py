"""Least privilege on a real RabbitMQ: what each role's user needs it may, and nothing beyond."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aiormq.exceptions import ChannelAccessRefused, ChannelClosed

from broker import access
from broker.deadletter import Filter, browse
from broker.interface import Message
from broker.management import Management
from broker.rabbitmq import Broker
from broker.topology import CONSUMES, Topology
from contracts.envelope import Envelope, new_traceparent
from contracts.errors import BrokerUnavailable
from contracts.events import DatasetUploaded, UploadedFile
from tests.servers.rabbitmq import Broker as RabbitServer

WORKERS = tuple(CONSUMES)
PATIENCE = 60
SAYS = {
    "prepare": {"poses.ready"},
    "segment": {"masks.ready", "masks.proposed"},
    "reconstruct": {"mesh.ready"},
    "package": {"model.ready"},
}
"""What each worker is there to say; all of them also say how a capture ended."""


@dataclass(frozen=True)
class Site:
    """One installation with its users; `passwords` by role."""

    server: RabbitServer
    topology: Topology
    passwords: dict[str, str]

    def url(self, role: str) -> str:
        parts = urlsplit(self.server.url)
        login = f"{access.user_name(self.topology, role)}:{self.passwords[role]}"
        return urlunsplit(parts._replace(netloc=f"{login}@{parts.hostname}:{parts.port}"))

    @asynccontextmanager
    async def broker(self, role: str) -> AsyncIterator[Broker]:
        connected = await Broker.connect(self.url(role), self.topology, name=role, timeout=PATIENCE)
        try:
            yield connected
        finally:
            await connected.close()

    @asynccontextmanager
    async def attacker(self, role: str) -> AsyncIterator["Attacker"]:
        async with await aio_pika.connect(self.url(role)) as connection:
            yield Attacker(connection)


@dataclass(frozen=True)
class Attacker:
    """Whoever has a role's password, and a client of their own."""

    connection: aio_pika.abc.AbstractConnection

    async def may(self, act: str, *names: str) -> bool:
        """Whether RabbitMQ lets it; False where it says that it refuses, and nowhere else."""
        channel = await self.connection.channel()
        try:
            await asyncio.wait_for(ACTS[act](channel, *names), PATIENCE)
        except ChannelAccessRefused:
            return False
        except aio_pika.exceptions.DeliveryError:
            return True  # no queue is bound: but it was let through
        finally:
            with suppress(ChannelClosed):
                await channel.close()
        return True


async def _take(channel: AbstractChannel, queue: str) -> None:
    await (await channel.get_queue(queue, ensure=False)).get(fail=False)


async def _consume(channel: AbstractChannel, queue: str) -> None:
    await channel.set_qos(prefetch_count=1)

    async def ignore(_: AbstractIncomingMessage) -> None: ...

    await (await channel.get_queue(queue, ensure=False)).consume(ignore)


async def _purge(channel: AbstractChannel, queue: str) -> None:
    await (await channel.get_queue(queue, ensure=False)).purge()


async def _delete(channel: AbstractChannel, queue: str) -> None:
    await channel.queue_delete(queue)


async def _delete_exchange(channel: AbstractChannel, exchange: str) -> None:
    await channel.exchange_delete(exchange)


async def _declare(channel: AbstractChannel, queue: str) -> None:
    await channel.declare_queue(queue, durable=True)


async def _bind(channel: AbstractChannel, queue: str, exchange: str, key: str) -> None:
    await (await channel.get_queue(queue, ensure=False)).bind(exchange, key)


async def _publish(channel: AbstractChannel, exchange: str, key: str) -> None:
    if exchange:
        target = await channel.get_exchange(exchange, ensure=False)
        await target.publish(aio_pika.Message(b"forged", expiration=0), key)
    else:
        await channel.default_exchange.publish(aio_pika.Message(b"forged", expiration=0), key)


ACTS: dict[str, Callable[..., Awaitable[None]]] = {
    "take": _take,
    "consume": _consume,
    "purge": _purge,
    "delete": _delete,
    "delete exchange": _delete_exchange,
    "declare": _declare,
    "bind": _bind,
    "publish": _publish,
}


def neighbour(topology: Topology, worker: str) -> str:
    """A queue of another installation on the same broker, whose name has ours within."""
    return f"x-{topology.arrivals(worker)}"


@pytest.fixture(scope="module")
def site(rabbitmq: RabbitServer) -> Site:
    """Made as a site is: the users by an administrator, all else by the applier."""
    topology = Topology(prefix=f"access-{uuid.uuid4().hex[:8]}", retry_delays=(0.5, 2.0), shards=2)
    made = Site(rabbitmq, topology, {role: f"{role}-{uuid.uuid4().hex}" for role in access.ROLES})

    async def make() -> None:
        administration = Management.of(rabbitmq.url, rabbitmq.management_url)
        for role, password in made.passwords.items():
            await access.apply(administration, topology, role, password)
        login = rabbitmq.management_url.partition("@")[2]
        applier = f"http://{access.user_name(topology, 'applier')}:{made.passwords['applier']}@{login}"
        async with made.broker("applier") as broker:
            await broker.apply(Management.of(rabbitmq.url, applier))
        async with await aio_pika.connect(rabbitmq.url) as connection:
            channel = await connection.channel()
            for worker in WORKERS:
                await channel.declare_queue(neighbour(topology, worker), durable=True)

    asyncio.run(make())
    return made


@pytest.mark.parametrize("worker", WORKERS)
async def test_a_worker_takes_from_its_own_queues_and_no_others(site: Site, worker: str) -> None:
    topology = site.topology
    own = {
        *topology.live_queues(worker),
        topology.lost_letter_queue(worker),
        topology.cancellations,
    }
    assert own < {queue.name for queue in topology.queues()}
    async with site.attacker(worker) as attacker:
        for queue in topology.queues():
            if queue.name in own:
                assert await attacker.may("consume", queue.name), queue.name
                assert await attacker.may("take", queue.name), queue.name
            else:
                for act in ("take", "consume", "purge"):
                    assert not await attacker.may(act, queue.name), (act, queue.name)
        for act in ("take", "consume", "purge"):
            assert not await attacker.may(act, neighbour(topology, worker)), act


@pytest.mark.parametrize("worker", WORKERS)
async def test_a_worker_publishes_what_is_its_to_say(site: Site, worker: str) -> None:
    topology = site.topology
    mine = {*SAYS[worker], "capture.failed", "model.ready"}
    others = {key for said in SAYS.values() for key in said} | {
        "dataset.uploaded",
        "masks.reviewed",
        "capture.cancelled",
        "",
        "#",
    }
    async with site.attacker(worker) as attacker:
        for key in mine | others:
            full = topology.routing_key(key, "bulk", "acme")
            assert await attacker.may("publish", topology.events, full) == (key in mine), full
            for longer in (f"x.{full}", f"{full}.x"):
                assert not await attacker.may("publish", topology.events, longer), longer
        queues = {queue.name for queue in topology.queues()}
        into = {
            topology.work: {*topology.live_queues(worker), topology.cancellations},
            topology.retry(0.5): set(topology.live_queues(worker)),
            topology.retry(2.0): set(topology.live_queues(worker)),
            topology.dead: {
                topology.dead_letter_queue(worker),
                topology.dead_letter_queue("cancellations"),
            },
        }
        for exchange, own in into.items():
            for queue in queues:
                assert await attacker.may("publish", exchange, queue) == (queue in own), (exchange, queue)
        for queue in queues:  # the exchange of RabbitMQ's own that leads to every queue
            assert not await attacker.may("publish", "", queue), queue
        assert await attacker.may("publish", topology.progress, "")


@pytest.mark.parametrize("role", [*WORKERS, "operator"])
async def test_nothing_is_declared_bound_or_deleted_by_a_worker(site: Site, role: str) -> None:
    topology = site.topology
    async with site.attacker(role) as attacker:
        for queue in topology.queues():
            assert not await attacker.may("delete", queue.name), queue.name
            assert not await attacker.may("bind", queue.name, topology.events, "#"), queue.name
        for exchange in topology.exchanges():
            assert not await attacker.may("delete exchange", exchange.name), exchange.name
        assert not await attacker.may("declare", f"{topology.prefix}.mine")
        assert not await attacker.may("declare", "")


@pytest.mark.parametrize("role", ["publisher", "gateway"])
async def test_a_mobile_backend_announces_follows_outcomes_and_hears_progress(site: Site, role: str) -> None:
    event = DatasetUploaded(
        capture_id="mine", files=(UploadedFile(key="captures/default/mine/upload/a.jpg", bytes=1),)
    )
    said = f"{role}-1"
    envelope = Envelope.wrap(event, id=said, source="test", traceparent=new_traceparent())
    async with site.broker(role) as backend, site.broker("prepare") as prepare:
        async with backend.progress() as heard:
            await backend.publish(Message(envelope.encode(), "dataset.uploaded", said))
            await prepare.publish_progress(Message(b"half", "job.progress", "progress-1"))
            assert (await asyncio.wait_for(anext(heard), PATIENCE)).body == b"half"
        async with asyncio.timeout(PATIENCE), backend.outcomes() as outcomes:
            async for _, message in outcomes:
                if message.id == said:
                    break
        async with (
            asyncio.timeout(PATIENCE),
            prepare.consume(site.topology.arrivals("prepare"), 1) as arrived,
        ):
            async for delivery in arrived:
                await delivery.ack()
                if delivery.message.id == said:
                    break


@pytest.mark.parametrize("role", ["publisher", "gateway"])
async def test_a_mobile_backend_gets_no_further(site: Site, role: str) -> None:
    topology = site.topology
    inputs = {"poses.ready", "masks.ready", "mesh.ready"} if role == "gateway" else set()
    async with site.attacker(role) as attacker:
        for key in ("poses.ready", "masks.ready", "mesh.ready", "model.ready", "capture.failed", "#"):
            full = topology.routing_key(key, "bulk", "acme")
            assert await attacker.may("publish", topology.events, full) == (key in inputs), full
        assert not await attacker.may("publish", topology.events, "masks.proposed")
        for exchange in (topology.work, topology.dead, topology.retry(0.5), topology.progress, ""):
            assert not await attacker.may("publish", exchange, topology.arrivals("prepare")), exchange
        for queue in topology.queues():
            for act in ("take", "consume", "purge"):
                assert queue.name == topology.outcomes or not await attacker.may(act, queue.name), queue.name
            assert not await attacker.may("delete", queue.name), queue.name
            assert not await attacker.may("bind", queue.name, topology.progress, "")
        channel = await attacker.connection.channel()
        mine = await channel.declare_queue(exclusive=True)
        with pytest.raises(ChannelAccessRefused):
            await mine.bind(topology.events, "mesh.ready.#")


async def test_the_gateway_sees_how_long_every_queue_is(site: Site) -> None:
    async with site.broker("gateway") as gateway:
        for queue in site.topology.queues():
            assert await gateway.depth(queue.name) >= 0


async def test_an_operator_replays_and_drops_dead_letters_and_reads_nothing_else(site: Site) -> None:
    topology = site.topology
    event = DatasetUploaded(
        capture_id="dead", files=(UploadedFile(key="captures/default/dead/upload/a.jpg", bytes=1),)
    )
    async with site.broker("prepare") as prepare, site.broker("operator") as operator:
        for name in ("again", "gone"):
            body = Envelope.wrap(event, id=name, source="test", traceparent=new_traceparent()).encode()
            queue = topology.dead_letter_queue("prepare")
            await prepare.publish_to(topology.dead, queue, Message(body, queue, name))
        async with browse(operator, topology, Filter(capture_id="dead")) as found:
            held = {letter.letter.message.id: letter for letter in found}
            await held["again"].replay(operator, topology)
            await held["gone"].drop()
        async with browse(operator, topology, Filter(capture_id="dead")) as found:
            assert not found
        lane = topology.lane_queue("prepare", "interactive", "default")
        async with prepare.inbox([lane]) as inbox:
            delivery = await inbox.take(lane)
            assert delivery is not None
            await delivery.ack()
    async with site.attacker("operator") as attacker:
        live = [queue for worker in WORKERS for queue in topology.live_queues(worker)]
        for queue in (*live, topology.cancellations, topology.outcomes):
            for act in ("take", "consume", "purge"):
                assert not await attacker.may(act, queue), (act, queue)
        for key in ("poses.ready.bulk.0", "mesh.ready.bulk.0", "dataset.uploaded"):
            assert not await attacker.may("publish", topology.events, key), key


async def test_what_is_refused_is_a_clear_error_after_which_work_goes_on(site: Site) -> None:
    topology = site.topology
    said = Message(b"{}", "poses.ready.bulk.0", "refused-1")
    async with site.broker("prepare") as prepare:
        with pytest.raises(BrokerUnavailable, match=r"'mesh\.ready\.bulk\.0'.* refused .*topology users"):
            await prepare.publish(Message(b"{}", "mesh.ready.bulk.0", "refused-2"))
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await prepare.publish(said)
                    break
                except BrokerUnavailable:  # the channel is being made again
                    await asyncio.sleep(0.1)
        other = topology.arrivals("segment")
        with pytest.raises(BrokerUnavailable, match=rf"queue '{other}'.* refused .*topology users"):
            async with prepare.consume(other, 1):
                pass
        async with prepare.inbox([other]) as inbox:
            with pytest.raises(BrokerUnavailable, match=rf"queue '{other}'.* refused .*topology users"):
                await inbox.take(other)

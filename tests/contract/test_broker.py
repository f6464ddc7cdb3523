"""One suite of promises, kept by RabbitMQ and by the embedded broker alike."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from itertools import count

import pytest

from broker import embedded, intake, rabbitmq
from broker.interface import Broker, Message
from broker.management import Management
from broker.topology import DELIVERY_LIMIT, Topology
from contracts.errors import BrokerUnavailable, DeliveryLost, EventReturned
from contracts.events import LANES
from tests.servers.rabbitmq import Broker as Server
from tests.servers.rabbitmq import RabbitMQ

PATIENCE = 60.0
LONG = 2 * PATIENCE
"""Of a tier of retries: nobody waits for its end."""


@pytest.fixture
def topology() -> Topology:
    return Topology(prefix=f"test-{uuid.uuid4().hex[:8]}", retry_delays=(0.2, LONG), shards=2)


@pytest.fixture(params=["rabbitmq", "embedded"])
async def broker(request: pytest.FixtureRequest, topology: Topology) -> AsyncIterator[Broker]:
    if request.param == "embedded":
        yield embedded.Broker(topology)
        return
    server: Server = request.getfixturevalue("rabbitmq")
    connected = await rabbitmq.Broker.connect(server.url, topology, name="test")
    await connected.apply(management(server))
    yield connected
    await connected.close()


def uploaded(body: bytes = b"{}", id: str = "1") -> Message:
    return Message(body, "dataset.uploaded", id)


async def receive(broker: Broker, queue: str, *, settle: bool = True) -> Message:
    """The next message of a queue, by a consumer of its own."""
    async with asyncio.timeout(PATIENCE), broker.consume(queue, 1) as deliveries:
        delivery = await anext(deliveries)
        if settle:
            await delivery.ack()
        return delivery.message


async def is_empty(broker: Broker, queue: str) -> bool:
    async with broker.consume(queue, 1) as deliveries:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.4):
                await anext(deliveries)
                return False
    return True


async def test_an_event_reaches_the_worker_that_consumes_it(broker: Broker, topology: Topology) -> None:
    await broker.publish(uploaded(b"photos", id="abc"))
    message = await receive(broker, topology.arrivals("prepare"))
    assert (message.body, message.routing_key, message.id) == (b"photos", "dataset.uploaded", "abc")
    assert await is_empty(broker, topology.arrivals("prepare"))
    assert await is_empty(broker, topology.arrivals("segment"))


async def test_an_event_only_the_outcomes_are_bound_for_is_no_error(broker: Broker) -> None:
    await broker.publish(Message(b"{}", "model.ready", "1"))


async def test_what_was_not_settled_comes_again(broker: Broker, topology: Topology) -> None:
    queue = topology.arrivals("prepare")
    await broker.publish(uploaded())
    await receive(broker, queue, settle=False)
    async with asyncio.timeout(PATIENCE), broker.consume(queue, 1) as deliveries:
        delivery = await anext(deliveries)
        assert delivery.returns == 1
        await delivery.ack()
    assert await is_empty(broker, queue)


async def test_no_more_than_prefetch_are_handed_out_unsettled(broker: Broker, topology: Topology) -> None:
    for number in range(3):
        await broker.publish(uploaded(id=str(number)))
    async with broker.consume(topology.arrivals("prepare"), 2) as deliveries:
        async with asyncio.timeout(PATIENCE):
            first, second = await anext(deliveries), await anext(deliveries)
        third = asyncio.create_task(anext(deliveries))
        await asyncio.sleep(0.3)
        assert not third.done()
        await first.ack()
        async with asyncio.timeout(PATIENCE):
            await (await third).ack()
        await second.ack()


async def test_a_retry_comes_later_with_its_new_body(broker: Broker, topology: Topology) -> None:
    queue = topology.arrivals("prepare")
    await broker.publish(uploaded(b"attempt 0"))
    async with asyncio.timeout(PATIENCE), broker.consume(queue, 1) as deliveries:
        started = asyncio.get_running_loop().time()
        await (await anext(deliveries)).retry(b"attempt 1", delay=0.5)
        again = await anext(deliveries)
        waited = asyncio.get_running_loop().time() - started
        await again.ack()
    assert again.message.body == b"attempt 1"
    assert again.message.id == "1"
    assert waited >= 0.5
    assert again.returns == 0  # a retry is a new message to the broker: it spends no returns


async def test_a_retry_waits_no_longer_than_it_is_told(broker: Broker, topology: Topology) -> None:
    await broker.publish(uploaded())
    async with asyncio.timeout(PATIENCE), broker.consume(topology.arrivals("prepare"), 1) as deliveries:
        started = asyncio.get_running_loop().time()
        await (await anext(deliveries)).retry(b"again", delay=0.25)  # in the long tier
        await (await anext(deliveries)).ack()
        assert 0.25 <= asyncio.get_running_loop().time() - started < PATIENCE


async def test_a_retry_is_no_outcome(broker: Broker, topology: Topology) -> None:
    await broker.publish(uploaded())
    async with asyncio.timeout(PATIENCE), broker.consume(topology.arrivals("prepare"), 1) as deliveries:
        await (await anext(deliveries)).retry(b"again", delay=0.2)
        await (await anext(deliveries)).ack()
    await broker.publish(Message(b"last", "model.ready", "2"))
    seen = []
    async with asyncio.timeout(PATIENCE), broker.outcomes() as outcomes:
        async for _, message in outcomes:
            seen.append(message.body)
            if message.body == b"last":
                break
    assert seen == [b"{}", b"last"]


async def test_a_dead_letter_says_why(broker: Broker, topology: Topology) -> None:
    await broker.publish(uploaded(b"poison"))
    async with asyncio.timeout(PATIENCE), broker.consume(topology.arrivals("prepare"), 1) as deliveries:
        await (await anext(deliveries)).dead_letter(
            "prepare", {"phototwin-error-code": "event_invalid", "phototwin-attempts": 3}
        )
    assert await is_empty(broker, topology.arrivals("prepare"))
    dead = await receive(broker, topology.dead_letter_queue("prepare"))
    assert dead.body == b"poison"
    assert dead.headers == {"phototwin-error-code": "event_invalid", "phototwin-attempts": 3}


async def test_a_message_that_kills_its_worker_again_and_again_is_dead(
    broker: Broker, topology: Topology
) -> None:
    await broker.publish(uploaded(b"killer"))
    for _ in range(DELIVERY_LIMIT + 1):
        await receive(broker, topology.arrivals("prepare"), settle=False)
    assert (await receive(broker, topology.lost_letter_queue("prepare"))).body == b"killer"


async def test_giving_back_costs_nothing(broker: Broker, topology: Topology) -> None:
    queue = topology.arrivals("prepare")
    await broker.publish(uploaded(b"patient"))
    for _ in range(DELIVERY_LIMIT + 2):
        async with asyncio.timeout(PATIENCE), broker.consume(queue, 1) as deliveries:
            delivery = await anext(deliveries)
            assert delivery.returns == 0
            await deliveries.aclose()
            await delivery.give_back()
    assert (await receive(broker, queue)).body == b"patient"


async def test_what_is_in_a_lane_is_routed_there(broker: Broker, topology: Topology) -> None:
    key = topology.routing_key("poses.ready", "bulk", "acme")
    await broker.publish(Message(b"photos", key, "1"))
    assert (await receive(broker, topology.lane_queue("segment", "bulk", "acme"))).body == b"photos"
    assert await is_empty(broker, topology.arrivals("segment"))


async def test_a_message_forwarded_lies_elsewhere_as_it_is(broker: Broker, topology: Topology) -> None:
    await broker.publish(uploaded(b"photos", id="abc"))
    lane = topology.lane_queue("prepare", "interactive", "acme")
    async with asyncio.timeout(PATIENCE), broker.consume(topology.arrivals("prepare"), 1) as deliveries:
        await (await anext(deliveries)).forward(lane)
    message = await receive(broker, lane)
    assert (message.body, message.id) == (b"photos", "abc")
    assert await is_empty(broker, topology.arrivals("prepare"))


async def test_an_inbox_is_asked_for_one_message_at_a_time(broker: Broker, topology: Topology) -> None:
    first, second = topology.lane_queues("prepare", "interactive")
    for number in range(3):
        await broker.send(first, uploaded(id=str(number)))
    async with asyncio.timeout(PATIENCE), broker.inbox([first, second]) as inbox:
        assert await inbox.take(second) is None
        taken = await inbox.take(first)
        assert taken is not None
        assert taken.message.id == "0"
        await taken.ack()
    assert [(await receive(broker, first)).id for _ in range(2)] == ["1", "2"]


async def test_an_inbox_that_listens_is_sent_one_of_each_queue(broker: Broker, topology: Topology) -> None:
    queues = topology.lane_queues("prepare", "interactive")
    async with asyncio.timeout(PATIENCE), broker.inbox(queues) as inbox:
        await inbox.listen()
        for queue in queues:
            for number in range(2):
                await broker.send(queue, uploaded(id=f"{queue} {number}"))
        found = [await inbox.arrival(), await inbox.arrival()]
        assert {delivery.message.id for delivery in found} == {f"{queue} 0" for queue in queues}
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await inbox.arrival()
        for delivery in found:
            await delivery.ack()
        again = await inbox.arrival()  # the other one stays in nobody's hands
        await asyncio.sleep(0.2)
        await inbox.hush()
        await again.ack()
        assert await inbox.take(again.message.id.split()[0]) is None
        (other,) = {queue for queue in queues if queue not in again.message.id}
        last = await inbox.take(other)
        assert last is not None
        assert last.returns == 0  # let go of, at no cost
        await last.ack()
        await broker.send(queues[0], uploaded(id="later"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await inbox.arrival()
        await inbox.listen()
        await (await inbox.arrival()).ack()


async def test_what_an_inbox_holds_comes_again_when_it_is_gone(broker: Broker, topology: Topology) -> None:
    queue = topology.lane_queues("prepare", "bulk")[0]
    await broker.send(queue, uploaded())
    async with asyncio.timeout(PATIENCE), broker.inbox([queue]) as inbox:
        assert await inbox.take(queue) is not None
    assert (await receive(broker, queue)).id == "1"


async def test_outcomes_replay_from_any_offset(broker: Broker) -> None:
    for number in range(5):
        await broker.publish(Message(str(number).encode(), "model.ready", str(number)))

    async def read(offset: int | str, count: int) -> list[bytes]:
        seen = []
        async with asyncio.timeout(PATIENCE), broker.outcomes(offset) as outcomes:
            async for place, message in outcomes:
                assert message.body == str(place).encode()
                seen.append(message.body)
                if len(seen) == count:
                    break
        return seen

    assert await read("first", 5) == [b"0", b"1", b"2", b"3", b"4"]
    assert await read(3, 2) == [b"3", b"4"]


async def test_progress_reaches_whoever_listens_and_needs_nobody(broker: Broker) -> None:
    await broker.publish_progress(Message(b"unheard", "job.progress", "0"))
    async with asyncio.timeout(PATIENCE), broker.progress() as messages:
        heard = asyncio.create_task(anext(messages))
        await asyncio.sleep(0.05)
        await broker.publish_progress(Message(b"half", "job.progress", "1"))
        assert (await heard).body == b"half"


async def test_depth_counts_what_waits(broker: Broker, topology: Topology) -> None:
    queue = topology.arrivals("prepare")
    for number in range(3):
        await broker.publish(uploaded(id=str(number)))
    async with asyncio.timeout(PATIENCE):
        while await broker.depth(queue) != 3:  # noqa: ASYNC110 - RabbitMQ counts with a little delay
            await asyncio.sleep(0.1)


async def test_a_publish_nobody_is_bound_for_raises(rabbitmq: Server, topology: Topology) -> None:
    """RabbitMQ alone: the topology always binds the outcomes, so here it is applied but for that."""
    import aio_pika

    async with await aio_pika.connect(rabbitmq.url) as connection:
        channel = await connection.channel()
        await channel.declare_exchange(topology.events, "topic", durable=True)
    broker = await _connected(rabbitmq, topology)
    with pytest.raises(EventReturned, match="topology apply"):
        await broker.publish(uploaded())
    await broker.close()


async def test_a_missing_queue_is_noticed_at_start(rabbitmq: Server, topology: Topology) -> None:
    broker = await _connected(rabbitmq, topology)
    with pytest.raises(BrokerUnavailable, match="topology apply"):
        await broker.check(topology.live_queues("prepare"))
    await broker.apply(management(rabbitmq))
    await broker.check(topology.live_queues("prepare"))
    with pytest.raises(BrokerUnavailable, match="nowhere"):
        await broker.check(["nowhere"])
    await broker.close()


async def test_a_policy_can_be_changed_while_in_use(rabbitmq: Server, topology: Topology) -> None:
    """And so the delivery limit: of a queue's arguments nothing could."""
    broker = await _connected(rabbitmq, topology)
    await broker.apply(management(rabbitmq))
    (policy, *_) = topology.policies(broker.version)
    await management(rabbitmq).put_policy(replace(policy, definition={"delivery-limit": 1}))
    queue, lost = topology.arrivals("prepare"), topology.lost_letter_queue("prepare")
    async with asyncio.timeout(PATIENCE):
        while not await broker.depth(lost):  # it takes effect a little later
            await broker.publish(uploaded(b"killer"))
            for _ in range(2):
                await receive(broker, queue, settle=False)
            while not await broker.depth(lost) and not await broker.depth(queue):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            if await broker.depth(queue):
                await receive(broker, queue)
    assert (await receive(broker, lost)).body == b"killer"
    await broker.close()


async def test_a_full_queue_is_said_to_be_full(rabbitmq: Server, topology: Topology) -> None:
    broker = await _connected(rabbitmq, topology)
    await broker.apply(management(rabbitmq))
    (policy, *_) = topology.policies(broker.version)
    await management(rabbitmq).put_policy(replace(policy, definition={"max-length": 1}))

    async def publish_many() -> None:
        async with asyncio.timeout(PATIENCE):
            for number in count():  # it lets some more in before it refuses
                await broker.publish(uploaded(id=str(number)))

    with pytest.raises(BrokerUnavailable, match="full"):
        await publish_many()
    await broker.close()


async def test_without_management_applying_says_what_to_do(rabbitmq: Server, topology: Topology) -> None:
    broker = await _connected(rabbitmq, topology)
    with pytest.raises(BrokerUnavailable, match="PHOTOTWIN_MANAGEMENT_URL"):
        await broker.apply(Management.of(rabbitmq.url, "http://127.0.0.1:9"))
    await broker.close()


async def test_a_consumer_ended_by_the_broker_is_noticed(
    rabbitmq: Server, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a queue moves to another node: its consumers are cancelled, and nobody may notice."""
    monkeypatch.setattr(intake, "CHECK_SECONDS", 0.5)
    broker, deaf = await _connected(rabbitmq, topology), 0
    await broker.apply(management(rabbitmq))

    def told() -> None:
        nonlocal deaf
        deaf += 1

    lanes = {lane: topology.lane_queues("prepare", lane) for lane in LANES}
    async with broker.inbox(topology.work_queues("prepare")) as inbox:
        source = intake.Intake(inbox, intake.Turns(lanes), told)
        waiting = asyncio.create_task(source.next(asyncio.Future()))
        async with asyncio.timeout(PATIENCE):
            while not source._listening:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await inbox.hush()
        await broker.send(lanes["bulk"][0], uploaded(b"waits"))
        async with asyncio.timeout(PATIENCE):
            delivery = await waiting
        assert delivery is not None
        assert delivery.message.body == b"waits"
        await delivery.ack()
    assert deaf == 1
    await broker.close()


async def test_without_topology_consuming_says_what_to_do(rabbitmq: Server, topology: Topology) -> None:
    broker = await _connected(rabbitmq, topology)
    with pytest.raises(BrokerUnavailable, match="topology apply"):
        async with broker.consume(topology.arrivals("prepare"), 1):
            pass
    await broker.close()


async def test_no_broker_is_a_clear_error(topology: Topology) -> None:
    with pytest.raises(BrokerUnavailable, match="cannot connect"):
        await rabbitmq_broker_at("amqp://guest:guest@127.0.0.1:9/", topology)


async def test_consumer_and_publisher_survive_a_broker_restart(topology: Topology) -> None:
    with RabbitMQ() as server:
        broker = await _connected(server.broker, topology)
        await broker.apply(management(server.broker))
        async with broker.consume(topology.arrivals("prepare"), 1) as deliveries:
            await broker.publish(uploaded(b"before"))
            async with asyncio.timeout(PATIENCE):
                held = await anext(deliveries)
            await asyncio.sleep(2)  # a new quorum queue is written down only up to a second later
            await asyncio.to_thread(server.restart)
            with pytest.raises(DeliveryLost):
                await held.ack()
            async with asyncio.timeout(PATIENCE):
                again = await anext(deliveries)
                assert again.message.body == b"before"
                await again.ack()
                await broker.publish(uploaded(b"after"))
                after = await anext(deliveries)
            assert after.message.body == b"after"
            await after.ack()
        await broker.close()


def management(server: Server) -> Management:
    return Management.of(server.url, server.management_url)


async def _connected(server: Server, topology: Topology) -> rabbitmq.Broker:
    return await rabbitmq_broker_at(server.url, topology)


async def rabbitmq_broker_at(url: str, topology: Topology) -> rabbitmq.Broker:
    return await rabbitmq.Broker.connect(url, topology, name="test", timeout=30)

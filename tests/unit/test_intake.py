"""Lanes and tenants: who is served next, and by whom."""

import asyncio
from collections import Counter

import pytest

from broker import intake
from broker.embedded import Broker
from broker.intake import SHARE, Intake, Turns
from broker.interface import Message
from broker.topology import Topology
from contracts.events import LANES

TOPOLOGY = Topology(prefix="test", shards=3)


def turns() -> Turns:
    return Turns({lane: TOPOLOGY.lane_queues("prepare", lane) for lane in LANES})


def tenants(count: int) -> list[str]:
    """Of shards of their own."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < count:
        name = f"tenant{number}"
        found.setdefault(TOPOLOGY._shard(name), name)
        number += 1
    return list(found.values())


async def fill(broker: Broker, tenant: str, count: int, lane: str = "interactive") -> None:
    queue = TOPOLOGY.lane_queue("prepare", lane, tenant)  # type: ignore[arg-type]
    for number in range(count):
        await broker.send(queue, Message(b"{}", "dataset.uploaded", f"{tenant} {lane} {number}"))


async def served(broker: Broker, count: int) -> list[str]:
    """The ids of what comes, one job after another."""
    found = []
    async with broker.inbox(TOPOLOGY.work_queues("prepare")) as inbox:
        source = Intake(inbox, turns(), pytest.fail)
        for _ in range(count):
            delivery = await source.next(asyncio.Future())
            assert delivery is not None
            found.append(delivery.message.id)
            await source.release()  # a long job, each
            await delivery.ack()
    return found


async def test_a_tenant_with_a_thousand_captures_delays_another_by_one() -> None:
    broker = Broker(TOPOLOGY)
    crowd, lone = tenants(2)
    await fill(broker, crowd, 1000)
    await fill(broker, lone, 2)
    order = await served(broker, 6)
    assert order.index(f"{lone} interactive 0") <= 1
    assert order.index(f"{lone} interactive 1") <= 3


async def test_tenants_take_turns_and_each_keeps_its_order() -> None:
    broker = Broker(TOPOLOGY)
    three = tenants(3)
    for tenant in three:
        await fill(broker, tenant, 4)
    order = await served(broker, 12)
    for round_ in range(4):
        names = {id.split()[0] for id in order[3 * round_ : 3 * round_ + 3]}
        assert names == set(three)
    for tenant in three:
        assert [id for id in order if id.startswith(tenant)] == [
            f"{tenant} interactive {n}" for n in range(4)
        ]


async def test_bulk_goes_slower_but_is_not_starved() -> None:
    broker = Broker(TOPOLOGY)
    (tenant,) = tenants(1)
    await fill(broker, tenant, 40)
    await fill(broker, tenant, 40, "bulk")
    lanes = Counter(id.split()[1] for id in await served(broker, 10 * (SHARE + 1)))
    assert lanes == {"interactive": 10 * SHARE, "bulk": 10}


async def test_where_one_lane_is_empty_the_other_has_it_all() -> None:
    broker = Broker(TOPOLOGY)
    (tenant,) = tenants(1)
    await fill(broker, tenant, 8, "bulk")
    assert len(await served(broker, 8)) == 8


async def test_a_busy_worker_holds_nothing_that_another_could_do() -> None:
    broker = Broker(TOPOLOGY)
    first, second = tenants(2)
    async with (
        broker.inbox(TOPOLOGY.work_queues("prepare")) as one,
        broker.inbox(TOPOLOGY.work_queues("prepare")) as other,
    ):
        busy, idle = Intake(one, turns(), pytest.fail), Intake(other, turns(), pytest.fail)
        waiting = asyncio.create_task(busy.next(asyncio.Future()))
        await asyncio.sleep(0.01)
        await fill(broker, first, 1)
        await fill(broker, second, 1)
        delivery = await waiting
        assert delivery is not None
        await busy.release()
        async with asyncio.timeout(60):
            rest = await idle.next(asyncio.Future())
        assert rest is not None
        assert {delivery.message.id, rest.message.id} == {f"{first} interactive 0", f"{second} interactive 0"}


async def test_what_a_deaf_worker_missed_is_found_by_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "CHECK_SECONDS", 0.1)
    broker, times = Broker(TOPOLOGY), []
    (tenant,) = tenants(1)
    async with broker.inbox(TOPOLOGY.work_queues("prepare")) as inbox:
        source = Intake(inbox, turns(), lambda: times.append(1))
        waiting = asyncio.create_task(source.next(asyncio.Future()))
        await asyncio.sleep(0.05)
        await inbox.hush()  # as if the broker had cancelled its consumers
        await fill(broker, tenant, 1)
        async with asyncio.timeout(60):
            assert await waiting is not None
    assert times == [1]


async def test_it_ends_when_told_to() -> None:
    broker, stop = Broker(TOPOLOGY), asyncio.get_running_loop().create_future()
    async with broker.inbox(TOPOLOGY.work_queues("prepare")) as inbox:
        waiting = asyncio.create_task(Intake(inbox, turns(), pytest.fail).next(stop))
        await asyncio.sleep(0.01)
        stop.set_result(None)
        async with asyncio.timeout(60):
            assert await waiting is None

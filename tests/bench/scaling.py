"""`python -m tests.bench.scaling`: does work spread over workers, and does the simulation of capacity hold?

Real workers on private servers, whose computation waits instead of burning, so that two cores can show it.

1. Throughput of 1, 2, 4 and 8 workers, against that many times what one does.
2. Waiting times behind four workers under arrivals at random, beside what `deploy/capacity` predicts for
   the same arrivals and the same jobs. What a job takes beyond its computation is measured in 1.
3. Half of the workers are ended (SIGTERM) in the middle: nothing is lost, nothing is done twice.
"""

import argparse
import asyncio
import json
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from broker.interface import Message
from contracts.envelope import Envelope, new_traceparent
from contracts.events import DatasetUploaded, PosesReady, Stage, UploadedFile
from deploy.capacity import model
from tests.integration.fleet import Fleet, Service, fleet
from tests.servers.ceph import Ceph
from tests.servers.rabbitmq import RabbitMQ

SECONDS = 2.0
"""A job's."""
WORKERS = 4
LOAD = 0.8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=16, help="of each worker, for its throughput")
    parser.add_argument("--arrivals", type=int, default=240)
    asked = parser.parse_args()
    with RabbitMQ() as rabbit, Ceph() as ceph, tempfile.TemporaryDirectory() as folder:
        rabbit.wait()
        beyond = 0.0
        one: float | None = None
        for count in (1, 2, 4, 8):
            rate, took = asyncio.run(_throughput(rabbit, ceph, Path(folder), count, asked.jobs))
            if one is None:
                one, beyond = rate, took - SECONDS
                print(f"1 worker: {rate:.3f} jobs/s; {took:.3f} s a job, its computation {SECONDS:g} s")
            else:
                print(f"{count} workers: {rate:.3f} jobs/s, {rate / (count * one):.3f} of linear")
        asyncio.run(_waiting(rabbit, ceph, Path(folder), asked.arrivals, beyond))
        asyncio.run(_scale_down(rabbit, ceph, Path(folder)))


async def _throughput(
    rabbit: RabbitMQ, ceph: Ceph, folder: Path, workers: int, jobs: int
) -> tuple[float, float]:
    """Jobs a second while all are at work, and seconds from a worker's beginning one to its next."""
    async with fleet(rabbit.broker, ceph.store, folder) as ships:
        count = jobs * workers
        for number in range(count):
            await _publish(ships, f"j{number}", SECONDS)
        services = await _start(ships, workers)
        await _outcomes(ships, count)
        # From when the last worker had begun until the first had nothing left.
        each = [sorted(_begun([service]).values()) for service in services]
        first, last = max(begun[0] for begun in each), min(begun[-1] for begun in each)
        within = sum(first <= begun < last for begun in _begun(services).values())
        between = [later - earlier for begun in each for earlier, later in pairwise(begun)]
        return within / (last - first), statistics.median(between)


async def _waiting(rabbit: RabbitMQ, ceph: Ceph, folder: Path, count: int, beyond: float) -> None:
    rng = random.Random(1)
    gaps = [rng.expovariate(LOAD * WORKERS / (SECONDS + beyond)) for _ in range(count)]
    needs = [rng.expovariate(1 / SECONDS) for _ in range(count)]
    async with fleet(rabbit.broker, ceph.store, folder) as ships:
        services = await _start(ships, WORKERS)
        due, published = time.monotonic(), []
        for number, (gap, need) in enumerate(zip(gaps, needs, strict=True)):
            due += gap
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            published.append(await _publish(ships, f"j{number}", need))
        await _outcomes(ships, count)
        begun = _begun(services)
    waits = [begun[f"j{number}"] - at for number, at in enumerate(published)]
    in_turn = iter([need + beyond for need in needs])
    stage = model.Stage("work", lambda _: next(in_turn), WORKERS, WORKERS)
    predicted = model.simulate([stage], [at - published[0] for at in published])
    _compare("measured ", waits)
    _compare("predicted", [passage.waited["work"] for passage in predicted.passages])


def _compare(name: str, waits: Sequence[float]) -> None:
    p50, p95 = model.quantile(waits, 0.5), model.quantile(waits, 0.95)
    print(
        f"wait {name}, {WORKERS} workers at {LOAD:.0%}: mean {statistics.fmean(waits):.2f} s, "
        f"p50 {p50:.2f} s, p95 {p95:.2f} s, of {len(waits)}"
    )


async def _scale_down(rabbit: RabbitMQ, ceph: Ceph, folder: Path) -> None:
    async with fleet(rabbit.broker, ceph.store, folder) as ships:
        ships.environment["PHOTOTWIN_GRACE_SECONDS"] = "5"  # too short for a job: it is given back
        services = await _start(ships, 8)
        for number in range(40):
            await _publish(ships, f"j{number}", 5 * SECONDS)
        await asyncio.sleep(1.5 * SECONDS)
        ended = [service.end(signal.SIGTERM) for service in services[:4]]
        outcomes = await _outcomes(ships, 40)
        captures = {envelope.data.capture_id for envelope in outcomes}
        once = len({envelope.id for envelope in outcomes}) == len(captures)
    print(
        f"scaled down from 8 to 4 at work (exit {sorted(set(ended))}): {len(captures)} of 40 jobs done, "
        f"{'each under one id' if once else 'some under several ids'}"
    )


async def _start(ships: Fleet, count: int) -> list[Service]:
    stages: list[Stage] = ["prepare"] * count
    return await ships.start(*stages, program=("tests.fakes",))


async def _outcomes(ships: Fleet, count: int) -> list[Envelope]:
    """All there were until so many captures were done."""
    found: list[Envelope] = []
    async with asyncio.timeout(1200), ships.broker.outcomes() as entries:
        async for _, message in entries:
            envelope = Envelope.parse(message.body)
            if isinstance(envelope.data, PosesReady):
                found.append(envelope)
            if len({each.data.capture_id for each in found}) == count:
                return found
    raise AssertionError("the stream of outcomes ended")


async def _publish(ships: Fleet, capture_id: str, seconds: float) -> float:
    """When."""
    path = ships.folder / "orders.json"
    path.write_text(json.dumps({"diary": str(ships.folder / "diary"), "do": "work", "seconds": seconds}))
    key = f"captures/default/{capture_id}/upload/orders.json"
    await ships.store.put(key, path, "application/json")
    event = DatasetUploaded(capture_id=capture_id, files=(UploadedFile(key=key, bytes=path.stat().st_size),))
    envelope = Envelope.wrap(event, id=capture_id, source="test", traceparent=new_traceparent())
    await ships.broker.publish(Message(envelope.encode(), event.routing_key, envelope.id))
    return envelope.time.timestamp()


def _begun(services: Sequence[Service]) -> dict[str, float]:
    """When each capture's job was, by the workers' logs."""
    lines = [line for service in services for line in service.logged("job started")]
    return {line["capture_id"]: _at(line) for line in lines}


def _at(line: dict[str, str]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


if __name__ == "__main__":
    main()

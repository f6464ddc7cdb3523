"""`python -m tests.bench.gateway`: two replicas of the gateway under load, on real servers on loopback.

Clients create captures, upload and complete them; others listen to their events; the workers' part is played,
so that nothing but the gateway is measured. Every listener must have seen every event of its capture, once
and in order, whichever replica told it. Meanwhile statuses are asked for, of the replicas in turns.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

import httpx

from broker.interface import Message
from contracts.dataset import announced_key
from contracts.envelope import Envelope
from contracts.events import Event, JobProgress
from tests.gateway import Workers
from tests.integration.fleet import fleet
from tests.integration.gateways import Events, Site, send
from tests.servers.ceph import Ceph
from tests.servers.postgres import PostgreSQL
from tests.servers.rabbitmq import RabbitMQ
from workers.gateway.record import STAGES
from workers.gateway.settings import GatewaySettings

PHOTOS = {f"{i}.jpg": b"photo" for i in range(4)}
KINDS = ["dataset.uploaded", "poses.ready", "masks.ready", "mesh.ready", "model.ready"]
PROGRESS = 10
"""Messages of each stage."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captures", type=int, default=50)
    parser.add_argument("--listeners", type=int, default=200)
    asked = parser.parse_args()
    with (
        RabbitMQ() as rabbit,
        Ceph() as ceph,
        PostgreSQL() as postgres,
        tempfile.TemporaryDirectory() as folder,
    ):
        rabbit.wait()
        asyncio.run(_run(rabbit, ceph, postgres, Path(folder), asked))


async def _run(
    rabbit: RabbitMQ, ceph: Ceph, postgres: PostgreSQL, folder: Path, asked: argparse.Namespace
) -> None:
    async with fleet(rabbit.broker, ceph.store, folder) as ships:
        ships.environment |= {
            "PHOTOTWIN_DATABASE_URL": postgres.databases.database(),
            "PHOTOTWIN_GATEWAY_HOST": "127.0.0.1",
            "PHOTOTWIN_REQUESTS_PER_MINUTE": "1000000",
            "PHOTOTWIN_MAX_OPEN_CAPTURES": "1000000",
            "PHOTOTWIN_LOG_LEVEL": "ERROR",
        }
        site = Site(ships, Site.new_key(ships, "default"))
        replicas = [(await site.gateway())[1] for _ in range(2)]
        settings = GatewaySettings(**ships.settings.model_dump())

        async def publish(message: Message) -> None:
            await ships.broker.publish(message)

        workers = Workers(publish, ships.broker.publish_progress, ships.store, settings, folder)
        started = time.monotonic()
        created = await asyncio.gather(
            *(
                send(replica, PHOTOS)
                for replica, _ in zip(cycle(replicas), range(asked.captures), strict=False)
            )
        )
        print(f"{len(created)} captures created and uploaded in {time.monotonic() - started:.1f} s")
        listeners = [
            (Events(f"/v1/captures/{id}/events"), replica)
            for (id, replica), _ in zip(
                cycle((id, replica) for id in created for replica in replicas),
                range(asked.listeners),
                strict=False,
            )
        ]
        watched = {events.path.split("/")[3] for events, _ in listeners}
        listening = [
            asyncio.create_task(events.follow(replica, lambda e: e.status.get("state") == "done"))
            for events, replica in listeners
        ]
        while not all(events.status for events, _ in listeners):
            for failed in (task for task in listening if task.done()):
                failed.result()
            await asyncio.sleep(0.1)
        addresses = [f"{replica.base_url}/v1/captures/{id}" for id in created for replica in replicas]
        probe = await _start_probe(site.key, addresses)
        started = time.monotonic()
        await asyncio.gather(*(_play(replicas[i % 2], workers, id) for i, id in enumerate(created)))
        await asyncio.wait_for(asyncio.gather(*listening), 120)
        seconds = time.monotonic() - started
        times = await _end_probe(probe)
        lost = sum(events.seen != list(enumerate(KINDS, 1)) for events, _ in listeners)
        told = [len(events.progress) for events, _ in listeners]
        print(f"{len(listeners)} listeners of {len(watched)} captures: {lost} missed or doubled an event")
        print(f"all done after {seconds:.1f} s; of progress each heard {min(told)} to {max(told)}")
        _print_times(times)
        await _compare(replicas, created)
        if lost:
            raise SystemExit(1)


async def _play(replica: httpx.AsyncClient, workers: Workers, id: str) -> None:
    answer = await replica.post(f"/v1/captures/{id}/complete")
    assert answer.status_code == 202, answer.text
    body = await workers.store.get(announced_key(Event(capture_id=id)))
    event = Envelope.parse(body).data
    for stage in STAGES:
        for number in range(PROGRESS):
            progress = event.followed_by(JobProgress, stage=stage, fraction=number / PROGRESS)
            await workers.say(progress, f"{id}{stage}{number}")
            await asyncio.sleep(0.2)
        event = await workers.do(stage, event)


PROBE = """
import json, select, sys, time, httpx
key, addresses = json.loads(sys.stdin.readline())
times, number = [], 0
client = httpx.Client(headers={"Authorization": f"Bearer {key}"})
while sys.stdin not in select.select([sys.stdin], [], [], 0.02)[0]:
    started = time.perf_counter()
    client.get(addresses[number % len(addresses)]).raise_for_status()
    times.append(time.perf_counter() - started)
    number += 1
print(json.dumps(times))
"""
"""Asks for statuses until its input ends. A process of its own: else it would wait for the load's clients."""


async def _start_probe(key: str, addresses: list[str]) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    probe = await asyncio.create_subprocess_exec(sys.executable, "-c", PROBE, stdin=pipe, stdout=pipe)
    assert probe.stdin
    probe.stdin.write(json.dumps([key, addresses]).encode() + b"\n")
    await probe.stdin.drain()
    return probe


async def _end_probe(probe: asyncio.subprocess.Process) -> list[float]:
    said, _ = await probe.communicate(b"")  # without any input its own would be left open
    times: list[float] = json.loads(said)
    return times


def _print_times(times: list[float]) -> None:
    cuts = statistics.quantiles(times, n=100)
    print(f"status: p50 {1000 * cuts[49]:.0f} ms, p99 {1000 * cuts[98]:.0f} ms, of {len(times)}")


async def _compare(replicas: list[httpx.AsyncClient], ids: list[str]) -> None:
    differing = 0
    for id in ids:
        one, other = [(await replica.get(f"/v1/captures/{id}")).json() for replica in replicas]
        for told in (one, other):
            del told["poster"]  # links differ in when they were signed
        differing += one != other
    print(f"the replicas tell {differing} of {len(ids)} captures differently")


if __name__ == "__main__":
    main()

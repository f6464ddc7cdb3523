"""`python -m tests.bench.events`: what one hop of an event costs, beside raw aio-pika and FastStream.

All three do the same for each event, one at a time: receive and parse it, look whether the capture has ended
and whether the result is there, put the manifest if absent, publish the next event with a confirm,
acknowledge. The computation is left out. Servers are private, real, and shared by the three in turns.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from broker.interface import Message
from broker.management import Management
from broker.rabbitmq import Broker
from contracts.envelope import Envelope, new_traceparent
from contracts.events import DatasetUploaded, UploadedFile
from tests.servers.ceph import Ceph
from tests.servers.rabbitmq import RabbitMQ
from workers.runtime.settings import Settings

KINDS = ("phototwin", "aio-pika", "faststream")
ROUNDS = 3
TICKS = 100  # of a CPU second in /proc, on every Linux of today


@dataclass
class Site:
    """Servers, and how a consumer process is told of them."""

    rabbit: RabbitMQ
    s3: Ceph
    settings: Settings

    @property
    def environment(self) -> dict[str, str]:
        s = self.settings
        assert s.s3_endpoint_url
        assert s.s3_access_key
        assert s.s3_secret_key
        return {
            "PATH": "/usr/bin:/bin",
            "PHOTOTWIN_AMQP_URL": s.amqp_url.get_secret_value(),
            "PHOTOTWIN_PREFIX": s.prefix,
            "PHOTOTWIN_S3_ENDPOINT_URL": s.s3_endpoint_url,
            "PHOTOTWIN_S3_BUCKET": s.s3_bucket,
            "PHOTOTWIN_S3_ACCESS_KEY": s.s3_access_key,
            "PHOTOTWIN_S3_SECRET_KEY": s.s3_secret_key.get_secret_value(),
            "PHOTOTWIN_LOG_LEVEL": "WARNING",
        }


@dataclass
class Figures:
    """CPU seconds of all consumers, and seconds, for the events of a burst; latencies in seconds."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=300, help="in a burst")
    parser.add_argument("--rate", type=float, default=50.0, help="events a second, for latencies")
    parser.add_argument("--seconds", type=float, default=10.0, help="at that rate")
    asked = parser.parse_args()
    with RabbitMQ() as rabbit, Ceph() as ceph:
        asyncio.run(_run(rabbit, ceph, asked))


async def _run(rabbit: RabbitMQ, ceph: Ceph, asked: argparse.Namespace) -> None:
    found = {kind: Figures() for kind in KINDS}
    for _ in range(ROUNDS):
        for kind in KINDS:
            async with _site(rabbit, ceph) as (site, broker):
                await _burst(site, broker, kind, asked.events, 1, found[kind])
    for kind in KINDS:
        async with _site(rabbit, ceph) as (site, broker):
            found[kind].latencies = await _steady(site, broker, kind, asked.rate, asked.seconds)
    per_cpu = {kind: asked.events / statistics.median(f.cpu) for kind, f in found.items()}
    print(f"{asked.events} events in a burst, median of {ROUNDS}; latency at {asked.rate:g} a second")
    print("| consumer | events per CPU second | of FastStream's | events a second | p50, ms | p99, ms |")
    print("|---|---|---|---|---|---|")
    for kind, figures in found.items():
        late = sorted(figures.latencies)
        print(
            f"| {kind} | {per_cpu[kind]:.0f} | {per_cpu[kind] / per_cpu['faststream']:.2f} "
            f"| {asked.events / statistics.median(figures.wall):.0f} "
            f"| {1000 * statistics.median(late):.1f} | {1000 * late[int(0.99 * len(late))]:.1f} |"
        )
    for count in (1, 2, 4):
        figures = Figures()
        async with _site(rabbit, ceph) as (site, broker):
            await _burst(site, broker, "phototwin", asked.events, count, figures)
        print(f"phototwin, {count} workers: {asked.events / figures.wall[0]:.0f} events a second")


@asynccontextmanager
async def _site(rabbit: RabbitMQ, ceph: Ceph) -> AsyncIterator[tuple[Site, Broker]]:
    """An installation of its own on the servers, so that no round finds another's results."""
    settings = Settings(
        amqp_url=SecretStr(rabbit.broker.url),
        prefix=f"bench-{uuid.uuid4().hex[:8]}",
        s3_endpoint_url=ceph.store.endpoint_url,
        s3_bucket=ceph.store.bucket,
        s3_access_key=ceph.store.key,
        s3_secret_key=SecretStr(ceph.store.secret),
    )
    broker = await Broker.connect(rabbit.broker.url, settings.topology, name="bench")
    await broker.apply(Management.of(rabbit.broker.url, rabbit.broker.management_url))
    try:
        yield Site(rabbit, ceph, settings), broker
    finally:
        await broker.close()


def _event(site: Site, number: int) -> Message:
    capture = f"{site.settings.prefix}-{number}"
    key = f"captures/default/{capture}/upload/photo.jpg"
    event = DatasetUploaded(capture_id=capture, files=(UploadedFile(key=key, bytes=1, sha256="0" * 64),))
    envelope = Envelope.wrap(event, id=f"{number}", source="bench", traceparent=new_traceparent())
    key = site.settings.topology.routing_key(event.routing_key, "interactive", "default")
    return Message(envelope.encode(), key, envelope.id)


async def _burst(site: Site, broker: Broker, kind: str, events: int, count: int, figures: Figures) -> None:
    """So many events wait when the consumers start to be timed."""
    async with _consumers(site, kind, count) as processes, _arrivals(broker) as arrived:
        await broker.publish(_event(site, -1))  # they are up, connected, and warm
        await arrived.get()
        before = sum(map(_cpu, processes))
        started = time.monotonic()
        slots = asyncio.Semaphore(50)

        async def publish(number: int) -> None:
            async with slots:
                await broker.publish(_event(site, number))

        publishing = [asyncio.create_task(publish(number)) for number in range(events)]
        for _ in range(events):
            await asyncio.wait_for(arrived.get(), 120)
        figures.wall.append(time.monotonic() - started)
        figures.cpu.append(sum(map(_cpu, processes)) - before)
        await asyncio.gather(*publishing)


async def _steady(site: Site, broker: Broker, kind: str, rate: float, seconds: float) -> list[float]:
    async with _consumers(site, kind, 1), _arrivals(broker) as arrived:
        await broker.publish(_event(site, -1))
        await arrived.get()
        sent: dict[str, float] = {}
        publishing = []
        started = time.monotonic()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
            event = _event(site, number)
            sent[f"{site.settings.prefix}-{number}"] = time.monotonic()
            publishing.append(asyncio.create_task(broker.publish(event)))
        found = []
        for _ in sent:
            capture, at = await asyncio.wait_for(arrived.get(), 60)
            found.append(at - sent[capture])
        await asyncio.gather(*publishing)
        return found


@asynccontextmanager
async def _arrivals(broker: Broker) -> AsyncIterator[asyncio.Queue[tuple[str, float]]]:
    """Each capture's next event, with when it came."""
    arrived: asyncio.Queue[tuple[str, float]] = asyncio.Queue()

    async def listen() -> None:
        async with broker.outcomes() as outcomes:
            async for _, message in outcomes:
                if message.routing_key.startswith("poses.ready"):
                    capture = Envelope.parse(message.body).data.capture_id
                    arrived.put_nowait((capture, time.monotonic()))

    listening = asyncio.create_task(listen())
    try:
        yield arrived
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


@asynccontextmanager
async def _consumers(site: Site, kind: str, count: int) -> AsyncIterator[list[int]]:
    """Their process ids."""
    program = [sys.executable, "-m", "tests.bench.consumers", kind]
    root = Path(__file__).parents[2]
    start = partial(subprocess.Popen, program, env=site.environment, cwd=root)
    processes = [start() for _ in range(count)]
    try:
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            process.kill()


def _cpu(pid: int) -> float:
    """User and system seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    main()

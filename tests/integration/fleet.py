"""Workers as an SRE runs them: separate processes, on a real RabbitMQ and a real S3."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import SecretStr

from broker.rabbitmq import Broker
from contracts.dataset import Manifest
from contracts.envelope import Envelope
from contracts.events import CaptureFailed, Event, Stage
from contracts.fields import ManifestRef
from tests.servers.ceph import ObjectStore as S3Server
from tests.servers.keeper import free_ports
from tests.servers.rabbitmq import Broker as RabbitServer
from workers.runtime import s3
from workers.runtime.s3 import S3Store
from workers.runtime.settings import Settings

E = TypeVar("E", bound=Event)
STAGES: tuple[Stage, ...] = ("prepare", "segment", "reconstruct", "package")
PATIENCE = 180
"""Seconds for what takes a few here: machines differ, and share their cores with other tests."""


@dataclass
class Service:
    """One `phototwin worker` process."""

    stage: Stage
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def children(self) -> list[int]:
        """The ids of its child processes."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples of that name whose labels include these."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as response:
            lines = response.read().decode().splitlines()
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith(f"phototwin_{name}{{") and all(label in line for label in wanted)
        )

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as response:
                return bool(response.status == 200)
        except (OSError, HTTPException):
            return False

    async def settled(self, deliveries: int) -> None:
        """Return once it is done with so many: what it published is heard of before it has counted it."""
        async with asyncio.timeout(PATIENCE):
            while await asyncio.to_thread(self.metric, "job_duration_seconds_count") < deliveries:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The lines of its log with that event; of the last one there may be half as yet."""
        *lines, _ = self.log.read_text().split("\n")
        return [line for line in map(json.loads, lines) if line["event"] == event]

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=PATIENCE)


@dataclass
class Fleet:
    """An installation of its own on shared servers, by its queues' prefix and the bucket of `server`."""

    settings: Settings
    folder: Path
    broker: Broker
    store: S3Store
    server: S3Server
    environment: dict[str, str]
    services: list[Service] = field(default_factory=list)
    logs: list[IO[bytes]] = field(default_factory=list)

    async def start(
        self, *stages: Stage, program: tuple[str, ...] = ("workers.cli", "worker")
    ) -> list[Service]:
        """Start one worker process for each stage named and wait until all are ready."""
        started = [self._spawn(stage, program) for stage in stages]
        async with asyncio.timeout(PATIENCE):
            while not all([await asyncio.to_thread(service.ready) for service in started]):
                for service in started:
                    assert service.process.poll() is None, service.log.read_text()
                await asyncio.sleep(0.2)
        return started

    def _spawn(self, stage: Stage, program: tuple[str, ...]) -> Service:
        (port,) = free_ports(1)
        log = self.folder / f"{stage}-{port}.log"
        self.logs.append(log.open("wb"))
        process = subprocess.Popen(
            [sys.executable, "-m", *program, stage],
            env=self.environment | {"PHOTOTWIN_HTTP_PORT": str(port)},
            stderr=self.logs[-1],
        )
        service = Service(stage, process, port, log)
        self.services.append(service)
        return service

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A `phototwin` command in the fleet's environment."""
        return subprocess.run(
            [sys.executable, "-m", "workers.cli", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
        )

    async def outcome(
        self, kind: type[E], capture_id: str, *, count: int = 1, patience: float = 600
    ) -> list[E]:
        """The first `count` events of a kind for a capture, from the stream of outcomes.

        Fails where the capture failed instead.
        """
        return [e.data for e in await self.envelopes(kind, capture_id, count=count, patience=patience)]  # type: ignore[misc]

    async def envelopes(
        self, kind: type[Event], capture_id: str, *, count: int = 1, patience: float = 600
    ) -> list[Envelope]:
        found: list[Envelope] = []
        async with asyncio.timeout(patience), self.broker.outcomes() as outcomes:
            async for _, message in outcomes:
                envelope = Envelope.parse(message.body)
                if envelope.data.capture_id != capture_id:
                    continue
                if isinstance(envelope.data, kind):
                    found.append(envelope)
                elif isinstance(envelope.data, CaptureFailed):
                    raise AssertionError(f"the capture failed: {envelope.data.error.message}")
                if len(found) == count:
                    return found
        raise AssertionError("the stream of outcomes ended")

    async def depth(self, stage: Stage) -> int:
        """How many events wait for a worker."""
        queues = self.settings.topology.live_queues(stage)
        return sum([await self.broker.depth(queue) for queue in queues])

    async def manifest(self, ref: ManifestRef) -> Manifest:
        """A manifest and with it all of its artefacts, every byte checked against its digest."""
        body = await self.store.get(ref.key)
        assert hashlib.sha256(body).hexdigest() == ref.sha256
        manifest = Manifest.model_validate_json(body)
        assert manifest.content == ref.content
        for artefact in manifest.artefacts:
            content = await self.store.get(artefact.key)
            assert len(content) == artefact.bytes
            assert hashlib.sha256(content).hexdigest() == artefact.sha256
        return manifest


def alive(process: int) -> bool:
    """Whether it runs: one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@asynccontextmanager
async def fleet(rabbit: RabbitServer, server: S3Server, folder: Path) -> AsyncIterator[Fleet]:
    name = f"fleet-{uuid.uuid4().hex[:8]}"
    server = replace(server, bucket=name)
    server.create_bucket()
    settings = Settings(
        amqp_url=SecretStr(rabbit.url),
        prefix=name,
        retry_delays=(0.5, 2.0),
        shards=2,
        s3_endpoint_url=server.endpoint_url,
        s3_bucket=server.bucket,
        s3_access_key=server.key,
        s3_secret_key=SecretStr(server.secret),
        http_host="127.0.0.1",
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PHOTOTWIN_")},
        "PHOTOTWIN_AMQP_URL": rabbit.url,
        "PHOTOTWIN_MANAGEMENT_URL": rabbit.management_url,
        "PHOTOTWIN_SHARDS": str(settings.shards),
        "PHOTOTWIN_PREFIX": settings.prefix,
        "PHOTOTWIN_RETRY_DELAYS": json.dumps(settings.retry_delays),
        "PHOTOTWIN_S3_ENDPOINT_URL": server.endpoint_url,
        "PHOTOTWIN_S3_BUCKET": server.bucket,
        "PHOTOTWIN_S3_ACCESS_KEY": server.key,
        "PHOTOTWIN_S3_SECRET_KEY": server.secret,
        "PHOTOTWIN_HTTP_HOST": "127.0.0.1",
        "PHOTOTWIN_THREADS": "2",
    }
    broker = await Broker.connect(rabbit.url, settings.topology, name="test")
    async with s3.connect(settings) as store:
        made = Fleet(settings, folder, broker, store, server, environment)
        try:
            applied = made.command("topology", "apply")
            assert applied.returncode == 0, applied.stderr
            yield made
        finally:
            for service in made.services:
                service.process.kill()
                service.process.wait()
            for log in made.logs:
                log.close()
            for service in made.services:  # shown where the test has failed
                print(service.log.name, *service.log.read_text().splitlines()[-6:], sep="\n  ")
            await broker.close()
            server.remove_bucket()

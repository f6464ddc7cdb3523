"""What a site without KEDA has: a Job of its own, messages that wait, and a scheduler."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import generate_latest

from broker.embedded import Broker as Embedded
from broker.interface import Message
from broker.rabbitmq import Broker
from broker.topology import Topology
from tests.deploy.kubernetes import KUBERNETES
from tests.servers.kubernetes import Answer
from workers.schedule import template as templates
from workers.schedule.cluster import connected
from workers.schedule.scheduler import Scheduler
from workers.schedule.template import COMMANDS

FORBIDDEN = Answer(403, "Forbidden", 'jobs.batch is forbidden: User "x" cannot create resource "jobs"')
QUEUES = Topology().live_queues("reconstruct")


def manifest(**changes: Any) -> dict[str, Any]:
    """A site's own, plain one."""
    container = {
        "name": "phototwin",
        "image": "phototwin-cpu",
        "args": list(COMMANDS[0]),
        "startupProbe": {"httpGet": {"path": "/healthz", "port": 9400}},
    }
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [container | changes]}}}
    metadata = {"name": "ours", "labels": {"team": "twins"}, "resourceVersion": "7"}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


async def wait_for(broker: Embedded | Broker, number: int) -> None:
    for place in range(number):
        message = Message(b"{}", "masks.ready", uuid.uuid4().hex)
        await broker.send(QUEUES[place % len(QUEUES)], message)


async def drain(broker: Embedded | Broker) -> None:
    async with broker.inbox(QUEUES) as inbox:
        for queue in QUEUES:
            while delivery := await inbox.take(queue):
                await delivery.ack()


def scheduler(broker: Any, path: Path, most: int = 3) -> Scheduler:
    template = templates.read(path)
    return Scheduler(broker, QUEUES, lambda: connected(template), template, most)


def counted(of: Scheduler) -> dict[str, float]:
    lines = generate_latest(of.metrics.registry).decode().splitlines()
    mine = [
        line.rsplit(" ", 1) for line in lines if line.startswith("phototwin_") and "_created{" not in line
    ]
    return {name.removeprefix("phototwin_schedule_"): float(value) for name, value in mine if float(value)}


async def there(what: Sequence[str]) -> int:
    return len(what)


async def until(figure: Callable[[], Awaitable[int]], wanted: int) -> None:
    async with asyncio.timeout(60):
        while await figure() != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def component() -> list[dict[str, Any]]:
    """The component's resources."""
    return list(yaml.safe_load_all((KUBERNETES / "components/scheduler/scheduler.yaml").read_text()))

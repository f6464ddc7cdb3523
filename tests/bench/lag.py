"""`python -m tests.bench.lag`: whether a worker's loop is on time while its child computes at full load.

A simulated capture goes through all four workers, on private servers; each of them then tells by how much its
loop was late, all through the run.
"""

import asyncio
import re
import tempfile
import urllib.request
from pathlib import Path

from contracts.events import ModelReady
from tests.integration.fleet import STAGES, Service, fleet
from tests.servers.ceph import Ceph
from tests.servers.rabbitmq import RabbitMQ
from workers.simulate.capture import simulate

VIEWS = 36
QUANTILES = (0.5, 0.99, 1.0)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, RabbitMQ() as rabbit, Ceph() as ceph:
        simulate(Path(folder), views=VIEWS)
        print(asyncio.run(_run(rabbit, ceph, Path(folder))))


async def _run(rabbit: RabbitMQ, ceph: Ceph, folder: Path) -> str:
    async with fleet(rabbit.broker, ceph.store, folder) as ships:
        services = await ships.start(*STAGES)
        published = ships.command("publish", str(folder / "capture"), "--capture-id", "lag")
        assert published.returncode == 0, published.stderr
        await ships.outcome(ModelReady, "lag", patience=600)
        lines = [
            "| worker | measurements | p50 below, s | p99 below, s | all below, s |",
            "|---|---|---|---|---|",
        ]
        lines += [await asyncio.to_thread(_line, service) for service in services]
        return "\n".join(lines)


def _line(service: Service) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{service.port}/metrics", timeout=5) as response:
        text = response.read().decode()
    found = re.findall(r'^phototwin_loop_lag_seconds_bucket\{le="(.*)"\} (.*)$', text, re.MULTILINE)
    buckets = [(bound, float(count)) for bound, count in found]
    total = buckets[-1][1]
    below = [next(bound for bound, count in buckets if count >= q * total) for q in QUANTILES]
    return f"| {service.stage} | {total:.0f} | {' | '.join(below)} |"


if __name__ == "__main__":
    main()

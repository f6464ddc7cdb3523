"""`python -m tests.bench.service_times`: what the stages of a capture take, by the workers' own metrics.

Simulated captures of several sizes, one after another, through the real workers on private servers. Writes
what deploy/capacity plans with; run it while nothing else runs.
"""

import argparse
import asyncio
import json
import re
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from contracts.events import ModelReady
from deploy.capacity.plan import MEASURED
from tests.integration.fleet import STAGES, Fleet, Service, fleet
from tests.servers.ceph import Ceph
from tests.servers.rabbitmq import RabbitMQ
from workers.simulate.capture import simulate

VIEWS = (24, 36, 48, 60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captures", type=int, default=8)
    asked = parser.parse_args()
    with RabbitMQ() as rabbit, Ceph() as ceph, tempfile.TemporaryDirectory() as folder:
        rabbit.wait()
        found = asyncio.run(_run(rabbit, ceph, Path(folder), asked.captures))
    MEASURED.write_text(json.dumps(found, indent=1) + "\n")
    for name, stage in found["stages"].items():
        print(f"{name}: {stage['seconds'] / stage['jobs']:.1f} s on average, of {stage['jobs']:.0f}")


async def _run(rabbit: RabbitMQ, ceph: Ceph, folder: Path, count: int) -> dict[str, Any]:
    heard, upload, model = [0], 0, 0
    async with fleet(rabbit.broker, ceph.store, folder) as ships:
        services = await ships.start(*STAGES)
        listening = asyncio.create_task(_count_progress(ships, heard))
        for number in range(count):
            capture = folder / f"c{number}" / "capture"
            simulate(capture.parent, views=VIEWS[number % len(VIEWS)], seed=number, masks=False)
            upload += sum(path.stat().st_size for path in capture.rglob("*") if path.is_file())
            sent = await asyncio.to_thread(
                ships.command, "publish", str(capture), "--capture-id", f"c{number}"
            )
            assert sent.returncode == 0, sent.stderr
            (ready,) = await ships.outcome(ModelReady, f"c{number}")
            manifest = await ships.manifest(ready.model)
            model += manifest.artefact("model.glb").bytes
            print(f"{number + 1} of {count} done", flush=True)
        await asyncio.gather(*(service.settled(count) for service in services))
        listening.cancel()
        moved = sum(service.metric("storage_bytes_total") for service in services)
        return {
            "cores": 2,
            "upload_bytes": upload / count,
            "model_bytes": model / count,
            "bytes": (upload + moved) / count,
            "messages": heard[0] / count + len(STAGES) + 1,
            "stages": {service.stage: _histogram(service) for service in services},
        }


def _histogram(service: Service) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{service.port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    of = r'phototwin_job_duration_seconds_{}\{{[^}}]*outcome="done"[^}}]*\}} (\S+)'
    buckets = re.findall(r'_seconds_bucket\{le="([^"]+)",outcome="done"[^}]*\} (\S+)', text)
    return {
        "jobs": float(re.findall(of.format("count"), text)[0]),
        "seconds": float(re.findall(of.format("sum"), text)[0]),
        "buckets": [[float(bound), float(number)] for bound, number in buckets if bound != "+Inf"],
    }


async def _count_progress(ships: Fleet, heard: list[int]) -> None:
    async with ships.broker.progress() as messages:
        async for _ in messages:
            heard[0] += 1


if __name__ == "__main__":
    main()

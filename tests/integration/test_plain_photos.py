"""Photos without poses, through the prepare worker as it is deployed."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from contracts.events import PosesReady
from tests import tabletop
from tests.integration.fleet import PATIENCE, Fleet, Service, alive, fleet
from tests.servers.ceph import ObjectStore as S3Server
from tests.servers.rabbitmq import Broker as RabbitServer
from workers.geometry.similarity import align_cameras, moved

RIG = tabletop.rig(10)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tabletop.write(tmp_path_factory.mktemp("plain") / "photos", RIG, masks=True)


@pytest.fixture
async def ships(rabbitmq: RabbitServer, s3: S3Server, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet(rabbitmq, s3, tmp_path) as made:
        yield made


async def test_photos_become_a_dataset_once_though_a_worker_is_killed_while_it_maps(
    ships: Fleet, photos: Path
) -> None:
    (victim,) = await ships.start("prepare")
    publish(ships, photos, "killed-while-mapping")
    async with asyncio.timeout(PATIENCE):
        while (mapper := mapper_of(victim)) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    os.kill(mapper, signal.SIGSTOP)  # so that it does not end because it has done
    computing = victim.children()
    victim.end(signal.SIGKILL)
    try:
        async with asyncio.timeout(PATIENCE):  # nothing computes on for a worker that is gone
            while any(alive(process) for process in (*computing, mapper)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        with suppress(ProcessLookupError):
            os.kill(mapper, signal.SIGKILL)
    (heir,) = await ships.start("prepare")
    (ready,) = await ships.outcome(PosesReady, "killed-while-mapping")
    assert (ready.images, ready.posed, ready.masked) == (RIG.views, True, True)
    assert ready.world is not None
    assert ready.world.up == (0.0, 1.0, 0.0)
    assert ready.world.scale is None
    await are_right(ships, ready)
    await heir.settled(1)
    assert heir.metric("job_duration_seconds_count", outcome="done") == 1
    assert heir.metric("events_published_total") == 1
    assert await ships.depth("prepare") == 0
    assert await ships.broker.depth(ships.settings.topology.dead_letter_queue("prepare")) == 0


def publish(ships: Fleet, photos: Path, capture_id: str) -> None:
    done = ships.command("publish", str(photos), "--capture-id", capture_id, "--profile", "preview")
    assert done.returncode == 0, done.stderr


async def are_right(ships: Fleet, ready: PosesReady) -> None:
    """Whether the dataset's cameras are the true ones, but for where the world is and how large."""
    manifest = await ships.manifest(ready.dataset)
    assert manifest.metrics["poses"]["registered"] == RIG.views
    document = json.loads(await ships.store.get(manifest.artefact("cameras.json").key))
    found = np.array([image["c2w"] for image in document["images"]])
    aligned = moved(align_cameras(found, RIG.c2w).similarity, found)
    assert np.abs(aligned - RIG.c2w).max() < 0.02


def mapper_of(service: Service) -> int | None:
    """The process that maps, which the one that computes has started: once it has begun to, and COLMAP's
    warnings go nowhere."""
    for child in service.children():
        for thread in Path(f"/proc/{child}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # threads come and go while we look
                for process in map(int, (thread / "children").read_text().split()):
                    maps = b"mapper.py" in Path(f"/proc/{process}/cmdline").read_bytes()
                    if maps and os.readlink(f"/proc/{process}/fd/2") == os.devnull:
                        return process
    return None

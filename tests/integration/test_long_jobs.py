"""Jobs that take long, on a real RabbitMQ and a real S3: killed and gone on with, cancelled on the way."""

import asyncio
import hashlib
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from broker.interface import Message
from contracts.envelope import Envelope, new_traceparent
from contracts.events import CaptureCancelled, DatasetUploaded, MeshReady, PosesReady, UploadedFile
from tests.integration.fleet import PATIENCE, Fleet, Service, fleet
from tests.servers.ceph import ObjectStore as S3Server
from tests.servers.rabbitmq import Broker as RabbitServer
from workers.runtime.storage import NotFound
from workers.simulate.capture import simulate

STEPS, HELD = 8, 5
EARLY = {"rough.npz", "field.npz", "surface.npz", "atlas.npz"}
CANCEL_SECONDS = 2.0 + 4.0
"""Within how many a cancelled computation ends: as promised, and what the machine may be late. Whether it is
the worker's next look that ends it is tested in tests/unit/test_shell_cancel.py."""


@pytest.fixture
async def ships(rabbitmq: RabbitServer, s3: S3Server, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet(rabbitmq, s3, tmp_path) as made:
        yield made


async def obedient(ships: Fleet) -> Service:
    (service,) = await ships.start("prepare", program=("tests.fakes",))
    return service


async def publish(ships: Fleet, capture_id: str, **orders: Any) -> Path:
    """Have the obedient worker do something; returns its diary."""
    diary, path = ships.folder / capture_id, ships.folder / f"{capture_id}.json"
    path.write_text(json.dumps({"diary": str(diary), **orders}))
    key = f"captures/default/{capture_id}/upload/orders.json"
    await ships.store.put(key, path, "application/json")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    event = DatasetUploaded(
        capture_id=capture_id,
        files=(UploadedFile(key=key, bytes=path.stat().st_size, sha256=digest),),
    )
    envelope = Envelope.wrap(event, id=capture_id, source="test", traceparent=new_traceparent())
    await ships.broker.publish(Message(envelope.encode(), event.routing_key, capture_id))
    return diary


def steps(diary: Path) -> list[int]:
    path = Path(f"{diary}.steps")
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


async def result(ships: Fleet, capture_id: str) -> bytes:
    (ready,) = await ships.outcome(PosesReady, capture_id)
    manifest = await ships.manifest(ready.dataset)
    return await ships.store.get(manifest.artefact("result.txt").key)


async def test_a_killed_workers_job_is_gone_on_with_where_it_was(ships: Fleet, tmp_path: Path) -> None:
    victim, going_on = await obedient(ships), tmp_path / "going on"
    diary = await publish(
        ships, "killed", do="add up", steps=STEPS, seconds=0.7, hold=HELD, until=str(going_on)
    )

    async def saved() -> int:
        """How many sums the newest checkpoint has."""
        for listed in await ships.store.below("captures/default/killed/checkpoints/"):
            with suppress(NotFound):  # another has taken its place
                await ships.store.download(listed.key, tmp_path / "sums.npz", listed.bytes)
                return len(np.load(tmp_path / "sums.npz")["sums"])
        return 0

    async with asyncio.timeout(PATIENCE):
        while await saved() < HELD:  # noqa: ASYNC110 - nothing is on its way to the store then
            await asyncio.sleep(0.05)
    victim.end(signal.SIGKILL)
    assert steps(diary) == list(range(1, HELD + 1))

    going_on.touch()
    await obedient(ships)
    resumed = await result(ships, "killed")
    assert steps(diary) == list(range(1, STEPS + 1))
    await publish(ships, "whole", do="add up", steps=STEPS, seconds=0.0)
    assert resumed == await result(ships, "whole")
    async with asyncio.timeout(PATIENCE):
        while await ships.store.below("captures/default/killed/checkpoints/"):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_a_cancelled_capture_is_computed_for_no_longer(ships: Fleet) -> None:
    service = await obedient(ships)
    diary = await publish(ships, "unwanted", do="work", seconds=600)
    async with asyncio.timeout(PATIENCE):
        while not diary.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    (child,) = service.children()
    event = CaptureCancelled(capture_id="unwanted")
    envelope = Envelope.wrap(event, id="cancel", source="test", traceparent=new_traceparent())
    await ships.broker.publish(Message(envelope.encode(), event.routing_key, envelope.id))
    put = time.monotonic()
    while Path(f"/proc/{child}").exists():
        assert time.monotonic() - put < CANCEL_SECONDS
        await asyncio.sleep(0.02)
    await service.settled(1)
    assert service.metric("job_duration_seconds_count", outcome="cancelled") == 1
    topology = ships.settings.topology
    assert service.end(signal.SIGTERM) == 0
    assert await ships.depth("prepare") == 0
    assert await ships.broker.depth(topology.dead_letter_queue("prepare")) == 0


async def test_a_killed_reconstruction_goes_on_from_what_it_saved(ships: Fleet, tmp_path: Path) -> None:
    simulate(tmp_path, views=8, size=(180, 240), seed=3)
    await ships.start("prepare", "segment")
    (victim,) = await ships.start("reconstruct")
    published = ships.command("publish", str(tmp_path / "capture"), "--capture-id", "model")
    assert published.returncode == 0, published.stderr
    saved: set[str] = set()
    async with asyncio.timeout(600):
        while not saved >= EARLY:  # the newest is put first
            await asyncio.sleep(0.1)
            stored = await ships.store.below("captures/default/model/checkpoints/")
            saved = {listed.key.rpartition("/")[2] for listed in stored}
    victim.end(signal.SIGKILL)
    (heir,) = await ships.start("reconstruct")
    (ready,) = await ships.outcome(MeshReady, "model")
    await ships.manifest(ready.mesh)
    (resumed,) = heir.logged("job resumed")
    assert set(resumed["checkpoints"]) >= EARLY
    later = [line["name"] for line in heir.logged("checkpoint stored")]
    assert not EARLY.intersection(later)
    assert "appearance.npz" in (later or resumed["checkpoints"])

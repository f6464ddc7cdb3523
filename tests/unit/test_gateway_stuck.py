"""Which captures are stuck, and which only wait."""

import os
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from contracts.dataset import running_key
from contracts.envelope import Envelope
from contracts.events import DatasetUploaded, Event
from tests.gateway import Served, served
from workers.gateway.stuck import publish, stuck, unannounced

NOW = timedelta(0)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as made:
        yield made


async def found(site: Served, older: timedelta = NOW) -> list[Envelope]:
    made = site.gateway
    return await stuck(made.database, made.store, made.broker, made.settings, older)


async def lose(site: Served) -> None:
    """What waits for `prepare`."""
    queues = site.gateway.settings.topology.live_queues("prepare")
    async with site.gateway.broker.inbox(queues) as inbox:
        for delivery in [await inbox.take(queue) for queue in queues]:
            if delivery is not None:
                await delivery.ack()


async def test_what_waits_in_a_queue_is_not_stuck_and_what_was_lost_is(site: Served) -> None:
    id = await site.uploaded()
    assert await found(site) == []
    await lose(site)
    assert await found(site, timedelta(minutes=10)) == []
    (lost,) = await found(site)
    assert (lost.data.capture_id, type(lost.data)) == (id, DatasetUploaded)
    await publish(site.gateway.broker, [lost])
    assert await found(site) == []
    assert (await site.status(id))["number"] == 1  # it is the same event


async def test_what_a_worker_is_at_is_not_stuck(site: Served, tmp_path: Path) -> None:
    event = Event(capture_id=await site.uploaded())
    await lose(site)
    mark = running_key(event, "0" * 64)
    await site.gateway.store.put_if_absent(mark, b"", "text/plain")
    assert await found(site) == []
    old = time.time() - 3 * site.gateway.settings.time_limit
    (path,) = tmp_path.rglob("0" * 64)
    os.utime(path, (old, old))
    assert len(await found(site)) == 1


async def test_what_has_ended_is_not_stuck(site: Served) -> None:
    id = await site.uploaded()
    await lose(site)
    await site.client.post(f"/v1/captures/{id}/cancel")
    assert await found(site) == []


async def test_uploads_that_nobody_announced(site: Served) -> None:
    await site.created()  # its client may still be at it
    await site.uploaded()
    store = site.gateway.store
    for name in ("b.jpg", "a.jpg"):
        await store.put_if_absent(f"captures/shop/silent/upload/{name}", b"photo", "image/jpeg")
    assert await unannounced(store, timedelta(minutes=10)) == []
    (envelope,) = await unannounced(store, NOW)
    assert isinstance(envelope.data, DatasetUploaded)
    assert (envelope.data.tenant, envelope.data.capture_id) == ("shop", "silent")
    assert sorted(file.key[-5:] for file in envelope.data.files) == ["a.jpg", "b.jpg"]
    (again,) = await unannounced(store, NOW)
    assert again.id == envelope.id

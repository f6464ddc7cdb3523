"""Which captures are stuck, and which only wait."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.dataset import running_key
from contracts.envelope import Envelope
from contracts.events import CaptureFailed, DatasetUploaded, Event, Failure
from tests.gateway import Served, served
from workers.cli import app
from workers.gateway.silence import _last_heard
from workers.gateway.stuck import Looked, publish, stuck, unannounced

NOW = timedelta(0)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as made:
        yield made


async def looked(site: Served, older: timedelta = NOW) -> Looked:
    made = site.gateway
    return await stuck(made.database, made.store, made.broker, made.settings, older)


async def found(site: Served, older: timedelta = NOW) -> list[Envelope]:
    return (await looked(site, older)).stuck


async def lose(site: Served) -> None:
    """What waits for `prepare`."""
    queues = site.gateway.settings.topology.live_queues("prepare")
    async with site.gateway.broker.inbox(queues) as inbox:
        for queue in queues:
            while (delivery := await inbox.take(queue)) is not None:
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
    (path,) = tmp_path.rglob("0" * 64)
    began = datetime.now(UTC) - timedelta(minutes=40)
    os.utime(path, (began.timestamp(), began.timestamp()))
    told = await looked(site)
    until = began + timedelta(seconds=2 * site.gateway.settings.time_limit)
    said = f"a mark of {began:%Y-%m-%dT%H:%MZ} says it is worked on, until {until:%Y-%m-%dT%H:%MZ}"
    assert (told.passed, told.why) == (1, [f"{event.capture_id} of tenant default: {said}"])
    old = time.time() - 3 * site.gateway.settings.time_limit
    os.utime(path, (old, old))
    told = await looked(site)
    assert (len(told.stuck), told.passed, told.why) == (1, 0, [])


async def test_where_anything_waits_it_is_said_what_was_passed_over(
    site: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = [await site.uploaded(), await site.uploaded()]
    await lose(site)
    await site.uploaded()
    told = await looked(site)
    assert (told.stuck, told.passed) == ([], 3)
    (why,) = told.why
    assert why.startswith("prepare: not looked at, 1 wait for it: its 3 silent captures may be among them")
    assert why.endswith(f"silent for longest is {lost[0]} of tenant default")
    await lose(site)

    async def depth(queue: str) -> int:
        return int(queue == "test.retry.30000ms")  # the embedded one has timers, and no such queues

    monkeypatch.setattr(site.gateway.broker, "depth", depth)
    (why,) = (await looked(site)).why
    assert "prepare: not looked at, 1 wait to be tried again, maybe by it" in why


@pytest.fixture
def reconcile(
    site: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Awaitable[tuple[int, list[str]]]]:
    """The command on the site's own broker, store and database: its status, and what it printed."""
    made = site.gateway

    @asynccontextmanager
    async def at_hand(what: object) -> AsyncIterator[object]:
        yield what

    async def broker(_: object) -> object:
        return NeverClosed(made.broker)

    monkeypatch.setattr("workers.runtime.s3.connect", lambda _: at_hand(made.store))
    monkeypatch.setattr("workers.gateway.database.session.connect", lambda _: at_hand(made.database))
    monkeypatch.setattr("workers.gateway.cli.connect", broker)
    monkeypatch.setattr("workers.gateway.cli.settings_of", lambda _: made.settings)
    monkeypatch.setattr("workers.runtime.logs.configure", lambda _: None)

    async def run(*options: str) -> tuple[int, list[str]]:
        loop = asyncio.get_running_loop()

        def do(work: Coroutine[Any, Any, Any]) -> Any:
            return asyncio.run_coroutine_threadsafe(work, loop).result()

        monkeypatch.setattr("workers.gateway.cli.do", do)
        status = await asyncio.to_thread(app, ["reconcile", *options], standalone_mode=False)
        said = capsys.readouterr()
        return status or 0, (said.out + said.err).splitlines()

    return run


class NeverClosed:
    def __init__(self, broker: Any) -> None:
        self._broker = broker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    async def close(self) -> None: ...


async def test_one_that_is_named_is_published_again_whatever_waits_or_is_marked(
    site: Served, reconcile: Callable[..., Awaitable[tuple[int, list[str]]]]
) -> None:
    lost = await site.uploaded()
    await lose(site)
    await site.uploaded()
    await site.gateway.store.put_if_absent(running_key(Event(capture_id=lost), "0" * 64), b"", "text/plain")
    queue = site.gateway.settings.topology.arrivals("prepare")

    status, said = await reconcile("--quiet", "0", "--publish")
    assert status == 0
    assert said[0].endswith("0 captures are stuck; 2 more may be, and were passed over")
    assert said[1].startswith("passed over: prepare: not looked at, 1 wait for it")
    assert "--publish --capture-id ID" in said[2]
    assert await site.gateway.broker.depth(queue) == 1

    status, said = await reconcile("--capture-id", lost)
    assert said[1:] == [f"--publish publishes again: {lost} of tenant default, after dataset.uploaded"]
    assert await site.gateway.broker.depth(queue) == 1
    status, said = await reconcile("--publish", "--capture-id", lost)
    assert said[0] == "1 captures in the store; 0 events were missing in the index"
    assert said[1:] == [f"published again: {lost} of tenant default, after dataset.uploaded"]
    assert await site.gateway.broker.depth(queue) == 2

    await site.client.post(f"/v1/captures/{lost}/cancel")
    status, said = await reconcile("--publish", "--capture-id", lost)
    assert (status, said[1:]) == (0, [f"{lost} of tenant default is cancelled, and waits for no worker"])
    status, said = await reconcile("--publish", "--capture-id", lost, "--tenant", "shop")
    assert status == 1
    assert f"capture {lost} of tenant shop" in said[-1]
    assert (await reconcile("--tenant", "shop"))[0] == 1
    assert (await reconcile("--capture-id", "../etc"))[0] == 1


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


async def test_what_nobody_could_read_is_neither_in_work_nor_stuck(
    site: Served, reconcile: Callable[..., Awaitable[tuple[int, list[str]]]]
) -> None:
    told = Failure(code="event_invalid", message="m", sentence="s", action="a")
    await site.workers.say(CaptureFailed(capture_id="garbled", stage="prepare", error=told), "f1")
    await site.until("garbled", "working")  # it may still come, corrected
    assert await _last_heard(site.gateway.database) == {}
    assert (await looked(site)).stuck == []
    status, said = await reconcile("--publish", "--capture-id", "garbled")
    assert (status, said[1].startswith("nothing of garbled of tenant default was ever begun")) == (0, True)


async def test_a_gateway_that_lacks_only_its_broker_says_so_and_keeps_its_place(
    site: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asyncio.timeout(60):
        while (await site.client.get("/readyz")).text != "ok":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    monkeypatch.setattr(site.gateway.broker, "fault", lambda: "RabbitMQ is away")
    answer = await site.client.get("/readyz")
    assert (answer.status_code, answer.text) == (200, "ok, but RabbitMQ is away")

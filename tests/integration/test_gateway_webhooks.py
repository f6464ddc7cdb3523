"""Webhooks, from the event to the receiver, on both kinds of database."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from tests.integration.hooks import SETTINGS, Receiver, deliveries, register, sending, tell
from tests.servers.postgres import PostgreSQL
from workers.gateway.database.session import Database, connect
from workers.gateway.database.tables import DeliveryRow, WebhookRow
from workers.gateway.settings import GatewaySettings
from workers.gateway.webhooks import calls, sender
from workers.gateway.webhooks.sender import Sender, new_webhook
from workers.gateway.webhooks.signature import verify

PATIENCE = 120


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with connect(database_url) as database:
        yield database


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "SHORTEST", 0.02)
    monkeypatch.setattr(sender, "POLL_SECONDS", 0.05)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            met = condition()
            if await met if asyncio.iscoroutine(met) else met:
                return
            await asyncio.sleep(0.02)


async def attempted(database: Database) -> bool:
    return all(row.attempts for row in await deliveries(database))


async def settled(database: Database) -> bool:
    return all(row.state != "waiting" for row in await deliveries(database))


async def test_a_call_is_signed_and_made_once(database: Database) -> None:
    receiver = Receiver()
    async with receiver.listening() as url, sending(database):
        hook = await register(database, url)
        await tell(database, "e1", "e2")
        await tell(database, "e1")  # another replica has heard of it too
        await until(lambda: settled(database))
        await tell(database, "e1")
        await asyncio.sleep(0.2)
    assert sorted(json.loads(body)["id"] for _, body in receiver.calls) == ["e1", "e2"]
    for headers, body in receiver.calls:
        verify(hook.secret, headers, body)
    assert len(set(receiver.ids())) == 2
    assert [(row.state, row.attempts, row.error) for row in await deliveries(database)] == [
        ("sent", 1, None)
    ] * 2


async def test_who_is_told_of_what(database: Database) -> None:
    all_of_it = await register(database, "http://127.0.0.1/usual")
    meshes = await register(database, "http://127.0.0.1/meshes", "mesh.ready")
    callback = await register(database, "http://127.0.0.1/callback", capture_id="shoe")
    other = new_webhook("other", "http://127.0.0.1/other")
    async with database.begin() as session:
        session.add(other)
    await tell(database, "ready")
    await tell(database, "mesh", kind="mesh.ready")
    await tell(database, "review", kind="masks.proposed")
    await tell(database, "poses", kind="poses.ready")
    await tell(database, "hat", capture_id="hat")
    told = {(row.webhook_id, row.event_id) for row in await deliveries(database)}
    assert told == {
        (all_of_it.id, "ready"),
        (all_of_it.id, "review"),
        (all_of_it.id, "hat"),
        (callback.id, "ready"),
        (callback.id, "review"),
        (meshes.id, "mesh"),
    }


async def test_nothing_is_called_whose_event_was_not_entered(database: Database) -> None:
    await register(database, "http://127.0.0.1/")
    notifier = Sender(database, SETTINGS)

    async def fail() -> None:
        async with database.begin() as session:
            await notifier.enqueue(session, "acme", "shoe", "e1", "model.ready", "{}")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await deliveries(database) == []


async def test_a_call_that_fails_is_made_again_with_the_same_id(database: Database) -> None:
    async def answer(number: int) -> int:
        return 503 if number < 3 else 200

    receiver = Receiver(answer)
    async with receiver.listening() as url, sending(database):
        hook = await register(database, url)
        await tell(database, "e1")
        await until(lambda: settled(database))
    assert len(receiver.calls) == 3
    assert len(set(receiver.ids())) == 1
    for headers, body in receiver.calls:
        verify(hook.secret, headers, body)
    (row,) = await deliveries(database)
    assert (row.state, row.attempts, row.error) == ("sent", 3, None)


async def test_a_pause_is_kept(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "SHORTEST", 600.0)

    async def answer(_: int) -> int:
        return 500

    receiver = Receiver(answer)
    async with receiver.listening() as url, sending(database):
        await register(database, url)
        await tell(database, "e1")
        await until(lambda: attempted(database))
        await asyncio.sleep(0.4)
    (row,) = await deliveries(database)
    assert len(receiver.calls) == row.attempts == 1
    assert timedelta(seconds=400) < row.due - datetime.now(UTC) < timedelta(seconds=800)


async def test_in_the_end_it_is_given_up(database: Database) -> None:
    async def answer(_: int) -> int:
        return 500

    receiver = Receiver(answer)
    async with receiver.listening() as url, sending(database):
        await register(database, url)
        await tell(database, "e1")
        await until(lambda: settled(database))
        await asyncio.sleep(0.2)
    (row,) = await deliveries(database)
    assert (row.state, row.attempts, row.error) == ("given_up", 3, "it answered 500")
    assert len(receiver.calls) == 3


async def test_a_refused_address_is_a_failure_that_is_told(database: Database) -> None:
    receiver = Receiver()
    async with receiver.listening() as url, sending(database, GatewaySettings(webhook_attempts=1)):
        await register(database, url)  # as one from before the network was taken off the settings
        await tell(database, "e1")
        await until(lambda: settled(database))
    (row,) = await deliveries(database)
    assert row.state == "given_up"
    assert receiver.calls == []
    assert "https" in (row.error or "")


async def test_a_restart_in_the_middle_loses_nothing(
    database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "LEASE", timedelta(seconds=0.5))
    died = asyncio.Event()

    async def answer(_: int) -> int:
        if not died.is_set():
            await asyncio.sleep(60)
        return 200

    receiver = Receiver(answer)
    async with receiver.listening() as url:
        await register(database, url)
        await tell(database, *(f"e{number}" for number in range(8)))
        async with sending(database):
            await until(lambda: len(receiver.calls) == 4)
        died.set()
        begun = receiver.ids()
        assert all(row.state == "waiting" for row in await deliveries(database))
        async with connect(database_url) as again, sending(again):
            await until(lambda: settled(again))
    assert len(set(receiver.ids())) == 8
    assert set(begun) <= set(receiver.ids()[4:])
    assert {json.loads(body)["id"] for _, body in receiver.calls} == {f"e{number}" for number in range(8)}


async def test_two_senders_share_the_work(database_url: str, database: Database) -> None:
    receiver = Receiver()
    async with receiver.listening() as url, connect(database_url) as other:
        await register(database, url)
        await tell(database, *(f"e{number}" for number in range(60)))
        async with sending(database), sending(other):
            await until(lambda: settled(database))
    assert Counter(Counter(receiver.ids()).values()) == {1: 60}


async def test_a_database_that_comes_back_is_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    # What was begun when it went is taken up again after that.
    monkeypatch.setattr(sender, "LEASE", timedelta(seconds=1))

    async def answer(_: int) -> int:
        await asyncio.sleep(0.05)
        return 200

    receiver = Receiver(answer)
    with PostgreSQL() as server:
        async with receiver.listening() as url, connect(server.databases.database()) as database:
            await register(database, url)
            await tell(database, *(f"e{number:02}" for number in range(40)))
            async with sending(database):
                await until(lambda: len(receiver.calls) >= 8)
                await asyncio.to_thread(server.restart)
                await until(lambda: len(set(receiver.ids())) == 40)


async def test_a_slow_host_holds_up_nobody_else(database: Database) -> None:
    held = asyncio.Event()

    async def answer(_: int) -> int:
        await held.wait()
        return 200

    slow, quick = Receiver(answer), Receiver(host="127.0.0.2")
    async with slow.listening() as slow_url, quick.listening() as quick_url, sending(database):
        for url in (slow_url, slow_url, quick_url):
            await register(database, url)
        await tell(database, *(f"e{number:02}" for number in range(20)))
        await until(lambda: len(quick.calls) == 20 and slow.at_once == 4)
        held.set()
        await until(lambda: settled(database))
    assert (len(slow.calls), slow.most_at_once) == (40, 4)


async def test_a_new_call_does_not_wait_for_the_next_look(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "POLL_SECONDS", 10 * PATIENCE)
    receiver = Receiver()
    async with receiver.listening() as url, sending(database) as running:
        await register(database, url)
        await asyncio.sleep(0.3)  # it has looked, and found nothing
        await tell(database, "e1")
        running.wake()
        await until(lambda: receiver.calls)


async def test_a_webhook_that_is_removed_is_called_no_more(database: Database) -> None:
    receiver = Receiver()
    async with receiver.listening() as url:
        hook = await register(database, url)
        await tell(database, "e1")
        async with database.begin() as session:
            await session.delete(await session.get(WebhookRow, hook.id))
        assert await deliveries(database) == []
        async with sending(database):
            await asyncio.sleep(0.3)
    assert receiver.calls == []


async def test_old_calls_are_forgotten(database: Database) -> None:
    await register(database, "http://127.0.0.1/")
    await tell(database, "e1", "e2", "e3", "e4")
    now = datetime.now(UTC)
    ages = {"e1": ("sent", 8), "e2": ("sent", 6), "e3": ("given_up", 8), "e4": ("given_up", 31)}
    async with database.begin() as session:
        for id, (state, days) in ages.items():
            changed = update(DeliveryRow).where(DeliveryRow.event_id == id)
            await session.execute(changed.values(state=state, due=now - timedelta(days=days)))
    async with sending(database):

        async def forgotten() -> bool:
            return [row.event_id for row in await deliveries(database)] == ["e2", "e3"]

        await until(forgotten)

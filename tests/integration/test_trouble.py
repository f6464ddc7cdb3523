"""What an SRE meets at night, on real servers: a killer event, an alarm, a broker's patience at its end."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker.interface import Message
from contracts.envelope import Envelope, new_traceparent
from contracts.events import CaptureFailed, DatasetUploaded, PosesReady, UploadedFile
from tests.integration.fleet import PATIENCE, Fleet, Service, fleet
from tests.servers.ceph import ObjectStore as S3Server
from tests.servers.rabbitmq import Broker as RabbitServer
from tests.servers.rabbitmq import RabbitMQ

OBEDIENT = ("tests.fakes",)
CANCEL_SECONDS = 2.0 + 4.0
"""As promised, and what the machine may be late."""


@pytest.fixture
async def ships(rabbitmq: RabbitServer, s3: S3Server, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet(rabbitmq, s3, tmp_path) as made:
        yield made


async def publish(ships: Fleet, capture_id: str, **orders: Any) -> Path:
    """A capture for the obedient worker; returns the diary that it keeps."""
    diary = ships.folder / f"{capture_id}.diary"
    path = ships.folder / "orders.json"
    path.write_text(json.dumps({"diary": str(diary), **orders}))
    key = f"captures/default/{capture_id}/upload/orders.json"
    await ships.store.put(key, path, "application/json")
    event = DatasetUploaded(capture_id=capture_id, files=(UploadedFile(key=key, bytes=path.stat().st_size),))
    envelope = Envelope.wrap(event, id=capture_id, source="test", traceparent=new_traceparent())
    await ships.broker.publish(Message(envelope.encode(), event.routing_key, envelope.id))
    return diary


def lines(diary: Path) -> int:
    return len(diary.read_text().splitlines()) if diary.exists() else 0


async def until(condition: Any, patience: float = PATIENCE) -> None:
    async with asyncio.timeout(patience):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def failure(ships: Fleet, capture_id: str, generation: int = 0) -> CaptureFailed:
    async with asyncio.timeout(PATIENCE), ships.broker.outcomes() as outcomes:
        async for _, message in outcomes:
            data = Envelope.parse(message.body).data
            whose = (data.capture_id, data.generation)
            if isinstance(data, CaptureFailed) and whose == (capture_id, generation):
                return data
    raise AssertionError("the stream of outcomes ended")


def letters(ships: Fleet, *filters: str) -> list[dict[str, Any]]:
    listed = ships.command("deadletter", "list", "--json", *filters)
    assert listed.returncode == 0, listed.stderr
    found: list[dict[str, Any]] = json.loads(listed.stdout)
    return found


async def test_an_event_that_kills_its_workers_ends_as_a_dead_letter_and_can_be_replayed(
    ships: Fleet,
) -> None:
    diary = await publish(ships, "killer", do="work", seconds=600)
    for death in range(1, 7):
        (victim,) = await ships.start("prepare", program=OBEDIENT)
        await until(lambda number=death: lines(diary) == number)
        victim.end(signal.SIGKILL)
    (survivor,) = await ships.start("prepare", program=OBEDIENT)
    failed = await failure(ships, "killer")
    assert (failed.stage, failed.error.code) == ("prepare", "worker_died")
    await until(lambda: len(letters(ships)) == 1)
    (letter,) = letters(ships, "--code", "worker_died", "--worker", "prepare", "--capture-id", "killer")
    assert (letter["id"], letter["attempts"]) == ("killer", 1)
    assert not letters(ships, "--tenant", "somebody-else")

    shown = ships.command("deadletter", "show", "killer")
    assert json.loads(shown.stdout)["event"]["data"]["capture_id"] == "killer"
    refused = ships.command("deadletter", "replay")
    assert refused.returncode == 1
    assert "--all" in refused.stderr
    nonsense = ships.command("deadletter", "drop", "--before", "yesterday")
    assert nonsense.returncode == 1
    assert "must be a time like" in nonsense.stderr
    dry = ships.command("deadletter", "replay", "--id", "killer", "--dry-run")
    assert "would replay killer" in dry.stdout
    assert lines(diary) == 6

    (ships.folder / "orders.json").write_text(json.dumps({"diary": str(diary), "do": "work"}))
    upload = "captures/default/killer/upload/orders.json"
    await ships.store.put(upload, ships.folder / "orders.json", "application/json")
    replayed = ships.command("deadletter", "replay", "--code", "worker_died")
    assert "as generation 1000" in replayed.stdout, replayed.stderr
    # The upload was announced with its size, and is another one now: the replay is judged anew, and says so.
    again = await failure(ships, "killer", 1000)
    assert again.error.code == "upload_changed"
    assert letters(ships) == []
    assert survivor.end(signal.SIGTERM) == 0


async def test_a_cancellation_stops_whoever_works_on_it(ships: Fleet) -> None:
    workers = await ships.start("prepare", "prepare", program=OBEDIENT)
    diary = await publish(ships, "sold", do="work", seconds=600)
    await until(lambda: lines(diary) == 1)
    asked = await asyncio.to_thread(ships.command, "cancel", "sold", "--reason", "it was sold")
    returned = time.monotonic()
    assert asked.returncode == 0, asked.stderr

    def cancelled() -> bool:
        return sum(w.metric("job_duration_seconds_count", outcome="cancelled") for w in workers) == 1

    await until(cancelled)
    assert time.monotonic() - returned < CANCEL_SECONDS
    assert await ships.depth("prepare") == 0


async def test_a_drained_worker_ends_when_nothing_is_left(ships: Fleet) -> None:
    for number in range(3):
        await publish(ships, f"drained{number}", do="work")
    assert await asyncio.to_thread(_ended, ships, "--drain") == 0
    for number in range(3):
        await ships.outcome(PosesReady, f"drained{number}", patience=PATIENCE)


async def test_a_worker_for_one_event_does_one_and_leaves_the_others(ships: Fleet) -> None:
    assert await asyncio.to_thread(_ended, ships, "--once") == 0  # there is none
    for number in range(3):
        await publish(ships, f"single{number}", do="work")
    for done in range(1, 4):
        assert await asyncio.to_thread(_ended, ships, "--once") == 0
        assert await ships.depth("prepare") == 3 - done
    for number in range(3):
        await ships.outcome(PosesReady, f"single{number}", patience=PATIENCE)


def _ended(ships: Fleet, how: str) -> int:
    service: Service = ships._spawn("prepare", (*OBEDIENT, how))
    return service.process.wait(timeout=PATIENCE)


async def test_a_blocked_broker_is_named_and_waited_for(s3: S3Server, tmp_path: Path) -> None:
    with RabbitMQ() as server:
        async with fleet(server.broker, s3, tmp_path) as ships:
            (service,) = await ships.start("prepare", program=OBEDIENT)
            blocked = tmp_path / "blocked"
            diary = await publish(ships, "early", do="work", until=str(blocked))
            await until(lambda: lines(diary) == 1)
            await asyncio.to_thread(server.alarm, on=True)
            blocked.touch()  # and now it has something to say
            await until(lambda: not service.ready())
            assert "memory" in service.log.read_text()
            await asyncio.sleep(2)
            assert await ships.depth("prepare") == 0  # in hand: neither lost nor acknowledged
            await asyncio.to_thread(server.alarm, on=False)
            await ships.outcome(PosesReady, "early")
            assert lines(diary) == 1
            await until(service.ready)


async def test_a_job_is_ended_by_us_before_the_broker_gives_it_to_another(
    s3: S3Server, tmp_path: Path
) -> None:
    """RabbitMQ takes a message back that is not acknowledged in time; our own limit is below that."""
    with RabbitMQ(consumer_timeout=40.0) as server:
        async with fleet(server.broker, s3, tmp_path) as ships:
            ships.environment["PHOTOTWIN_TIME_LIMIT"] = "8"
            workers = await ships.start("prepare", "prepare", program=OBEDIENT)
            diary = await publish(ships, "endless", do="work", seconds=600)
            failed = await failure(ships, "endless")
            assert failed.error.code == "time_limit_exceeded"
            await until(lambda: len(letters(ships)) == 1)
            (letter,) = letters(ships)
            assert letter["code"] == "time_limit_exceeded"
            for worker in workers:  # what it has not settled would be seen when it is gone
                assert worker.end(signal.SIGTERM) == 0
            assert await ships.depth("prepare") == 0
            assert lines(diary) == 1


async def test_a_job_that_outlasts_the_brokers_patience_has_one_result_all_the_same(
    s3: S3Server, tmp_path: Path
) -> None:
    """Where the broker's limit is below ours, by a mistake: it gives the message to another meanwhile."""
    with RabbitMQ(consumer_timeout=5.0) as server:
        async with fleet(server.broker, s3, tmp_path) as ships:
            (service,) = await ships.start("prepare", program=OBEDIENT)
            diary = await publish(ships, "patient", do="work", seconds=9)
            (ready, *_) = await ships.outcome(PosesReady, "patient")
            await ships.manifest(ready.dataset)
            await until(lambda: "delivery lost" in service.log.read_text())
            await until(lambda: service.metric("job_duration_seconds_count", outcome="adopted") >= 1)
            assert lines(diary) == 1  # it came again, and what was done by then was not done twice
            assert await ships.depth("prepare") == 0
            await until(service.ready)

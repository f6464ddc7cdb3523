"""How captures and workers end: outcomes, cancellations, dead letters, SIGTERM, a full disk."""

import asyncio
import json
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from broker.deadletter import CannotReplay, Filter, announcement, browse
from broker.embedded import Broker
from broker.interface import Message
from contracts.dataset import outcome_key, running_key
from contracts.envelope import Envelope
from contracts.errors import ComputeFailed
from contracts.events import CaptureCancelled, CaptureFailed, DatasetUploaded, PosesReady
from tests.fakes.bench import PATIENCE, TOPOLOGY, Bench
from workers.runtime import run_loop, watch
from workers.runtime.folder import FolderStore
from workers.runtime.metrics import Metrics
from workers.runtime.outcome import Outcomes
from workers.runtime.settings import Settings

TRACE = f"00-{'1' * 32}-{'2' * 16}-01"


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    return made(tmp_path)


def made(tmp_path: Path, **more: Any) -> Bench:
    options = {"max_attempts": 2, "grace_seconds": 0, **more}
    settings = Settings(prefix="test", retry_delays=TOPOLOGY.retry_delays, work_dir=str(tmp_path), **options)
    return Bench(tmp_path, Broker(TOPOLOGY), FolderStore(tmp_path / "store"), settings, Metrics())


def outcomes(bench: Bench, outcome: str) -> float:
    return bench.count("job_duration_seconds_count", stage="prepare", outcome=outcome)


async def letters(bench: Bench, wanted: Filter | None = None) -> list[dict[str, Any]]:
    async with browse(bench.broker, TOPOLOGY, wanted or Filter()) as found:
        return [held.letter.summary() for held in found]


async def test_a_generation_that_has_failed_fails_again_with_the_same_words(bench: Bench) -> None:
    event = await bench.upload("reject")
    async with bench.shell():
        await bench.publish(event)
        await bench.until(lambda: outcomes(bench, "rejected") == 1)
        await bench.publish(event, id="sent again")
        await bench.until(lambda: outcomes(bench, "failed_before") == 1)
    first, again = bench.outcomes(CaptureFailed)
    assert first == again
    assert bench.computed == 1
    assert Envelope.parse(await bench.store.get(outcome_key(event))) == first


async def test_the_next_generation_is_not_held_to_it(bench: Bench) -> None:
    event = await bench.upload("reject")
    async with bench.shell():
        await bench.publish(event)
        await bench.until(lambda: outcomes(bench, "rejected") == 1)
        mended = await bench.upload("work")
        await bench.publish(mended.model_copy(update={"generation": 1}), id="mended")
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))


async def test_of_two_copies_the_one_that_ends_first_decides(bench: Bench) -> None:
    """One copy fails for good while the other, slower, still computes: it must not be announced after
    that."""
    event = await bench.upload("work", seconds=0.6)
    ended = event.followed_by(
        CaptureFailed,
        stage="prepare",
        error={"code": "compute_failed", "message": "m", "sentence": "s", "action": "a"},
    )
    body = Envelope.wrap(ended, id="ended", source="t", traceparent=TRACE).encode()
    async with bench.shell():
        await bench.publish(await bench.upload("reject", capture_id="other"), id="other")
        await bench.until(lambda: outcomes(bench, "rejected") == 1)
        assert await bench.store.put_if_absent(outcome_key(event), body, "application/json")
        await bench.publish(event)
        await bench.until(lambda: outcomes(bench, "failed_before") == 1)
    assert not bench.outcomes(PosesReady)
    assert [e.id for e in bench.outcomes(CaptureFailed) if e.data.capture_id == "c1"] == ["ended"]


async def test_an_unreadable_event_ends_no_capture(bench: Bench) -> None:
    event = await bench.upload("work")
    broken = {"specversion": "1.0", "type": "phototwin.dataset.uploaded.v1", "data": {"capture_id": "c1"}}
    async with bench.shell():
        await bench.broker.publish(Message(json.dumps(broken).encode(), "dataset.uploaded", "raw"))
        await bench.until(lambda: bool(bench.outcomes(CaptureFailed)))
        await bench.publish(event)
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))


async def test_a_cancelled_capture_is_left(bench: Bench) -> None:
    event = await bench.upload("work", seconds=600)
    key = outcome_key(event.model_copy(update={"generation": 1}))
    async with bench.shell():
        await bench.publish(event)
        await bench.until(lambda: bench.computed == 1)
        await bench.publish(CaptureCancelled(capture_id="c1", reason="sold"), id="cancel")
        await bench.until(lambda: outcomes(bench, "cancelled") == 1)
        again = await bench.upload("work")
        await bench.publish(again, id="again")
        await bench.until(lambda: outcomes(bench, "cancelled") == 2)
        await bench.publish(again.model_copy(update={"generation": 1}), id="a new try")
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))
        await bench.publish(CaptureCancelled(capture_id="c1", generation=1), id="cancel that too")
        await bench.until(lambda: (bench.folder / "store" / key).exists())
        await bench.publish(again.model_copy(update={"generation": 1}), id="too late")
        await bench.until(lambda: outcomes(bench, "cancelled") == 3)
    assert len(bench.outcomes(PosesReady)) == 1
    assert not bench.outcomes(CaptureFailed)


async def test_what_has_ended_is_not_cancelled(bench: Bench) -> None:
    event = await bench.upload("reject")
    async with bench.shell():
        await bench.publish(event)
        await bench.until(lambda: outcomes(bench, "rejected") == 1)
        await bench.cancel("c1")
        await bench.publish(event, id="once more")
        await bench.until(lambda: outcomes(bench, "failed_before") == 1)


async def test_older_generations_are_cancelled_with_it(bench: Bench) -> None:
    event = CaptureCancelled(capture_id="c1", generation=2)
    envelope = Envelope.wrap(event, id="cancel", source="t", traceparent=TRACE)
    await Outcomes(bench.broker, bench.store).cancel(envelope)
    for generation in range(3):
        recorded = await bench.store.get(f"captures/default/c1/outcomes/{generation}.json")
        assert Envelope.parse(recorded).data.generation == generation
    assert len(await bench.store.below("captures/default/c1/outcomes/")) == 3


async def test_a_cancellation_nobody_can_read_is_kept(bench: Bench) -> None:
    async with bench.shell():
        await bench.broker.publish(Message(b"{}", "capture.cancelled", "raw"))
        async with asyncio.timeout(PATIENCE):
            while not (found := await letters(bench)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert [(each["worker"], each["code"]) for each in found] == [("cancellations", "event_unknown")]


async def test_what_the_broker_gives_up_is_told_and_kept(bench: Bench) -> None:
    event = await bench.upload("work")
    envelope = Envelope.wrap(event, id="killer", source="t", traceparent=TRACE)
    lost = Message(envelope.encode(), "dataset.uploaded", "killer")
    await bench.broker.route(TOPOLOGY.dead, TOPOLOGY.lost_letter_queue("prepare"), lost)
    async with bench.shell():
        await bench.until(lambda: bool(bench.outcomes(CaptureFailed)))
        await bench.until(
            lambda: bench.count("events_dead_lettered_total", stage="prepare", code="worker_died") == 1
        )
    (failed,) = bench.outcomes(CaptureFailed)
    assert isinstance(failed.data, CaptureFailed)
    assert failed.data.error.code == "worker_died"
    assert failed.traceparent.split("-")[1] == "1" * 32
    (letter,) = await letters(bench)
    assert (letter["id"], letter["code"], letter["capture_id"]) == ("killer", "worker_died", "c1")


async def test_a_lost_letter_of_a_cancelled_capture_is_kept_and_ends_no_worker(bench: Bench) -> None:
    event = await bench.upload("work")
    envelope = Envelope.wrap(event, id="killer", source="t", traceparent=TRACE)
    await bench.cancel("c1")
    lost = Message(envelope.encode(), "dataset.uploaded", "killer")
    await bench.broker.route(TOPOLOGY.dead, TOPOLOGY.lost_letter_queue("prepare"), lost)
    async with bench.shell():
        await bench.until(
            lambda: bench.count("events_dead_lettered_total", stage="prepare", code="worker_died") == 1
        )
        await bench.publish(await bench.upload("work", capture_id="next"), id="next")
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))
    assert not bench.outcomes(CaptureFailed)
    assert [letter["id"] for letter in await letters(bench)] == ["killer"]


async def test_letters_are_told_apart_by_time_whatever_its_zone(bench: Bench) -> None:
    await bench.broker.publish(Message(b"no event at all", "dataset.uploaded", "raw"))
    async with bench.shell():
        await bench.until(lambda: outcomes(bench, "dead_lettered") == 1)
    now = datetime.now(timezone(timedelta(hours=5)))
    assert len(await letters(bench, Filter(since=now - timedelta(minutes=1)))) == 1
    assert not await letters(bench, Filter(since=now + timedelta(minutes=1)))
    assert not await letters(bench, Filter(before=now - timedelta(minutes=1)))
    assert len(await letters(bench, Filter(before=now + timedelta(minutes=1)))) == 1


async def test_a_replay_is_another_generation_and_computes_again(bench: Bench) -> None:
    event = await bench.upload("break")
    async with bench.shell():
        await bench.publish(event)
        await bench.until(lambda: outcomes(bench, "dead_lettered") == 1)
    assert bench.computed == 2
    (letter,) = await letters(bench)
    assert (letter["code"], letter["attempts"], letter["generation"]) == ("compute_failed", 2, 0)
    async with browse(bench.broker, TOPOLOGY, Filter(code="no_such")) as none:
        assert not none
    async with browse(bench.broker, TOPOLOGY, Filter(code="compute_failed", worker="prepare")) as (held,):
        assert await held.replay(bench.broker, TOPOLOGY) == 1000
    assert not await letters(bench)
    async with bench.shell():
        await bench.until(lambda: len(bench.outcomes(CaptureFailed)) == 2)
    first, second = bench.outcomes(CaptureFailed)
    assert (first.data.generation, second.data.generation) == (0, 1000)
    assert first.id != second.id


async def test_a_worker_killed_between_telling_and_burying_leaves_no_dead_letter_out(bench: Bench) -> None:
    event = await bench.upload("break")
    error = ComputeFailed("it broke")
    failed = announcement(event, "prepare", "event-1", TRACE, error)
    await Outcomes(bench.broker, bench.store).announce(event, failed)
    async with bench.shell():
        await bench.publish(event)
        await bench.until(lambda: outcomes(bench, "dead_lettered") == 1)
        await bench.publish(event, id="a copy of it")
        await bench.until(lambda: outcomes(bench, "failed_before") == 1)
    (letter,) = await letters(bench)
    assert (letter["id"], letter["code"], letter["message"]) == ("event-1", "compute_failed", "it broke")
    assert {e.id for e in bench.outcomes(CaptureFailed)} == {failed.id}
    assert bench.computed == 0


async def test_looking_at_dead_letters_leaves_them_as_they_are(bench: Bench) -> None:
    await bench.broker.publish(Message(b"no event at all", "dataset.uploaded", "raw"))
    async with bench.shell():
        await bench.until(lambda: outcomes(bench, "dead_lettered") == 1)
    for _ in range(30):
        assert len(await letters(bench)) == 1
    async with browse(bench.broker, TOPOLOGY, Filter()) as (held,):
        with pytest.raises(CannotReplay, match="publish it anew"):
            await held.replay(bench.broker, TOPOLOGY)
        await held.drop()
    assert not await letters(bench)


async def test_a_nearly_finished_job_is_finished_before_the_end(tmp_path: Path) -> None:
    bench = made(tmp_path, grace_seconds=30)
    async with bench.shell() as stop:
        await bench.publish(await bench.upload("work", seconds=1.0))
        await bench.until(lambda: bench.computed == 1)
        stop.set()
    assert len(bench.outcomes(PosesReady)) == 1
    assert await bench.depth() == 0


async def test_a_job_that_takes_longer_than_the_grace_period_is_given_back_within_it(tmp_path: Path) -> None:
    bench = made(tmp_path, grace_seconds=6)
    async with bench.shell() as stop:
        await bench.publish(await bench.upload("work", seconds=600))
        await bench.until(lambda: bench.computed == 1)
        await asyncio.sleep(0.1)
        stop.set()
        asked = time.monotonic()
    assert time.monotonic() - asked < 6
    assert await bench.depth() == 1
    assert not bench.outcomes(PosesReady)


async def test_no_job_is_taken_while_the_disk_is_full(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 0
    monkeypatch.setattr(run_loop, "FULL_PAUSE", 0.02)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free})())
    async with bench.shell():
        await bench.publish(await bench.upload("work"))
        await bench.until(lambda: bench.count("stalls_total", stage="prepare", code="disk_full") >= 3)
        assert bench.computed == 0
        free = 1 << 40
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))


async def test_a_job_at_work_is_marked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "INTERVAL", 0.1)
    event = await bench.upload("work", until=str(bench.folder / "seen"))
    async with bench.shell():
        await bench.publish(event)
        async with asyncio.timeout(PATIENCE):
            while not (marks := await bench.store.below(event.folder + "running/")):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        (mark,) = marks
        (bench.folder / "seen").touch()
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))
        assert not await bench.store.below(event.folder + "running/")
    (ready,) = bench.outcomes(PosesReady)
    assert isinstance(ready.data, PosesReady)
    assert mark.key == running_key(event, ready.data.dataset.key.split("/")[4])


async def test_what_arrives_in_another_lane_is_done_as_well(bench: Bench) -> None:
    event = await bench.upload("work")
    bulk = event.model_copy(
        update={"tenant": "default", "options": event.options.model_copy(update={"lane": "bulk"})}
    )
    assert isinstance(bulk, DatasetUploaded)
    async with bench.shell():
        await bench.publish(bulk)
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))
    (message,) = [m for m in bench.broker._log if m.routing_key.startswith("poses.ready")]
    assert message.routing_key == TOPOLOGY.routing_key("poses.ready", "bulk", "default")

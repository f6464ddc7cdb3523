"""The seven steps: what the shell does when all goes well, and when it does not."""

import asyncio
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from broker.embedded import Broker
from broker.interface import Message
from contracts.dataset import Manifest
from contracts.envelope import Envelope, new_traceparent
from contracts.errors import BrokerUnavailable, ObjectDamaged, StorageUnavailable
from contracts.events import CaptureFailed, Event, JobProgress, PosesReady
from tests.fakes.bench import PATIENCE, TOPOLOGY, Bench
from workers.runtime import logs, patience
from workers.runtime.compute import Compute
from workers.runtime.folder import FolderStore
from workers.runtime.job import Job
from workers.runtime.metrics import Metrics
from workers.runtime.settings import Settings
from workers.runtime.storage import Fetched
from workers.segment.worker import Segment


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    settings = Settings(
        prefix="test",
        retry_delays=TOPOLOGY.retry_delays,
        work_dir=str(tmp_path),
        max_attempts=3,
        grace_seconds=0,
    )
    return Bench(tmp_path, Broker(TOPOLOGY), FolderStore(tmp_path / "store"), settings, Metrics())


async def test_a_job_done_leaves_a_manifest_and_an_event(bench: Bench) -> None:
    async with bench.shell():
        await bench.publish(await bench.upload("work"))
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))
    event = bench.outcomes(PosesReady)[0].data
    assert isinstance(event, PosesReady)
    body = await bench.store.get(event.dataset.key)
    assert hashlib.sha256(body).hexdigest() == event.dataset.sha256
    manifest = Manifest.model_validate_json(body)
    assert manifest.content == event.dataset.content
    artefact = manifest.artefact("result.txt")
    content = await bench.store.get(artefact.key)
    assert (content, len(content)) == (b"done", artefact.bytes)
    assert hashlib.sha256(content).hexdigest() == artefact.sha256
    assert manifest.metrics == {"answer": 42}
    assert manifest.warnings == ("a warning",)
    assert manifest.usage.peak_rss_mb > 1
    assert manifest.producer.libraries["numpy"]
    assert bench.count("job_duration_seconds_count", stage="prepare", outcome="done") == 1
    assert bench.count("events_published_total", stage="prepare", event="poses.ready") == 1
    assert bench.count("storage_bytes_total", stage="prepare", direction="put") == 4


async def test_an_event_sent_twice_computes_once_and_announces_one_id(bench: Bench) -> None:
    event = await bench.upload("work")
    async with bench.shell():
        await bench.publish(event)
        await bench.publish(event, id="event-2")
        await bench.until(lambda: len(bench.outcomes(PosesReady)) == 2)
    assert bench.computed == 1
    first, second = bench.outcomes(PosesReady)
    assert first.id == second.id
    assert first.data == second.data
    assert bench.count("job_duration_seconds_count", stage="prepare", outcome="adopted") == 1


async def test_two_workers_at_once_agree_on_one_result(bench: Bench) -> None:
    event = await bench.upload("work", seconds=1.0)
    async with bench.shell(), bench.shell():
        await bench.publish(event)
        await bench.publish(event, id="event-2")
        await bench.until(lambda: len(bench.outcomes(PosesReady)) == 2)
    first, second = bench.outcomes(PosesReady)
    assert first.data == second.data
    assert first.id == second.id


async def test_another_generation_computes_again_under_another_id(bench: Bench) -> None:
    event = await bench.upload("work")
    async with bench.shell():
        await bench.publish(event)
        await bench.publish(event.model_copy(update={"generation": 1}), id="event-2")
        await bench.until(lambda: len(bench.outcomes(PosesReady)) == 2)
    assert bench.computed == 2
    assert len({envelope.id for envelope in bench.outcomes(PosesReady)}) == 2


async def test_a_bad_capture_fails_with_a_sentence_and_is_settled(bench: Bench) -> None:
    async with bench.shell():
        await bench.publish(await bench.upload("reject"))
        await bench.until(lambda: bool(bench.outcomes(CaptureFailed)))
    failed = bench.outcomes(CaptureFailed)[0].data
    assert isinstance(failed, CaptureFailed)
    assert failed.error.code == "too_few_images"
    assert failed.error.params == {"found": 2, "needed": 6}
    assert "2 photos" in failed.error.sentence
    assert bench.computed == 1
    assert not await bench.dead()
    assert not bench.outcomes(PosesReady)


async def test_a_bug_is_retried_then_buried_and_the_capture_told(bench: Bench) -> None:
    async with bench.shell():
        await bench.publish(await bench.upload("break"))
        await bench.until(lambda: bool(bench.outcomes(CaptureFailed)))
        await bench.until(lambda: bench.count("events_dead_lettered_total", **LABELS) == 1)
    assert bench.computed == 3
    (dead,) = await bench.dead()
    assert dead.headers["phototwin-error-code"] == "compute_failed"
    assert dead.headers["phototwin-attempts"] == 3
    assert "nobody foresaw this" in str(dead.headers["phototwin-error-message"])
    assert "ZeroDivisionError" in str(dead.headers["phototwin-stack"])
    assert bench.count("events_retried_total", **LABELS) == 2


LABELS = {"stage": "prepare", "code": "compute_failed"}


async def test_a_dead_child_is_replaced_and_the_job_done(bench: Bench) -> None:
    async with bench.shell():
        await bench.publish(await bench.upload("die once"))
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))
    assert bench.computed == 2
    assert bench.count("events_retried_total", stage="prepare", code="compute_died") == 1


async def test_what_a_task_leaves_running_ends_with_its_child(tmp_path: Path) -> None:
    compute = Compute((), 1)
    async with asyncio.timeout(PATIENCE):
        await compute.run("tests.fakes.forks", tmp_path, tmp_path, tmp_path, {}, lambda *_: None, PATIENCE)
        await compute.close()  # waits for the pipes, which whatever is left would hold open


async def test_a_job_over_its_time_limit_is_killed_and_buried(bench: Bench) -> None:
    bench.settings = bench.settings.model_copy(update={"time_limit": 2.0})
    async with bench.shell():
        await bench.publish(await bench.upload("work", seconds=600))
        await bench.until(lambda: bool(bench.outcomes(CaptureFailed)))
        bench.settings.__dict__["time_limit"] = PATIENCE  # a new child has to start first
        await bench.publish(await bench.upload("work", capture_id="c2"), id="event-2")
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))  # it has taken over
    assert (await bench.dead())[0].headers["phototwin-error-code"] == "time_limit_exceeded"


async def test_a_worker_asked_to_end_gives_its_job_back_unspent(bench: Bench) -> None:
    async with bench.shell() as stop:
        await bench.publish(await bench.upload("work", until=str(bench.folder / "going on")))
        await bench.until(lambda: bench.computed == 1)
        stop.set()
    assert not bench.outcomes(PosesReady)
    assert await bench.depth() == 1
    (bench.folder / "going on").touch()
    async with bench.shell():
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))
    assert bench.computed == 2
    assert not await bench.dead()


async def test_a_cancelled_capture_publishes_nothing(bench: Bench) -> None:
    event = await bench.upload("work")
    await bench.cancel("c1")
    async with bench.shell():
        await bench.publish(event)
        await bench.until(
            lambda: bench.count("job_duration_seconds_count", stage="prepare", outcome="cancelled") == 1
        )
    assert bench.computed == 0
    assert len(bench.broker._log) == 1  # the upload's own event


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sha256": "0" * 64}, "upload_changed"),
        ({"bytes": 7}, "upload_changed"),
        ({"sha256": None, "etag": "nonsense"}, "upload_changed"),
        ({"key": "captures/default/c1/upload/missing.json"}, "upload_missing"),
        ({"key": "captures/default/c1/upload/missing.json", "sha256": None}, "upload_missing"),
    ],
)
async def test_an_upload_that_is_not_what_was_announced(
    bench: Bench, change: dict[str, Any], code: str
) -> None:
    event = await bench.upload("work")
    file = event.files[0].model_copy(update=change)
    async with bench.shell():
        await bench.publish(event.model_copy(update={"files": (file,)}))
        await bench.until(lambda: bool(bench.outcomes(CaptureFailed)))
    failed = bench.outcomes(CaptureFailed)[0].data
    assert isinstance(failed, CaptureFailed)
    assert failed.error.code == code
    assert bench.computed == 0


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[]", b"{}", b'{"type": "phototwin.poses.ready.v1"}'])
async def test_what_cannot_be_read_is_buried_at_once(bench: Bench, body: bytes) -> None:
    async with bench.shell():
        await bench.broker.publish(Message(body, "dataset.uploaded", "raw"))
        await bench.until(
            lambda: bench.count("job_duration_seconds_count", stage="prepare", outcome="dead_lettered") == 1
        )
    (dead,) = await bench.dead()
    assert dead.body == body
    assert str(dead.headers["phototwin-error-code"]).startswith("event_")


async def test_the_sender_of_a_broken_event_is_told(bench: Bench) -> None:
    event = await bench.upload("work")
    envelope = Envelope.wrap(event, id="raw", source="test", traceparent=new_traceparent())
    document = json.loads(envelope.encode())
    document["data"]["files"][0]["bytes"] = "many"
    async with bench.shell():
        await bench.broker.publish(Message(json.dumps(document).encode(), "dataset.uploaded", "raw"))
        await bench.until(lambda: bool(bench.outcomes(CaptureFailed)))
        await bench.until(lambda: bench.count("events_dead_lettered_total", **INVALID) == 1)
    failed = bench.outcomes(CaptureFailed)[0].data
    assert isinstance(failed, CaptureFailed)
    assert failed.capture_id == "c1"
    assert failed.error.params["field"] == "data.files.0.bytes"


INVALID = {"stage": "prepare", "code": "event_invalid"}


async def test_an_artefact_altered_in_the_store_is_noticed(bench: Bench) -> None:
    async with bench.shell():
        await bench.publish(await bench.upload("work"))
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))
    event = bench.outcomes(PosesReady)[0].data
    assert isinstance(event, PosesReady)
    manifest = Manifest.model_validate_json(await bench.store.get(event.dataset.key))
    (bench.store.root / manifest.artefacts[0].key).write_bytes(b"evil")
    job = await Job.of(Segment(bench.settings), event, bench.store)
    with pytest.raises(ObjectDamaged, match="not what its manifest says"):
        await job.fetch(bench.folder / "in", 1000, lambda _: None)


async def test_the_child_sees_no_secrets(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOTWIN_S3_SECRET_KEY", "hush")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    async with bench.shell():
        await bench.publish(await bench.upload("tell"))
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))
    event = bench.outcomes(PosesReady)[0].data
    assert isinstance(event, PosesReady)
    manifest = Manifest.model_validate_json(await bench.store.get(event.dataset.key))
    assert "hush" not in manifest.metrics["environment"].values()
    assert manifest.metrics["environment"]["NUMBA_NUM_THREADS"] == "1"


async def test_progress_is_published_on_the_way(bench: Bench) -> None:
    async with bench.broker.progress() as messages, bench.shell():
        await bench.publish(await bench.upload("work"))
        async with asyncio.timeout(PATIENCE):
            progress = Envelope.parse((await anext(messages)).body).data
    assert isinstance(progress, JobProgress)
    assert (progress.stage, progress.fraction, progress.step) == ("prepare", 0.5, "obeying")


async def test_every_log_line_says_whose_job_it_is(bench: Bench) -> None:
    lines = io.StringIO()
    logs.configure("INFO", lines)
    async with bench.shell():
        await bench.publish(await bench.upload("work"))
        await bench.until(lambda: "job finished" in lines.getvalue())
    line = json.loads(lines.getvalue().splitlines()[-1])
    trace = bench.outcomes(PosesReady)[0].traceparent.split("-")[1]
    assert line["capture_id"] == "c1"
    assert line["event_id"] == "event-1"
    assert line["trace_id"] == trace
    assert len(line["job_key"]) == 64


async def test_no_label_holds_a_capture_id(bench: Bench) -> None:
    async with bench.shell():
        await bench.publish(await bench.upload("work", capture_id="very-particular-capture"))
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))
    labels = {
        value
        for family in bench.metrics.registry.collect()
        for sample in family.samples
        for value in sample.labels.values()
    }
    assert "prepare" in labels
    assert not [value for value in labels if "particular" in value]


class Unwilling(Broker):
    """A broker that takes no messages for a while."""

    refusals = 0

    async def publish(self, message: Message) -> None:
        if self.refusals:
            self.refusals -= 1
            raise BrokerUnavailable("blocked")
        await super().publish(message)


@pytest.mark.parametrize(("do", "outcome"), [("work", PosesReady), ("reject", CaptureFailed)])
async def test_a_broker_that_takes_nothing_is_waited_for(
    bench: Bench, do: str, outcome: type[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.02)
    bench.broker = unwilling = Unwilling(TOPOLOGY)
    async with bench.shell():
        await bench.publish(await bench.upload(do))
        unwilling.refusals = 8
        await bench.until(lambda: bool(bench.outcomes(outcome)))
        await bench.publish(await bench.upload("work", capture_id="next"), id="event-2")
        await bench.until(lambda: any(e.data.capture_id == "next" for e in bench.outcomes(PosesReady)))
    assert not await bench.dead()
    assert len(bench.outcomes(outcome)) == (2 if do == "work" else 1)


async def test_an_outage_of_the_store_uses_up_no_attempts(bench: Bench) -> None:
    event, failures = await bench.upload("work"), 6
    download = bench.store.download

    async def failing(key: str, path: Path, limit: int) -> Fetched:
        nonlocal failures
        if failures:
            failures -= 1
            raise StorageUnavailable("away")
        return await download(key, path, limit)

    bench.store.download = failing  # type: ignore[method-assign]
    async with bench.shell():
        await bench.publish(event)
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))
    assert bench.count("events_retried_total", stage="prepare", code="storage_unavailable") == 6


async def test_a_name_that_cannot_be_written_harms_nobody(bench: Bench) -> None:
    async with bench.shell():
        await bench.publish(await bench.upload("reject", file="\ud800.png"))
        await bench.until(lambda: bool(bench.outcomes(CaptureFailed)))
        await bench.publish(await bench.upload("work", capture_id="next"), id="event-2")
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))


async def test_a_full_disk_is_named(bench: Bench) -> None:
    async with bench.shell():
        await bench.publish(await bench.upload("fill the disk"))
        await bench.until(lambda: bool(bench.outcomes(CaptureFailed)))
    failed = bench.outcomes(CaptureFailed)[0].data
    assert isinstance(failed, CaptureFailed)
    assert failed.error.code == "disk_full"
    assert bench.computed == 3

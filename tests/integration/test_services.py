"""The pipeline as it is deployed: four worker processes, a real RabbitMQ, a real S3."""

import asyncio
import hashlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.interface import Message
from contracts.dataset import FOLDERS, Manifest
from contracts.envelope import Envelope, new_traceparent
from contracts.events import (
    CaptureFailed,
    DatasetUploaded,
    JobProgress,
    MasksReady,
    MeshReady,
    ModelReady,
    Options,
    PosesReady,
    UploadedFile,
)
from tests.integration.fleet import PATIENCE, STAGES, Fleet, alive, fleet
from tests.servers.ceph import ObjectStore as S3Server
from tests.servers.rabbitmq import Broker as RabbitServer
from tests.servers.rabbitmq import RabbitMQ
from workers import local
from workers.simulate.capture import simulate

OPTIONS = ("--profile", "preview", "--holdout", "0")


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    simulate(folder, views=12, size=(300, 400), seed=3)
    return folder / "capture"


@pytest.fixture
async def ships(rabbitmq: RabbitServer, s3: S3Server, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet(rabbitmq, s3, tmp_path) as made:
        yield made


async def test_a_capture_becomes_the_same_model_as_in_one_process(
    ships: Fleet, capture: Path, tmp_path: Path
) -> None:
    services = await ships.start(*STAGES)
    for _ in range(2):  # the very same event twice
        published = ships.command("publish", str(capture), "--capture-id", "twice", *OPTIONS, "--json")
        assert published.returncode == 0, published.stderr
    ready = await ships.envelopes(ModelReady, "twice", count=2)
    assert ready[0].id == ready[1].id
    assert ready[0].data == ready[1].data
    for service in services:
        await service.settled(2)
        assert service.metric("job_duration_seconds_count", outcome="done") == 1, service.stage
        assert service.metric("job_duration_seconds_count", outcome="adopted") >= 1, service.stage
        assert service.metric("events_published_total") == 2
        assert service.metric("queue_wait_seconds_count") == 2
        assert service.metric("jobs_in_flight") == 0

    model = ready[0].data
    assert isinstance(model, ModelReady)
    found = {
        "prepare": (await ships.outcome(PosesReady, "twice"))[0].dataset,
        "segment": (await ships.outcome(MasksReady, "twice"))[0].masks,
        "reconstruct": (await ships.outcome(MeshReady, "twice"))[0].mesh,
        "package": model.model,
    }
    manifests = {stage: await ships.manifest(ref) for stage, ref in found.items()}
    await _check_against_one_process(manifests, capture, tmp_path / "local")
    assert model.glb.sha256 == manifests["package"].artefact("model.glb").sha256
    assert (await ships.store.get(model.glb.key))[:4] == b"glTF"

    _check_logs(ships)
    for service in services:
        assert service.end(signal.SIGTERM) == 0


async def _check_against_one_process(manifests: dict[str, Manifest], capture: Path, out: Path) -> None:
    local.claim(out)
    await local.run(capture, out, Options(profile="preview", holdout=0), lambda _: None)
    for stage, manifest in manifests.items():
        below = out / local.SUBFOLDERS[stage]  # type: ignore[index]
        for artefact in manifest.artefacts:
            if artefact.name == "report.html":
                continue  # it says how long this run took, and whose it was
            digest = hashlib.sha256((below / artefact.name).read_bytes()).hexdigest()
            assert digest == artefact.sha256, f"{FOLDERS[stage]}: {artefact.name}"  # type: ignore[index]


def _check_logs(ships: Fleet) -> None:
    """JSON throughout, each job's lines with its ids, and no secret anywhere."""
    for service in ships.services:
        lines = [json.loads(line) for line in service.log.read_text().splitlines()]
        jobs = [line for line in lines if line["event"] == "job finished"]
        assert len(jobs) == 2
        for line in jobs:
            assert line["capture_id"] == "twice"
            assert {"job_key", "event_id", "trace_id", "stage"} <= set(line)
        secret = ships.environment["PHOTOTWIN_S3_SECRET_KEY"]
        assert secret not in service.log.read_text()
    traces = {
        line["trace_id"]
        for service in ships.services
        for line in map(json.loads, service.log.read_text().splitlines())
        if "trace_id" in line
    }
    assert len(traces) == 2  # one for each of the two publications, through all stages


async def test_a_worker_killed_in_the_middle_of_a_reconstruction(ships: Fleet, capture: Path) -> None:
    services = await ships.start(*STAGES)
    victim = next(service for service in services if service.stage == "reconstruct")
    async with ships.broker.progress() as messages:
        published = ships.command("publish", str(capture), "--capture-id", "killed", *OPTIONS)
        assert published.returncode == 0, published.stderr
        async with asyncio.timeout(600):
            async for message in messages:
                progress = Envelope.parse(message.body).data
                assert isinstance(progress, JobProgress)
                if progress.stage == "reconstruct" and progress.fraction > 0.2:
                    break
    children = victim.children()
    assert children
    victim.end(signal.SIGKILL)
    (heir,) = await ships.start("reconstruct")
    (model,) = await ships.outcome(ModelReady, "killed")
    await heir.settled(1)
    assert heir.metric("job_duration_seconds_count", outcome="done") == 1
    for reference in ((await ships.outcome(MeshReady, "killed"))[0].mesh, model.model):
        await ships.manifest(reference)
    assert await ships.depth("reconstruct") == 0
    assert await ships.broker.depth(ships.settings.topology.dead_letter_queue("reconstruct")) == 0
    async with asyncio.timeout(PATIENCE):  # nothing computes on for a worker that is gone
        while any(map(alive, children)):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_a_worker_asked_to_end_hands_its_job_over(ships: Fleet, capture: Path) -> None:
    await ships.start("prepare", "segment")
    (reconstruct,) = await ships.start("reconstruct")
    async with ships.broker.progress() as messages:
        ships.command("publish", str(capture), "--capture-id", "drained", *OPTIONS)
        async with asyncio.timeout(600):
            async for message in messages:
                progress = Envelope.parse(message.body).data
                if isinstance(progress, JobProgress) and progress.stage == "reconstruct":
                    break
    assert reconstruct.end(signal.SIGTERM) == 0
    await ships.start("reconstruct")
    (mesh,) = await ships.outcome(MeshReady, "drained")
    assert mesh.attempt == 0


async def test_bad_input_ends_in_capture_failed_and_loses_nothing(ships: Fleet, tmp_path: Path) -> None:
    (prepare,) = await ships.start("prepare")
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "holiday.jpg").write_bytes(os.urandom(100))
    published = ships.command("publish", str(bad), "--capture-id", "bad")
    assert published.returncode == 0, published.stderr
    (failed,) = await ships.outcome(CaptureFailed, "bad")
    assert failed.error.code == "format_unsupported"
    assert failed.error.sentence
    assert failed.error.action

    # An event that breaks its contract: its sender is told, and the event is kept.
    file = UploadedFile(key="captures/default/broken/upload/a.jpg", bytes=1)
    envelope = Envelope.wrap(
        DatasetUploaded(capture_id="broken", files=(file,)),
        id="broken",
        source="test",
        traceparent=new_traceparent(),
    )
    body = envelope.encode().replace(b'"bytes":1', b'"bytes":-1')
    await ships.broker.publish(Message(body, "dataset.uploaded", "broken"))
    async with asyncio.timeout(PATIENCE):
        topology = ships.settings.topology
        while await ships.broker.depth(topology.dead_letter_queue("prepare")) != 1:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    async with (
        asyncio.timeout(PATIENCE),
        ships.broker.consume(topology.dead_letter_queue("prepare"), 1) as dead,
    ):
        delivery = await anext(dead)
        assert delivery.message.headers["phototwin-error-code"] == "event_invalid"
        assert "files.0.bytes" in str(delivery.message.headers["phototwin-error-message"])
        await delivery.ack()
    await prepare.settled(2)
    assert await ships.depth("prepare") == 0
    assert prepare.metric("job_duration_seconds_count", outcome="rejected") == 1


async def test_a_draining_worker_ends_when_its_queue_is_empty(ships: Fleet, capture: Path) -> None:
    ships.command("publish", str(capture), "--capture-id", "one", *OPTIONS)
    drained = await asyncio.to_thread(ships.command, "worker", "prepare", "--drain")
    assert drained.returncode == 0, drained.stderr
    assert await ships.outcome(PosesReady, "one")


async def test_an_event_kept_in_a_file_is_published_as_it_is(ships: Fleet, tmp_path: Path) -> None:
    key = "captures/default/kept/upload/capture.zip"
    event = DatasetUploaded(capture_id="kept", files=(UploadedFile(key=key, bytes=1),))
    envelope = Envelope.wrap(event, id="kept-1", source="test", traceparent=new_traceparent())
    path = tmp_path / "event.json"
    path.write_bytes(envelope.encode())
    published = ships.command("publish", str(path), "--json")
    assert json.loads(published.stdout) == {
        "capture_id": "kept",
        "event_id": "kept-1",
        "type": "phototwin.dataset.uploaded.v1",
    }
    await ships.start("prepare")
    (failed,) = await ships.outcome(CaptureFailed, "kept")
    assert failed.error.code == "upload_missing"


def test_without_servers_a_worker_says_so_in_a_sentence(ships: Fleet) -> None:
    ships.environment["PHOTOTWIN_AMQP_URL"] = "amqp://guest:guest@127.0.0.1:9/"
    ended = ships.command("worker", "prepare")
    assert ended.returncode == 1
    assert "phototwin: cannot connect to RabbitMQ" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_worker_ends_when_asked_also_while_the_broker_is_away(s3: S3Server, tmp_path: Path) -> None:
    server = RabbitMQ()
    with server:
        async with fleet(server.broker, s3, tmp_path) as ships:
            (prepare,) = await ships.start("prepare")
            await asyncio.to_thread(server.close)
            async with asyncio.timeout(PATIENCE):
                while await asyncio.to_thread(prepare.ready):  # noqa: ASYNC110
                    await asyncio.sleep(0.2)
            assert prepare.process.poll() is None
            assert await asyncio.to_thread(prepare.end, signal.SIGTERM) == 0

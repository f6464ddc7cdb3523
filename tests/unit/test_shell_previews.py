"""What those who wait are told and shown on the way; and nothing about it can fail or delay a job."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from broker.embedded import Broker
from broker.interface import Message
from contracts.envelope import Envelope
from contracts.errors import StorageUnavailable
from contracts.events import JobProgress, PosesReady
from tests.fakes.bench import PATIENCE, TOPOLOGY, Bench
from workers.runtime import progress
from workers.runtime.folder import FolderStore
from workers.runtime.metrics import Metrics
from workers.runtime.previews import Previews
from workers.runtime.settings import Settings


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    settings = Settings(
        prefix="test", retry_delays=TOPOLOGY.retry_delays, work_dir=str(tmp_path), grace_seconds=0
    )
    return Bench(tmp_path, Broker(TOPOLOGY), FolderStore(tmp_path / "store"), settings, Metrics())


async def told(bench: Bench, do: str = "show", **more: Any) -> list[JobProgress]:
    """All progress of one job, which is done by then."""
    async with bench.broker.progress() as messages, bench.shell():
        await bench.publish(await bench.upload(do, **more))  # with `pace`, see `tests.fakes.task`
        async with asyncio.timeout(PATIENCE / 2):
            await bench.until(lambda: bool(bench.outcomes(PosesReady)))
        heard: list[JobProgress] = []
        async with asyncio.timeout(PATIENCE):
            while not heard or heard[-1].fraction < 0.9:
                data = Envelope.parse((await anext(messages)).body).data
                assert isinstance(data, JobProgress)
                heard.append(data)
    assert bench.computed == 1
    assert not await bench.dead()
    return heard


async def test_a_preview_is_announced_once_it_is_there(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    publish, pace = bench.broker.publish_progress, str(bench.folder / "go on ")

    async def heard(message: Message) -> None:
        await publish(message)
        if b"previews/" in message.body:
            Path(f"{pace}1").touch()

    monkeypatch.setattr(bench.broker, "publish_progress", heard)
    (shown,) = [p for p in await told(bench, pace=pace) if p.preview]
    assert shown.preview
    assert shown.preview_image
    assert shown.preview.startswith("captures/default/c1/previews/")
    assert await bench.store.get(shown.preview) == b"glTF\0"
    assert await bench.store.get(shown.preview_image) == b"PNG\0"
    assert (shown.stage, shown.step, shown.fraction) == ("prepare", "showing", 0.6)


async def test_losses_are_told_but_for_those_that_are_no_number(bench: Bench) -> None:
    heard = await told(bench)
    assert {"image": 0.25} in [p.losses for p in heard]
    assert all("lost" not in p.losses for p in heard)


@pytest.mark.parametrize("nonsense", ["../../etc/passwd", "", "not there", 7, None, ["x"]])
async def test_what_names_no_preview_fails_nothing(bench: Bench, nonsense: object) -> None:
    heard = await told(bench, previews=0, nonsense=nonsense)
    assert not [p for p in heard if p.preview or p.preview_image]


async def test_a_store_that_takes_no_previews_fails_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, refused, pace = bench.store.put, 0, str(bench.folder / "go on ")

    async def failing(key: str, path: Path, media_type: str) -> None:
        nonlocal refused
        if "/previews/" in key:
            refused += 1
            asyncio.get_running_loop().call_later(0.05, Path(f"{pace}{refused}").touch)
            raise StorageUnavailable("away")
        await put(key, path, media_type)

    monkeypatch.setattr(bench.store, "put", failing)
    heard = await told(bench, previews=3, pace=pace)
    assert refused == 3
    assert not [p for p in heard if p.preview]


async def test_while_one_preview_is_under_way_only_the_newest_waits(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, announce, sent, last = bench.store.put, Previews.announce, [], asyncio.Event()
    pace = str(bench.folder / "go on ")

    def announced(previews: Previews, name: str) -> None:
        announce(previews, name)
        if name == "preview_009":
            last.set()

    async def slow(key: str, path: Path, media_type: str) -> None:
        if key.endswith(".glb"):
            sent.append(path.name)
            for number in range(1, 10):  # the first is under way: now come all the others
                Path(f"{pace}{number}").touch()
            await last.wait()
        await put(key, path, media_type)
        if path.name == "preview_009.png":
            Path(f"{pace}10").touch()

    monkeypatch.setattr(Previews, "announce", announced)
    monkeypatch.setattr(bench.store, "put", slow)
    heard = await told(bench, previews=10, pace=pace)
    assert sent == ["preview_000.glb", "preview_009.glb"]
    assert len([p for p in heard if p.preview]) == 2


async def test_a_store_that_hangs_on_previews_keeps_no_job_waiting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = bench.store.put

    async def hanging(key: str, path: Path, media_type: str) -> None:
        await asyncio.sleep(PATIENCE if "/previews/" in key else 0)
        await put(key, path, media_type)

    monkeypatch.setattr(bench.store, "put", hanging)
    await told(bench)

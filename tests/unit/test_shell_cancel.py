"""A capture that is cancelled while a worker computes for it."""

import os
from pathlib import Path

import pytest

from broker.embedded import Broker
from contracts.errors import StorageUnavailable
from contracts.events import PosesReady
from tests.fakes.bench import TOPOLOGY, Bench
from workers.runtime import watch
from workers.runtime.folder import FolderStore
from workers.runtime.metrics import Metrics
from workers.runtime.settings import Settings


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    settings = Settings(
        prefix="test", retry_delays=TOPOLOGY.retry_delays, work_dir=str(tmp_path), grace_seconds=0
    )
    return Bench(tmp_path, Broker(TOPOLOGY), FolderStore(tmp_path / "store"), settings, Metrics())


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_computation_ends_within_two_seconds(bench: Bench) -> None:
    """By the clock of whoever looks: it is the first look after the cancellation that ends it."""
    assert watch.INTERVAL <= 1.0
    get, looks = bench.store.get, 0

    async def counted(key: str) -> bytes:
        nonlocal looks
        looks += "/outcomes/" in key and (bench.store.root / key).exists()
        return await get(key)

    bench.store.get = counted  # type: ignore[method-assign]
    async with bench.shell():
        await bench.publish(await bench.upload("work", seconds=600))
        await bench.until(lambda: bench.computed == 1)
        child = int(bench.diary.read_text())
        assert _alive(child)
        await bench.cancel("c1")
        await bench.until(lambda: not _alive(child))
        assert looks == 1
        await bench.until(
            lambda: bench.count("job_duration_seconds_count", stage="prepare", outcome="cancelled") == 1
        )
        await bench.publish(await bench.upload("work", capture_id="next"), id="event-2")
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))
    (ready,) = bench.outcomes(PosesReady)
    assert ready.data.capture_id == "next"
    assert len(bench.broker._log) == 3  # both uploads and this
    assert await bench.depth() == 0
    assert not await bench.dead()


async def test_a_store_that_is_away_meanwhile_ends_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "INTERVAL", 0.05)
    get, refused = bench.store.get, 0

    async def failing(key: str) -> bytes:
        nonlocal refused
        if bench.computed and not bench.count("storage_bytes_total", stage="prepare", direction="put"):
            refused += 1
            raise StorageUnavailable("away")
        return await get(key)

    bench.store.get = failing  # type: ignore[method-assign]
    async with bench.shell():
        enough = bench.folder / "enough"
        await bench.publish(await bench.upload("work", until=str(enough)))
        await bench.until(lambda: refused > 2)
        enough.touch()
        await bench.until(lambda: bool(bench.outcomes(PosesReady)))
    assert bench.computed == 1

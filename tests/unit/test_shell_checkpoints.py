"""A long job that is interrupted goes on where it was; and nothing about checkpoints can fail it."""

import asyncio
import hashlib
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from broker.embedded import Broker
from contracts.dataset import Manifest, checkpoint_folder
from contracts.errors import StorageUnavailable
from contracts.events import DatasetUploaded, PosesReady
from tests.fakes.bench import PATIENCE, TOPOLOGY, Bench
from tests.fakes.worker import Obedient
from workers.reconstruct.checkpoints import Checkpoints
from workers.runtime import checkpoints, logs
from workers.runtime.folder import FolderStore
from workers.runtime.job import Job
from workers.runtime.metrics import Metrics
from workers.runtime.settings import Settings

STEPS = 6
RESULT = str([1, 3, 6, 10, 15, 21]).encode()


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(checkpoints, "INTERVAL", 0.02)
    settings = Settings(
        prefix="test", retry_delays=TOPOLOGY.retry_delays, work_dir=str(tmp_path), grace_seconds=0
    )
    return Bench(tmp_path, Broker(TOPOLOGY), FolderStore(tmp_path / "store"), settings, Metrics())


async def order(bench: Bench, seconds: float = 0.0, **more: Any) -> DatasetUploaded:
    return await bench.upload("add up", steps=STEPS, seconds=seconds, **more)


async def finish(bench: Bench, results: int = 1) -> None:
    """Wait for the results, and check that they are as they should be and no checkpoint is left."""
    await bench.until(lambda: len(bench.outcomes(PosesReady)) == results)
    for envelope in bench.outcomes(PosesReady):
        assert isinstance(envelope.data, PosesReady)
        manifest = Manifest.model_validate_json(await bench.store.get(envelope.data.dataset.key))
        assert await bench.store.get(manifest.artefact("result.txt").key) == RESULT
    async with asyncio.timeout(PATIENCE):
        while await bench.store.below("captures/default/c1/checkpoints/"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def saved(steps: int) -> bytes:
    """The checkpoint that `add up` leaves after so many steps."""
    with tempfile.TemporaryDirectory() as folder:
        Checkpoints(Path(folder)).save("sums", {"sums": np.cumsum(np.arange(1, steps + 1))})
        return Path(folder, "sums.npz").read_bytes()


async def plant(bench: Bench, event: DatasetUploaded, content: bytes, digest_of: bytes) -> None:
    job = await Job.of(Obedient(bench.settings), event, bench.store)
    path = bench.folder / "planted"
    path.write_bytes(content)
    digest = hashlib.sha256(digest_of).hexdigest()
    await bench.store.put(f"{checkpoint_folder(event, job.key)}{digest}/sums.npz", path, "any/thing")


async def test_a_job_handed_over_goes_on_where_it_was(bench: Bench) -> None:
    going_on = bench.folder / "going on"
    async with bench.shell() as stop:
        await bench.publish(await order(bench, seconds=0.1, hold=STEPS - 1, until=str(going_on)))
        await bench.until(lambda: len(bench.steps) >= 4)
        stop.set()
    stored = await bench.store.below("captures/default/c1/checkpoints/")
    assert len(stored) <= 2  # the newest, and perhaps the one that it was about to take the place of
    newest = max(stored, key=lambda listed: listed.modified)
    last = len(np.load(bench.store.root / newest.key)["sums"])
    done = len(bench.steps)
    assert last >= 2
    going_on.touch()
    async with bench.shell():
        await finish(bench)
    assert bench.computed == 2
    assert bench.steps[done:] == list(range(last + 1, STEPS + 1))


async def test_a_job_begun_anew_does_only_what_is_left(bench: Bench) -> None:
    event = await order(bench)
    await plant(bench, event, saved(4), saved(4))
    async with bench.shell():
        await bench.publish(event, again=True)
        await finish(bench)
    assert bench.steps == [5, 6]
    assert bench.count("storage_bytes_total", stage="prepare", direction="get") > len(saved(4))


@pytest.mark.parametrize("damaged", [b"", saved(4)[:-30], saved(5), b"nonsense" * 1000])
async def test_a_damaged_checkpoint_is_passed_over(bench: Bench, damaged: bytes) -> None:
    lines = io.StringIO()
    logs.configure("INFO", lines)
    event = await order(bench)
    await plant(bench, event, damaged, digest_of=saved(4))
    async with bench.shell():
        await bench.publish(event, again=True)
        await finish(bench)
    assert bench.steps == [1, 2, 3, 4, 5, 6]
    assert "checkpoint ignored" in lines.getvalue()


async def test_of_two_the_newer_counts(bench: Bench) -> None:
    event = await order(bench)
    for steps in (3, 5):
        await plant(bench, event, saved(steps), saved(steps))
        await asyncio.sleep(0.02)
    async with bench.shell():
        await bench.publish(event, again=True)
        await finish(bench)
    assert bench.steps == [6]


async def test_behind_a_damaged_checkpoint_an_older_one_is_found(bench: Bench) -> None:
    event = await order(bench)
    await plant(bench, event, saved(3), saved(3))
    await asyncio.sleep(0.02)  # by the store's clock the other is newer
    await plant(bench, event, b"half", digest_of=saved(4))
    async with bench.shell():
        await bench.publish(event, again=True)
        await finish(bench)
    assert bench.steps == [4, 5, 6]


async def test_whole_bytes_that_the_computation_cannot_read_are_passed_over(bench: Bench) -> None:
    event = await order(bench)
    await plant(bench, event, b"of another make", b"of another make")
    async with bench.shell():
        await bench.publish(event, again=True)
        await finish(bench)
    assert bench.steps == [1, 2, 3, 4, 5, 6]


async def test_a_state_over_which_the_computation_stumbles_is_not_its_end(bench: Bench) -> None:
    event = await order(bench, stumbles=True)
    await plant(bench, event, saved(4), saved(4))
    async with bench.shell():
        await bench.publish(event, again=True)
        await finish(bench)
    assert bench.computed == bench.settings.max_attempts
    assert bench.steps == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("method", ["below", "download", "put", "delete"])
async def test_a_store_that_fails_checkpoints_fails_no_job(
    bench: Bench, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, refused = getattr(bench.store, method), 0

    async def failing(key: str, *more: Any) -> Any:
        nonlocal refused
        if "/checkpoints/" in key:
            refused += 1
            raise StorageUnavailable("away")
        return await whole(key, *more)

    event = await order(bench, seconds=0.1)
    await plant(bench, event, saved(2), saved(2))
    monkeypatch.setattr(bench.store, method, failing)
    async with bench.shell():
        await bench.publish(event, again=True)
        await bench.until(
            lambda: bench.count("job_duration_seconds_count", stage="prepare", outcome="done") == 1
        )
    assert refused
    assert bench.computed == 1
    assert len(bench.outcomes(PosesReady)) == 1


async def test_a_store_that_hangs_on_checkpoints_keeps_no_job_waiting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, most, at_once = bench.store.put, 0, 0

    async def hanging(key: str, path: Path, media_type: str) -> None:
        nonlocal most, at_once
        if "/checkpoints/" not in key:
            return await put(key, path, media_type)
        at_once += 1
        most = max(most, at_once)
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            at_once -= 1

    event = await order(bench, seconds=0.1)
    monkeypatch.setattr(bench.store, "put", hanging)
    async with bench.shell():
        await bench.publish(event, again=True)
        async with asyncio.timeout(PATIENCE / 2):
            await finish(bench)
    assert (most, at_once) == (1, 0)


async def test_two_workers_on_one_job_do_each_other_no_harm(bench: Bench) -> None:
    event = await order(bench, seconds=0.1)
    async with bench.shell(), bench.shell():
        await bench.publish(event, again=True)
        await bench.publish(event, id="event-2")
        await finish(bench, results=2)
    assert bench.computed == 2
    first, second = bench.outcomes(PosesReady)
    assert first.data == second.data

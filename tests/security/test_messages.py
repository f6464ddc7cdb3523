"""Whatever is published, the worker settles it: nothing stays in its queues, what cannot be read is with the
dead letters and says why, and the worker goes on; and so it does whatever was uploaded."""

import asyncio
import gc
import json
import random
import resource
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker import embedded, rabbitmq
from broker.interface import Broker, Message
from contracts.envelope import Envelope, new_traceparent
from contracts.errors import ContractError, leaves
from contracts.events import CaptureFailed
from contracts.options import Options
from tests.contract.test_broker import management
from tests.fakes.bench import Bench
from tests.security import attacks
from tests.security.targets import TARGETS
from tests.servers.rabbitmq import Broker as Server
from workers.prepare.worker import Prepare
from workers.runtime.compute import Compute
from workers.runtime.folder import FolderStore
from workers.runtime.metrics import Metrics
from workers.runtime.run_loop import RunLoop
from workers.runtime.settings import Settings
from workers.upload import upload

MESSAGES = 150
PATIENCE = 300.0
GROWTH_MB = 60
"""Of the most memory the process ever had, over a hundred times the messages' own bytes."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        prefix=f"test-{uuid.uuid4().hex[:8]}", retry_delays=(0.05, 0.1), shards=1, work_dir=str(tmp_path)
    )


@pytest.fixture(params=["embedded", "rabbitmq"])
async def broker(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[Broker]:
    if request.param == "embedded":
        yield embedded.Broker(settings.topology)
        return
    server: Server = request.getfixturevalue("rabbitmq")
    connected = await rabbitmq.Broker.connect(server.url, settings.topology, name="test")
    await connected.apply(management(server))
    yield connected
    await connected.close()


def spoilt(count: int, seed: int) -> list[bytes]:
    """Messages of which the shell can make nothing, and some that it can."""
    target, dice = TARGETS["events"], random.Random(seed)
    seeds = target.seeds()
    bodies = [dice.choice(target.mutators)(dice.choice(seeds), dice) for _ in range(count)]
    return [b"", b"\0", b"{}", b"[" * 100_000, b"9" * 1_000_000, *bodies][:count]


def refusal(body: bytes) -> str | None:
    """The code that a worker which consumes dataset.uploaded must give it."""
    try:
        kind = Envelope.parse(body).type
    except ContractError as error:
        return error.code
    return None if kind == "phototwin.dataset.uploaded.v1" else "event_unknown"


async def settled(broker: Broker, settings: Settings, expected: int) -> list[Message]:
    """The dead letters, once there are so many and nothing waits any more."""
    topology, found = settings.topology, list[Message]()
    async with (
        asyncio.timeout(PATIENCE),
        broker.consume(topology.dead_letter_queue("prepare"), 20) as letters,
    ):
        while len(found) < expected:
            letter = await anext(letters)
            await letter.ack()
            found.append(letter.message)
        while any([await broker.depth(queue) for queue in topology.live_queues("prepare")]):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return found


async def test_whatever_is_published_is_settled(broker: Broker, settings: Settings, tmp_path: Path) -> None:
    bench = Bench(tmp_path, broker, FolderStore(tmp_path / "store"), settings, Metrics())  # type: ignore[arg-type]
    known, peaks = {leaf.code for leaf in leaves(ContractError)}, []
    async with bench.shell():
        for turn in range(2):
            bodies = spoilt(MESSAGES, turn)
            for number, body in enumerate(bodies):
                await broker.publish(Message(body, "dataset.uploaded", f"{turn}-{number}"))
            refusals = {f"{turn}-{n}": code for n, body in enumerate(bodies) if (code := refusal(body))}
            assert set(refusals.values()) == known
            dead = await settled(broker, settings, len(refusals))
            assert {m.id: m.headers["phototwin-error-code"] for m in dead} == refusals
            assert all(letter.body == bodies[int(letter.id.partition("-")[2])] for letter in dead)
            gc.collect()
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        await bench.publish(await bench.upload("work", capture_id="after"), id="after")
        await bench.until(lambda: bench.computed == 1)
    assert peaks[1] - peaks[0] < GROWTH_MB, peaks


UPLOADS = (
    "slip upwards",
    "JPEG of ten thousand scans",
    "npy of a pickle",
    "session of a type without end",
    "80 million samples in a fragment",
)


async def test_whatever_is_uploaded_ends_as_a_failure_of_its_capture(
    settings: Settings, tmp_path: Path
) -> None:
    broker, store = embedded.Broker(settings.topology), FolderStore(tmp_path / "store")
    compute, stop, codes = Compute((Prepare.compute,), 1), asyncio.Event(), {}
    loop = RunLoop(Prepare(settings), broker, store, compute, settings, Metrics())
    running = asyncio.create_task(loop.run(stop))
    try:
        for number, name in enumerate(UPLOADS):
            write, ends = attacks.every(9)[name]
            folder = tmp_path / f"capture-{number}"
            folder.mkdir()
            write(folder)
            event = await upload(store, folder, tenant="default", capture_id=f"c{number}", options=Options())
            message = Envelope.wrap(event, id=f"e{number}", source="test", traceparent=new_traceparent())
            await broker.publish(Message(message.encode(), event.routing_key, message.id))
            failure = await _failure(broker, f"c{number}")
            assert failure.error.code in ends, name
            assert len(json.dumps(failure.model_dump())) < 10_000
            codes[name] = failure.error.code
        stop.set()
        await asyncio.wait_for(running, PATIENCE)
    finally:
        running.cancel()
        await compute.close()
    assert len(codes) == len(UPLOADS)
    assert not await broker.depth(settings.topology.dead_letter_queue("prepare"))
    assert not list(tmp_path.glob("phototwin-*")), "a job's folder was left behind"


async def _failure(broker: embedded.Broker, capture_id: str) -> CaptureFailed:
    async with asyncio.timeout(PATIENCE), broker.outcomes(0) as entries:
        async for _, message in entries:
            event = Envelope.parse(message.body).data
            if isinstance(event, CaptureFailed) and event.capture_id == capture_id:
                return event
    raise AssertionError("there is no end of outcomes")

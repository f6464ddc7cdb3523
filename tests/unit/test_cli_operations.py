"""What an operator types: dead letters and cancellations, on an embedded broker and a folder as store."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from broker.deadletter import headers
from broker.embedded import Broker
from broker.interface import Message
from broker.topology import Topology
from contracts.envelope import Envelope
from contracts.errors import ComputeFailed, EventUndecodable
from contracts.events import DatasetUploaded, UploadedFile
from workers.cli import app
from workers.runtime.folder import FolderStore
from workers.runtime.storage import StorageDenied

Command = Callable[..., tuple[int, str, str]]
UPLOADED = DatasetUploaded(
    capture_id="c1", files=(UploadedFile(key="captures/default/c1/upload/a.jpg", bytes=1),)
)


class Site:
    """What each command finds, connected to anew, and what it sends and leaves."""

    def __init__(self, folder: Path) -> None:
        self.store = FolderStore(folder)
        self.letters: list[tuple[bytes, str, Any]] = []
        self.left: list[int] = []
        self.sent: list[Message] = []

    async def broker(self, _: object) -> Broker:
        site, topology = self, Topology()
        arrivals, dead = topology.arrivals("prepare"), topology.dead_letter_queue("prepare")

        class Kept(Broker):
            async def send(self, queue: str, message: Message) -> None:
                site.sent.append(message)

            async def publish(self, message: Message) -> None:
                site.sent.append(message)

            async def close(self) -> None:
                site.left.append(await self.depth(dead))
                await super().close()

        broker = Kept(topology)
        async with broker.inbox([arrivals]) as inbox:
            for body, id, error in self.letters:
                await Broker.send(broker, arrivals, Message(body, "dataset.uploaded", id))
                delivery = await inbox.take(arrivals)
                assert delivery is not None
                await delivery.dead_letter("prepare", headers(error, "prepare", 1))
        return broker


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site(tmp_path)

    @asynccontextmanager
    async def store(_: object) -> AsyncIterator[object]:
        yield made.store

    for module in ("cli_deadletter", "cli_operations"):
        monkeypatch.setattr(f"workers.{module}.connect", made.broker)
    monkeypatch.setattr("workers.runtime.s3.connect", store)
    return made


@pytest.fixture
def command(site: Site, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*words: str) -> tuple[int, str, str]:
        status = app(list(words), standalone_mode=False)
        said = capsys.readouterr()
        return status or 0, said.out, said.err

    return run


@pytest.fixture
def two_letters(site: Site) -> Site:
    kind, at = UPLOADED.event_type(), datetime(2026, 11, 22, tzinfo=UTC)
    event = Envelope(specversion="1.0", id="e1", source="t", type=kind, time=at, data=UPLOADED)
    site.letters = [
        (event.encode(), "e1", ComputeFailed("a bug")),
        (b"\xff", "", EventUndecodable("no JSON")),
    ]
    return site


def test_an_event_that_cannot_be_read_is_listed_as_such(two_letters: Site, command: Command) -> None:
    status, out, _ = command("deadletter", "list")
    assert (status, out.splitlines()[-1]) == (0, "2 dead letters")
    assert "default/c1 generation 0  compute_failed: a bug" in out
    assert "(without an id)  " in out
    assert "of a capture that cannot be read  event_undecodable: no JSON" in out
    assert "None" not in out


def test_a_replay_of_nothing_is_no_success(two_letters: Site, command: Command) -> None:
    status, out, _ = command("deadletter", "replay", "--code", "compute_failed")
    assert (status, out.splitlines()[-1]) == (0, "1 of 1 replayed")
    two_letters.sent.clear()
    status, _, err = command("deadletter", "replay", "--code", "compute_fialed")
    assert status == 1
    assert "compute_fialed is no code: compute_failed is meant, maybe" in err
    status, _, err = command("deadletter", "list", "--code", "zzz")
    assert (status, "zzz is no code; errors.json" in err) == (1, True)
    for options in (["--code", "worker_died"], ["--code", "worker_died", "--dry-run"], ["--id", "e2"]):
        status, out, err = command("deadletter", "replay", *options)
        assert (status, out.splitlines()[-1]) == (1, "0 of 0 replayed")
        assert "there is no such dead letter" in err
    status, out, err = command("deadletter", "replay", "--code", "event_undecodable")
    assert (status, out.splitlines()[-1]) == (1, "0 of 1 replayed")
    assert "none of these can be replayed" in err
    assert not two_letters.sent
    assert command("deadletter", "replay", "--all", "--dry-run")[0] == 0
    assert command("deadletter", "drop", "--code", "worker_died")[0] == 0  # nothing is left of it: as asked


@pytest.mark.parametrize(
    ("options", "terminal", "answer", "status", "left"),
    [
        (["--all"], False, None, 1, 2),
        (["--all"], True, False, 1, 2),
        (["--all"], True, True, 0, 0),
        (["--all", "--yes"], False, None, 0, 0),
        (["--all", "--dry-run"], False, None, 0, 2),
        (["--code", "compute_failed"], False, None, 0, 1),
    ],
)
def test_all_dead_letters_are_dropped_by_who_said_yes(
    two_letters: Site,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    terminal: bool,
    answer: bool | None,
    status: int,
    left: int,
) -> None:
    asked: list[str] = []

    def confirm(question: str) -> bool:
        asked.append(question)
        return bool(answer)

    monkeypatch.setattr(sys.stdin, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr("typer.confirm", confirm)
    assert command("deadletter", "drop", *options)[0] == status
    assert (two_letters.left or [2])[-1] == left
    assert asked == ([] if answer is None else ["Remove all 2 dead letters for good?"])


def test_an_id_that_nobody_has_is_cancelled_with_a_warning(site: Site, command: Command) -> None:
    asyncio.run(site.store.put_if_absent("captures/default/shelf-4/outcomes/0.json", b"{}", "text/plain"))
    status, out, err = command("cancel", "shelf-4")
    assert (status, out) == (0, "asked to cancel default/shelf-4, generation 0 and those before it\n")
    assert "the store has nothing of default/shelf-4: is that its id?" in err
    assert "generation 1" in err
    asyncio.run(site.store.put_if_absent("captures/default/shelf-42/upload/a.jpg", b"x", "image/jpeg"))
    assert command("cancel", "shelf-42")[::2] == (0, "")
    assert "is that its id" in command("cancel", "shelf-42", "--tenant", "shop")[2]
    assert len(site.sent) == 3


def test_a_cancellation_needs_no_store(site: Site, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    async def denied(_: str) -> AsyncIterator[Any]:
        raise StorageDenied("no")
        yield

    monkeypatch.setattr(site.store, "listing", denied)
    assert command("cancel", "shelf-42")[::2] == (0, "")

    async def silent(_: str) -> AsyncIterator[Any]:
        await asyncio.sleep(60)
        yield

    monkeypatch.setattr(site.store, "listing", silent)
    monkeypatch.setattr("workers.cli_operations.KNOWN_SECONDS", 0.05)
    assert command("cancel", "shelf-42")[::2] == (0, "")
    assert len(site.sent) == 2

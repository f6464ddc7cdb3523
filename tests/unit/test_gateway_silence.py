"""How long nothing has been heard of captures in work."""

from datetime import UTC, datetime, timedelta

from contracts.events import Options
from workers.gateway.database.session import connect
from workers.gateway.database.tables import CaptureRow, JournalRow
from workers.gateway.quota import open_captures
from workers.gateway.record import Record
from workers.gateway.silence import _last_heard

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def capture(id: str, minutes: int, state: str = "working", **options: str) -> CaptureRow:
    """Of which something was heard so many minutes ago."""
    record = Record(created=NOW, options=Options.model_validate(options)).model_dump(mode="json")
    at = NOW - timedelta(minutes=minutes)
    common = {"name": "", "number": 1, "files": [], "record": record}
    return CaptureRow(tenant="t", capture_id=id, state=state, created=at, updated=at, **common)


def entry(id: str, kind: str) -> JournalRow:
    return JournalRow(tenant="t", capture_id=id, number=1, event_id=id, kind=kind, at=NOW, body="{}")


async def test_the_one_in_work_that_has_been_silent_for_longest_in_each_lane(database_url: str) -> None:
    async with connect(database_url) as database:
        assert await _last_heard(database) == {}
        async with database.begin() as session:
            session.add_all(
                [
                    capture("a", 5),
                    capture("b", 30),
                    capture("c", 90, lane="bulk"),
                    capture("d", 500, "done"),
                    capture("e", 500, "review"),
                    capture("f", 500, "uploading"),
                    entry("a", "dataset.uploaded"),
                    entry("b", "masks.reviewed"),
                    entry("c", "mesh.ready"),
                ]
            )
        told = await _last_heard(database)
    assert told == {"interactive": NOW - timedelta(minutes=30), "bulk": NOW - timedelta(minutes=90)}


async def test_what_nobody_could_read_is_not_in_work(database_url: str) -> None:
    async with connect(database_url) as database:
        async with database.begin() as session:
            session.add_all([capture("lost", 5), entry("lost", "dataset.uploaded")])
            session.add_all([capture("unread", 500), entry("unread", "capture.failed")])
        assert await _last_heard(database) == {"interactive": NOW - timedelta(minutes=5)}
        async with database.read() as session:
            assert await open_captures(session, "t") == 1

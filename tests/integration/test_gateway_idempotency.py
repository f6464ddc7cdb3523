"""The same request sent again, on both kinds of database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from workers.gateway import idempotency
from workers.gateway.access import Principal
from workers.gateway.database.session import Database, connect
from workers.gateway.database.tables import IdempotencyRow
from workers.gateway.idempotency import fingerprint, forget, once
from workers.gateway.problems import KeyBusy, KeyReused, Malformed, StateConflict, Unavailable

ADA = Principal("acme", "ada")
PATIENCE = 120
REQUEST = fingerprint("POST", "/v1/captures", b"{}")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with connect(database_url) as database:
        yield database


class Work:
    """Answers how often it was done. `begun` is set by it, and where it is `held` it waits for `let_go`."""

    def __init__(
        self, status: int = 201, seconds: float = 0, error: Exception | None = None, held: bool = False
    ) -> None:
        self.status, self.seconds, self.error, self.done = status, seconds, error, 0
        self.begun, self.let_go = asyncio.Event(), asyncio.Event()
        if not held:
            self.let_go.set()

    async def __call__(self) -> tuple[int, str]:
        self.done += 1
        self.begun.set()
        await asyncio.sleep(self.seconds)
        await self.let_go.wait()
        if self.error:
            raise self.error
        return self.status, f'{{"times": {self.done}}}'


async def test_the_second_time_gets_the_answer_of_the_first(database: Database) -> None:
    work = Work()
    first = await once(database, ADA, REQUEST, "a", work)
    assert first == (201, '{"times": 1}')
    assert await once(database, ADA, REQUEST, "a", work) == first
    assert work.done == 1


async def test_keys_are_a_tenants_own(database: Database) -> None:
    work = Work()
    await once(database, ADA, REQUEST, "a", work)
    await once(database, ADA, REQUEST, "b", work)
    await once(database, Principal("other", "ada"), REQUEST, "a", work)
    assert work.done == 3


@pytest.mark.parametrize(
    "other",
    [("POST", "/v1/captures", b"{ }"), ("POST", "/v1/webhooks", b"{}"), ("PUT", "/v1/captures", b"{}")],
)
async def test_a_key_is_for_one_request(database: Database, other: tuple[str, str, bytes]) -> None:
    await once(database, ADA, REQUEST, "a", Work())
    work = Work()
    with pytest.raises(KeyReused):
        await once(database, ADA, fingerprint(*other), "a", work)
    assert work.done == 0


async def test_of_twenty_at_once_one_does_the_work(database_url: str, database: Database) -> None:
    async with connect(database_url) as replica:
        work = Work(seconds=0.3)
        asked = (once((database, replica)[i % 2], ADA, REQUEST, "a", work) for i in range(20))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert work.done == 1
        assert [answer for answer in answers if not isinstance(answer, KeyBusy)].count(
            (201, '{"times": 1}')
        ) >= 1
        assert all(isinstance(answer, KeyBusy) or answer == (201, '{"times": 1}') for answer in answers)
        assert await once(replica, ADA, REQUEST, "a", work) == (201, '{"times": 1}')


async def test_a_fault_of_ours_is_not_kept(database: Database) -> None:
    assert (await once(database, ADA, REQUEST, "a", Work(503)))[0] == 503
    assert (await once(database, ADA, REQUEST, "a", Work()))[0] == 201


@pytest.mark.parametrize("error", [StateConflict("not now"), OSError("gone"), asyncio.CancelledError()])
async def test_work_that_fails_may_be_tried_again(database: Database, error: Exception) -> None:
    with pytest.raises(type(error)):
        await once(database, ADA, REQUEST, "a", Work(error=error))
    assert (await once(database, ADA, REQUEST, "a", Work()))[0] == 201


async def test_work_that_takes_too_long_is_ended(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "LIMIT_SECONDS", 0.05)
    with pytest.raises(Unavailable):
        await once(database, ADA, REQUEST, "a", Work(seconds=30))
    assert (await once(database, ADA, REQUEST, "a", Work()))[0] == 201


async def test_a_crash_blocks_for_a_minute_and_not_for_ever(database: Database) -> None:
    slow, work = Work(202, held=True), Work(held=True)
    crashed = asyncio.create_task(once(database, ADA, REQUEST, "a", slow))
    await slow.begun.wait()
    with pytest.raises(KeyBusy):
        await once(database, ADA, REQUEST, "a", work)
    await _age(database, timedelta(seconds=61))
    asked = [asyncio.create_task(once(database, ADA, REQUEST, "a", work)) for _ in range(5)]
    async with asyncio.timeout(PATIENCE):
        while sum(each.done() for each in asked) < 4:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    work.let_go.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert work.done == 1
    assert answers.count((201, '{"times": 1}')) == 1
    assert sum(isinstance(answer, KeyBusy) for answer in answers) == 4
    # Who was only thought to have crashed does not undo what the other has answered.
    slow.let_go.set()
    await crashed
    assert await once(database, ADA, REQUEST, "a", work) == (201, '{"times": 1}')
    assert work.done == 1


async def test_an_answer_is_kept_for_a_day(database: Database) -> None:
    work = Work()
    await once(database, ADA, REQUEST, "a", work)
    await _age(database, timedelta(hours=23))
    await forget(database)
    await once(database, ADA, REQUEST, "a", work)
    assert work.done == 1
    await _age(database, timedelta(hours=25))
    assert await once(database, ADA, fingerprint("POST", "/v1/other", b""), "a", work) == (
        201,
        '{"times": 2}',
    )
    await _age(database, timedelta(hours=25))
    await forget(database)
    async with database.begin() as session:
        assert await session.scalar(select(func.count()).select_from(IdempotencyRow)) == 0


@pytest.mark.parametrize("key", ["", "k" * 201, "a b", "é", "a\n"])
async def test_a_key_keeps_to_its_rule(database: Database, key: str) -> None:
    with pytest.raises(Malformed):
        await once(database, ADA, REQUEST, key, Work())


async def _age(database: Database, age: timedelta) -> None:
    async with database.begin() as session:
        await session.execute(update(IdempotencyRow).values(created=datetime.now(UTC) - age))

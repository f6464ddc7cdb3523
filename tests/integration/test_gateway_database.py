"""The gateway's schema on both kinds of database."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TypeVar

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, func, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.servers.postgres import Databases
from workers.gateway.database.session import connect
from workers.gateway.database.tables import Base, PositionRow
from workers.runtime.settings import SettingsError

T = TypeVar("T")


async def test_nothing_becomes_all_that_the_models_have(database_url: str) -> None:
    async with connect(database_url) as database:
        assert await database.ready()
        assert database.shared == database_url.startswith("postgresql")
    tables = await _asked(database_url, lambda connection: set(inspect(connection).get_table_names()))
    assert tables == {*Base.metadata.tables, "alembic_version"}


async def test_models_and_migrations_agree(database_url: str) -> None:
    async with connect(database_url):
        pass
    # Types are compared as well, but for `Moment`, which is a DateTime in the database.
    differences = await _asked(database_url, _differences)
    assert differences == []


async def test_replicas_that_start_at_once_agree_on_the_schema(database_url: str) -> None:
    async with AsyncExitStack() as stack:
        starting = (stack.enter_async_context(connect(database_url)) for _ in range(4))
        databases = await asyncio.gather(*starting)
        for number, database in enumerate(databases):
            async with database.begin() as session:
                session.add(PositionRow(stream=f"stream-{number}", following=number))
        async with databases[0].begin() as session:
            assert await session.scalar(select(func.count()).select_from(PositionRow)) == 4


async def test_those_who_take_turns_see_what_the_one_before_has_entered(database_url: str) -> None:
    async with connect(database_url) as database:

        async def count_and_add(number: int) -> int:
            async with database.begin() as session:
                await database.take_turns(session, "positions")
                found = await session.scalar(select(func.count()).select_from(PositionRow))
                session.add(PositionRow(stream=f"stream-{number}", following=0))
                return int(found or 0)

        assert sorted(await asyncio.gather(*map(count_and_add, range(6)))) == list(range(6))


async def test_connections_that_were_cut_off_meanwhile_are_made_anew(
    postgres: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.gateway.database.session.IDLE_SECONDS", 0.0)
    cut = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    url = postgres.database()
    async with connect(url) as database, connect(url) as other:
        assert await database.ready()
        async with other.begin() as cutting:
            assert len(list(await cutting.execute(cut))) >= 1
        async with database.read() as reading:
            assert await reading.scalar(select(func.count()).select_from(PositionRow)) == 0


async def test_what_is_there_stays_when_the_gateway_starts_again(database_url: str) -> None:
    async with connect(database_url) as database, database.begin() as session:
        session.add(PositionRow(stream="outcomes", following=7))
    async with connect(database_url) as database, database.begin() as session:
        row = await session.get(PositionRow, "outcomes")
        assert row is not None
        assert row.following == 7


async def test_a_transaction_that_fails_leaves_nothing(database_url: str) -> None:
    async with connect(database_url) as database:

        async def fail() -> None:
            async with database.begin() as session:
                session.add(PositionRow(stream="outcomes", following=7))
                await session.flush()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        async with database.begin() as session:
            assert await session.get(PositionRow, "outcomes") is None


@pytest.mark.parametrize(
    "wrong",
    [
        "sqlite+aiosqlite:////nowhere/at/all.db",
        "postgresql+asyncpg://phototwin@127.0.0.1:1/phototwin",
    ],
)
async def test_a_database_that_cannot_be_had_names_its_setting(wrong: str) -> None:
    with pytest.raises(SettingsError, match="PHOTOTWIN_DATABASE_URL"):
        async with connect(wrong):
            pass


async def test_a_wrong_password_names_the_setting_and_not_the_password(postgres: Databases) -> None:
    user, _, rest = postgres.database().rpartition("@")
    wrong = f"{user.rpartition(':')[0]}:not-the-password@{rest}"
    with pytest.raises(SettingsError, match="PHOTOTWIN_DATABASE_URL") as caught:
        async with connect(wrong):
            pass
    assert "not-the-password" not in str(caught.value)


def _differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    found: list[object] = compare_metadata(context, Base.metadata)
    return found


async def _asked(url: str, question: Callable[[Connection], T]) -> T:
    engine: AsyncEngine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(question)
    finally:
        await engine.dispose()

"""Connections to the gateway's database, and its schema."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import anyio
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event, func, select
from sqlalchemy.exc import DBAPIError, InterfaceError, InvalidatePoolError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from workers.runtime.settings import SettingsError

T = TypeVar("T")
LOCKED_SECONDS = 30.0
IDLE_SECONDS = 2.0
"""A connection that was not used for longer is tried before it is used."""


class Session(AsyncSession):
    """Whoever waits for it may be cancelled, as a client that hangs up has it; a statement under way is not.
    SQLAlchemy would have to give up the connection, and with aiosqlite can wait for that for ever."""

    async def execute(self, *asked: Any, **options: Any) -> Any:
        return await unbroken(super().execute(*asked, **options))

    async def scalar(self, *asked: Any, **options: Any) -> Any:
        return await unbroken(super().scalar(*asked, **options))

    async def scalars(self, *asked: Any, **options: Any) -> Any:
        return await unbroken(super().scalars(*asked, **options))

    async def get(self, *asked: Any, **options: Any) -> Any:
        return await unbroken(super().get(*asked, **options))

    async def flush(self, *asked: Any, **options: Any) -> None:
        await unbroken(super().flush(*asked, **options))

    async def delete(self, *asked: Any, **options: Any) -> None:
        await unbroken(super().delete(*asked, **options))


class Database:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._reader = engine
        self.shared = engine.dialect.name == "postgresql"
        """Whether other replicas may use it too."""
        if self.shared:
            self._reader = engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Session]:
        """A transaction: committed where its block ends, rolled back where that raises."""
        session = Session(self._engine, expire_on_commit=False)
        try:
            yield session
            await unbroken(session.commit())
        finally:
            await unbroken(session.close())  # rolls back what is not committed

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Session]:
        """For queries that need not be of one moment: where that is possible without a transaction, which
        takes as many round trips again, and more."""
        session = Session(self._reader, expire_on_commit=False)
        try:
            yield session
        finally:
            await unbroken(session.close())

    async def take_turns(self, session: Session, what: str) -> None:
        """Whoever takes turns at the same waits here until the transaction of whoever came before has ended.
        SQLite's have one at a time anyhow."""
        if self.shared:
            await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(what, 0))))

    async def ready(self) -> bool:
        try:
            async with asyncio.timeout(3), self._engine.connect():
                return True
        except (SQLAlchemyError, OSError, TimeoutError):
            return False


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Database]:
    """The database at a URL, its schema brought up to date. Raises SettingsError where it cannot be had."""
    sqlite = url.startswith("sqlite")
    options: dict[str, Any] = {} if sqlite else {"pool_size": 10, "max_overflow": 10}
    engine = create_async_engine(url, **options)
    if sqlite:
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_immediately)
    else:
        event.listen(engine.sync_engine, "checkin", _note_use)
        event.listen(engine.sync_engine, "checkout", _check_idle)
    try:
        try:
            await _bring_up_to_date(engine, time.monotonic() + LOCKED_SECONDS)
        except (DBAPIError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise SettingsError(f"PHOTOTWIN_DATABASE_URL: the database cannot be used: {reason}") from None
        yield Database(engine)
    finally:
        await engine.dispose()


def is_away(error: Exception) -> bool:
    """Whether the database cannot be had at present, rather than refuses what it is asked."""
    gone = isinstance(error, DBAPIError) and error.connection_invalidated
    return gone or isinstance(error, OperationalError | InterfaceError | PoolTimeout | ConnectionError)


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """Goes on to its end also where we are cancelled meanwhile, and only then are we."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        # Starlette cancels by anyio, which does so again in every turn of the loop.
        with anyio.CancelScope(shield=True):
            while not task.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({task})
        task.exception()  # nobody is left who would be told of it
        raise


def configuration() -> Config:
    """Alembic's."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return config


async def _bring_up_to_date(engine: AsyncEngine, until: float) -> None:
    while True:
        try:
            async with engine.begin() as connection:
                await connection.run_sync(_upgrade)
            return
        except OperationalError as error:
            # SQLite waits for nobody where a new file is given its write-ahead log.
            if "database is locked" not in str(error) or time.monotonic() > until:
                raise
        await asyncio.sleep(0.05)


def _upgrade(connection: Connection) -> None:
    """Of replicas that start at once one does it, and the others wait."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7160420)")
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _note_use(_: object, record: ConnectionPoolEntry) -> None:
    record.info["used"] = time.monotonic()


def _check_idle(connection: Any, record: ConnectionPoolEntry, _: object) -> None:
    """The server may have gone since. SQLAlchemy's own check, each time, takes three round trips."""
    if time.monotonic() - record.info.get("used", math.inf) > IDLE_SECONDS:
        try:
            connection.ping()
        except Exception as error:
            raise InvalidatePoolError from error  # the pool makes another connection, and tries again


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # its driver would begin by itself, and too late
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_immediately(connection: Connection) -> None:
    """Two transactions that both read first and then write would each wait for the other."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")

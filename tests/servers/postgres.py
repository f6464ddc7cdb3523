"""A private PostgreSQL for tests: a loopback port, throw-away data, nothing waits for the disk."""

import asyncio
import os
import secrets
import shutil
import signal
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from tests.servers.keeper import Keeper, ServerError, free_ports

CONFIGURATION = {
    # What was committed outlives a crash of the server nonetheless, if not one of the machine.
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # In the data's folder, which goes with the keeper; the usual place would keep it after a kill.
    "dynamic_shared_memory_type": "mmap",
}


class Databases:
    """A server at a URL `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`, whose user may make databases."""

    def __init__(self, url: str) -> None:
        self._url = urlunsplit(urlsplit(url)._replace(scheme="postgresql+asyncpg"))
        self._names: list[str] = []

    def database(self) -> str:
        """The URL of a new and empty database."""
        name = f"test_{uuid.uuid4().hex}"
        self._run(f"CREATE DATABASE {name}")
        self._names.append(name)
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))

    def remove(self) -> None:
        """All of the databases."""
        while self._names:
            self._run(f"DROP DATABASE {self._names.pop()} WITH (FORCE)")

    def answers(self) -> bool:
        """Whether the server does by now."""
        with suppress(OSError, SQLAlchemyError):
            self._run("SELECT 1")
            return True
        return False

    def _run(self, statement: str) -> None:
        # In a thread of its own: the caller may be in the middle of its event loop.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, self._execute(statement)).result()

    async def _execute(self, statement: str) -> None:
        engine = create_async_engine(self._url, isolation_level="AUTOCOMMIT")
        try:
            async with engine.connect() as connection:
                await connection.execute(text(statement))
        finally:
            await engine.dispose()


class PostgreSQL:
    """A server of one's own, ready once constructed.

    As a context manager it ends on exit, and what it holds is gone. Raises ServerError where PostgreSQL is
    not installed or does not start.
    """

    def __init__(self) -> None:
        programs = _programs()
        (port,) = free_ports(1)
        password = secrets.token_hex(16)
        self.databases = Databases(f"postgresql+asyncpg://postgres:{password}@127.0.0.1:{port}/postgres")
        self._keeper = Keeper()
        self._pid: int | None = None
        try:
            self._boot(programs, port, password)
        except BaseException:
            self.close()
            raise

    def restart(self) -> None:
        """End it without any preparation, as a crash would, and start it again on the same port and data."""
        self._end()
        self._start()

    def close(self) -> None:
        """End it and remove its data."""
        with suppress(ServerError, OSError):
            self._end()
        self._keeper.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _boot(self, programs: Path, port: int, password: str) -> None:
        home = self._keeper.directory
        data, secret = home / "data", home / "password"
        data.mkdir(mode=0o700)
        secret.write_text(password)
        become: tuple[str | Path, ...] = ()
        if os.geteuid() == 0:  # as whom PostgreSQL does not run
            home.chmod(0o711)
            for path in (data, secret):
                shutil.chown(path, "postgres", "postgres")
            become = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--")
        self._keeper.run(
            *become,
            programs / "initdb",
            f"--pgdata={data}",
            "--username=postgres",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        )
        settings = [word for name, value in CONFIGURATION.items() for word in ("-c", f"{name}={value}")]
        serve: tuple[str | Path, ...] = (programs / "postgres", "-D", data, "-p", str(port))
        self._command = (*become, *serve, *settings)
        self._start()

    def _end(self) -> None:
        if (pid := self._pid) is not None and self._keeper.exit_code(pid) is None:
            # Its children are no group of its own, and SIGKILL would leave a segment of shared memory behind.
            os.kill(pid, signal.SIGQUIT)
            self._keeper.wait_until(lambda: self._keeper.exit_code(pid) is not None, self._command[0])

    def _start(self) -> None:
        self._pid = self._keeper.start(*self._command)
        self._keeper.wait_until(self.databases.answers, self._command[0], self._pid)


def _programs() -> Path:
    """The folder with PostgreSQL's programs: Debian keeps them off the path, a folder for each version."""
    places: list[Any] = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    found = places[-1] if places else shutil.which("initdb")
    if found is None:
        raise ServerError(
            "PostgreSQL is not installed: run scripts/test-servers.sh, or set PHOTOTWIN_TEST_POSTGRES_URL "
            "to one where the tests may make databases."
        )
    return Path(found).parent


def _version(program: Path) -> float:
    return float(program.parts[-3])

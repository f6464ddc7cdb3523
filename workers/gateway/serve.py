"""The gateway as a process: alone, on RabbitMQ, S3 and PostgreSQL; or with all workers, on nothing but a
folder."""

import asyncio
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError

from broker import embedded
from broker.interface import Broker
from broker.rabbitmq import Broker as RabbitMQ
from workers.gateway import metrics
from workers.gateway.access import Access
from workers.gateway.app import application
from workers.gateway.database.session import Database
from workers.gateway.database.session import connect as connect_database
from workers.gateway.dependencies import LOOPBACK
from workers.gateway.follower import Follower
from workers.gateway.gateway import Gateway
from workers.gateway.hub import Hub
from workers.gateway.idempotency import forget
from workers.gateway.limits import Limiter
from workers.gateway.links import s3 as s3_links
from workers.gateway.links.folder import FolderLinks
from workers.gateway.links.interface import Links
from workers.gateway.live import look_around
from workers.gateway.problems import Unauthorized
from workers.gateway.removal import Remover
from workers.gateway.settings import GatewaySettings
from workers.gateway.silence import listen_for_silence
from workers.gateway.stuck import latest_inputs, publish
from workers.gateway.webhooks.sender import Sender
from workers.runtime import http, logs, s3, tracing
from workers.runtime.compute import Compute
from workers.runtime.folder import FolderStore
from workers.runtime.metrics import Metrics
from workers.runtime.patience import end
from workers.runtime.run_loop import RunLoop
from workers.runtime.settings import SettingsError, read_settings
from workers.runtime.storage import ObjectStore
from workers.stages import WORKERS

GRACE_SECONDS = 10
FORGET_SECONDS = 3600.0
KEY_NAME = "phototwin serve"


async def alone(settings: GatewaySettings) -> None:
    """Until SIGTERM or SIGINT. Raises BrokerUnavailable, SettingsError."""
    logs.configure(settings.log_level)
    async with (
        tracing.collected(settings, "phototwin-gateway"),
        s3.connect(settings) as store,
        connect_database(_url(settings)) as data,
    ):
        broker = await RabbitMQ.connect(
            settings.amqp_url.get_secret_value(),
            settings.topology,
            name="phototwin gateway",
            ca_file=settings.ca_file,
        )
        try:
            async with (
                s3_links.connect(store, settings) as links,
                gateway(settings, data, broker, store, links, lasting=True) as made,
                http.serve(
                    settings.http_host, settings.http_port, metrics.REGISTRY, _fault_of(made), made.lacks
                ),
            ):
                await listen(made, application(made))
        finally:
            await broker.close()


async def with_workers(folder: Path, host: str, port: int) -> None:
    """All in one process, for one person; what they have is kept in `folder`. Where others can reach it, a
    key is asked for, which the address that is printed brings along. Raises SettingsError."""
    logs.configure("WARNING")
    folder.mkdir(parents=True, exist_ok=True)
    settings = _embedded(folder, host, port)
    store, broker = FolderStore(folder / "store"), embedded.Broker(settings.topology)
    links = FolderLinks(store, _secret(folder / "secret"), settings.upload_seconds)
    workers = [WORKERS[stage](settings) for stage in WORKERS]
    compute = Compute(tuple(worker.compute for worker in workers), settings.threads)
    await compute.start()
    stop = asyncio.Event()
    try:
        async with (
            connect_database(_url(settings)) as data,
            gateway(settings, data, broker, store, links, lasting=False) as made,
        ):
            running = [
                asyncio.create_task(RunLoop(worker, broker, store, compute, settings, Metrics()).run(stop))
                for worker in workers
            ]
            try:
                await publish(broker, await latest_inputs(data))  # what the last process was at
                key = None if settings.auth == "none" else await _a_key(made.access, folder / "key")
                await listen(made, application(made), lambda at: _say(host, at, key))
            finally:
                stop.set()
                await end(*running)
    finally:
        await compute.close()
        await broker.close()


@asynccontextmanager
async def gateway(
    settings: GatewaySettings,
    data: Database,
    broker: Broker,
    store: ObjectStore,
    links: Links,
    *,
    lasting: bool,
) -> AsyncIterator[Gateway]:
    """With all that goes on beside its answers. lasting: whether the broker outlives this process."""
    hub, sender = Hub(), Sender(data, settings)
    made = Gateway(
        settings=settings,
        database=data,
        broker=broker,
        store=store,
        links=links,
        access=Access(settings, data),
        limiter=Limiter(settings.requests_per_minute),
        hub=hub,
        follower=Follower(data, broker, store, sender, hub, lasting=lasting),
        sender=sender,
        remover=Remover(data, store, hub, settings.upload_seconds),
    )
    running = (made.follower.run(), made.sender.run(), made.remover.run(), look_around(data, hub))
    beside = (_forget_answers(data), listen_for_silence(data))
    chores = [asyncio.create_task(each) for each in (*running, *beside)]
    try:
        yield made
    finally:
        await end(*chores)


async def _forget_answers(data: Database) -> None:
    """Those of requests that nobody repeats any more. Until it is cancelled."""
    while True:
        with suppress(SQLAlchemyError, OSError):
            await forget(data)
        await asyncio.sleep(FORGET_SECONDS)


async def listen(made: Gateway, app: FastAPI, say: Callable[[int], None] = lambda _: None) -> None:
    """Until SIGTERM or SIGINT; `say` is told the port. Raises SettingsError."""
    settings = made.settings
    try:
        family = socket.AF_INET6 if ":" in settings.gateway_host else socket.AF_INET
        listening = socket.create_server((settings.gateway_host, settings.gateway_port), family=family)
    except OSError as error:
        raise SettingsError(
            f"PHOTOTWIN_GATEWAY_PORT: cannot listen on {settings.gateway_port}: {error.strerror}"
        ) from None
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):  # before uvicorn hears them, and after it
        loop.add_signal_handler(number, setattr, server, "should_exit", True)
    say(listening.getsockname()[1])
    farewell = asyncio.create_task(_dismiss(server, made.hub))
    try:
        await server.serve(sockets=[listening])
    finally:
        await end(farewell)


async def _dismiss(server: uvicorn.Server, hub: Hub) -> None:
    """Those who listen to events would keep it from ending."""
    while not server.should_exit:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    hub.close()


def _fault_of(made: Gateway) -> Callable[[], str | None]:
    def fault() -> str | None:
        listening = made.follower.listening == 2
        return None if listening else "starting: the workers' events are not followed yet"

    return fault


def _url(settings: GatewaySettings) -> str:
    return settings.database_url.get_secret_value()


def _embedded(folder: Path, host: str, port: int) -> GatewaySettings:
    work = folder / "work"
    work.mkdir(exist_ok=True)
    return read_settings(GatewaySettings).model_copy(
        update={
            "database_url": SecretStr(f"sqlite+aiosqlite:///{(folder / 'gateway.db').absolute()}"),
            "gateway_host": host,
            "gateway_port": port,
            "auth": "none" if host in LOOPBACK else "keys",
            "s3_endpoint_url": None,
            "work_dir": str(work),
            "min_free_bytes": 0,
            "shards": 1,
        }
    )


def _secret(path: Path) -> bytes:
    """What links are signed by; made once."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with suppress(FileExistsError), os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(secrets.token_bytes(32))
    return path.read_bytes()


async def _a_key(access: Access, path: Path) -> str:
    """The same each time, for the phone that has it: until somebody revokes it, or removes the file."""
    with suppress(FileNotFoundError, Unauthorized):
        await access.principal(f"Bearer {path.read_text()}")
        return path.read_text()
    for row in await access.list_keys("default"):
        if row.name == KEY_NAME and row.revoked is None:
            await access.revoke(row.id)
    path.unlink(missing_ok=True)
    key = (await access.create_key("default", KEY_NAME))[1]
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key)
    return key


def _say(host: str, port: int, key: str | None) -> None:
    name = _own_address() if host in ("0.0.0.0", "::") else host
    address = f"http://{f'[{name}]' if ':' in name else name}:{port}/"
    print(f"phototwin is at {address}{f'#key={key}' if key else ''}", flush=True)


def _own_address() -> str:
    """By which others in the same network reach us; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()

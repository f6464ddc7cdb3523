"""One run from beginning to end: proxies, workers, captures, faults, and what is found when all is over."""

import asyncio
import json
import os
import signal
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import SecretStr

from broker.management import Management
from broker.rabbitmq import Broker
from tests.chaos.captures import STAGES, Plan
from tests.chaos.checker import Finding, check
from tests.chaos.diary import Diary
from tests.chaos.driver import Driver
from tests.chaos.faults import Fault, Faults, fates, schedule
from tests.chaos.nursery import FATES
from tests.chaos.proxy import Proxy
from tests.chaos.record import Record, gather
from tests.chaos.sabotage import BOUNDARIES
from tests.servers.ceph import ObjectStore as S3Server
from tests.servers.rabbitmq import RabbitMQ
from workers.runtime import s3
from workers.runtime.settings import Settings

APPLIED_SECONDS = 2.0
"""RabbitMQ 3.10 writes down where its first stream is only after half a second; killed before that, it has
lost the stream for good."""
REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Wish:
    """What a run is to be; `each`: workers of each stage; `without`: one of `sabotage.SAFEGUARDS`."""

    plan: Plan
    faults: dict[Fault, int]
    fates: list[tuple[str, int]]
    seed: int = 1
    each: int = 2
    patience: float = 180.0
    without: str | None = None
    real: bool = False


@dataclass
class Result:
    record: Record
    findings: list[Finding]
    faults: Counter[str] = field(default_factory=Counter)
    replayed: int = 0
    spared: dict[str, int] = field(default_factory=dict)
    """Faults that were asked for and did not come, how many of each: the run ended before."""


def share(kills: int, captures: int, seed: int) -> tuple[list[tuple[str, int]], int]:
    """Half of the kills at boundaries, but at each once if there are as many; the others at random."""
    planned = fates(max(kills // 2, min(kills, len(BOUNDARIES))), captures * len(STAGES), seed)
    return planned, kills - len(planned)


async def run(wish: Wish, rabbit: RabbitMQ, server: S3Server, folder: Path) -> Result:
    """`folder` is empty, or has a folder `capture` with the photos of real captures. It keeps the workers'
    log."""
    server = replace(server, bucket=f"chaos-{uuid.uuid4().hex[:8]}")
    server.create_bucket()
    diary, plan = Diary(folder / "diary"), wish.plan
    try:
        async with (
            Proxy(rabbit.broker.url) as amqp,
            Proxy(server.endpoint_url) as http,
            s3.connect(_settings(rabbit, server)) as store,
        ):
            broker = await Broker.connect(rabbit.broker.url, _settings(rabbit, server).topology, name="chaos")
            try:
                management = Management.of(rabbit.broker.url, rabbit.broker.management_url)
                await broker.apply(management)
                await asyncio.sleep(APPLIED_SECONDS if wish.faults else 0)
                faults = Faults(rabbit, amqp, http, diary, wish.seed)
                timetable = schedule(wish.faults, len(plan.captures), wish.seed)
                driver = Driver(
                    plan,
                    timetable,
                    faults,
                    broker,
                    store,
                    diary,
                    folder,
                    wish.patience,
                    wish.seed,
                    wish.each,
                    0 if wish.real else len(wish.fates),
                )
                async with _workers(wish, rabbit, server, amqp, http, folder):
                    await driver.run()
                entries = driver.entries + diary.news()
                record = await gather(driver.plan, entries, broker, store)
            finally:
                await broker.close()
    finally:
        server.remove_bucket()
    return Result(record, check(record), faults.done, driver.replayed, _spared(wish, faults, record))


def _spared(wish: Wish, faults: Faults, record: Record) -> dict[str, int]:
    killed = sum(entry["what"] == "killed" for entry in record.diary)
    spared = {"kill between steps": len(wish.fates) - killed}
    spared |= {fault: asked - faults.done[fault] for fault, asked in wish.faults.items()}
    return {fault: number for fault, number in spared.items() if number > 0}


def _settings(rabbit: RabbitMQ, server: S3Server) -> Settings:
    return Settings(
        amqp_url=SecretStr(rabbit.broker.url),
        prefix=server.bucket,
        retry_delays=(0.5, 2.0),
        shards=2,
        s3_endpoint_url=server.endpoint_url,
        s3_bucket=server.bucket,
        s3_access_key=server.key,
        s3_secret_key=SecretStr(server.secret),
    )


@asynccontextmanager
async def _workers(
    wish: Wish, rabbit: RabbitMQ, server: S3Server, amqp: Proxy, http: Proxy, folder: Path
) -> AsyncIterator[None]:
    """While inside they work; on leaving they finish what they are at."""
    settings, scratch = _settings(rabbit, server), folder / "work"
    scratch.mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PHOTOTWIN_")},
        "PHOTOTWIN_AMQP_URL": amqp.address,
        "PHOTOTWIN_PREFIX": settings.prefix,
        "PHOTOTWIN_RETRY_DELAYS": json.dumps(settings.retry_delays),
        "PHOTOTWIN_SHARDS": str(settings.shards),
        "PHOTOTWIN_S3_ENDPOINT_URL": http.address,
        "PHOTOTWIN_S3_BUCKET": server.bucket,
        "PHOTOTWIN_S3_ACCESS_KEY": server.key,
        "PHOTOTWIN_S3_SECRET_KEY": server.secret,
        "PHOTOTWIN_HTTP_HOST": "127.0.0.1",
        "PHOTOTWIN_HTTP_PORT": "0",
        "PHOTOTWIN_THREADS": "2",
        "PHOTOTWIN_WORK_DIR": str(scratch),
        FATES: json.dumps(wish.fates),
    }
    options = ["--each", str(wish.each)]
    options += ["--without", wish.without] if wish.without else []
    options += ["--real"] if wish.real else []
    with (folder / "workers.log").open("wb") as log:
        nursery = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.chaos.nursery",
            str(folder),
            *options,
            cwd=REPOSITORY,
            env=environment,
            stderr=log,
        )
        try:
            yield
            nursery.send_signal(signal.SIGTERM)
            async with asyncio.timeout(120):
                await nursery.wait()
        finally:
            if nursery.returncode is None:
                nursery.kill()
                await nursery.wait()

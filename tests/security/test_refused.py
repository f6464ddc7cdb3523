"""A worker that lacks a permission: it says which, waits without haste, and goes on once it has it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from broker import access
from broker.management import Management
from contracts.events import PosesReady
from tests.integration.fleet import PATIENCE, Fleet, fleet
from tests.servers.ceph import ObjectStore as S3Server
from tests.servers.rabbitmq import Broker as RabbitServer

PASSWORD = "for-tests"


@pytest.fixture
async def ships(rabbitmq: RabbitServer, s3: S3Server, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet(rabbitmq, s3, tmp_path) as made:
        yield made


async def test_what_may_not_be_published_waits_until_it_may(ships: Fleet, rabbitmq: RabbitServer) -> None:
    topology = ships.settings.topology
    user = access.user_name(topology, "prepare")
    management = Management.of(rabbitmq.url, rabbitmq.management_url)
    await access.apply(management, topology, "prepare", PASSWORD)
    await management.permit_topics(user, topology.events, access.NOTHING, access.NOTHING)
    outside = dict(ships.environment)
    ships.environment["PHOTOTWIN_AMQP_URL"] = _as(rabbitmq.url, user)
    (prepare,) = await ships.start("prepare", program=("tests.fakes",))
    ships.environment = outside
    orders = ships.folder / "orders"
    orders.mkdir()
    diary = ships.folder / "diary"
    (orders / "orders.json").write_text(json.dumps({"do": "work", "diary": str(diary)}))
    published = await asyncio.to_thread(ships.command, "publish", str(orders), "--capture-id", "waits")
    assert published.returncode == 0, published.stderr

    async with asyncio.timeout(PATIENCE):
        while len(refusals := prepare.logged("cannot go on yet")) < 4:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert "access to topic 'poses.ready." in refusals[0]["error"]
    assert "run 'phototwin topology users'" in refusals[0]["error"]
    assert [line["pause"] for line in refusals[:4]] == [0.5, 1, 2, 4]

    await access.apply(management, topology, "prepare", PASSWORD)
    assert await ships.outcome(PosesReady, "waits")
    assert len(diary.read_text().splitlines()) == 1  # computed once, announced when it could be


async def test_a_worker_without_its_queues_ends_and_says_so(ships: Fleet, rabbitmq: RabbitServer) -> None:
    topology = ships.settings.topology
    await access.apply(Management.of(rabbitmq.url, rabbitmq.management_url), topology, "segment", PASSWORD)
    ships.environment["PHOTOTWIN_AMQP_URL"] = _as(rabbitmq.url, access.user_name(topology, "segment"))
    ended = await asyncio.to_thread(ships.command, "worker", "prepare")
    assert ended.returncode == 1
    assert f"access to queue '{topology.prefix}.prepare" in ended.stderr
    assert "phototwin topology users" in ended.stderr
    assert "Traceback" not in ended.stderr


def _as(url: str, user: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}:{PASSWORD}@{parts.hostname}:{parts.port}"))

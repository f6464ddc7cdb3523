"""The page of a gateway as it is deployed: with RabbitMQ, S3 and PostgreSQL, and each worker a process."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.browser.walking import drawn, object_part, walked
from tests.integration.fleet import STAGES, fleet
from tests.integration.gateways import Site
from tests.servers.ceph import ObjectStore as S3Server
from tests.servers.postgres import Databases
from tests.servers.rabbitmq import Broker as RabbitServer
from workers.simulate.capture import simulate


@pytest.fixture
async def site(
    rabbitmq: RabbitServer, s3: S3Server, postgres: Databases, tmp_path: Path
) -> AsyncIterator[Site]:
    async with fleet(rabbitmq, s3, tmp_path) as ships:
        ships.environment["PHOTOTWIN_DATABASE_URL"] = postgres.database()
        ships.environment["PHOTOTWIN_GATEWAY_HOST"] = "127.0.0.1"
        yield Site(ships, Site.new_key(ships, "shop"))


async def test_the_whole_way_with_files_in_s3(site: Site, s3: S3Server, tmp_path: Path) -> None:
    simulate(tmp_path / "simulated", views=10, size=(240, 320), seed=5)
    await site.ships.start(*STAGES)
    _, client = await site.gateway()
    origin = str(client.base_url).rstrip("/")
    allowed = site.ships.command("storage", "cors", "--origin", origin)
    assert allowed.returncode == 0, allowed.stderr
    told = await asyncio.to_thread(
        walked,
        "whole",
        f"{origin}/#key={site.key}",
        tmp_path,
        "phone",
        "light",
        tmp_path / "simulated/capture",
        hosts=urlsplit(s3.endpoint_url).netloc,
    )
    assert told["errors"] == []
    assert told["count"] == "9 of 10 photos kept, 1 mended"
    for shot in ("preview", "model"):
        assert 0.02 < object_part(drawn(told, shot)) < 0.6, shot
    assert told["ar"]["src"].startswith(s3.endpoint_url)
    assert told["times"][-1].split("\t")[0].endswith("T_download")
    assert told["saved"] > 10_000

"""A backend in another language, made from nothing but the schemas, on a real broker with a real worker."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts import schema_files
from contracts.errors import UploadMissing, table
from tests.integration.fleet import Fleet, fleet
from tests.servers.ceph import ObjectStore as S3Server
from tests.servers.rabbitmq import Broker as RabbitServer

BACKEND = Path(__file__).parents[1] / "javascript" / "backend.mjs"


@pytest.fixture
async def ships(rabbitmq: RabbitServer, s3: S3Server, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet(rabbitmq, s3, tmp_path) as made:
        yield made


def backend(url: str, prefix: str, capture_id: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["node", BACKEND, url, prefix, schema_files.FOLDER, capture_id],
        capture_output=True,
        text=True,
        timeout=300,
    )


async def test_a_capture_without_its_files_fails_in_words_that_javascript_reads(ships: Fleet) -> None:
    (prepare,) = await ships.start("prepare")
    url, prefix = ships.settings.amqp_url.get_secret_value(), ships.settings.prefix
    told = await asyncio.to_thread(backend, url, prefix, "from-js")
    assert told.returncode == 0, told.stderr
    failure = json.loads(told.stdout)
    assert failure["code"] == UploadMissing.code
    assert failure["sentence"] == "photo.jpg did not arrive."
    assert failure["action"] == table()[UploadMissing.code]["action"]
    assert failure["place"] >= 1  # after its own message in the stream
    await prepare.settled(1)
    assert prepare.metric("job_duration_seconds_count", outcome="rejected") == 1
    assert await ships.broker.depth(ships.settings.topology.dead_letter_queue("prepare")) == 0


def test_what_breaks_the_schema_is_not_even_sent() -> None:
    refused = backend("amqp://127.0.0.1:1/", "phototwin", "no/id")
    assert refused.returncode == 1
    assert "data/capture_id must match pattern" in refused.stderr
    assert "data/files/0/key must match pattern" not in refused.stderr

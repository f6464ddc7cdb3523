"""`phototwin schedule`, with a real RabbitMQ."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
import yaml
from typer.testing import CliRunner

from broker.access import NOTHING
from broker.management import Management
from broker.rabbitmq import Broker
from broker.topology import Topology
from tests.deploy.kubernetes import ROOT
from tests.deploy.schedule.site import (
    FORBIDDEN,
    QUEUES,
    component,
    drain,
    there,
    until,
    wait_for,
)
from tests.servers.kubernetes import Api
from tests.servers.rabbitmq import Broker as Server
from workers.cli import app


def test_the_client_is_needed_by_this_command_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys, workers.cli; sys.exit('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
    for name in [name for name in sys.modules if name.partition(".")[0] == "kubernetes"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    done = CliRunner().invoke(app, ["schedule", "--template", str(path)])
    assert (done.exit_code, "phototwin[kubernetes]" in done.stderr) == (1, True)


@pytest.fixture
async def real(rabbitmq: Server) -> AsyncIterator[tuple[Broker, str]]:
    """A whole installation's queues in a virtual host of their own, and the URL of a user who may do nothing
    there but connect, as the component has it."""
    name = f"schedule-{uuid.uuid4().hex[:8]}"
    url = f"{rabbitmq.url.rpartition('/')[0]}/{name}"
    root = Management.of(url, rabbitmq.management_url)
    await root.put(f"vhosts/{name}", {})
    await root.permit(urlsplit(rabbitmq.url).username or "guest", ".*", ".*", ".*")
    await root.put_user(name, "secret", ())
    (permission,) = [each for each in component() if each["kind"] == "Permission"]
    assert set(permission["spec"]["permissions"].values()) == {NOTHING}
    await root.permit(name, **permission["spec"]["permissions"])
    broker = await Broker.connect(url, Topology(), name="test")
    await broker.apply(root)
    parts = urlsplit(url)
    try:
        yield broker, parts._replace(netloc=f"{name}:secret@{parts.hostname}:{parts.port}").geturl()
    finally:
        await broker.close()
        async with aiohttp.ClientSession() as session:
            for what in ("vhosts", "users"):
                await session.delete(f"{rabbitmq.management_url}/api/{what}/{name}")


async def test_jobs_come_and_go_with_messages(
    real: tuple[Broker, str], api: Api, path: Path, tmp_path: Path
) -> None:
    broker, url = real
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PHOTOTWIN_")},
        "PHOTOTWIN_AMQP_URL": url,
        "PHOTOTWIN_HTTP_HOST": "127.0.0.1",
        "PHOTOTWIN_HTTP_PORT": "0",
        "KUBECONFIG": str(api.kubeconfig(tmp_path)),
    }
    command = [sys.executable, "-m", "workers.cli", "schedule", "--template", str(path), "--max-jobs", "4"]

    async def once(*options: str) -> tuple[int | None, str, str]:
        made = await asyncio.create_subprocess_exec(
            *command, *options, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = await made.communicate()
        return made.returncode, out.decode(), err.decode()

    await wait_for(broker, 3)
    await until(lambda: depth(broker), 3)
    api.answers["create"] = [FORBIDDEN]
    (status, out, err), refused = await asyncio.gather(once("--dry-run"), once("--once"))
    printed = [job["metadata"]["name"] for job in yaml.safe_load_all(out)]
    assert (status, printed, api.names()) == (0, ["ours-0", "ours-1", "ours-2"], []), err
    assert (refused[0], "cannot create" in refused[2]) == (1, True)

    served = await asyncio.create_subprocess_exec(
        *command, "--interval", "1", env=environment, stderr=subprocess.PIPE
    )
    try:
        assert served.stderr
        port = json.loads(await served.stderr.readline())["http_port"]
        await until(lambda: there(api.names()), 3)
        for name in api.names():
            api.becomes_ready(name)
        await drain(broker)
        for name in api.names():
            api.ends(name)
        await wait_for(broker, 9)
        await until(lambda: there(api.asked("delete")), 3)
        await until(lambda: there(api.names()), 4)  # --max-jobs
        page = await fetched(f"http://127.0.0.1:{port}/metrics")
        assert "phototwin_schedule_jobs_created_total 7.0" in page
        assert await fetched(f"http://127.0.0.1:{port}/readyz") == "ok"
        before = api.names()
        served.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await served.wait() == 0
        assert api.names() == before
    finally:
        if served.returncode is None:
            served.kill()


async def depth(broker: Broker) -> int:
    return sum([await broker.depth(queue) for queue in QUEUES])


async def fetched(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return str(await response.text())

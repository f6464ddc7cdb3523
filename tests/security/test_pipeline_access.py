"""The pipeline as a careful site runs it: each process under its own two users, by TLS, secrets in files."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from contracts.envelope import Envelope
from contracts.events import CaptureFailed, JobProgress, ModelReady
from tests.integration.fleet import PATIENCE, STAGES, Fleet, fleet
from tests.servers.ceph import Ceph
from tests.servers.ceph import ObjectStore as S3Server
from tests.servers.rabbitmq import Broker as RabbitServer
from tests.servers.rabbitmq import RabbitMQ
from workers.runtime import s3 as objects
from workers.runtime.s3 import S3Store
from workers.runtime.s3_policy import ACCESS, policy
from workers.simulate.capture import simulate

OURS = (
    "PHOTOTWIN_AMQP_URL",
    "PHOTOTWIN_MANAGEMENT_URL",
    "PHOTOTWIN_S3_ACCESS_KEY",
    "PHOTOTWIN_S3_SECRET_KEY",
)
"""The administrator's, which no process is given."""


class Site:
    """An installation; `as_` makes its fleet's next processes those of a role."""

    def __init__(self, ships: Fleet, store: S3Server, folder: Path) -> None:
        self.ships, self._store, self._secrets = ships, store, folder / "secrets"
        self._bare = {name: value for name, value in ships.environment.items() if name not in OURS}

    def prepare(self, authorities: str) -> None:
        made = self.ships.command("topology", "users", "--secrets", str(self._secrets))
        assert made.returncode == 0, made.stderr
        said = self.ships.command("storage", "policy", "prepare")
        assert json.loads(said.stdout) == policy("prepare", self._store.bucket), said.stderr
        for role in ACCESS:
            user = self.user(role, policy(role, self._store.bucket))
            for name, secret in (("ACCESS", user.key), ("SECRET", user.secret)):
                path = self._secrets / role / f"PHOTOTWIN_S3_{name}_KEY"
                path.parent.mkdir(exist_ok=True)
                path.write_text(secret)
        assert self._store.tls_url
        self._bare |= {"PHOTOTWIN_S3_ENDPOINT_URL": self._store.tls_url, "PHOTOTWIN_CA_FILE": authorities}

    def user(self, role: str, may: dict[str, Any]) -> S3Server:
        return self._store.add_user(f"{role}-{uuid.uuid4().hex[:8]}", may)

    @asynccontextmanager
    async def everything(self) -> AsyncIterator[S3Store]:
        """The store for someone who may see what whoever wrote."""
        statement = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}
        user = self.user("auditor", {"Version": "2012-10-17", "Statement": [statement]})
        credentials = {"s3_access_key": user.key, "s3_secret_key": SecretStr(user.secret)}
        async with objects.connect(self.ships.settings.model_copy(update=credentials)) as store:
            yield store

    def as_(self, role: str) -> Fleet:
        self.ships.environment = self._bare | {"PHOTOTWIN_SECRETS_DIR": str(self._secrets / role)}
        return self.ships


@pytest.fixture
async def site(rabbitmq: RabbitServer, s3: S3Server, tmp_path: Path) -> AsyncIterator[Site]:
    if rabbitmq.tls is None or s3.tls_url is None:  # those that the environment names may speak no TLS
        with RabbitMQ() as broker, Ceph() as ceph:
            async with _made(broker.broker, ceph.store, tmp_path) as made:
                yield made
        return
    async with _made(rabbitmq, s3, tmp_path) as made:
        yield made


@asynccontextmanager
async def _made(rabbitmq: RabbitServer, server: S3Server, folder: Path) -> AsyncIterator[Site]:
    assert rabbitmq.tls
    assert server.ca_file
    authorities = folder / "authorities.pem"
    authorities.write_text(Path(rabbitmq.tls.ca_file).read_text() + Path(server.ca_file).read_text())
    async with fleet(rabbitmq, server, folder) as ships:
        ships.environment |= {
            "PHOTOTWIN_AMQP_URL": rabbitmq.tls.url,
            "PHOTOTWIN_MANAGEMENT_URL": rabbitmq.tls.management_url,
            "PHOTOTWIN_CA_FILE": str(authorities),
        }
        made = Site(ships, ships.server, folder)
        await asyncio.to_thread(made.prepare, str(authorities))
        async with made.everything() as ships.store:
            yield made


async def test_each_process_does_its_work_with_no_rights_but_its_own(site: Site, tmp_path: Path) -> None:
    simulate(tmp_path / "simulated", views=12, size=(300, 400), seed=3)
    bad = tmp_path / "no-picture"
    bad.mkdir()
    (bad / "holiday.jpg").write_bytes(b"no picture")
    async with asyncio.TaskGroup() as starting:
        for stage in STAGES:
            starting.create_task(site.as_(stage).start(stage))
            await asyncio.sleep(0)  # its process is made at once, with the environment of now

    reports: list[JobProgress] = []
    ships = site.as_("publisher")
    async with ships.broker.progress() as messages:

        async def listen() -> None:
            async for message in messages:
                reports.append(Envelope.parse(message.body).data)  # type: ignore[arg-type]

        listening = asyncio.create_task(listen())
        options = ("--profile", "preview", "--holdout", "0")
        capture = str(tmp_path / "simulated" / "capture")
        for what, name in ((capture, "good"), (str(bad), "no-picture")):
            published = ships.command("publish", what, "--capture-id", name, *options)
            assert published.returncode == 0, published.stderr
        (model,) = await ships.outcome(ModelReady, "good")
        (failed,) = await ships.outcome(CaptureFailed, "no-picture")
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    assert failed.error.code == "format_unsupported"
    await ships.manifest(model.model)
    assert {report.stage for report in reports} == set(STAGES)
    previews = [report.preview for report in reports if report.preview]
    assert previews
    for key in set(previews):
        await ships.store.stat(key)
    assert not await ships.store.below("captures/default/good/checkpoints/")
    assert not await ships.store.below("captures/default/good/running/")

    cancelled = site.as_("operator").command("cancel", "never-sent")
    assert cancelled.returncode == 0, cancelled.stderr
    async with asyncio.timeout(PATIENCE):
        while not await ships.store.below("captures/default/never-sent/outcomes/"):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    letters = ships.command("deadletter", "list", "--json")
    assert letters.returncode == 0, letters.stderr
    swept = site.as_("sweeper").command("sweep", "--dry-run")
    assert swept.returncode == 0, swept.stderr
    applied = site.as_("applier").command("topology", "apply")
    assert applied.returncode == 0, applied.stderr

    for service in ships.services:
        lines = [json.loads(line) for line in service.log.read_text().splitlines()]
        # What a checkpoint or a preview is refused is only logged.
        assert not [line for line in lines if line["level"] != "info" and "job ends" not in line["event"]]

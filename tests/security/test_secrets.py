"""Secrets come from files, and whatever goes wrong, none of them comes out again."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus, urlsplit

import aiohttp
import pytest

from broker import access
from broker.deadletter import Filter, browse
from broker.management import Management
from contracts.events import PosesReady
from tests.integration.fleet import PATIENCE, Fleet, Service, fleet
from tests.servers.ceph import ObjectStore as S3Server
from tests.servers.rabbitmq import Broker as RabbitServer
from workers.runtime.settings import SettingsError, from_environment

PASSWORD = 'pa%s/w:rd@?#"\\ é{0}+'
"""With all that means something in a URL, a format or JSON."""
S3_SECRET = "s3/Odd+secret=%2F{key}"


def forms(secret: str, user: str) -> Iterator[str]:
    """Ways in which a secret may be written."""
    yield secret
    yield quote(secret, safe="")
    yield quote(secret)
    yield quote_plus(secret)
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]
    for text in (secret, f"{user}:{secret}", f"\0{user}\0{secret}"):
        encoded = text.encode()
        yield encoded.hex()
        yield base64.b64encode(encoded).decode().rstrip("=")
        yield base64.urlsafe_b64encode(encoded).decode().rstrip("=")


def found_in(text: str, secret: str, user: str) -> list[str]:
    return [form for form in forms(secret, user) if form in text]


class Site:
    """A fleet whose worker has its secrets in two folders, one as systemd makes it and one as Docker does."""

    def __init__(self, ships: Fleet, server: RabbitServer, folder: Path) -> None:
        self.ships, self._server = ships, server
        self.user = access.user_name(ships.settings.topology, "prepare")
        self.secrets = [PASSWORD, ships.environment["PHOTOTWIN_S3_SECRET_KEY"], S3_SECRET]
        self._folders = (folder / "systemd", folder / "docker")
        self.outside = dict(ships.environment)
        for each in self._folders:
            each.mkdir()
        self.give("PHOTOTWIN_AMQP_URL", self.url(quote(PASSWORD, safe="")))
        self.give("PHOTOTWIN_S3_SECRET_KEY", ships.environment["PHOTOTWIN_S3_SECRET_KEY"], docker=True)
        for name in ("PHOTOTWIN_AMQP_URL", "PHOTOTWIN_S3_SECRET_KEY", "PHOTOTWIN_MANAGEMENT_URL"):
            del ships.environment[name]
        ships.environment |= {
            "CREDENTIALS_DIRECTORY": str(self._folders[0]),
            "PHOTOTWIN_SECRETS_DIR": str(self._folders[1]),
            "PHOTOTWIN_LOG_LEVEL": "DEBUG",
            "PHOTOTWIN_MAX_ATTEMPTS": "1",
            "PYTHONASYNCIODEBUG": "1",
        }

    def url(self, password: str, port: int | None = None) -> str:
        parts = urlsplit(self._server.url)
        return f"amqp://{self.user}:{password}@{parts.hostname}:{port or parts.port}/"

    def give(self, name: str, secret: str, docker: bool = False) -> None:
        (self._folders[docker] / name).write_text(f"{secret}\n")

    async def admit(self) -> None:
        await access.apply(self._management, self.ships.settings.topology, "prepare", PASSWORD)

    async def banish(self) -> None:
        """Its user is gone, and with it its connections."""
        parts = urlsplit(self._server.management_url)
        where = f"http://{parts.hostname}:{parts.port}/api/users/{self.user}"
        login = aiohttp.encode_basic_auth(parts.username or "", parts.password or "")
        async with (
            aiohttp.ClientSession(headers={"Authorization": login}) as session,
            session.delete(where) as response,
        ):
            assert response.status == 204

    async def sent(self, capture_id: str, **orders: str) -> None:
        folder = self.ships.folder / capture_id
        folder.mkdir()
        (folder / "orders.json").write_text(json.dumps({"diary": str(folder / "diary"), **orders}))
        inside, self.ships.environment = self.ships.environment, self.outside
        published = await asyncio.to_thread(
            self.ships.command, "publish", str(folder), "--capture-id", capture_id
        )
        self.ships.environment = inside
        assert published.returncode == 0, published.stderr

    async def everything(self, service: Service) -> str:
        """All that came out: logs, metrics, events, dead letters with their headers, objects."""
        told = [service.log.read_text()]
        for page in ("metrics", "readyz", "healthz"):
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{service.port}/{page}") as response,
            ):
                told.append(await response.text())
        async with self.ships.broker.outcomes() as outcomes:
            while True:
                try:
                    async with asyncio.timeout(2):
                        told.append(repr((await anext(outcomes))[1]))
                except TimeoutError:
                    break
        async with browse(self.ships.broker, self.ships.settings.topology, Filter()) as letters:
            assert letters
            told += [repr(held.letter.message) for held in letters]
        for listed in await self.ships.store.below("captures/default/"):
            told.append((await self.ships.store.get(listed.key)).decode("utf-8", "replace"))
        return "\n".join(told)

    @property
    def _management(self) -> Management:
        return Management.of(self._server.url, self._server.management_url)


@pytest.fixture
async def site(rabbitmq: RabbitServer, s3: S3Server, tmp_path: Path) -> AsyncIterator[Site]:
    async with fleet(rabbitmq, s3, tmp_path) as ships:
        made = Site(ships, rabbitmq, tmp_path)
        await made.admit()
        yield made


async def test_nothing_that_a_worker_says_holds_a_secret(site: Site) -> None:
    ships = site.ships
    (prepare,) = await ships.start("prepare", program=("tests.fakes",))
    await site.sent("works", do="work")
    await site.sent("breaks", do="break")
    await site.sent("dies", do="die")
    await ships.outcome(PosesReady, "works")
    topology = ships.settings.topology
    async with asyncio.timeout(PATIENCE):
        while await ships.broker.depth(topology.dead_letter_queue("prepare")) != 2:  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    await site.banish()
    async with asyncio.timeout(PATIENCE):
        while "ACCESS_REFUSED" not in prepare.log.read_text():  # noqa: ASYNC110 - back it comes, in vain
            await asyncio.sleep(0.1)
    assert not await asyncio.to_thread(prepare.ready)
    told = await site.everything(prepare)
    for told_of in (
        "works",
        "breaks",
        "dies",
        "ZeroDivisionError",
        "ACCESS_REFUSED",
        "phototwin_events_consumed",
    ):
        assert told_of in told  # we have looked in the right places
    for secret in site.secrets:
        assert not found_in(told, secret, site.user)

    await site.admit()
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(prepare.ready):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_with_a_wrong_secret_of_the_store_jobs_wait_and_nothing_is_told(site: Site) -> None:
    site.give("PHOTOTWIN_S3_SECRET_KEY", S3_SECRET, docker=True)
    (prepare,) = await site.ships.start("prepare", program=("tests.fakes",))
    await site.sent("waits", do="work")
    async with asyncio.timeout(PATIENCE):
        while "SignatureDoesNotMatch" not in prepare.log.read_text():  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    prepare.process.kill()
    for secret in site.secrets:
        assert not found_in(prepare.log.read_text(), secret, site.user)


async def test_a_worker_that_cannot_start_says_why_and_no_secret(site: Site) -> None:
    wrong = {
        "a wrong password": (site.url(quote("x" + PASSWORD, safe="")), "ACCESS_REFUSED"),
        "an unreachable broker": (site.url(quote(PASSWORD, safe=""), 9), "cannot connect to RabbitMQ"),
        "no host": (
            f"amqp://{site.user}:{quote(PASSWORD, safe='')}@/",
            "PHOTOTWIN_AMQP_URL: must be amqp://",
        ),
        "a password as it is": (site.url(PASSWORD), "PHOTOTWIN_AMQP_URL: must be amqp://"),
        "a password like a port": (site.url("12/hush"), "PHOTOTWIN_AMQP_URL: must be amqp://"),
    }
    for what, (url, said) in wrong.items():
        site.give("PHOTOTWIN_AMQP_URL", url)
        ended = await asyncio.to_thread(site.ships.command, "worker", "prepare")
        assert ended.returncode == 1, what
        assert said in ended.stderr, what
        assert "Traceback" not in ended.stderr, what
        for secret in (*site.secrets, "x" + PASSWORD, "hush", PASSWORD.split("/")[0]):
            assert not found_in(ended.stdout + ended.stderr, secret, site.user), what


def test_settings_show_no_secret_and_say_which_file_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "PHOTOTWIN_AMQP_URL").write_text(f"amqp://me:{quote(PASSWORD, safe='')}@rabbit/\n")
    (tmp_path / "phototwin_s3_secret_key").write_text(f"{S3_SECRET}\n")
    monkeypatch.setenv("PHOTOTWIN_SECRETS_DIR", str(tmp_path))
    settings = from_environment()
    assert settings.s3_secret_key
    assert settings.s3_secret_key.get_secret_value() == S3_SECRET
    assert settings.amqp_url.get_secret_value().endswith("@rabbit/")
    shown = f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    for secret in (PASSWORD, S3_SECRET):
        assert not found_in(shown, secret, "me")
    monkeypatch.setenv("PHOTOTWIN_SECRETS_DIR", str(tmp_path / "missing"))
    with pytest.raises(SettingsError, match=r"PHOTOTWIN_SECRETS_DIR: .*missing is no folder"):
        from_environment()


def test_what_looks_for_secrets_finds_them() -> None:
    for secret in (PASSWORD, S3_SECRET):
        for written in forms(secret, "me"):
            assert found_in(f"before {written} after", secret, "me")
    assert not found_in("nothing to see", PASSWORD, "me")

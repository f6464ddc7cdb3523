"""`phototwin topology users` and `access`, and `storage policy`, as they are typed."""

import asyncio
import json
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import pytest

from broker import access
from broker.management import Management
from broker.rabbitmq import Broker
from broker.topology import Topology
from tests.servers.rabbitmq import Broker as RabbitServer
from workers import cli


def test_users_are_made_once_and_their_passwords_kept_until_rotated(
    rabbitmq: RabbitServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PHOTOTWIN_AMQP_URL", rabbitmq.url)
    monkeypatch.setenv("PHOTOTWIN_MANAGEMENT_URL", rabbitmq.management_url)
    monkeypatch.setenv("PHOTOTWIN_PREFIX", f"users-{uuid.uuid4().hex[:8]}")
    into = tmp_path / "secrets"

    def command(*options: str) -> dict[str, str]:
        cli.app(["topology", "users", "--secrets", str(into), "--json", *options], standalone_mode=False)
        printed = capsys.readouterr().out
        urls = {path.parent.name: path.read_text().strip() for path in into.glob("*/PHOTOTWIN_AMQP_URL")}
        assert set(urls) == set(access.ROLES)
        for url in urls.values():
            password = urlsplit(url).password
            assert password
            assert len(password) > 30
            assert password not in printed
            asyncio.run(_connects(url))
        assert {row["password"] for row in json.loads(printed)} == {"kept" if urls == known else "new"}
        return urls

    known: dict[str, str] = {}
    known = command()
    assert command() == known
    rotated = command("--rotate")
    assert not set(rotated.values()) & set(known.values())
    assert len(set(rotated.values())) == len(access.ROLES)
    with pytest.raises(aio_pika.exceptions.AMQPError):
        asyncio.run(_connects(known["prepare"]))
    for path in into.glob("*/*"):
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_who_is_refused_says_so(rabbitmq: RabbitServer) -> None:
    """Its password was rotated while it ran, and then its connections ended."""
    management, name = Management.of(rabbitmq.url, rabbitmq.management_url), f"worn-{uuid.uuid4().hex[:8]}"
    await management.put_user(name, "the old one", ())
    await management.permit(name, ".*", ".*", ".*")
    parts = urlsplit(rabbitmq.url)
    own = parts._replace(netloc=f"{name}:the%20old%20one@{parts.netloc.rpartition('@')[2]}")
    broker = await Broker.connect(own.geturl(), Topology(), name=name)
    try:
        assert broker.fault() is None
        await management.put_user(name, "the new one", ())
        for connection in (broker._publishing, broker._consuming):
            assert connection.transport is not None
            await connection.transport.connection.close(ConnectionResetError("the node is restarted"))
        async with asyncio.timeout(60):
            while "ACCESS_REFUSED" not in (broker.fault() or ""):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        said = broker.fault() or ""
        assert said.startswith("the publishing connection to RabbitMQ is down: ProbableAuthenticationError")
        assert "old" not in said
        await management.put_user(name, "the old one", ())
        async with asyncio.timeout(60):
            while broker.fault() is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        await broker.close()


async def _connects(url: str) -> None:
    await (await aio_pika.connect(url)).close()


def test_a_file_that_holds_no_password_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "prepare" / "PHOTOTWIN_AMQP_URL"
    file.parent.mkdir()
    for wrong in ("amqp://[broken", "hush-hush"):
        file.write_text(wrong)
        assert cli.app(["topology", "users", "--secrets", str(tmp_path)], standalone_mode=False) == 1
        said = capsys.readouterr().err
        assert f"{file} has no URL with a password in it" in said
        assert wrong not in said
        assert file.read_text() == wrong


def test_what_users_may_do_is_printed_without_any_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PHOTOTWIN_PREFIX", "acme")
    cli.app(["topology", "access", "--json"], standalone_mode=False)
    shown = json.loads(capsys.readouterr().out)
    assert set(shown) == {f"acme-{role}" for role in access.ROLES}
    cli.app(["topology", "access"], standalone_mode=False)
    assert shown["acme-prepare"]["read"] in capsys.readouterr().out


def test_the_policy_is_for_the_bucket_and_the_weights_in_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PHOTOTWIN_WEIGHTS", "store:nets/v1")
    for role, reads in (("segment", True), ("package", False)):
        cli.app(["storage", "policy", role, "--bucket", "twins"], standalone_mode=False)
        said = capsys.readouterr().out
        assert ("arn:aws:s3:::twins/nets/v1/*" in said) == reads
    assert cli.app(["storage", "policy", "nobody"], standalone_mode=False) == 1
    assert "choose one of prepare, segment" in capsys.readouterr().err

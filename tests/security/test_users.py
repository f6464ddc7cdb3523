"""`phototwin topology users` and `access`, and `storage policy`, as they are typed."""

import asyncio
import json
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import pytest

from broker import access
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

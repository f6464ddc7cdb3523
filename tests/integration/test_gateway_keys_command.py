"""`phototwin gateway keys`, on both kinds of database."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from workers.gateway.access import Access, Principal
from workers.gateway.cli_keys import keys_app
from workers.gateway.database.session import connect
from workers.gateway.problems import Unauthorized
from workers.gateway.settings import GatewaySettings


@pytest.fixture(autouse=True)
def _configured(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOTWIN_DATABASE_URL", database_url)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(keys_app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def opens(database_url: str, key: str) -> Principal:
    async def ask() -> Principal:
        async with connect(database_url) as database:
            return await Access(GatewaySettings(), database).principal(f"Bearer {key}")

    return asyncio.run(ask())


def test_a_key_is_made_listed_and_revoked(database_url: str) -> None:
    key = run("create", "phone", "--tenant", "acme").strip()
    made = json.loads(run("create", "backend", "--json"))
    assert opens(database_url, key) == Principal("acme", "phone")
    assert opens(database_url, made["key"]) == Principal("default", "backend")
    (listed,) = json.loads(run("list", "--tenant", "acme", "--json"))
    assert (listed["name"], listed["revoked"]) == ("phone", None)
    assert key not in run("list")
    assert "acme" in run("list")
    run("revoke", listed["id"])
    with pytest.raises(Unauthorized):
        opens(database_url, key)
    assert "revoked" in run("list", "--tenant", "acme")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("create", "phone", "--tenant", "../acme"), "names no tenant"),
        (("revoke", "key_0"), "there is no key key_0"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    result = CliRunner().invoke(keys_app, arguments)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert sentence in result.stderr


def test_a_database_that_is_away_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOTWIN_DATABASE_URL", "postgresql+asyncpg://phototwin@127.0.0.1:1/phototwin")
    result = CliRunner().invoke(keys_app, ["list"])
    assert result.exit_code == 1
    assert "PHOTOTWIN_DATABASE_URL" in result.stderr

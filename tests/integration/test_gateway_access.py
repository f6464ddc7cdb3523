"""API keys, on both kinds of database."""

import re
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select

from workers.gateway.access import REMEMBERED_SECONDS, Access, Principal
from workers.gateway.database.session import Database, connect
from workers.gateway.database.tables import AuditRow, KeyRow
from workers.gateway.problems import Absent, Unauthorized
from workers.gateway.settings import GatewaySettings


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with connect(database_url) as database:
        yield database


async def test_a_key_opens_its_tenants_door(database: Database) -> None:
    access = Access(GatewaySettings(), database)
    _, acme = await access.create_key("acme", "phone")
    _, other = await access.create_key("other", "backend")
    assert re.fullmatch(r"ptk_[A-Za-z0-9_-]{43}", acme)
    assert await access.principal(f"Bearer {acme}") == Principal("acme", "phone")
    assert await access.principal(f"bearer  {other} ") == Principal("other", "backend")


async def test_the_key_itself_is_nowhere(database: Database) -> None:
    _, key = await Access(GatewaySettings(), database).create_key("acme", "phone")
    async with database.begin() as session:
        row = (await session.scalars(select(KeyRow))).one()
    assert key[4:] not in repr(vars(row))
    assert re.fullmatch(r"[0-9a-f]{64}", row.digest)


async def test_what_is_no_key_is_refused(database: Database) -> None:
    access = Access(GatewaySettings(), database)
    _, key = await access.create_key("acme", "phone")
    wrong = f"{key[:-1]}{'A' if key[-1] != 'A' else 'B'}"
    for header in (None, "", key, "Bearer", "Bearer ", f"Basic {key}", f"Bearer {wrong}", f"Bearer {key}x"):
        with pytest.raises(Unauthorized) as refused:
            await access.principal(header)
        assert refused.value.headers == {"WWW-Authenticate": "Bearer"}
    with pytest.raises(Unauthorized):
        await access.principal("Bearer eyJhbGciOiJIUzI1NiJ9.e30.AAAA")


async def test_a_revoked_key_is_of_no_use_here_at_once_and_elsewhere_soon(database: Database) -> None:
    now = 1000.0
    here, elsewhere = (Access(GatewaySettings(), database, clock=lambda: now) for _ in range(2))
    id, key = await here.create_key("acme", "phone")
    for replica in (here, elsewhere):
        await replica.principal(f"Bearer {key}")
    await here.revoke(id)
    with pytest.raises(Unauthorized):
        await here.principal(f"Bearer {key}")
    now += REMEMBERED_SECONDS - 1
    await elsewhere.principal(f"Bearer {key}")  # by memory
    now += 1
    with pytest.raises(Unauthorized):
        await elsewhere.principal(f"Bearer {key}")


async def test_a_request_costs_no_query(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    access = Access(GatewaySettings(), database)
    _, key = await access.create_key("acme", "phone")
    await access.principal(f"Bearer {key}")
    monkeypatch.setattr(database, "begin", None)
    assert await access.principal(f"Bearer {key}") == Principal("acme", "phone")


async def test_keys_are_listed_by_tenant(database: Database) -> None:
    access = Access(GatewaySettings(), database)
    id, _ = await access.create_key("acme", "phone")
    await access.create_key("other", "backend")
    await access.revoke(id)
    (row,) = await access.list_keys("acme")
    assert (row.id, row.name, row.revoked is not None) == (id, "phone", True)
    assert [row.tenant for row in await access.list_keys()] == ["acme", "other"]
    first = row.revoked
    await access.revoke(id)
    assert (await access.list_keys("acme"))[0].revoked == first
    async with database.begin() as session:
        noted = list(await session.scalars(select(AuditRow).order_by(AuditRow.at)))
    assert [(row.tenant, row.action, row.detail["name"]) for row in noted] == [
        ("acme", "key created", "phone"),
        ("other", "key created", "backend"),
        ("acme", "key revoked", "phone"),
    ]


async def test_what_is_not_there_cannot_be_revoked(database: Database) -> None:
    with pytest.raises(Absent):
        await Access(GatewaySettings(), database).revoke("key_0")


async def test_a_tenants_name_must_be_one(database: Database) -> None:
    with pytest.raises(ValueError, match="pattern"):
        await Access(GatewaySettings(), database).create_key("../acme", "phone")

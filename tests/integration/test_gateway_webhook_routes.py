"""/v1/webhooks, on both kinds of database."""

from collections.abc import AsyncIterator
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from sqlalchemy import update

from tests.integration.hooks import SETTINGS, register, tell
from workers.gateway.access import Access
from workers.gateway.database.session import Database, connect
from workers.gateway.database.tables import DeliveryRow
from workers.gateway.limits import Limiter
from workers.gateway.problems import Problem
from workers.gateway.routes import webhooks as routes
from workers.gateway.webhooks.sender import new_webhook


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with connect(database_url) as database:
        yield database


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(routes.router)
    app.state.gateway = SimpleNamespace(
        database=database,
        settings=SETTINGS,
        access=Access(SETTINGS, database),
        limiter=Limiter(SETTINGS.requests_per_minute),
    )

    @app.exception_handler(Problem)
    async def tell_problem(_: Request, problem: Problem) -> JSONResponse:
        return JSONResponse(problem.document(), problem.status, problem.headers)

    transport = httpx.ASGITransport(app)
    _, key = await app.state.gateway.access.create_key("acme", "backend")
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
        yield client


async def test_a_tenant_looks_after_its_webhooks(client: httpx.AsyncClient, database: Database) -> None:
    await register(database, "https://example.com/", capture_id="shoe")  # a callback: not one of these
    made = await client.post("/v1/webhooks", json={"url": "https://example.com/hook"})
    assert made.status_code == 201
    hook = made.json()
    assert hook["secret"].startswith("whsec_")
    assert hook["kinds"] == ["masks.proposed", "model.ready", "capture.failed", "capture.cancelled"]
    await tell(database, "e1", "e2", capture_id="hat")
    async with database.begin() as session:
        failed = update(DeliveryRow).where(DeliveryRow.event_id == "e1")
        await session.execute(failed.values(state="given_up", error="it answered 500"))
    (listed,) = (await client.get("/v1/webhooks")).json()["webhooks"]
    assert listed["id"] == hook["id"]
    assert "secret" not in listed
    assert (listed["waiting"], listed["given_up"], listed["error"]) == (1, 1, "it answered 500")
    assert (await client.delete(f"/v1/webhooks/{hook['id']}")).status_code == 204
    assert (await client.get("/v1/webhooks")).json() == {"webhooks": []}
    assert (await client.delete(f"/v1/webhooks/{hook['id']}")).status_code == 404


async def test_a_tenant_sees_its_own_only(client: httpx.AsyncClient, database: Database) -> None:
    theirs = new_webhook("other", "https://example.com/")
    async with database.begin() as session:
        session.add(theirs)
    assert (await client.get("/v1/webhooks")).json() == {"webhooks": []}
    assert (await client.delete(f"/v1/webhooks/{theirs.id}")).status_code == 404


async def test_a_webhook_is_registered_once_by_an_idempotency_key(client: httpx.AsyncClient) -> None:
    body, headers = {"url": "https://example.com/"}, {"Idempotency-Key": "a"}
    first, second = [await client.post("/v1/webhooks", json=body, headers=headers) for _ in range(2)]
    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert len((await client.get("/v1/webhooks")).json()["webhooks"]) == 1
    other = await client.post("/v1/webhooks", json={"url": "https://example.com/2"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_an_address_that_is_refused_is_not_registered(client: httpx.AsyncClient) -> None:
    refused = await client.post("/v1/webhooks", json={"url": "https://169.254.169.254/latest"})
    assert (refused.status_code, refused.json()["code"]) == (422, "address_refused")
    assert (await client.get("/v1/webhooks")).json() == {"webhooks": []}


async def test_there_is_a_most(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "MOST", 1)
    codes = [
        (await client.post("/v1/webhooks", json={"url": "https://example.com/"})).status_code
        for _ in range(2)
    ]
    assert codes == [201, 413]


async def test_who_is_asking_must_be_known(client: httpx.AsyncClient) -> None:
    refused = await client.get("/v1/webhooks", headers={"Authorization": "Bearer nothing"})
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    assert refused.headers["WWW-Authenticate"] == "Bearer"

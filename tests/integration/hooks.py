"""Webhooks of tests: a backend that is called, and who calls it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_network

from aiohttp import web
from aiohttp.test_utils import TestServer
from sqlalchemy import select

from workers.gateway.database.session import Database
from workers.gateway.database.tables import DeliveryRow, WebhookRow
from workers.gateway.settings import GatewaySettings
from workers.gateway.webhooks.sender import Sender, new_webhook

SETTINGS = GatewaySettings(webhook_networks=(ip_network("127.0.0.0/8"),), webhook_attempts=3)


@dataclass
class Receiver:
    """A backend that is called. `answer` takes the number of the call, from 1."""

    answer: Callable[[int], Awaitable[int]] | None = None
    host: str = "127.0.0.1"
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/hook", self._called)
        async with TestServer(app, host=self.host) as server:
            yield str(server.make_url("/hook"))

    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.calls]

    async def _called(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.calls.append((headers, await request.read()))
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            return web.Response(status=await self.answer(len(self.calls)) if self.answer else 204)
        finally:
            self.at_once -= 1


@asynccontextmanager
async def sending(database: Database, settings: GatewaySettings = SETTINGS) -> AsyncIterator[Sender]:
    """Ends as a crash would: in the middle of whatever is going on."""
    sender = Sender(database, settings)
    running = asyncio.create_task(sender.run())
    try:
        yield sender
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def register(database: Database, url: str, *kinds: str, capture_id: str | None = None) -> WebhookRow:
    row = new_webhook("acme", url, kinds, capture_id)
    async with database.begin() as session:
        session.add(row)
    return row


async def tell(
    database: Database,
    *event_ids: str,
    kind: str = "model.ready",
    tenant: str = "acme",
    capture_id: str = "shoe",
) -> None:
    notifier = Sender(database, SETTINGS)
    async with database.begin() as session:
        for id in event_ids:
            await notifier.enqueue(session, tenant, capture_id, id, kind, json.dumps({"id": id}))


async def deliveries(database: Database) -> list[DeliveryRow]:
    async with database.begin() as session:
        return list(await session.scalars(select(DeliveryRow).order_by(DeliveryRow.event_id)))

"""Requests are measured; and headers that every answer has."""

import time
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers.gateway.gateway import Gateway
from workers.gateway.metrics import listeners, requests

HEADERS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))


class Measured:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app = app
        listeners.set_function(lambda: gateway.hub.listeners)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            if not scope["path"].endswith("/events"):
                seconds = time.perf_counter() - started
                requests.labels(_route(scope), scope["method"], str(status)).observe(seconds)


def _route(scope: MutableMapping[str, Any]) -> str:
    """Its pattern: there are few of them."""
    route = scope.get("route")
    return getattr(route, "path", "none")

"""Who has no key is turned away before anything of a body is read."""

import json

from sqlalchemy.exc import SQLAlchemyError
from starlette.types import ASGIApp, Receive, Scope, Send

from workers.gateway.gateway import Gateway
from workers.gateway.problems import MEDIA_TYPE, Problem

BODIES = ("POST", "PUT", "PATCH")


class Admission:
    """ASGI middleware. All else about who is asking is for `dependencies.caller`."""

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app, self._gateway = app, gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] == "http"
            and scope["method"] in BODIES
            and scope["path"].startswith("/v1/")
            and self._gateway.settings.auth == "keys"
        ):
            given = dict(scope["headers"]).get(b"authorization")
            try:
                await self._gateway.access.principal(given.decode("latin-1") if given else None)
            except Problem as problem:
                await _refuse(send, problem)
                return
            except (SQLAlchemyError, OSError):
                pass  # is told of where it is met again
        await self._app(scope, receive, send)


async def _refuse(send: Send, problem: Problem) -> None:
    headers = {"content-type": MEDIA_TYPE, "connection": "close", **problem.headers}
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": encoded})
    await send({"type": "http.response.body", "body": json.dumps(problem.document()).encode()})

"""No request body is read beyond what its address can need."""

import json
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers.gateway.problems import MEDIA_TYPE, TooLarge

USUAL = 4 << 20
MASKS = 64 << 20
"""Of a review: thousands of masks as they are usual."""
UPLOADS = "/store/"
"""Links of a folder store, which say themselves how much they take."""


class Sizes:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(UPLOADS):
            await self._app(scope, receive, send)
            return
        most = MASKS if scope["path"].endswith("/masks") else USUAL
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > most:
            await _refuse(send, most)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise _Excess
            return message

        async def unless_excess(message: Message) -> None:
            if read <= most:  # else whoever read it makes an error of its own of ours
                await send(message)

        with suppress(_Excess):
            await self._app(scope, counted, unless_excess)
        if read > most:
            await _refuse(send, most)


class _Excess(Exception):
    """More was sent than is read."""


async def _refuse(send: Send, most: int) -> None:
    problem = TooLarge(f"the body has more than the {most} bytes that are read here")
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(problem.document()).encode()})

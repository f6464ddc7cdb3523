"""What a client asks for is part of its own trace, where it sends a `traceparent`, and of a capture's."""

from opentelemetry.trace import SpanKind
from starlette.types import ASGIApp, Receive, Scope, Send

from workers.runtime import tracing


class Traced:
    """ASGI middleware. Of what changes something; listeners and those who look would drown that."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("POST", "DELETE"):
            await self._app(scope, receive, send)
            return
        parent = dict(scope["headers"]).get(b"traceparent", b"").decode("latin-1")
        attributes: dict[str, str | int] = {
            "http.request.method": scope["method"],
            "url.path": scope["path"],
        }
        with tracing.span(scope["method"], parent or None, SpanKind.SERVER, attributes) as span:
            await self._app(scope, receive, send)
            route = getattr(scope.get("route"), "path", None)
            if route is not None:
                span.update_name(f"{scope['method']} {route}")

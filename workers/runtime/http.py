"""`/metrics` for Prometheus, `/healthz` (alive: do not restart) and `/readyz` (able to work), on one port."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from workers.runtime.settings import SettingsError

Said = Callable[[], str | None]


def _nothing() -> None:
    return None


def in_words(lacks: str | None) -> str:
    """What `/readyz` says of what is ready."""
    return f"ok, but {lacks}" if lacks else "ok"


@asynccontextmanager
async def serve(
    host: str, port: int, registry: CollectorRegistry, fault: Said, lacks: Said = _nothing
) -> AsyncIterator[int]:
    """Yields the port listened on (`port` 0 takes a free one). `fault` returns None, or one sentence
    that says what is wrong; then `/readyz` answers 503 with it. A worker waits for a broker that is
    away, so that is no reason to restart it: `/healthz` answers as long as the process does.
    `lacks` says what is wrong and no reason to be asked nothing: `/readyz` says so, and is ok.
    """

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        wrong = fault()
        return web.Response(text=wrong or in_words(lacks()), status=503 if wrong else 200)

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics), web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise SettingsError(f"PHOTOTWIN_HTTP_PORT: cannot listen on {port}: {error.strerror}") from None
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()

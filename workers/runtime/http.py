"""`/metrics` for Prometheus and `/healthz` for whoever restarts us, on one port."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


@asynccontextmanager
async def serve(
    host: str, port: int, registry: CollectorRegistry, healthy: Callable[[], str | None]
) -> AsyncIterator[int]:
    """Yields the port listened on (`port` 0 takes a free one). `healthy` returns None, or one
    sentence that says what is wrong; then `/healthz` answers 503 with it."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        fault = healthy()
        return web.Response(text=fault or "ok", status=503 if fault else 200)

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics), web.get("/healthz", healthz)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()

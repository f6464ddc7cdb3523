"""A folder store's links, for tests: in memory, or behind a real server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from workers.gateway.links.folder import FolderLinks
from workers.gateway.links.interface import Target
from workers.gateway.links.routes import router
from workers.gateway.problems import Problem
from workers.runtime.folder import FolderStore

BASE = "http://gateway.test"
KEY = "captures/acme/c1/upload/some photos/ä photo.jpg"
JPEG = "image/jpeg"


class Site:
    def __init__(self, folder: Path, client: httpx.AsyncClient, app: FastAPI) -> None:
        self.store = FolderStore(folder)
        self.links = FolderLinks(self.store, b"secret of this test", 60)
        self.client = client
        app.include_router(router(self.links))

    def files(self) -> list[str]:
        """Of all that lies in the store, hidden or not."""
        return sorted(path.name for path in self.store.root.rglob("*") if path.is_file())

    async def link(self, size: int = 10, key: str = KEY) -> Target:
        return await self.links.target(key, size, JPEG, None, BASE)

    async def put(self, target: Target, body: bytes, **headers: str) -> httpx.Response:
        assert target.url
        return await self.client.put(target.url, content=body, headers={**target.headers, **headers})

    async def download(self, **changes: object) -> str:
        asked = {"name": "model.glb", "media_type": "model/gltf-binary", "seconds": 60} | changes
        return await self.links.download(KEY, BASE, **asked)  # type: ignore[arg-type]

    async def refused(self, response: httpx.Response, code: str = "link_refused") -> None:
        assert response.status_code == 403, response.text
        assert response.json()["code"] == code
        assert response.headers["access-control-allow-origin"] == "*"


def application() -> FastAPI:
    app = FastAPI()

    @app.exception_handler(Problem)
    async def told(_: Request, problem: Problem) -> JSONResponse:
        return JSONResponse(problem.document(), problem.status, problem.headers)

    return app


@asynccontextmanager
async def in_memory(folder: Path) -> AsyncIterator[Site]:
    app = application()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        yield Site(folder, client, app)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[Site, int]]:
    """A real server, on a port of its own."""
    app = application()
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, log_config=None, lifespan="off"))
    async with httpx.AsyncClient() as client:
        site = Site(folder, client, app)
        serving = asyncio.create_task(server.serve())
        await until(lambda: server.started)
        try:
            yield site, server.servers[0].sockets[0].getsockname()[1]
        finally:
            server.should_exit = True
            await serving

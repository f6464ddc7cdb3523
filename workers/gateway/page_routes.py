"""The page, which any browser can have; and what watches over the process."""

import re
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from workers.gateway.dependencies import TheGateway
from workers.gateway.gateway import Gateway
from workers.gateway.problems import Absent
from workers.runtime.http import in_words

router = APIRouter()
_PAGE = Path(str(files("workers.gateway"))) / "page"
_VIEWER = Path(str(files("workers.viewer"))) / "viewer.js"
_KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}


@router.get("/")
async def index(gateway: TheGateway) -> Response:
    return _file(_PAGE / "index.html", gateway)


@router.get("/page/{name:path}")
async def page(name: str, gateway: TheGateway) -> Response:
    if not re.fullmatch(r"[\w./-]{1,100}", name):
        raise Absent(f"there is no page {name!r:.100}")
    path = (_PAGE / name).resolve() if name != "viewer.js" else _VIEWER
    allowed = path == _VIEWER or path.is_relative_to(_PAGE.resolve())
    if not allowed or not path.is_file() or path.suffix not in _KINDS:
        raise Absent(f"there is no page {name:.100}")
    return _file(path, gateway)


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    told: dict[str, Any] = request.app.openapi()
    return JSONResponse(told)


@router.get("/healthz")
async def healthz() -> Response:
    return Response("ok", media_type="text/plain")


@router.get("/readyz")
async def readyz(gateway: TheGateway) -> Response:
    wrong = await gateway.fault()
    told = wrong or in_words(gateway.lacks())
    return Response(told, status_code=503 if wrong else 200, media_type="text/plain")


def _file(path: Path, gateway: Gateway) -> Response:
    endpoint = gateway.settings.s3_public_endpoint_url or gateway.settings.s3_endpoint_url
    store = ""
    if endpoint is not None:
        parts = urlsplit(endpoint)
        store = f" {parts.scheme}://{parts.netloc}"
    policy = (
        # model-viewer compiles what decodes its meshes; our own viewer is a frame of the page.
        "default-src 'none'; script-src 'self' blob: 'wasm-unsafe-eval'; worker-src 'self' blob:; "
        f"style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:{store}; "
        f"connect-src 'self' blob: data:{store}; media-src 'self' blob:{store}; "
        "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-cache"}
    return FileResponse(path, media_type=_KINDS[path.suffix], headers=headers)

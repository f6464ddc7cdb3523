"""`/store/{token}/{name}`: where the links of a folder store lead. The token says what is allowed (see
`links.statement`), so no key of the API is asked for, and any page may ask; the name is for whoever saves it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from workers.gateway.links.folder import FolderLinks
from workers.gateway.links.interface import EXPOSED, disposition
from workers.gateway.links.serving import answer
from workers.gateway.links.statement import Statement, read
from workers.gateway.problems import Absent, LinkRefused, Problem
from workers.runtime.storage import NotFound

CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": ", ".join(EXPOSED)}
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, PUT",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "3600",
}
HARMLESS = {
    "X-Content-Type-Options": "nosniff",
    # What clients uploaded comes from the origin of the API here: no page among it gets at the API's keys.
    "Content-Security-Policy": "sandbox allow-scripts allow-downloads allow-popups",
}


def router(links: FolderLinks) -> APIRouter:
    """Its answers may also be StorageUnavailable, as those of all that use a store."""
    made = APIRouter(prefix="/store/{token}/{name}", include_in_schema=False)

    @made.options("")
    async def preflight() -> Response:
        return Response(status_code=204, headers=CORS | PREFLIGHT)

    @made.api_route("", methods=["GET", "HEAD"])
    async def get(token: str, request: Request) -> Response:
        with _for_all():
            said = read(token, "get", links.secret, time.time())
            try:
                file = await links.opened(said)
            except NotFound:
                raise Absent("the file is not there, or not any more") from None
        headers = {
            "Content-Type": said.media_type,
            "Content-Disposition": disposition(said.name, said.inline),
        }
        return answer(file, request.method, request.headers, CORS | HARMLESS | headers)

    @made.put("")
    async def put(token: str, request: Request) -> Response:
        with _for_all():
            said = read(token, "put", links.secret, time.time())
            _check(said, request)
            try:
                await links.receive(said, request.stream())
            except ClientDisconnect:
                return Response(status_code=400)  # to nobody
        return Response(headers=CORS)

    return made


def _check(said: Statement, request: Request) -> None:
    """Before anything is read. Raises LinkRefused."""
    size, media_type = request.headers.get("content-length"), request.headers.get("content-type")
    if size is not None and size != str(said.size):
        raise LinkRefused(f"it is for {said.size} bytes, and not for {size}")
    if not said.part and media_type != said.media_type:
        raise LinkRefused(f"it is for Content-Type {said.media_type}, and not for {media_type}")


@contextmanager
def _for_all() -> Iterator[None]:
    """Pages of other origins may read what went wrong too."""
    try:
        yield
    except Problem as problem:
        problem.headers |= CORS
        raise

"""The API and the page as one ASGI application."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from contracts.errors import Outage
from workers.gateway import openapi
from workers.gateway.admission import Admission
from workers.gateway.database.session import is_away
from workers.gateway.gateway import Gateway
from workers.gateway.links.folder import FolderLinks
from workers.gateway.links.routes import router as store_router
from workers.gateway.measured import Measured
from workers.gateway.page_routes import router as page_router
from workers.gateway.problems import (
    MEDIA_TYPE,
    Absent,
    Faulty,
    Malformed,
    MethodNotAllowed,
    Problem,
    RequestInvalid,
    Unavailable,
)
from workers.gateway.routes import captures, events, files, installation, masks, webhooks
from workers.gateway.sizes import Sizes
from workers.gateway.traced import Traced
from workers.runtime.logs import get_logger

ROUTERS = (
    *(captures.router, files.router, events.router, masks.router),
    *(webhooks.router, installation.router),
)


def application(gateway: Gateway | None) -> FastAPI:
    """None is enough to describe it."""
    app = FastAPI(
        title="phototwin",
        version=version("phototwin"),
        description=openapi.DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        generate_unique_id_function=lambda route: route.name,
        responses=openapi.PROBLEMS,
        separate_input_output_schemas=False,
    )
    app.state.gateway = gateway
    for router in ROUTERS:
        app.include_router(router)
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]
    if gateway is not None and isinstance(gateway.links, FolderLinks):
        app.include_router(store_router(gateway.links), include_in_schema=False)
    app.include_router(page_router, include_in_schema=False)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Outage, _outage)
    app.add_exception_handler(SQLAlchemyError, _database)
    app.add_exception_handler(ConnectionError, _outage)  # what a driver makes of a server that is away
    app.add_exception_handler(Exception, _fault)
    app.add_middleware(Sizes)
    app.add_middleware(Traced)
    if gateway is not None:
        app.add_middleware(Admission, gateway=gateway)
        app.add_middleware(Measured, gateway=gateway)
    return app


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(
        problem.document(), problem.status, {**problem.headers, **(headers or {})}, media_type=MEDIA_TYPE
    )


async def _problem(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return answer(problem)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if isinstance(error.body, bytes):  # FastAPI reads as JSON only what says that it is
        kind = request.headers.get("content-type", "nothing")
        return answer(Malformed(f"Content-Type is {kind:.100}", action="Send application/json."))
    if any(each["type"] == "json_invalid" for each in found):
        return answer(Malformed("the body is not JSON"))
    errors: list[dict[str, Any]] = [
        {"field": ".".join(map(str, each["loc"]))[:300], "rule": str(each["msg"])[:300]}
        for each in found[:20]
    ]
    first = errors[0]
    return answer(RequestInvalid(f"{first['field']}: {first['rule']}", errors=errors))


async def _refused(request: Request, error: Exception) -> Response:
    """What the framework refuses by itself."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return answer(Absent(f"there is nothing at {request.url.path:.200}"))
    if error.status_code == 405:
        return answer(MethodNotAllowed(f"{request.method} is not for {request.url.path:.200}"), error.headers)
    return answer(Malformed(str(error.detail)[:300]))


async def _database(request: Request, error: Exception) -> Response:
    """It is away, or it refuses what we would have it do, which is our fault."""
    return await (_outage if is_away(error) else _fault)(request, error)


async def _outage(_: Request, error: Exception) -> Response:
    get_logger().error("a request met an outage", error=f"{type(error).__name__}: {error}"[:500])
    return answer(Unavailable("the broker, the object store or the database cannot be had at present"))


async def _fault(request: Request, error: Exception) -> Response:
    get_logger().error("a request failed", path=request.url.path, exc_info=error)
    return answer(Faulty("an error that was not foreseen; it is in the gateway's log"))

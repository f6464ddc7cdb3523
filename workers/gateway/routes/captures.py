"""/v1/captures"""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import select, tuple_

from contracts.fields import Slug
from workers.gateway import api
from workers.gateway.database.tables import CaptureRow
from workers.gateway.dependencies import Base, Tells, TheGateway, Theirs, asked_once
from workers.gateway.paging import cursor, place

router = APIRouter(prefix="/v1/captures", tags=["captures"])


@router.post("", status_code=201, response_model=api.CaptureCreated)
async def create(
    asked: api.NewCapture, request: Request, captures: Theirs, tells: Tells, base: Base
) -> Response:
    """Announce the files of a capture, and be told where to upload them; then complete it."""

    async def work() -> tuple[int, api.CaptureCreated]:
        row, secret = await captures.create(asked, request.headers.get("idempotency-key"))
        told = await tells.status(row)
        uploads = await captures.targets(row, base)
        return 201, api.CaptureCreated(**dict(told), uploads=uploads, callback_secret=secret)

    return await asked_once(request, captures, work)


@router.get("")
async def find(
    gateway: TheGateway,
    captures: Theirs,
    tells: Tells,
    state: Annotated[list[api.CaptureState] | None, Query(description="Those in one of these.")] = None,
    after: Annotated[str | None, Query(max_length=400, description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="At most so many.")] = 20,
) -> api.Captures:
    """One's captures, the latest first."""
    asked = select(CaptureRow).where(CaptureRow.tenant == captures.principal.tenant)
    if state:
        asked = asked.where(CaptureRow.state.in_(state))
    if after is not None:
        asked = asked.where(tuple_(CaptureRow.created, CaptureRow.capture_id) < tuple_(*place(after)))
    asked = asked.order_by(CaptureRow.created.desc(), CaptureRow.capture_id.desc()).limit(limit + 1)
    async with gateway.database.begin() as session:
        rows = list(await session.scalars(asked))
    following = cursor(rows[limit - 1]) if len(rows) > limit else None
    return api.Captures(captures=tuple([await tells.status(row) for row in rows[:limit]]), next=following)


@router.get("/{capture_id}")
async def status(capture_id: Slug, captures: Theirs, tells: Tells) -> api.CaptureStatus:
    """How far it is. To be told when that changes, listen to its events."""
    return await tells.status(await captures.row(capture_id))


@router.get("/{capture_id}/uploads")
async def uploads(capture_id: Slug, captures: Theirs, base: Base) -> api.Uploads:
    """Where to upload what is missing: with fresh addresses, after a connection was lost or they expired."""
    return await captures.targets(await captures.row(capture_id, files=True), base)


@router.post("/{capture_id}/complete", status_code=202, response_model=api.CaptureStatus)
async def complete(capture_id: Slug, request: Request, captures: Theirs, tells: Tells) -> Response:
    """All files are there: work can begin. Asked again it answers the same."""

    async def work() -> tuple[int, api.CaptureStatus]:
        return 202, await tells.status(await captures.complete(capture_id))

    return await asked_once(request, captures, work)


@router.post("/{capture_id}/files", status_code=201, response_model=api.Uploads)
async def append(
    capture_id: Slug, asked: api.MoreFiles, request: Request, captures: Theirs, base: Base
) -> Response:
    """Add photos, and be told where to upload them; then complete it again. What is there of the model stays
    until there is a new one."""

    async def work() -> tuple[int, api.Uploads]:
        return 201, await captures.targets(await captures.append(capture_id, asked), base)

    return await asked_once(request, captures, work)


@router.post("/{capture_id}/cancel", status_code=202, response_model=api.CaptureStatus)
async def cancel(
    capture_id: Slug, request: Request, captures: Theirs, tells: Tells, asked: api.Cancel | None = None
) -> Response:
    """Stop all work on it, within seconds. It can be retried, or, where its upload was not complete, be given
    its files once more."""

    async def work() -> tuple[int, api.CaptureStatus]:
        reason = asked.reason if asked is not None else ""
        return 202, await tells.status(await captures.cancel(capture_id, reason))

    return await asked_once(request, captures, work)


@router.post("/{capture_id}/retry", status_code=202, response_model=api.CaptureStatus)
async def retry(
    capture_id: Slug, asked: api.Retry, request: Request, captures: Theirs, tells: Tells
) -> Response:
    """Do it again from a stage on, as a new generation."""

    async def work() -> tuple[int, api.CaptureStatus]:
        return 202, await tells.status(await captures.retry(capture_id, asked))

    return await asked_once(request, captures, work)


@router.delete(
    "/{capture_id}", status_code=204, responses={202: {"description": "A worker still has to let go."}}
)
async def delete(capture_id: Slug, captures: Theirs) -> Response:
    """All that is stored of it goes. A line in the audit stays, and its id is not given again."""
    return Response(status_code=204 if await captures.delete(capture_id) else 202)

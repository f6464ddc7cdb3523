"""What was made of a capture, and what it looks like so far."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from contracts.dataset import Artefact, Manifest
from contracts.events import Stage
from contracts.fields import Slug
from workers.gateway import api
from workers.gateway.database.tables import CaptureRow
from workers.gateway.dependencies import Base, TheGateway, Theirs
from workers.gateway.gateway import Gateway
from workers.gateway.problems import Absent
from workers.gateway.record import STAGES, Record
from workers.runtime.storage import NotFound

router = APIRouter(prefix="/v1/captures/{capture_id}", tags=["files"])
_FIRST = ("model.glb", "model.usdz", "report.html", "poster.png", "turntable.webp")


@router.get("/files")
async def files(
    capture_id: Slug,
    captures: Theirs,
    gateway: TheGateway,
    base: Base,
    stage: Annotated[list[Stage] | None, Query(description="Of these; left out: package.")] = None,
) -> api.FilesMade:
    """All that stages have made, with addresses to download it by. While something is done again, what was
    there before stays."""
    row = await captures.row(capture_id)
    seconds = gateway.settings.link_seconds
    expires = datetime.now(UTC) + timedelta(seconds=seconds)
    found = []
    for each in reversed([s for s in STAGES if s in (stage or ["package"])]):
        for artefact in sorted(await _made(gateway, row, each), key=_importance):
            found.append(
                api.File(
                    name=artefact.name,
                    stage=each,
                    bytes=artefact.bytes,
                    media_type=artefact.media_type,
                    sha256=artefact.sha256,
                    url=await _link(gateway, artefact, base, seconds),
                )
            )
    return api.FilesMade(expires=expires, files=tuple(found))


@router.get("/files/{name:path}", status_code=307, response_class=RedirectResponse)
async def file(
    capture_id: Slug,
    name: str,
    captures: Theirs,
    gateway: TheGateway,
    base: Base,
    stage: Annotated[Stage, Query(description="Which made it.")] = "package",
) -> Response:
    """To one of the files, such as model.glb, by an address that is good for some minutes."""
    row = await captures.row(capture_id)
    for artefact in await _made(gateway, row, stage):
        if artefact.name == name:
            url = await _link(gateway, artefact, base, gateway.settings.link_seconds)
            return RedirectResponse(url, status_code=307, headers={"Cache-Control": "no-store"})
    raise Absent(f"the stage {stage} has made no file {name:.200}")


@router.post("/downloads", status_code=204)
async def downloaded(capture_id: Slug, asked: api.Downloaded, request: Request, captures: Theirs) -> Response:
    """Tell how long a download took: T_download, which nobody but the one who waited for it can time."""
    await captures.downloaded(capture_id, asked)
    return Response(status_code=204)


async def made_by(gateway: Gateway, row: CaptureRow, stage: Stage) -> Manifest | None:
    """The latest result of a stage; None where there is none, or it has had its time. Raises
    StorageUnavailable."""
    ref = Record.model_validate(row.record).stages[stage].result
    if ref is None:
        return None
    try:
        return Manifest.model_validate_json(await gateway.store.get(ref.key))
    except NotFound:
        return None


async def _made(gateway: Gateway, row: CaptureRow, stage: Stage) -> tuple[Artefact, ...]:
    manifest = await made_by(gateway, row, stage)
    return manifest.artefacts if manifest is not None else ()


async def _link(gateway: Gateway, artefact: Artefact, base: str, seconds: int) -> str:
    name = artefact.name.rpartition("/")[2]
    return await gateway.links.download(
        artefact.key, base, name=name, media_type=artefact.media_type, seconds=seconds
    )


def _importance(artefact: Artefact) -> tuple[int, str]:
    first = _FIRST.index(artefact.name) if artefact.name in _FIRST else len(_FIRST)
    return first, artefact.name

"""Masks that wait for a person, and what that person decides."""

import struct
import tempfile
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from contracts.dataset import CamerasFile, Manifest
from contracts.errors import InputError
from contracts.events import MasksProposed
from contracts.fields import ManifestRef, Slug
from contracts.review import DecisionsFile
from workers.decisions import reviewed, unpacked
from workers.gateway import api
from workers.gateway.captures import Captures, wrapped
from workers.gateway.database.tables import CaptureRow
from workers.gateway.dependencies import Base, Tells, TheGateway, Theirs, asked_once
from workers.gateway.gateway import Gateway
from workers.gateway.problems import Absent, DecisionsRefused, StateConflict
from workers.gateway.record import ENDED, Record
from workers.runtime.storage import NotFound
from workers.segment.review.apply import Choice, plan

router = APIRouter(prefix="/v1/captures/{capture_id}/masks", tags=["masks"])
_ORDER = ("bad", "doubtful", "good")


@router.get("")
async def masks(capture_id: Slug, captures: Theirs, gateway: TheGateway, base: Base) -> api.Masks:
    """The masks as they were proposed, each beside its photo."""
    row = await captures.row(capture_id)
    proposed = await _proposed(captures, row)
    dataset, made = [await _manifest(gateway, ref) for ref in (proposed.dataset, proposed.masks)]
    verdicts: dict[str, Any] = made.metrics.get("masks", {})
    there = {Path(a.name).stem: a for a in made.artefacts if a.name.endswith(".png") and "/" not in a.name}

    async def link(key: str, name: str, media_type: str) -> str:
        seconds = gateway.settings.link_seconds
        return await gateway.links.download(key, base, name=name, media_type=media_type, seconds=seconds)

    views = []
    for artefact in dataset.artefacts:
        folder, _, name = artefact.name.rpartition("/")
        if folder != "images":
            continue
        stem = Path(name).stem
        verdict, mask = verdicts.get(stem, {}), there.get(stem)
        views.append(
            api.MaskView(
                stem=stem,
                photo=await link(artefact.key, name, artefact.media_type),
                mask=None if mask is None else await link(mask.key, mask.name, mask.media_type),
                verdict=verdict.get("verdict", "bad" if mask is None else "doubtful"),
                reasons=tuple(verdict.get("reasons", ())),
            )
        )
    views.sort(key=lambda view: (_ORDER.index(view.verdict) if view.verdict in _ORDER else 0, view.stem))
    return api.Masks(
        proposal=proposed.masks.content, waiting=row.record["state"] == "review", images=tuple(views)
    )


@router.post("", status_code=202, response_model=api.CaptureStatus)
async def decide(
    capture_id: Slug,
    request: Request,
    captures: Theirs,
    gateway: TheGateway,
    tells: Tells,
    decided: DecisionsFile,
) -> Response:
    """Keep, discard or replace masks; what is not mentioned is kept. The capture then goes on. Where it has
    gone on before, all after its masks is done again."""

    async def work() -> tuple[int, api.CaptureStatus]:
        row = await captures.row(capture_id)
        proposed = await _proposed(captures, row)
        try:
            decided.check(proposed.masks.content)
            await _check(gateway, proposed, decided)
        except InputError as error:
            raise DecisionsRefused(f"{error.sentence} ({error.code}: {error.message})") from None
        if row.state != "review":
            await captures.check_quota()
        record = Record.model_validate(row.record)
        generation = record.generation + (0 if row.state == "review" else 1)
        event = await reviewed(gateway.store, decided, proposed, generation)

        def make(row: CaptureRow, record: Record) -> Any:
            if row.state not in ("review", "done", "failed", "cancelled"):
                raise StateConflict(f"the capture is {row.state}: no decisions are waited for")
            if generation != record.generation + (0 if row.state == "review" else 1):
                raise StateConflict("somebody else has decided meanwhile")
            return wrapped(event, event.model_dump_json(include={"decisions", "masks"}))

        return 202, await tells.status(await captures.say(capture_id, make, "decided"))

    return await asked_once(request, captures, work)


async def _proposed(captures: Captures, row: CaptureRow) -> MasksProposed:
    """Raises Absent where no masks were proposed for a review."""
    record = Record.model_validate(row.record)
    if record.proposal is None and record.options.review and row.state not in ENDED:
        raise Absent("the masks are not there yet; the capture waits for a review when they are")
    if record.proposal is None:
        raise Absent("no masks of this capture were proposed for a review; create it with options.review")
    event = (await captures.entry(row, record.proposal)).data
    assert isinstance(event, MasksProposed)
    return event


async def _manifest(gateway: Gateway, ref: ManifestRef) -> Manifest:
    try:
        return Manifest.model_validate_json(await gateway.store.get(ref.key))
    except NotFound:
        raise Absent("the masks have had their time in the store; retry the capture") from None


async def _check(gateway: Gateway, proposed: MasksProposed, decided: DecisionsFile) -> None:
    """What can be known without opening a picture, which is for a worker's child process to do. Raises
    DecisionsRefused, and the InputErrors of `plan`."""
    dataset, masks = [await _manifest(gateway, ref) for ref in (proposed.dataset, proposed.masks)]
    body = await gateway.store.get(dataset.artefact("cameras.json").key)
    cameras = CamerasFile.model_validate_json(body)
    sizes = {Path(image.image).stem: (image.w, image.h) for image in cameras.images}
    with tempfile.TemporaryDirectory(prefix="phototwin-") as folder:
        choices: dict[str, Choice] = unpacked(decided, Path(folder))
        plan(list(sizes), {Path(a.name).stem for a in masks.artefacts if a.name.endswith(".png")}, choices)
    for stem, decision in decided.images.items():
        if (picture := decision.picture) is not None and _size(picture) != sizes[stem]:
            width, height = sizes[stem]
            raise DecisionsRefused(f"the mask of {stem} must be a PNG of {width} by {height} pixels")


def _size(png: bytes) -> tuple[int, int] | None:
    """Width and height, as its header says."""
    if len(png) < 24 or png[:8] != b"\x89PNG\r\n\x1a\n" or png[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", png[16:24])
    return width, height

"""Masks for a person to look at, and what that person decided: in a run's folder, and on servers."""

import asyncio
import json
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from broker.interface import Broker, Message
from contracts.dataset import Manifest
from contracts.envelope import Envelope, event_id, new_traceparent
from contracts.errors import ContractError
from contracts.events import MasksProposed, MasksReviewed
from contracts.fields import ManifestRef
from contracts.review import DecisionsFile
from workers import local
from workers.decisions import reviewed, unpacked
from workers.geometry.cameras import read_cameras
from workers.runtime.storage import NotFound, ObjectStore
from workers.segment.review.apply import apply, plan, replacements
from workers.segment.review.page import page

PAGE = "review.html"
SILENCE = 3.0
"""Seconds without another event after which the stream of outcomes is taken to be read to its end."""


class CannotReview(ValueError):
    """There is nothing to review, or no use in it; the message says why."""


def write_page(out: Path) -> Path:
    """Write the page for the masks that a run left in `out`. Raises CannotReview."""
    result = _opened(out)
    segment = result["stages"]["segment"]
    path = out / PAGE
    if path.exists() and PAGE not in segment["files"]:
        raise CannotReview(f"{path} is there already and not ours; move it away")
    try:
        content = page(
            out / "dataset", out / "masks", segment["metrics"].get("masks", {}), segment.get("content")
        )
    except (LookupError, ValueError) as error:
        raise CannotReview(f"what a run left in {out} was changed: {error}") from None
    segment["files"] = [*(name for name in segment["files"] if name != PAGE), PAGE]
    local.record(out, result)  # first, so that a later run knows the page for ours
    path.write_text(content)
    return path


def apply_decisions(out: Path, decisions: DecisionsFile) -> dict[str, list[str]]:
    """Put the masks decided on in place of those that a run left in `out`; returns the stems of those kept,
    replaced and discarded.

    Raises CannotReview, and the InputErrors of decisions that cannot be applied, the folder as it was.
    """
    result = _opened(out)
    segment = result["stages"]["segment"]
    with tempfile.TemporaryDirectory(prefix=".masks-", dir=out) as folder:
        sent, made = Path(folder, "sent"), Path(folder, "made")
        sent.mkdir()
        made.mkdir()
        decisions.check(segment.get("content") or decisions.proposal or "")
        try:
            metrics = apply(out / "dataset", out / "masks", unpacked(decisions, sent), made)
        except (LookupError, ValueError, OSError) as error:
            raise CannotReview(f"what a run left in {out} was changed: {error}") from None
        before = [name for name in segment["files"] if name.startswith("masks/")]
        after = sorted(f"masks/{path.name}" for path in made.iterdir())
        segment["files"] = [*after, *(name for name in segment["files"] if name not in before)]
        segment["metrics"] |= metrics
        for name in before:
            (out / name).unlink(missing_ok=True)
        for path in made.iterdir():
            shutil.move(path, out / "masks" / path.name)
        local.record(out, result)
    review: dict[str, list[str]] = metrics["review"]
    return review


def _opened(out: Path) -> dict[str, Any]:
    """The record of a run that made masks. Raises CannotReview."""
    try:
        result: dict[str, Any] = json.loads((out / local.RECORD).read_text())
        result["stages"]["segment"]["files"]
    except (OSError, ValueError, LookupError, TypeError):
        raise CannotReview(
            f"{out} holds no masks of a run; 'phototwin run CAPTURE --out DIR --review' makes some in DIR"
        ) from None
    files = result["stages"]["segment"]["files"]
    if gone := [name for name in files if name != PAGE and not (out / name).is_file()]:
        raise CannotReview(f"{out / gone[0]} is gone since the run that made it; run that again")
    return result


async def decide(
    broker: Broker,
    store: ObjectStore,
    capture_id: str,
    tenant: str,
    decisions: DecisionsFile,
    generation: int | None = None,
) -> Envelope:
    """Publish the decisions on the latest masks proposed for a capture; the same twice under one id.

    Raises CannotReview where none wait, or others were decided on under that generation already; the
    InputErrors of decisions that cannot be applied; BrokerUnavailable, StorageUnavailable.
    """
    proposed, before = await _proposal(broker, capture_id, tenant)
    await _check(store, proposed, decisions)
    event = await reviewed(store, decisions, proposed, generation)
    if any(e.generation == event.generation and e.decisions != event.decisions for e in before):
        following = max(earlier.generation for earlier in before) + 1
        raise CannotReview(
            f"other decisions on the masks of {capture_id} were published already, and the first count; "
            f"to have everything after them done again, decide with --generation {following}"
        )
    told = event.model_dump_json(include={"decisions", "masks"})
    envelope = Envelope.wrap(
        event,
        id=event_id(event.event_type(), f"{event.folder}{event.generation}{told}"),
        source="phototwin/decide",
        traceparent=new_traceparent(),
    )
    await broker.publish(Message(envelope.encode(), event.routing_key, envelope.id))
    return envelope


async def _proposal(
    broker: Broker, capture_id: str, tenant: str
) -> tuple[MasksProposed, list[MasksReviewed]]:
    """The latest proposal for a capture, and the decisions published on it."""
    proposals, reviews = [], []
    async with broker.outcomes() as outcomes:
        while (message := await _next(outcomes)) is not None:
            with suppress(ContractError):  # the stream has what nobody could read too
                event = Envelope.parse(message.body).data
                if (event.capture_id, event.tenant) == (capture_id, tenant):
                    proposals += [event] if isinstance(event, MasksProposed) else []
                    reviews += [event] if isinstance(event, MasksReviewed) else []
    if not proposals:
        raise CannotReview(f"no masks of capture {capture_id} of tenant {tenant} were proposed for a review")
    latest = max(reversed(proposals), key=lambda event: event.generation)
    return latest, [event for event in reviews if event.masks == latest.masks]


async def _next(outcomes: Any) -> Message | None:
    try:
        async with asyncio.timeout(SILENCE):
            message: Message = (await anext(outcomes))[1]
            return message
    except TimeoutError:
        return None


async def _check(store: ObjectStore, proposed: MasksProposed, decisions: DecisionsFile) -> None:
    """Whoever decides wants to know at once what the worker would refuse."""
    dataset, masks = [await _manifest(store, ref) for ref in (proposed.dataset, proposed.masks)]
    with tempfile.TemporaryDirectory(prefix="phototwin-") as folder:
        path = Path(folder, "cameras.json")
        path.write_bytes(await store.get(dataset.artefact(path.name).key))
        cameras, _ = read_cameras(path)
        choices = unpacked(decisions, Path(folder))
        stems = [Path(name).stem for name in cameras.names]
        plan(stems, {Path(a.name).stem for a in masks.artefacts if a.name.endswith(".png")}, choices)
        replacements(choices, (cameras.width, cameras.height))


async def _manifest(store: ObjectStore, ref: ManifestRef) -> Manifest:
    try:
        return Manifest.model_validate_json(await store.get(ref.key))
    except NotFound:
        raise CannotReview(f"{ref.key} is not in the store any more") from None

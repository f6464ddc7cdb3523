"""The index of captures, made again from the object store: what the workers would say if each said it all
again, under the ids that they say it by."""

import json
from collections.abc import AsyncIterator, Iterable
from datetime import datetime

from pydantic import ValidationError

from contracts.dataset import FOLDERS, Manifest, capture_key, manifest_ref
from contracts.envelope import Envelope, event_id, new_traceparent
from contracts.errors import ContractError
from contracts.events import DatasetUploaded, Event, MasksReviewed, Options, Stage, UploadedFile
from workers.gateway import api
from workers.gateway.database.session import Database
from workers.gateway.database.tables import CaptureRow
from workers.gateway.follower import Follower
from workers.gateway.record import INPUTS, STAGES, Record
from workers.gateway.uploads import Announced
from workers.runtime.logs import get_logger
from workers.runtime.settings import Settings
from workers.runtime.storage import Listed, NotFound, ObjectStore, StorageDenied, captures
from workers.stages import WORKERS

Results = dict[tuple[int, Stage], list[tuple[str, bytes, Manifest]]]


async def rebuild(
    database: Database,
    store: ObjectStore,
    follower: Follower,
    settings: Settings,
    only: Event | None = None,
) -> tuple[int, int, list[StorageDenied]]:
    """Captures looked at, events that were missing, and of each capture that our key to the store does not
    open, or not all of it, why. only: the one capture to look at. Raises StorageUnavailable."""
    looked, new, denied = 0, 0, list[StorageDenied]()
    async for whose, entries in in_store(store, only):
        looked += 1
        try:
            for envelope in await _events(store, whose, entries, settings):
                new += await follower.apply(envelope)
            await _describe(database, store, whose, {entry.key for entry in entries})
        except StorageDenied as error:
            denied.append(error)
    return looked, new, denied


async def in_store(
    store: ObjectStore, only: Event | None = None
) -> AsyncIterator[tuple[Event, list[Listed]]]:
    """Every capture that the store has anything of, or `only` one, and what. Raises StorageUnavailable."""
    async for folder, entries in captures(store, only.folder if only else "captures/"):
        _, tenant, capture_id, _ = folder.split("/")
        try:
            whose = Event(tenant=tenant, capture_id=capture_id)
        except ValidationError:  # not one of ours
            continue
        yield whose, entries


async def _events(
    store: ObjectStore, whose: Event, entries: list[Listed], settings: Settings
) -> Iterable[Envelope]:
    """All that was said of a capture, as far as the store tells, in order."""
    keys = {entry.key for entry in entries}
    results = await _results(store, whose, keys)
    generations = {generation for generation, _ in results}
    said: dict[str, dict[int, Envelope]] = {"announced": {}, "outcomes": {}}
    for folder, found in said.items():
        for key in sorted(key for key in keys if key.startswith(f"{whose.folder}{folder}/")):
            try:
                envelope = Envelope.parse(await store.get(key))
            except (ContractError, LookupError):
                get_logger().error("cannot be read", key=key)
                continue
            found[envelope.data.generation] = envelope
            generations.add(envelope.data.generation)
    inputs: dict[Stage, Event] = {}
    if not said["announced"] and results:
        inputs["prepare"] = _uploaded(whose, entries)
    events: list[Envelope] = []
    for generation in sorted(generations):
        if generation in said["announced"]:
            events.append(said["announced"][generation])
            inputs["prepare"] = events[-1].data
        for stage in STAGES:
            for key, body, manifest in results.get((generation, stage), ()):
                if stage in inputs:
                    reply = _reply(stage, inputs[stage], key, body, manifest, settings)
                    events.append(_enveloped(reply, manifest))
                    inputs |= {INPUTS[type(reply)]: reply} if type(reply) in INPUTS else {}
        if generation in said["outcomes"]:
            events.append(said["outcomes"][generation])
    return events


async def _results(store: ObjectStore, whose: Event, keys: set[str]) -> Results:
    found: Results = {}
    for stage, folder in FOLDERS.items():
        for key in keys:
            if key.startswith(f"{whose.folder}{folder}/") and key.endswith("/manifest.json"):
                try:
                    body = await store.get(key)
                    manifest = Manifest.model_validate_json(body)
                except (ValidationError, NotFound):  # NotFound: swept away since it was listed
                    get_logger().error("cannot be read", key=key)
                    continue
                found.setdefault((manifest.generation, stage), []).append((key, body, manifest))
    for each in found.values():
        each.sort(key=lambda result: result[2].created)
    return found


def _reply(
    stage: Stage, begun: Event, key: str, body: bytes, manifest: Manifest, settings: Settings
) -> Event:
    """What the stage's worker said of its result."""
    begun = begun.model_copy(update={"generation": manifest.generation, "attempt": 0})
    ref = manifest_ref(key, body, manifest)
    if stage == "segment" and "review" in manifest.metrics:  # of a person's decisions
        told = begun.model_dump(include={"dataset", "world", "options"})
        begun = begun.followed_by(MasksReviewed, masks=ref, decisions={}, **told)
    return WORKERS[stage](settings).reply(begun, manifest, ref)


def _enveloped(event: Event, manifest: Manifest) -> Envelope:
    envelope = Envelope.wrap(
        event,
        id=event_id(event.event_type(), f"{event.folder}{manifest.job_key}"),
        source=f"phototwin/{manifest.stage}",
        traceparent=new_traceparent(),
    )
    return envelope.model_copy(update={"time": manifest.created})


def _uploaded(whose: Event, entries: list[Listed]) -> DatasetUploaded:
    """As near as can be told where it was announced without us."""
    folder = f"{whose.folder}upload/"
    files = [UploadedFile(key=e.key, bytes=e.bytes) for e in entries if e.key.startswith(folder)]
    files = files or [UploadedFile(key=f"{folder}gone", bytes=0)]
    return whose.followed_by(DatasetUploaded, files=tuple(files))


async def _describe(database: Database, store: ObjectStore, whose: Event, keys: set[str]) -> None:
    """What its creator said of it, which no event tells."""
    if capture_key(whose) not in keys:
        return
    try:
        told = json.loads(await store.get(capture_key(whose)))
    except NotFound:  # deleted since it was listed
        return
    created = datetime.fromisoformat(told["created"])
    asked = [api.NewFile.model_validate(file) for file in told["files"]]
    async with database.begin() as session:
        row = await session.get(CaptureRow, (whose.tenant, whose.capture_id), with_for_update=True)
        if row is None:
            record = Record(created=created, options=Options.model_validate(told["options"]))
            files = [Announced(name=f.name, bytes=f.bytes, sha256=f.sha256).model_dump() for f in asked]
            row = CaptureRow(
                tenant=whose.tenant,
                capture_id=whose.capture_id,
                state="uploading",
                number=0,
                updated=created,
                files=files,
            )
            session.add(row)
        else:
            record = Record.model_validate(row.record)
        row.name, row.created = told["name"], created
        row.record = record.but(created=created).model_dump(mode="json")

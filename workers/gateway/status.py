"""A capture as its owner is told of it."""

from datetime import datetime

from contracts.events import Stage
from workers.gateway import api
from workers.gateway.database.tables import CaptureRow
from workers.gateway.hub import Hub, Progress
from workers.gateway.links.interface import Links
from workers.gateway.record import ENDED, STAGES, Record, heard

PREVIEW_SECONDS = 900


class Teller:
    """base: the address by which the client reached us."""

    def __init__(self, hub: Hub, links: Links, base: str) -> None:
        self._hub, self._links, self._base = hub, links, base

    async def status(self, row: CaptureRow) -> api.CaptureStatus:
        record = Record.model_validate(row.record)
        progress = self._hub.progress((row.tenant, row.capture_id), record.generation)
        if progress is not None and record.state == "working":
            record = _with_progress(record, progress)
        stages = tuple(_stage(record, stage, progress) for stage in STAGES)
        latest = _latest(progress)
        return api.CaptureStatus(
            capture_id=row.capture_id,
            name=row.name,
            state="deleting" if row.state == "deleting" else record.state,
            generation=record.generation,
            number=row.number,
            created=row.created,
            updated=row.updated,
            options=record.options,
            stages=(_upload(record), *stages),
            latency=_latency(record),
            losses=latest,
            loss_curve=tuple(progress.curve) if progress else (),
            preview=await self._preview(progress, record),
            poster=await self._link(record.poster, "image/png"),
            quality=record.quality,
            warnings=tuple(said for stage in STAGES for said in record.warnings.get(stage, ())),
            error=record.error,
            failed_stage=record.failed_stage,
            advice=record.advice,
            can=possible(row.state, record),
        )

    async def _preview(self, progress: Progress | None, record: Record) -> api.Preview | None:
        if progress is None or not progress.previews:
            return None
        return api.Preview(
            glb=await self._link(progress.preview, "model/gltf-binary"),
            image=await self._link(progress.preview_image, "image/png"),
            number=progress.previews,
            up=record.up,
        )

    async def _link(self, key: str | None, media_type: str) -> str | None:
        if key is None:
            return None
        name = key.rpartition("/")[2]
        return await self._links.download(
            key, self._base, name=name, media_type=media_type, seconds=PREVIEW_SECONDS
        )


def possible(state: str, record: Record) -> tuple[str, ...]:
    """What can be asked of a capture now."""
    if state == "deleting":
        return ()
    found = ["delete"]
    if state == "uploading":
        return ("complete", "append", "cancel", "delete")
    if state in ENDED:
        found += ["append"]
        found += ["retry"] if record.stages["prepare"].input is not None else []
    else:
        found += ["cancel"]
    if record.proposal is not None and state in ("review", *ENDED):
        found += ["review"]
    return tuple(found)


def _with_progress(record: Record, progress: Progress) -> Record:
    """What workers say of themselves is there before their results are."""
    for stage, said in progress.stages.items():
        entry = record.stages[stage]
        if entry.state == "waiting" and (entry.since is None or said.last > entry.since):
            record = heard(record, stage, said.first)
    return record


def _upload(record: Record) -> api.StageStatus:
    done = record.state != "uploading"
    return api.StageStatus(
        stage="upload",
        state="running" if not done else "done" if record.uploaded else "cancelled",
        progress=1.0 if done else 0.0,
        step="",
        eta_seconds=None,
        started=record.created,
        finished=record.uploaded,
        seconds=_between(record.created, record.uploaded),
    )


def _stage(record: Record, stage: Stage, progress: Progress | None) -> api.StageStatus:
    entry = record.stages[stage]
    told = progress.stages.get(stage) if progress is not None else None
    running = told.progress if told is not None and entry.state == "running" else None
    return api.StageStatus(
        stage=stage,
        state=entry.state,
        progress=1.0 if entry.state in ("done", "review") else running.fraction if running else 0.0,
        step=running.step if running else "",
        eta_seconds=running.eta_seconds if running else None,
        started=entry.started,
        finished=entry.finished,
        seconds=entry.seconds,
    )


def _latency(record: Record) -> api.Latency:
    stages = record.stages
    made = (stages["prepare"].seconds, stages["segment"].seconds)
    return api.Latency(
        scan=record.scan,
        upload=_between(record.created, record.uploaded),
        signal=record.signal,
        preprocessing=None if None in made else round(sum(filter(None, made)), 3),
        reconstruction=stages["reconstruct"].seconds,
        package=stages["package"].seconds,
        download=record.download,
    )


def _latest(progress: Progress | None) -> dict[str, float]:
    return progress.curve[-1][1] if progress is not None and progress.curve else {}


def _between(first: datetime | None, last: datetime | None) -> float | None:
    return None if first is None or last is None else round(max(0.0, (last - first).total_seconds()), 3)

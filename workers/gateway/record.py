"""What is known of a capture, folded from its events: pure, so that any replica, and a rebuilt index, come to
the same. Each event is folded once, in the order of its capture's journal."""

from datetime import datetime, timedelta
from typing import get_args

from pydantic import BaseModel, ConfigDict

from contracts.dataset import Manifest
from contracts.envelope import Envelope
from contracts.events import (
    CaptureCancelled,
    CaptureFailed,
    DatasetUploaded,
    Event,
    Failure,
    MasksProposed,
    MasksReady,
    MasksReviewed,
    MeshReady,
    ModelReady,
    Options,
    PosesReady,
    Stage,
)
from contracts.fields import ManifestRef
from workers.gateway.api import CaptureState, Quality, StageState

STAGES: tuple[Stage, ...] = get_args(Stage)
INPUTS: dict[type[Event], Stage] = {
    DatasetUploaded: "prepare",
    PosesReady: "segment",
    MasksReady: "reconstruct",
    MeshReady: "package",
}
"""What each stage begins with."""
ENDED: tuple[CaptureState, ...] = ("done", "failed", "cancelled")


class StageRecord(BaseModel):
    model_config = ConfigDict(frozen=True)

    state: StageState = "waiting"
    since: datetime | None = None
    """When its input was published."""
    started: datetime | None = None
    finished: datetime | None = None
    seconds: float | None = None
    input: str | None = None
    """The id of the event that it began with, in the journal."""
    result: ManifestRef | None = None


class Record(BaseModel):
    model_config = ConfigDict(frozen=True)

    state: CaptureState = "uploading"
    generation: int = 0
    options: Options = Options()
    created: datetime
    uploaded: datetime | None = None
    """When its first upload was complete."""
    stages: dict[Stage, StageRecord] = {stage: StageRecord() for stage in STAGES}
    proposal: str | None = None
    """The id of the latest `masks.proposed`, in the journal."""
    error: Failure | None = None
    failed_stage: Stage | None = None
    advice: str = ""
    up: tuple[float, float, float] | None = None
    """Which way is up in the capture's world, where that is known."""
    poster: str | None = None
    """Key of the finished model's picture."""
    quality: Quality | None = None
    """Of the finished model."""
    warnings: dict[Stage, tuple[str, ...]] = {}
    """Of the latest results."""
    scan: float | None = None
    signal: float | None = None
    """From the first upload's end until a worker began, in seconds."""
    download: float | None = None

    def stage(self, stage: Stage, **changes: object) -> "Record":
        """With changes to one stage."""
        entry = self.stages[stage].model_copy(update=changes)
        return self.model_copy(update={"stages": {**self.stages, stage: entry}})

    def but(self, **changes: object) -> "Record":
        return self.model_copy(update=changes)


def fold(record: Record, envelope: Envelope, manifest: Manifest | None) -> Record:
    """manifest: the result that the event announces, where it does and the store still has it."""
    event, at = envelope.data, envelope.time
    if event.generation < record.generation or _unread(event):
        return record
    if event.generation > record.generation:
        record = record.but(generation=event.generation, state="working", error=None, failed_stage=None)
    elif record.state in ("done", "cancelled", "deleting"):
        return record
    if (result := result_of(event)) is not None:
        record = _with_result(record, *result, at, manifest)
    for kind, stage in INPUTS.items():
        if isinstance(event, kind):
            record = _begun(record, stage, envelope)
    match event:
        case DatasetUploaded():
            return record.but(options=event.options, uploaded=record.uploaded or at)
        case PosesReady():
            return _signalled(record).but(advice=event.advice or record.advice, up=event.world.up)
        case MasksProposed():
            return record.stage("segment", state="review").but(
                state="review", proposal=envelope.id, error=None, failed_stage=None
            )
        case MasksReviewed():
            proposed = record.stages["segment"]
            kept = {name: getattr(proposed, name) for name in ("started", "seconds", "input", "result")}
            return _begun(record, "segment", envelope).stage("segment", **kept).but(error=None)
        case CaptureFailed():
            return _failed(record, event, at)
        case CaptureCancelled():
            return _cancelled(record, at)
        case ModelReady():
            return record.but(state="done", poster=event.poster.key)
    return record


def heard(record: Record, stage: Stage, at: datetime) -> Record:
    """A worker says that it is at work on it."""
    return record.stage(stage, state="running", started=record.stages[stage].started or at)


def result_of(event: Event) -> tuple[Stage, ManifestRef] | None:
    """What an event says is there."""
    match event:
        case PosesReady():
            return "prepare", event.dataset
        case MasksProposed() | MasksReady():
            return "segment", event.masks
        case MeshReady():
            return "reconstruct", event.mesh
        case ModelReady():
            return "package", event.model
    return None


def _with_result(
    record: Record, stage: Stage, ref: ManifestRef, at: datetime, manifest: Manifest | None
) -> Record:
    known = record.stages[stage]
    if (known.state, known.result) == ("done", ref):  # what comes after it is done again
        return record
    if manifest is None:
        return record.stage(stage, state="done", finished=at, result=ref)
    seconds = manifest.usage.wall_seconds
    record = record.stage(
        stage,
        state="done",
        started=known.started or manifest.created - timedelta(seconds=seconds),
        finished=at,
        seconds=(known.seconds or 0) + seconds,  # masks: of the proposal, and of the review
        result=ref,
    )
    record = record.but(warnings={**record.warnings, stage: manifest.warnings})
    if stage == "package":
        record = record.but(quality=_quality(manifest))
    taken = manifest.metrics.get("taken") if stage == "prepare" else None
    if taken:
        first, last = (datetime.fromisoformat(taken[end]) for end in ("first", "last"))
        record = record.but(scan=round((last - first).total_seconds(), 3))
    return record


def _quality(manifest: Manifest) -> Quality | None:
    told = manifest.metrics
    if "judged" not in told:  # by an older worker
        return None
    return Quality(grade=told["judged"]["grade"], weak=tuple(told["weak"]), advice=told["advice"])


def _signalled(record: Record) -> Record:
    started = record.stages["prepare"].started
    if record.signal is not None or started is None or record.uploaded is None:
        return record
    return record.but(signal=round(max(0.0, (started - record.uploaded).total_seconds()), 3))


def _begun(record: Record, stage: Stage, envelope: Envelope) -> Record:
    """What the stage and those after it made of an earlier generation can still be had, until they have made
    it anew."""
    stages = dict(record.stages)
    for later in STAGES[STAGES.index(stage) :]:
        stages[later] = StageRecord(result=record.stages[later].result, input=record.stages[later].input)
    stages[stage] = stages[stage].model_copy(update={"since": envelope.time, "input": envelope.id})
    return record.but(state="working", stages=stages)


def _unread(event: Event) -> bool:
    """Whether it tells of one that could not be read: that began nothing, of whatever generation it was, and
    the capture stays open for a better one."""
    return isinstance(event, CaptureFailed) and event.error.code.startswith("event_")


def _failed(record: Record, event: CaptureFailed, at: datetime) -> Record:
    told = record.but(error=event.error, failed_stage=event.stage)
    if event.error.code.startswith("review_"):
        return told.stage("segment", state="review").but(state="review")  # decide again
    return told.stage(event.stage, state="failed", finished=at).but(state="failed")


def _cancelled(record: Record, at: datetime) -> Record:
    for stage, entry in record.stages.items():
        if entry.state != "done":
            record = record.stage(stage, state="cancelled", finished=at if entry.started else None)
    return record.but(state="cancelled")

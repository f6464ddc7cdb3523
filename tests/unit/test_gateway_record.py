"""What is known of a capture after its events."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.dataset import Manifest, Producer, Usage
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
    UploadedFile,
)
from contracts.fields import ManifestRef, ObjectRef
from workers.gateway.record import Record, fold

START = datetime(2026, 1, 1, tzinfo=UTC)
FOLDER = "captures/default/c/"


def ref(name: str) -> ManifestRef:
    return ManifestRef(key=f"{FOLDER}{name}/manifest.json", sha256=64 * "0", content=64 * "1")


def stored(name: str) -> ObjectRef:
    return ObjectRef(key=FOLDER + name, sha256=64 * "0", bytes=1, media_type="x/y")


def event(kind: type[Event], generation: int = 0, **more: Any) -> Event:
    usual: dict[type[Event], dict[str, Any]] = {
        DatasetUploaded: {"files": (UploadedFile(key=f"{FOLDER}upload/a", bytes=1),)},
        PosesReady: {"dataset": ref("dataset"), "images": 3, "posed": True, "masked": False},
        MasksProposed: {"dataset": ref("dataset"), "masks": ref("masks")},
        MasksReviewed: {"dataset": ref("dataset"), "masks": ref("masks"), "decisions": {}},
        MasksReady: {"dataset": ref("dataset"), "masks": ref("masks"), "images": 3},
        MeshReady: {"dataset": ref("dataset"), "masks": ref("masks"), "mesh": ref("mesh")},
        ModelReady: {"model": ref("model"), "glb": stored("model.glb"), "poster": stored("poster.png")},
    }
    return kind(capture_id="c", generation=generation, **{**usual.get(kind, {}), **more})


def failure(code: str) -> Event:
    told = Failure(code=code, message="m", sentence="s", action="a")
    return event(CaptureFailed, stage="segment", error=told)


def manifest(seconds: float, at: datetime, **metrics: Any) -> Manifest:
    return Manifest(
        stage="prepare",
        job_key=64 * "0",
        tenant="default",
        capture_id="c",
        generation=0,
        inputs={},
        parameters={},
        producer=Producer(name="t", version="0", algorithm="0", device="cpu", seed=0, libraries={}),
        artefacts=(),
        usage=Usage(wall_seconds=seconds, cpu_seconds=0, peak_rss_mb=0),
        metrics=metrics,
        warnings=(),
        created=at,
    )


def after(*events: Event, seconds: float = 4.0) -> Record:
    """Folded, ten seconds apart, each with a result that took so many."""
    record = Record(created=START)
    for number, each in enumerate(events):
        at = START + timedelta(seconds=10 * number)
        envelope = Envelope(
            specversion="1.0", id=f"e{number}", source="t", type=each.event_type(), time=at, data=each
        )
        record = fold(record, envelope, manifest(seconds, at))
    return record


WHOLE = tuple(event(kind) for kind in (DatasetUploaded, PosesReady, MasksReady, MeshReady, ModelReady))


def states(record: Record) -> list[str]:
    return [entry.state for entry in record.stages.values()]


def test_a_capture_that_goes_well() -> None:
    assert states(after(*WHOLE[:1])) == ["waiting"] * 4
    assert states(after(*WHOLE[:3])) == ["done", "done", "waiting", "waiting"]
    record = after(*WHOLE)
    assert (record.state, states(record)) == ("done", ["done"] * 4)
    assert [entry.seconds for entry in record.stages.values()] == [4.0] * 4
    assert record.signal == 6.0  # published at 0, its result there at 10, of which 4 were work
    assert [entry.input for entry in record.stages.values()] == ["e0", "e1", "e2", "e3"]
    assert record.poster == FOLDER + "poster.png"


def test_a_review_goes_there_and_back() -> None:
    proposed = (event(DatasetUploaded), event(PosesReady), event(MasksProposed))
    record = after(*proposed)
    assert (record.state, states(record)) == ("review", ["done", "review", "waiting", "waiting"])
    assert record.proposal == "e2"
    record = after(*proposed, event(MasksReviewed))
    assert (record.state, states(record)) == ("working", ["done", "waiting", "waiting", "waiting"])
    refused = after(*proposed, event(MasksReviewed), failure("review_mask_invalid"))
    assert (refused.state, refused.stages["segment"].state) == ("review", "review")
    assert refused.error is not None
    record = after(*proposed, event(MasksReviewed), event(MasksReady))
    assert states(record) == ["done", "done", "waiting", "waiting"]
    assert record.stages["segment"].seconds == 8.0  # of the proposal and of the review
    assert record.stages["segment"].input == "e1"  # a retry begins with the poses


def test_a_later_generation_keeps_what_was_made_before_it() -> None:
    again = after(*WHOLE, event(MasksReady, 1))
    assert (again.generation, again.state) == (1, "working")
    assert states(again) == ["done", "done", "waiting", "waiting"]
    assert again.stages["package"].result == ref("model")  # until there is another
    assert again.stages["reconstruct"].input == "e5"
    assert again.stages["segment"].seconds == 4.0
    assert after(*WHOLE, event(MasksReady, 1), event(MeshReady, 0)) == again  # too late


@pytest.mark.parametrize("ending", [event(CaptureCancelled), event(ModelReady)])
def test_what_has_ended_stays_so(ending: Event) -> None:
    ended = after(*WHOLE[:4], ending)
    assert after(*WHOLE[:4], ending, failure("masks_bad"), event(CaptureCancelled)) == ended


def test_a_cancelled_capture() -> None:
    record = after(*WHOLE[:2], event(CaptureCancelled))
    assert (record.state, states(record)) == ("cancelled", ["done", *["cancelled"] * 3])


def test_failures() -> None:
    failed = after(*WHOLE[:2], failure("masks_bad"))
    assert (failed.state, states(failed)) == ("failed", ["done", "failed", "waiting", "waiting"])
    assert failed.failed_stage == "segment"
    unread = after(*WHOLE[:2], failure("event_invalid"))
    assert unread == after(*WHOLE[:2])  # its sender may send it corrected
    later = failure("event_invalid").model_copy(update={"generation": 1})
    assert after(*WHOLE, later) == after(*WHOLE)  # what could not be read began nothing
    assert after(*WHOLE, later, event(DatasetUploaded, 1)).generation == 1
    again = after(*WHOLE[:2], failure("masks_bad"), event(PosesReady, 1))
    assert (again.state, again.error, again.failed_stage) == ("working", None, None)


def test_when_the_photos_were_taken() -> None:
    taken = {"first": "2026-01-01T10:00:00+00:00", "last": "2026-01-01T10:01:30+00:00"}
    at = START
    poses = event(PosesReady)
    envelope = Envelope(specversion="1.0", id="e", source="t", type=poses.event_type(), time=at, data=poses)
    assert fold(Record(created=at), envelope, manifest(1, at, taken=taken)).scan == 90.0


def test_what_the_store_has_lost_is_done_all_the_same() -> None:
    envelope = Envelope(
        specversion="1.0", id="e", source="t", type=WHOLE[1].event_type(), time=START, data=WHOLE[1]
    )
    record = fold(Record(created=START), envelope, None)
    assert (record.stages["prepare"].state, record.stages["prepare"].seconds) == ("done", None)
    assert record.options == Options()

"""The checker can fail: each of its findings, made to appear in a record that is sound but for one thing."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from broker.interface import Message
from contracts.dataset import Artefact, Manifest, Producer, Usage, manifest_ref
from contracts.envelope import Envelope, new_traceparent
from contracts.errors import EventInvalid, PhototwinError, TooFewImages
from contracts.events import (
    CaptureCancelled,
    CaptureFailed,
    DatasetUploaded,
    Event,
    Failure,
    MasksReady,
    MeshReady,
    ModelReady,
    PosesReady,
    UploadedFile,
)
from contracts.fields import ManifestRef, ObjectRef
from tests.chaos.captures import Capture, Deed, Plan, Poison
from tests.chaos.checker import check, orphans
from tests.chaos.record import Letter, Record, Stored

NOW = datetime(2026, 11, 22, tzinfo=UTC)
VASE = Event(tenant="shop", capture_id="vase")
FOLDER = VASE.folder
RESULT = FOLDER + "model/job/"
GLB = ObjectRef(key=RESULT + "model.glb", sha256="1" * 64, bytes=3, media_type="model/gltf-binary")
POISON = Poison(Message(b"", "dataset.uploaded", "poison"), "event_undecodable")


def capture(do: Deed = "work", cancelled_after: float | None = None) -> Capture:
    return Capture("shop", "vase", do, "prepare", 0.0, "interactive", ("vase-a",), cancelled_after)


def wrap(event: Event, id: str = "end", late: float = 0.0) -> Envelope:
    envelope = Envelope.wrap(event, id=id, source="phototwin/package", traceparent=new_traceparent())
    return envelope.model_copy(update={"time": NOW + timedelta(seconds=late)})


def manifest() -> Manifest:
    return Manifest(
        stage="package",
        job_key="2" * 64,
        tenant="shop",
        capture_id="vase",
        generation=0,
        inputs={},
        parameters={},
        producer=Producer(name="p", version="1", algorithm="1", device="cpu", seed=0, libraries={}),
        artefacts=(Artefact(**GLB.model_dump(), name="model.glb"),),
        usage=Usage(wall_seconds=0, cpu_seconds=0, peak_rss_mb=0),
        metrics={},
        warnings=(),
        created=NOW,
    )


def reference() -> ManifestRef:
    made = manifest()
    return manifest_ref(RESULT + "manifest.json", made.encode(), made)


def model(content: str | None = None) -> ModelReady:
    ref = reference() if content is None else reference().model_copy(update={"content": content})
    return VASE.followed_by(ModelReady, model=ref, glb=GLB, poster=GLB)


def way() -> list[Envelope]:
    """What came before the model."""
    ref = reference()
    file = UploadedFile(key=FOLDER + "upload/a.jpg", bytes=1)
    events = (
        VASE.followed_by(DatasetUploaded, files=(file,)),
        VASE.followed_by(PosesReady, dataset=ref, images=1, posed=True, masked=False),
        VASE.followed_by(MasksReady, dataset=ref, masks=ref, images=1),
        mesh(),
    )
    return [wrap(event, event.routing_key) for event in events]


def mesh() -> MeshReady:
    return VASE.followed_by(MeshReady, dataset=reference(), masks=reference(), mesh=reference())


def failed(kind: type[PhototwinError] = TooFewImages) -> CaptureFailed:
    failure = Failure(code=kind.code, message="", sentence="", action="")
    return VASE.followed_by(CaptureFailed, stage="prepare", error=failure)


def sound() -> Record:
    """One capture with its model, and one message that nobody could read."""
    record = Record(Plan((capture(),), (POISON,)))
    record.events = [wrap(model()), *way(), wrap(failed(EventInvalid), "of the poison")]
    record.events += record.events[:1]  # at least once
    made = manifest().encode()
    end(record, record.events[0])
    record.bodies[reference().key] = made
    record.objects[reference().key] = Stored(reference().sha256, len(made), NOW.timestamp())
    record.objects[GLB.key] = Stored(GLB.sha256, GLB.bytes, NOW.timestamp())
    record.letters = [Letter("poison", "event_undecodable", ""), Letter("poison", "event_undecodable", "")]
    record.left = {"prepare": 0}
    return record


def end(record: Record, envelope: Envelope) -> None:
    """As the store has it."""
    key = FOLDER + "outcomes/0.json"
    record.bodies[key] = envelope.encode()
    record.objects[key] = Stored("", 0, NOW.timestamp())


def miss_a_step(record: Record) -> None:
    record.events = [e for e in record.events if not isinstance(e.data, MasksReady)]


def lose_it(record: Record) -> None:
    record.events = []


def end_twice(record: Record) -> None:
    record.plan = Plan((capture("waver"),), (POISON,))
    record.events.append(wrap(failed(), "another end"))


def end_wrongly(record: Record) -> None:
    record.events = [wrap(failed())]
    end(record, record.events[0])


def end_otherwise_than_recorded(record: Record) -> None:
    end(record, wrap(model(), "another end"))


def cancel_unasked(record: Record) -> None:
    record.events = []
    end(record, wrap(VASE.followed_by(CaptureCancelled)))


def go_on_after_cancellation(record: Record) -> None:
    record.plan = Plan((capture(cancelled_after=1.0),), (POISON,))
    end(record, wrap(VASE.followed_by(CaptureCancelled)))
    record.events = [wrap(mesh(), "too late", late=4.5)]


def add_a_stranger(record: Record) -> None:
    record.events.append(wrap(failed().model_copy(update={"capture_id": "nobody's"}), "stranger"))


def say_two_things_under_one_id(record: Record) -> None:
    other = failed(EventInvalid).model_copy(update={"stage": "package"})
    record.events.append(wrap(other, "of the poison"))


def make_two_results(record: Record) -> None:
    record.events.append(wrap(model(), "other"))


def lose_an_artefact(record: Record) -> None:
    del record.objects[GLB.key]


def change_an_artefact(record: Record) -> None:
    record.objects[GLB.key] = replace(record.objects[GLB.key], sha256="3" * 64)


def cut_an_artefact_short(record: Record) -> None:
    record.objects[GLB.key] = replace(record.objects[GLB.key], bytes=2)


def overwrite_a_manifest(record: Record) -> None:
    key = reference().key
    record.objects[key] = replace(record.objects[key], sha256="3" * 64)


def announce_another_content(record: Record) -> None:
    record.events[0] = record.events[-1] = wrap(model("3" * 64))
    end(record, record.events[0])


def give_up_an_innocent_event(record: Record) -> None:
    record.letters.append(Letter("vase-a", "worker_died", "shop/vase"))


def lose_a_dead_letter(record: Record) -> None:
    record.letters = []


def bury_for_another_reason(record: Record) -> None:
    record.letters = [Letter("poison", "worker_died", "")]


def leave_a_message(record: Record) -> None:
    record.left = {"prepare": 1}


FAULTS: dict[Callable[[Record], None], set[str]] = {
    lose_it: {"lost"},
    miss_a_step: {"gap"},
    end_twice: {"two endings"},
    end_wrongly: {"wrong ending"},
    end_otherwise_than_recorded: {"not as recorded"},
    cancel_unasked: {"wrong ending"},
    go_on_after_cancellation: {"noise after cancellation"},
    add_a_stranger: {"stranger"},
    say_two_things_under_one_id: {"one id, two contents"},
    make_two_results: {"two results", "two endings"},
    lose_an_artefact: {"damaged result", "dangling event"},
    change_an_artefact: {"damaged result", "dangling event"},
    cut_an_artefact_short: {"damaged result", "dangling event"},
    overwrite_a_manifest: {"dangling event"},
    announce_another_content: {"dangling event"},
    give_up_an_innocent_event: {"wrong dead letter"},
    lose_a_dead_letter: {"wrong dead letter"},
    bury_for_another_reason: {"wrong dead letter"},
    leave_a_message: {"stranded"},
}


def test_a_sound_record_has_no_findings() -> None:
    assert check(sound()) == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_each_fault_is_found(fault: Callable[[Record], None]) -> None:
    record = sound()
    fault(record)
    assert {finding.rule for finding in check(record)} == FAULTS[fault]


def test_a_cancelled_capture_may_end_in_silence() -> None:
    record = sound()
    record.plan = Plan((capture(cancelled_after=1.0),), (POISON,))
    end(record, wrap(VASE.followed_by(CaptureCancelled)))
    record.events = [wrap(mesh(), "just in time", late=1.5), wrap(failed(EventInvalid), "poison", 9)]
    assert check(record) == []


def test_what_nobody_points_to_is_counted() -> None:
    record = sound()
    for folder in ("upload", "checkpoints", "mesh"):
        record.objects[f"{FOLDER}{folder}/x"] = Stored("", 0, 0.0)
    assert orphans(record) == {"checkpoints": 1, "mesh": 1}

"""What a run's record says against the promise. Pure functions; no finding is a run's whole success."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from contracts.envelope import Envelope
from contracts.events import (
    CaptureFailed,
    DatasetUploaded,
    Event,
    MasksReady,
    MeshReady,
    ModelReady,
    PosesReady,
)
from contracts.fields import Contract, ManifestRef, ObjectRef
from tests.chaos.captures import ENDINGS, expected_dead
from tests.chaos.record import Record, whose

CANCEL_SECONDS = 2.0 + 2.0
"""Within how many it is quiet about a cancelled capture: as promised, and what the machine may be late."""


STEPS = [step.routing_key for step in (DatasetUploaded, PosesReady, MasksReady, MeshReady)]


@dataclass(frozen=True)
class Finding:
    """`about`: a capture, an event's id, an object's key or a queue."""

    rule: str
    about: str
    detail: str


def check(record: Record) -> list[Finding]:
    """Each finding once."""
    return list(dict.fromkeys(finding for rule in RULES for finding in rule(record)))


def endings(record: Record) -> dict[str, list[Envelope]]:
    """By capture, each time one was published."""
    found = defaultdict(list)
    for envelope in record.events:
        if ending(envelope.data) is not None:
            found[whose(envelope.data)].append(envelope)
    return found


def ending(event: Event) -> str | None:
    """What the event says a capture ended with. An event that cannot be read ends none: it can be sent again,
    corrected."""
    if isinstance(event, ModelReady):
        return event.routing_key
    if isinstance(event, CaptureFailed) and not unreadable(event):
        return event.error.code
    return None


def unreadable(event: Event) -> bool:
    """Whether it only says that an event could not be read."""
    return isinstance(event, CaptureFailed) and event.error.code.startswith("event_")


def lost_captures(record: Record) -> Iterator[Finding]:
    """In, and never out."""
    ended, cancelled = endings(record), record.cancelled
    for capture in record.plan.captures:
        if capture.name not in ended and capture.name not in cancelled:
            seen = [e.data.routing_key for e in record.events if whose(e.data) == capture.name]
            yield Finding(
                "lost", capture.name, f"it has no ending; its last event is {(seen or ['none'])[-1]}"
            )


def wrong_endings(record: Record) -> Iterator[Finding]:
    """Two of them, or one that this capture cannot have, or that is not the one on record."""
    captures = {capture.name: capture for capture in record.plan.captures}
    recorded = record.recorded
    for about in record.cancelled:
        if about in captures and captures[about].cancelled_after is None:
            yield Finding("wrong ending", about, "it is cancelled, and nobody has asked for that")
    for about, ended in endings(record).items():
        kinds = sorted({f"{ending(envelope.data)}" for envelope in ended})
        if about not in captures:
            yield Finding("stranger", about, "nobody has sent this capture")
            continue
        if len({envelope.encode() for envelope in ended}) > 1:
            yield Finding("two endings", about, f"it ended as {' and '.join(kinds)}")
        for kind in set(kinds) - ENDINGS[captures[about].do]:
            yield Finding("wrong ending", about, f"it ended as {kind}")
        if about not in recorded or recorded[about].id != ended[0].id:
            yield Finding(
                "not as recorded", about, f"it ended as {' and '.join(kinds)}; the store says otherwise"
            )


def gaps(record: Record) -> Iterator[Finding]:
    """Whoever follows the stream sees all that a capture went through."""
    seen = {(whose(envelope.data), envelope.data.routing_key) for envelope in record.events}
    for capture, kind in sorted(seen):
        for step in STEPS if kind == ModelReady.routing_key else ():
            if (capture, step) not in seen:
                yield Finding("gap", capture, f"it has a model, and the stream has no {step}")


def contradictions(record: Record) -> Iterator[Finding]:
    """One id with two contents, or two ids for one thing: of what the workers publish, a capture has one
    event of each type."""
    contents: dict[str, set[bytes]] = defaultdict(set)
    ids: dict[tuple[str, str], set[str]] = defaultdict(set)
    for envelope in record.events:
        event = envelope.data
        if not envelope.source.startswith("phototwin/"):
            continue
        contents[envelope.id].add(event.model_dump_json().encode())
        if not isinstance(event, CaptureFailed):
            ids[whose(event), event.routing_key].add(envelope.id)
    for id, bodies in contents.items():
        if len(bodies) > 1:
            yield Finding("one id, two contents", id, f"{len(bodies)} of them")
    for (capture, kind), several in ids.items():
        if len(several) > 1:
            yield Finding("two results", capture, f"it has {len(several)} different {kind}")


def damaged_results(record: Record) -> Iterator[Finding]:
    """A manifest's artefact that is missing, or is not what the manifest says."""
    for key, manifest in record.manifests.items():
        for artefact in manifest.artefacts:
            if detail := _differs(artefact, record):
                yield Finding("damaged result", key, detail)


def dangling_events(record: Record) -> Iterator[Finding]:
    """An event that points to what is missing, or is another by now."""
    manifests = record.manifests
    for envelope in record.events:
        for reference in references(envelope.data):
            if detail := _differs(reference, record):
                yield Finding("dangling event", envelope.id, f"{envelope.data.routing_key}: {detail}")
            elif isinstance(reference, ManifestRef) and manifests[reference.key].content != reference.content:
                yield Finding("dangling event", envelope.id, f"{reference.key} has another content")


def _differs(reference: ManifestRef | ObjectRef, record: Record) -> str:
    stored = record.objects.get(reference.key)
    if stored is None:
        return f"{reference.key} is missing"
    same = stored.sha256 == reference.sha256
    if isinstance(reference, ObjectRef):
        same = same and stored.bytes == reference.bytes
    return "" if same else f"{reference.key} has other bytes"


def references(value: object) -> list[ManifestRef | ObjectRef]:
    """All within an event."""
    if isinstance(value, ManifestRef | ObjectRef):
        return [value]
    if isinstance(value, Contract):
        return [found for field in type(value).model_fields for found in references(getattr(value, field))]
    return []


def noise_after_cancellation(record: Record) -> Iterator[Finding]:
    """Of the workers' own: who sends an event that nobody can read is told so all the same."""
    cancelled = record.cancelled
    for envelope in record.events:
        about = whose(envelope.data)
        ours = envelope.source.startswith("phototwin/") and not unreadable(envelope.data)
        if about in cancelled and ours:
            late = envelope.time.timestamp() - cancelled[about]
            if late > CANCEL_SECONDS:
                detail = f"{envelope.data.routing_key} {late:.1f} s after its cancellation"
                yield Finding("noise after cancellation", about, detail)


def wrong_dead_letters(record: Record) -> Iterator[Finding]:
    """Those that were not injected, and those that were and are not there."""
    due = expected_dead(record.plan)
    for letter in record.letters:
        found = due.get(letter.id) or due.get(letter.capture)
        if found != letter.code:
            detail = f"{letter.code} of {letter.capture or 'nobody'}; due is {found}"
            yield Finding("wrong dead letter", letter.id, detail)
    there = {letter.id for letter in record.letters} | {letter.capture for letter in record.letters}
    for about in due.keys() - there:
        yield Finding("wrong dead letter", about, f"{due[about]} is due, and there is none")


def stranded_messages(record: Record) -> Iterator[Finding]:
    for queue, depth in record.left.items():
        if depth:
            yield Finding("stranded", queue, f"{depth} messages wait, and all is over")


RULES: tuple[Callable[[Record], Iterator[Finding]], ...] = (
    lost_captures,
    wrong_endings,
    gaps,
    contradictions,
    damaged_results,
    dangling_events,
    noise_after_cancellation,
    wrong_dead_letters,
    stranded_messages,
)


def orphans(record: Record) -> Counter[str]:
    """Objects that nobody points to, by folder: a put that was killed leaves some, and they may lie there."""
    kept = {artefact.key for manifest in record.manifests.values() for artefact in manifest.artefacts}
    found: Counter[str] = Counter()
    for key in record.objects.keys() - kept - record.bodies.keys():
        folder = key.split("/")[3]
        if folder != "upload":
            found[folder] += 1
    return found

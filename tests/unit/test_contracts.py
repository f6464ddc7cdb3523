"""Events, envelopes and errors."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import errors
from contracts.dataset import job_key
from contracts.envelope import MAX_BYTES, Envelope, event_id, new_traceparent, sender
from contracts.errors import ContractError, EventInvalid, EventUndecodable, EventUnknown
from contracts.events import (
    EVENTS,
    MAX_LOSSES,
    DatasetUploaded,
    Event,
    JobProgress,
    Options,
    UploadedFile,
)
from workers.runtime.retry import Decision, decide

KEY = "captures/default/c1/upload/photo 1.jpg"


def uploaded(**changes: Any) -> dict[str, Any]:
    event = DatasetUploaded(capture_id="c1", files=(UploadedFile(key=KEY, bytes=3),))
    envelope = Envelope.wrap(event, id="e1", source="test", traceparent=new_traceparent())
    document: dict[str, Any] = json.loads(envelope.encode())
    for path, value in changes.items():
        target = document
        *parents, last = [int(part) if part.isdigit() else part for part in path.split("__")]
        for parent in parents:
            target = target[parent]  # type: ignore[index]
        target[last] = value  # type: ignore[index]
    return document


def parse(document: dict[str, Any]) -> Envelope:
    return Envelope.parse(json.dumps(document).encode())


def test_an_event_survives_its_journey() -> None:
    document = uploaded()
    assert json.loads(parse(document).encode()) == document


def test_unknown_fields_are_kept() -> None:
    document = uploaded(partitionkey="p", data__mood="good", data__files__0__camera="back")
    assert json.loads(parse(document).encode()) == document


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("specversion", "2.0"),
        ("id", ""),
        ("time", "yesterday"),
        ("time", "2024-01-01T00:00:00"),
        ("traceparent", "00-xyz"),
        ("data__capture_id", "../c2"),
        ("data__capture_id", ""),
        ("data__capture_id", "x" * 65),
        ("data__tenant", "a/b"),
        ("data__generation", -1),
        ("data__generation", "first"),
        ("data__attempt", 1.5),
        ("data__files", []),
        ("data__files__0__bytes", -1),
        ("data__files__0__bytes", 1 << 50),
        ("data__files__0__sha256", "abc"),
        ("data__files__0__etag", 'a"b'),
        ("data__files__0__key", "captures/default/c1/upload/../../c2/upload/a.jpg"),
        ("data__files__0__key", "captures/default/c1/upload//a.jpg"),
        ("data__files__0__key", "captures/default/c1/upload/a\\b.jpg"),
        ("data__files__0__key", "captures/default/c1/upload/a\0.jpg"),
        ("data__files__0__key", "/etc/passwd"),
        ("data__files__0__key", "captures/default/c2/upload/a.jpg"),
        ("data__files__0__key", "captures/default/c1/dataset/a.jpg"),
        ("data__files__0__key", "captures/default/c1/upload/" + "a" * 300),
        ("data__kind", "hologram"),
        ("data__options__profile", "ultra"),
        ("data__options__seed", -1),
        ("data__options__holdout", "all"),
        ("data__options__holdout", 1),
    ],
)
def test_a_broken_field_is_named(path: str, value: object) -> None:
    with pytest.raises(EventInvalid) as caught:
        parse(uploaded(**{path: value}))
    names = [name for name in path.split("__") if name != "data"]
    said = caught.value.params["field"] + caught.value.params["rule"]
    assert any(name in said for name in names), said
    assert caught.value.params["rule"]


def progress(**changes: Any) -> dict[str, Any]:
    event = JobProgress(capture_id="c1", stage="reconstruct", fraction=0.5)
    envelope = Envelope.wrap(event, id="e1", source="test", traceparent=new_traceparent())
    document: dict[str, Any] = json.loads(envelope.encode())
    document["data"] |= changes
    return document


def test_progress_tells_losses_and_previews() -> None:
    said = {
        "losses": {f"loss {number}": -1.5e-3 for number in range(MAX_LOSSES)},
        "preview": "captures/default/c1/previews/abc/latest.glb",
        "preview_image": "captures/default/c1/previews/abc/latest.png",
    }
    document = progress(**said)
    data = parse(document).data
    assert isinstance(data, JobProgress)
    assert {name: getattr(data, name) for name in said} == said
    assert json.loads(parse(document).encode()) == document
    assert parse(progress()).data.model_dump().items() >= {"preview": None, "preview_image": None}.items()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fraction", 1.5),
        ("fraction", float("nan")),
        ("eta_seconds", float("inf")),
        ("losses", {"image": float("nan")}),
        ("losses", {"image": float("inf")}),
        ("losses", {"image": "small"}),
        ("losses", {"": 1.0}),
        ("losses", {"x" * 65: 1.0}),
        ("losses", {str(number): 1.0 for number in range(MAX_LOSSES + 1)}),
        ("preview", "captures/default/c2/previews/abc/latest.glb"),
        ("preview", "captures/default/c1/upload/photo.jpg"),
        ("preview_image", "captures/default/c1/previews/../../c2/a.png"),
    ],
)
def test_progress_that_breaks_its_contract_is_refused(field: str, value: object) -> None:
    with pytest.raises(EventInvalid, match="preview" if field.startswith("preview") else field):
        parse(progress(**{field: value}))


@pytest.mark.parametrize("missing", ["id", "data", "time", "specversion", "source"])
def test_a_missing_attribute_is_an_error(missing: str) -> None:
    document = uploaded()
    del document[missing]
    with pytest.raises(EventInvalid):
        parse(document)


def test_a_trace_is_started_where_the_sender_did_not() -> None:
    document = uploaded()
    del document["traceparent"]
    assert parse(document).traceparent.startswith("00-")


def test_an_etag_may_come_in_its_quotes() -> None:
    data = parse(uploaded(data__files__0__etag='"abc"')).data
    assert isinstance(data, DatasetUploaded)
    assert data.files[0].etag == "abc"


def test_files_name_each_key_once_and_not_as_a_folder_too() -> None:
    for keys in ([KEY, KEY], [KEY, KEY + "/inside.jpg"]):
        with pytest.raises(EventInvalid, match="files"):
            parse(uploaded(data__files=[{"key": key, "bytes": 1} for key in keys]))


@pytest.mark.parametrize("type_", [None, 3, "phototwin.dataset.uploaded.v9", "com.other.event", ["x"]])
def test_an_unknown_type_is_named(type_: object) -> None:
    with pytest.raises(EventUnknown, match="known are"):
        parse(uploaded(type=type_))


def test_a_huge_message_is_not_even_parsed() -> None:
    with pytest.raises(EventUndecodable, match="bytes"):
        Envelope.parse(b" " * (MAX_BYTES + 1))


@pytest.mark.parametrize("body", [b"[" * 100_000, b"\xff", b"", b"3", b'"x"', b"NaN"])
def test_what_is_no_object_is_undecodable(body: bytes) -> None:
    with pytest.raises(EventUndecodable):
        Envelope.parse(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_typed_error(body: bytes) -> None:
    with pytest.raises(ContractError):
        Envelope.parse(body)
    sender(body)


@given(
    st.sampled_from(["type", "id", "data", "data__files", "data__options", "data__files__0__key", "time"]),
    json_values,
)
def test_any_mutation_decodes_or_ends_in_a_typed_error(path: str, value: object) -> None:
    body = json.dumps(uploaded(**{path: value})).encode()
    with suppress(ContractError):
        Envelope.parse(body)
    sender(body)


def test_every_event_has_a_type_and_a_routing_key_of_its_own() -> None:
    assert len({event.event_type() for event in EVENTS}) == len(EVENTS) == 10
    assert DatasetUploaded.event_type() == "phototwin.dataset.uploaded.v1"


def test_the_table_of_errors_has_each_code_and_no_other() -> None:
    assert {leaf.code for leaf in errors.leaves()} == set(errors.table())
    for entry in errors.table().values():
        assert entry["sentence"].endswith(".")
        assert set(entry) == {"sentence", "action"}


def test_the_tree_drawn_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__
    for leaf in errors.leaves():
        assert leaf.__name__ in errors.__doc__
        assert leaf.code in errors.__doc__
        assert leaf.disposition


@pytest.mark.parametrize("leaf", list(errors.leaves()), ids=lambda leaf: leaf.code)
def test_an_error_survives_its_code(leaf: type[errors.PhototwinError]) -> None:
    again = errors.from_code(leaf.code, "why", file="x")
    assert type(again) is leaf
    assert again.message == "why"


def test_retry_policy() -> None:
    bug, outage = errors.ComputeFailed("x"), errors.StorageUnavailable("x")
    assert [decide(bug, attempt, 3, 0.0).action for attempt in range(4)] == [
        "retry",
        "retry",
        "dead_letter",
        "dead_letter",
    ]
    assert decide(bug, 0, 5, 0.0).delay < decide(bug, 1, 5, 0.0).delay < decide(bug, 2, 5, 0.0).delay
    assert decide(bug, 2, 5, 0.0).delay / 2 < decide(bug, 2, 5, 0.9).delay < decide(bug, 2, 5, 0.5).delay
    assert decide(outage, 900, 3, 0.0).action == "retry"
    assert not decide(outage, 900, 3, 0.0).counts
    assert decide(errors.TooFewImages("x"), 0, 3, 0.0) == Decision("fail")
    assert decide(errors.CaptureCancelled("x"), 0, 3, 0.0) == Decision("stop")
    assert decide(errors.EventInvalid("x"), 0, 3, 0.0) == Decision("dead_letter")


class _Plain(Event):
    routing_key = "plain"


def test_a_job_key_depends_on_all_that_decides_the_result() -> None:
    event = _Plain(capture_id="c1")
    same = job_key(event, "prepare", {"a": "1", "b": "2"}, "1", {"p": 1, "q": 2})
    assert same == job_key(event, "prepare", {"b": "2", "a": "1"}, "1", {"q": 2, "p": 1})
    assert same == job_key(
        event.model_copy(update={"attempt": 3}), "prepare", {"a": "1", "b": "2"}, "1", {"p": 1, "q": 2}
    )
    others = [
        job_key(_Plain(capture_id="c2"), "prepare", {"a": "1", "b": "2"}, "1", {"p": 1, "q": 2}),
        job_key(_Plain(capture_id="c1", tenant="t"), "prepare", {"a": "1", "b": "2"}, "1", {"p": 1, "q": 2}),
        job_key(
            _Plain(capture_id="c1", generation=1), "prepare", {"a": "1", "b": "2"}, "1", {"p": 1, "q": 2}
        ),
        job_key(event, "segment", {"a": "1", "b": "2"}, "1", {"p": 1, "q": 2}),
        job_key(event, "prepare", {"a": "1", "b": "3"}, "1", {"p": 1, "q": 2}),
        job_key(event, "prepare", {"a": "1", "b": "2"}, "2", {"p": 1, "q": 2}),
        job_key(event, "prepare", {"a": "1", "b": "2"}, "1", {"p": 1, "q": 3}),
    ]
    assert len({same, *others}) == len(others) + 1


def test_event_ids_are_the_same_everywhere_and_differ_between_jobs() -> None:
    assert event_id("t", "job") == event_id("t", "job")
    assert len({event_id("t", "job"), event_id("t", "other"), event_id("u", "job")}) == 3


def test_options_default_to_what_the_command_defaults_to() -> None:
    assert Options().model_dump() == {
        "profile": "standard",
        "method": "auto",
        "seed": 0,
        "holdout": 8,
        "segmenter": "auto",
        "ignore_masks": False,
        "ignore_poses": False,
        "refine_poses": "auto",
        "mapper": "incremental",
        "hints": (),
        "known_length": None,
        "marker": None,
        "origin": "world",
        "lane": "interactive",
        "review": False,
    }


def test_the_message_shown_in_the_readme_is_one_we_read() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    shown = text.split("```json")[1].split("```")[0]
    assert isinstance(Envelope.parse(shown.encode()).data, DatasetUploaded)


@pytest.mark.parametrize("generation", [-1, "two", 2**70])
def test_an_event_of_no_generation_still_says_whose_it_is(generation: object) -> None:
    document = {"type": "x", "data": {"tenant": "acme", "capture_id": "c1", "generation": generation}}
    event = sender(json.dumps(document).encode())
    assert event is not None
    assert (event.tenant, event.capture_id, event.generation) == ("acme", "c1", 0)

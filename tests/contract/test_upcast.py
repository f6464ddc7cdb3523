"""Earlier versions of events, read as the newest."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.dataset import job_key
from contracts.envelope import Envelope
from contracts.errors import EventInvalid, EventUnknown
from contracts.events import EVENTS, Decision, MasksReviewed
from contracts.upcast import READ, STEPS, newest
from workers.runtime.settings import Settings
from workers.segment.worker import Segment

GOLDEN = Path(__file__).parent / "golden" / "masks.reviewed.v1"
PNG = {"key": "captures/default/shelf-42/upload/review/a.png", "bytes": 3, "x_camera": "back"}


def version_1(decisions: Any, **more: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((GOLDEN / "minimal.json").read_text())
    document["data"]["decisions"] = decisions
    return document | more


def parse(document: dict[str, Any]) -> Envelope:
    return Envelope.parse(json.dumps(document).encode())


def test_every_way_leads_to_a_newest_version_one_number_at_a_time() -> None:
    assert len({event.event_type() for event in READ}) == len(READ)
    for old, (following, _) in STEPS.items():
        assert (old.routing_key, old.version + 1) == (following.routing_key, following.version)
        assert following in READ
        assert old not in EVENTS


def test_decisions_of_version_1_are_read_as_words() -> None:
    told = {
        "a": {"keep": True, "x_mood": "sure"},
        "b": {"keep": False, "mask": None},
        "c": {"keep": True, "mask": PNG},
        "d": {"keep": True, "decision": "of somebody else's"},
    }
    envelope = parse(version_1(told, dataschema="urn:phototwin:masks.reviewed:1"))
    event = envelope.data
    assert isinstance(event, MasksReviewed)
    assert [(d.decision, d.mask is not None) for d in event.decisions.values()] == [
        ("keep", False),
        ("discard", False),
        ("replace", True),
        ("keep", False),
    ]
    sent: dict[str, Any] = json.loads(envelope.encode())
    assert (sent["type"], sent["dataschema"]) == (
        "phototwin.masks.reviewed.v2",
        "urn:phototwin:masks.reviewed:2",
    )
    assert sent["data"]["decisions"]["a"] == {"decision": "keep", "x_mood": "sure"}
    assert sent["data"]["decisions"]["c"]["mask"] == PNG
    assert parse(sent).data == event


def test_the_newest_version_stays_as_it_is() -> None:
    event = parse(version_1({"a": {"keep": False}})).data
    assert newest(event) is event


@pytest.mark.parametrize(
    ("decisions", "field"),
    [
        ({"a": {}}, "data.decisions.a.keep"),
        ({"a": {"keep": "no"}}, "data.decisions.a.keep"),
        ({"a": {"decision": "keep"}}, "data.decisions.a.keep"),
        ({"a": {"keep": False, "mask": PNG}}, "data.decisions.a"),
        ({"a": {"keep": True, "mask": PNG | {"key": "captures/default/c/upload/a.png"}}}, "data"),
        ({"a": {"keep": True, "mask": PNG | {"key": "captures/default/shelf-42/a.png"}}}, "data"),
        (3, "data.decisions"),
    ],
)
def test_version_1_keeps_to_the_rules_of_both(decisions: Any, field: str) -> None:
    with pytest.raises(EventInvalid, match=r"^phototwin\.masks\.reviewed\.v1: field") as caught:
        parse(version_1(decisions))
    assert caught.value.params["field"] == field


@given(
    st.dictionaries(
        st.sampled_from("abc"),
        st.fixed_dictionaries(
            {"keep": st.booleans()},
            optional={"mask": st.none() | st.just(PNG), "x": st.none() | st.floats() | st.lists(st.text())},
        ),
    )
)
def test_whatever_version_1_says_is_said_in_version_2(decisions: dict[str, Any]) -> None:
    broken = any(not told["keep"] and told.get("mask") for told in decisions.values())
    try:
        event = parse(version_1(decisions)).data
    except EventInvalid:
        assert broken
        return
    assert not broken
    assert isinstance(event, MasksReviewed)
    for stem, told in decisions.items():
        said: Decision = event.decisions[stem]
        assert (said.decision != "discard") == told["keep"]
        assert (said.mask is not None) == bool(told.get("mask"))


def test_a_version_from_the_future_is_told_with_those_that_are_read() -> None:
    with pytest.raises(EventUnknown) as caught:
        parse(version_1({}, type="phototwin.masks.reviewed.v3"))
    assert caught.value.message == (
        "type 'phototwin.masks.reviewed.v3' is not known; known are phototwin.masks.reviewed.v1, "
        "phototwin.masks.reviewed.v2; a newer version takes newer workers"
    )


class Former(MasksReviewed):
    version = 1


def test_a_message_and_its_twin_in_another_version_are_one_job() -> None:
    """Also for a worker of before the upgrade, which has made its key from an event of version 1."""
    old = parse(version_1({"a": {"keep": False}}))
    twin: dict[str, Any] = json.loads(old.encode())
    worker = Segment(Settings())
    keys = set()
    for event in (old.data, parse(twin).data, Former(**old.data.__dict__)):
        assert isinstance(event, MasksReviewed)
        inputs, parameters = worker.question(event, {"dataset": "1", "masks": "2"})
        keys.add(job_key(event, "segment", inputs, worker.algorithm, parameters))
    assert len(keys) == 1

"""Whatever is sent ends as it should: spoilt inputs of every kind, in the short form (the long one is
`python -m tests.security`), and the messages that take the most from a parser."""

import json
import random
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.envelope import MAX_BYTES, Envelope, sender
from contracts.errors import ArchiveUnsafe, ContractError, EventInvalid, ReviewUnreadable
from contracts.review import DecisionsFile
from contracts.session import parse_line
from tests.security.attacks import archives
from tests.security.attacks.clips import of_two_sizes
from tests.security.fuzzing import fuzz
from tests.security.targets import EXAMPLES, TARGETS, ends
from tests.unit import videos
from workers.prepare.capture import Upload
from workers.prepare.readers import transforms, video
from workers.runtime.safe_input import extract_zip, read_size

EXAMPLES_EACH = 12
SEED = 20
SECONDS, BYTES = 5.0, 300 << 20
"""For one message, of the 4 MiB that are read."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", list(TARGETS))
def test_spoilt_inputs_end_as_they_should(kind: str, tmp_path: Path) -> None:
    tally = fuzz(kind, EXAMPLES_EACH, SEED, tmp_path)
    assert not tally.bugs
    assert sum(tally.codes.values()) == EXAMPLES_EACH


@pytest.mark.parametrize("kind", list(TARGETS))
def test_what_the_spoilt_ones_are_made_from_is_sound(kind: str) -> None:
    """Else all would be refused for a reason of no interest."""
    target = TARGETS[kind]
    assert {ends(target, seed) for seed in target.seeds()} == {"accepted"}


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(list(TARGETS)), st.binary(max_size=200))
def test_any_bytes_end_as_they_should(kind: str, body: bytes) -> None:
    ends(TARGETS[kind], body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150)
@given(
    st.sampled_from([path.stem for path in sorted(EXAMPLES.glob("*.json"))]),
    st.lists(st.tuples(st.integers(0, 1 << 16), json_values), min_size=1, max_size=3),
)
def test_any_field_of_any_event_may_be_anything(example: str, changes: list[tuple[int, object]]) -> None:
    document = json.loads((EXAMPLES / f"{example}.json").read_bytes())
    for number, value in changes:
        places = list(_places(document))
        parent, name = places[number % len(places)]
        parent[name] = value
    body = json.dumps(document).encode()
    sender(body)
    with suppress(ContractError):
        Envelope.parse(Envelope.parse(body).encode())


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) within."""
    names = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for name in list(names):
        yield value, name
        yield from _places(value[name])


UPLOAD = "captures/default/c1/upload/"
REF = {"sha256": "0" * 64, "content": "0" * 64}


def message(kind: str = "dataset.uploaded.v1", /, **data: object) -> bytes:
    head = {"specversion": "1.0", "id": "1", "source": "s", "time": "2024-01-01T00:00:00Z"}
    document = {**head, "type": f"phototwin.{kind}", "data": {"capture_id": "c1", **data}}
    return json.dumps(document, separators=(",", ":")).encode()


def uploads(**more: object) -> bytes:
    return message(files=[{"key": f"{UPLOAD}a.jpg", "bytes": 1}], **more)


def reviewed(decisions: dict[str, object]) -> bytes:
    refs = {name: {"key": f"captures/default/c1/{name}/m.json", **REF} for name in ("dataset", "masks")}
    return message("masks.reviewed.v1", **refs, decisions=decisions)


def deep_keys() -> bytes:
    return message(files=[{"key": f"{UPLOAD}{k:04}/" + "a/" * 480 + "b", "bytes": 1} for k in range(3900)])


def many_decisions() -> bytes:
    return reviewed(
        {f"i{k}": {"keep": True, "mask": {"key": f"{UPLOAD}{k}.png", "bytes": 1}} for k in range(5000)}
    )


EXTREMES: dict[str, Callable[[], bytes]] = {
    "keys of hundreds of folders": deep_keys,
    "a mask for each of 5000 images": many_decisions,
    "half a million broken decisions": lambda: reviewed({f"{k:x}": 0 for k in range(400_000)}),
    "a million lists": lambda: uploads(x="@").replace(b'"@"', b"[" + b"[]," * 1_300_000 + b"[]]"),
    "a million names": lambda: uploads(**{f"{k:x}": 0 for k in range(380_000)}),
    "a number of a million digits": lambda: uploads(x="@").replace(b'"@"', b"9" * 1_000_000),
    "an infinite number": lambda: uploads(x="@").replace(b'"@"', b"1e999"),
    "a name of megabytes": lambda: reviewed({"x" * 3_000_000: {"keep": 1}}),
    "a type of megabytes": lambda: message("x" * 3_000_000),
    "a type that is a list of megabytes": lambda: uploads().replace(
        b'"phototwin.dataset.uploaded.v1"', b"[" + b"[]," * 10**6 + b"0]"
    ),
    "more than is read": lambda: b" " * (MAX_BYTES + 1),
}


@pytest.mark.parametrize("extreme", EXTREMES.values(), ids=EXTREMES.keys())
def test_no_message_takes_long_or_much_memory(extreme: Callable[[], bytes]) -> None:
    body = extreme()
    assert len(body) <= MAX_BYTES + 1
    started = time.process_time()
    _parse(body)
    assert time.process_time() - started < SECONDS
    tracemalloc.start()
    try:
        _parse(body)
        assert tracemalloc.get_traced_memory()[1] < BYTES
    finally:
        tracemalloc.stop()


def _parse(body: bytes) -> None:
    with suppress(ContractError):
        Envelope.parse(body)
    sender(body)


@pytest.mark.parametrize("place", ["top", "data", "type", "x"])
def test_no_depth_of_nesting_surprises(place: str) -> None:
    for depth in [1, 199, 200, 201, *range(900, 1100), 100_000]:
        nested = b"[" * depth + b"]" * depth
        body = {
            "top": uploads().replace(b'{"specversion"', b'{"y":' + nested + b',"specversion"'),
            "data": uploads().replace(b'{"capture_id"', b'{"y":' + nested + b',"capture_id"'),
            "type": uploads().replace(b'"phototwin.dataset.uploaded.v1"', nested),
            "x": b'{"data":' + nested + b"}",
        }[place]
        with suppress(ContractError):
            Envelope.parse(Envelope.parse(body).encode())
        sender(body)


def test_a_refusal_does_not_repeat_megabytes() -> None:
    with pytest.raises(EventInvalid) as caught:
        Envelope.parse(reviewed({"x" * 3_000_000: {"keep": 1}}))
    assert len(caught.value.message) + len(caught.value.params["field"]) < 2000
    with pytest.raises(ReviewUnreadable) as unreadable:
        DecisionsFile.parse(b'{"images":{"%b":{"keep":1}}}' % (b"x" * 3_000_000))
    assert len(unreadable.value.message) < 2000
    with pytest.raises(ValueError, match="tag") as line:
        parse_line(b'{"type":"%b"}' % (b"x" * 3_000_000))
    assert len(str(line.value)) < 2000


def test_decisions_of_more_values_than_images_may_have_are_not_parsed() -> None:
    body = b'{"images":{' + b",".join(b'"%x":0' % k for k in range(2_000_000)) + b"}}"
    started = time.process_time()
    with pytest.raises(ReviewUnreadable, match="values"):
        DecisionsFile.parse(body)
    assert time.process_time() - started < 1


def test_a_document_of_many_names_is_not_copied_for_each_frame(tmp_path: Path) -> None:
    frames = [
        {"file_path": f"{k}.png", "transform_matrix": [[1, 0, 0, k], [0, 1, 0, 0], [0, 0, 1, 0]]}
        for k in range(600)
    ]
    for frame in frames:
        (tmp_path / str(frame["file_path"])).touch()
    names = {f"{k:x}": 0 for k in range(1_000_000)}
    document = json.dumps({"w": 9, "h": 9, "fl_x": 9, **names, "frames": frames})
    (tmp_path / "transforms.json").write_text(document)
    started = time.process_time()
    json.loads(document)
    once = time.process_time() - started
    started = time.process_time()
    capture = transforms.read(Upload(tmp_path), tmp_path / "transforms.json")
    assert len(capture.shots) == 600
    assert time.process_time() - started < 4 * once  # 600 copies take 15 times as long


def test_frames_of_another_size_than_the_first_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "clip.mkv").write_bytes(of_two_sizes(30))
    capture = video.read(Upload(tmp_path), tmp_path / "clip.mkv")
    assert {read_size(shot.image, shot.name) for shot in capture.shots} == {(videos.WIDTH, videos.HEIGHT)}
    assert "damaged" in capture.warnings[0]


def test_an_endless_list_of_an_archive_is_not_read(tmp_path: Path) -> None:
    archives.ATTACKS["list of half a million entries"][0](tmp_path)
    with pytest.raises(ArchiveUnsafe, match="its list of entries has"):
        extract_zip(tmp_path / "capture.zip", tmp_path, "capture.zip")


def test_a_bug_is_told_and_its_bytes_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Else the tests above could not fail."""

    def broken(body: bytes, _: Path) -> None:
        raise ZeroDivisionError(f"of {len(body)} bytes")

    monkeypatch.setitem(TARGETS, "JPEG", replace(TARGETS["JPEG"], read=broken))
    tally = fuzz("JPEG", 5, SEED, tmp_path)
    assert len(tally.bugs) == 5
    assert "ZeroDivisionError" in tally.bugs[0]
    assert len(list(tmp_path.iterdir())) == 5


def test_the_same_seed_spoils_the_same_way() -> None:
    target = TARGETS["transforms.json"]
    (seed,) = target.seeds()
    for mutate in target.mutators:
        assert mutate(seed, random.Random(3)) == mutate(seed, random.Random(3)) != seed


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ends(TARGETS["zip"], b"PK")
    assert list(tmp_path.iterdir()) == []

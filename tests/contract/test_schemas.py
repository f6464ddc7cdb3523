"""JSON Schemas, examples and golden messages of every version of every event. Golden messages are never
changed; those called `recorded` were published by the pipeline, some of them before there were schemas.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

from contracts import schema_files
from contracts.envelope import Envelope
from contracts.fields import Etag, ObjectKey, RelativePath, Stem
from contracts.schema import name, schema, schemas
from contracts.upcast import READ
from workers.cli_schemas import places

GOLDEN = Path(__file__).parent / "golden"
SCHEMAS = schemas()
BODIES = sorted(path for path in GOLDEN.glob("*/*.json") if path.name != "expected.json")


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def complaints(document: Any, by: Any) -> list[str]:
    found = Draft202012Validator(by).iter_errors(document)
    return [f"{error.json_path}: {error.message:.200}" for error in found]


def released(version: str) -> list[Any]:
    return [read(path) for path in sorted((schema_files.FOLDER / "history" / version).glob("*.json"))]


def test_the_files_are_what_the_code_says_and_keep_what_was_promised() -> None:
    assert schema_files.check(places()) == []


def test_what_is_stale_foreign_or_unread_is_told(tmp_path: Path) -> None:
    for path in schema_files.FOLDER.rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(schema_files.FOLDER)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    (tmp_path / "model.ready.v1.schema.json").unlink()
    (tmp_path / "asyncapi.yaml").write_text("asyncapi: 3.0.0\n")
    (tmp_path / "model.gone.v1.schema.json").write_text("{}")
    example = tmp_path / "examples" / "mesh.ready.v1.json"
    example.write_text(example.read_text().replace("captures/default/shelf-42/mesh", "captures/default/x"))
    told = schema_files.check(places(), tmp_path)
    assert [sentence.removeprefix(f"{tmp_path}/")[:50] for sentence in told if "run '" in sentence] == [
        "asyncapi.yaml is not what the code says; run 'phot",
        "model.ready.v1.schema.json is not what the code sa",
    ]
    assert any("model.gone.v1.schema.json is of nothing that the code knows" in sentence for sentence in told)
    assert any("mesh.ready.v1.json is not read" in sentence for sentence in told)
    schema_files.export(places(), tmp_path)
    assert not any("run '" in sentence for sentence in schema_files.check(places(), tmp_path))
    assert schema_files.check(places(), against=tmp_path / "examples") == [
        f"{tmp_path / 'examples'} holds no schemas of phototwin's events"
    ]


def test_a_release_keeps_only_what_says_something_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema_files.release(tmp_path)
    schema_files.release(tmp_path)
    assert {path.name for path in tmp_path.rglob("*.json")} == {"1.json"}
    said = {version: json.loads(json.dumps(made)) for version, made in SCHEMAS.items()}
    said["capture.cancelled.v1"]["$defs"]["CaptureCancelled"]["properties"]["by"] = {"type": "string"}
    said["capture.failed.v1"]["description"] = "Other words."
    monkeypatch.setattr(schema_files, "schemas", lambda: said)
    schema_files.release(tmp_path)
    assert [path.parent.name for path in tmp_path.rglob("2.json")] == ["capture.cancelled.v1"]


@pytest.mark.parametrize("event", READ, ids=name)
def test_a_schema_is_one_and_describes_every_field(event: Any) -> None:
    made = schema(event)
    Draft202012Validator.check_schema(made)
    assert made["$id"] == event.dataschema()
    nameless = [
        f"{title}.{field}"
        for title, model in {**made["$defs"], "envelope": made}.items()
        for field, node in model["properties"].items()
        if not node.get("description")
    ]
    assert not nameless
    assert "\n " not in json.dumps(made)


def test_the_message_shown_in_the_readme_is_valid() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    shown = json.loads(text.split("```json")[1].split("```")[0])
    assert complaints(shown, SCHEMAS["dataset.uploaded.v1"]) == []


def test_every_version_was_released_and_has_an_example_and_golden_messages() -> None:
    versions = {name(event) for event in READ}
    assert versions == {path.parent.name for path in BODIES}
    assert versions == {path.stem for path in (schema_files.FOLDER / "examples").iterdir()}
    assert all(released(version) for version in versions)


@pytest.mark.parametrize(
    "path",
    [*BODIES, *(schema_files.FOLDER / "examples").glob("*.json")],
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_a_message_is_valid_and_what_is_published_of_it_too(path: Path) -> None:
    version = path.stem if path.parent.name == "examples" else path.parent.name
    assert complaints(read(path), SCHEMAS[version]) == []
    envelope = Envelope.parse(path.read_bytes())
    newest = name(type(envelope.data))
    wrapped = Envelope.wrap(envelope.data, id="e", source="test", traceparent=envelope.traceparent)
    for sent in (envelope, wrapped):
        document = json.loads(sent.encode())
        assert document["type"] == f"phototwin.{newest}"
        for state in (SCHEMAS[newest], *released(newest)):
            assert complaints(document, state) == []
    assert json.loads(wrapped.encode())["dataschema"] == SCHEMAS[newest]["$id"]


@pytest.mark.parametrize("path", BODIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_golden_message_decodes_for_ever(path: Path) -> None:
    expected = read(path.with_name("expected.json"))[path.stem]
    envelope = Envelope.parse(path.read_bytes())
    assert envelope.type == expected["type"]
    assert list(missed(expected["data"], envelope.data.model_dump(mode="json"))) == []
    others = {name: value for name, value in read(path).items() if name not in ("type", "dataschema", "data")}
    passed_on = json.loads(envelope.encode())
    assert passed_on.items() >= others.items()


def missed(expected: Any, got: Any, field: str = "data") -> Iterator[str]:
    """What was expected and did not come; there may be more, as fields are added."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for key, value in expected.items():
            yield from missed(value, got.get(key, "nothing"), f"{field}.{key}")
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        for place, (each, other) in enumerate(zip(expected, got, strict=True)):
            yield from missed(each, other, f"{field}[{place}]")
    elif expected != got:
        yield f"{field}: {got}, not {expected}"


@pytest.mark.parametrize(
    ("version", "path", "value"),
    [
        ("dataset.uploaded.v1", ("data", "files"), []),
        ("dataset.uploaded.v1", ("data", "files", 0, "key"), "captures/default/shelf-42/upload/../a.jpg"),
        ("dataset.uploaded.v1", ("data", "files", 0, "key"), "shelf-42/upload/a.jpg"),
        ("dataset.uploaded.v1", ("data", "files", 0, "bytes"), -1),
        ("dataset.uploaded.v1", ("data", "files", 0, "etag"), 'a"b'),
        ("dataset.uploaded.v1", ("data", "options", "holdout"), 1),
        ("dataset.uploaded.v1", ("data", "options", "lane"), "fast"),
        ("dataset.uploaded.v1", ("data", "capture_id"), "../x"),
        ("dataset.uploaded.v1", ("specversion",), "0.3"),
        ("dataset.uploaded.v1", ("type",), "phototwin.dataset.uploaded.v9"),
        ("masks.reviewed.v2", ("data", "decisions", "photo_003", "decision"), "replace"),
        ("masks.reviewed.v2", ("data", "decisions", "photo_012", "decision"), "keep"),
        ("masks.reviewed.v2", ("data", "decisions", "a/b"), {"decision": "keep"}),
        ("masks.reviewed.v1", ("data", "decisions", "photo_007", "keep"), "no"),
        ("job.progress.v1", ("data", "losses"), {"": 1.0}),
        ("capture.failed.v1", ("data", "error", "code"), "Too few"),
    ],
)
def test_a_schema_refuses_what_decoding_refuses(version: str, path: tuple[Any, ...], value: Any) -> None:
    document = read(schema_files.FOLDER / "examples" / f"{version}.json")
    target = document
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    assert complaints(document, SCHEMAS[version])
    with pytest.raises(Exception, match=r"type|field"):
        Envelope.parse(json.dumps(document).encode())


names = st.text(st.sampled_from('a.é/\\\x00\x7f" \n'), max_size=6)


@pytest.mark.parametrize("kind", [RelativePath, Stem, ObjectKey, Etag], ids=["path", "stem", "key", "etag"])
@given(value=st.one_of(names, names.map("captures/".__add__)))
def test_a_schema_takes_the_names_that_decoding_takes(kind: Any, value: str) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    # Python's $ matches before a last line feed, other than in ECMAScript and in pydantic
    rule = adapter.json_schema() | {"pattern": adapter.json_schema()["pattern"].replace("$", r"\Z")}
    try:
        adapter.validate_python(value)
    except ValidationError:
        assert complaints(value, rule)
    else:
        assert not complaints(value, rule)

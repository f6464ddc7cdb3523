"""Which changes a version may go through, and what is said of the others."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from contracts import schema_files
from contracts.schema import Schema, schemas
from contracts.schema_changes import NEW_REFUSED, OLD_UNREAD, OTHER_MEANING, changes
from workers.cli import app

GOLDEN = Path(__file__).parent / "golden" / "dataset.uploaded.v1"
OLD = schemas()["dataset.uploaded.v1"]
BOTH = f"{OLD_UNREAD}, and {NEW_REFUSED}"


def after(change: Callable[[Any, Any], object]) -> Schema:
    """The schema after a change of its models and its envelope."""
    new = copy.deepcopy(OLD)
    change(new["$defs"], new)
    return new


def put(model: str, field: str, **rules: Any) -> Callable[[Any, Any], object]:
    return lambda defs, _: defs[model]["properties"][field].update(rules)


def drop(model: str, field: str, *rules: str) -> Callable[[Any, Any], object]:
    return lambda defs, _: [defs[model]["properties"][field].pop(rule) for rule in rules]


def add(field: str, *, needed: bool) -> Callable[[Any, Any], object]:
    def change(defs: Any, _: Any) -> None:
        defs["UploadedFile"]["properties"][field] = {"type": "string"}
        defs["UploadedFile"]["required"] += [field] if needed else []

    return change


def remove(model: str, field: str) -> Callable[[Any, Any], object]:
    def change(defs: Any, _: Any) -> None:
        del defs[model]["properties"][field]
        needed = defs[model].get("required", [])
        defs[model]["required"] = [each for each in needed if each != field]

    return change


def need(field: str, needed: bool) -> Callable[[Any, Any], object]:
    def change(defs: Any, _: Any) -> None:
        others = [each for each in defs["UploadedFile"]["required"] if each != field]
        defs["UploadedFile"]["required"] = [*others, field] if needed else others

    return change


ETAG: str = OLD["$defs"]["UploadedFile"]["properties"]["etag"]["anyOf"][0]["pattern"]
PROFILES = ["preview", "standard", "high"]
CHANGES: dict[str, tuple[Callable[[Any, Any], object], str, str, str]] = {
    # name: change, its field, consequence, consequence of the change undone
    "required field": (add("origin", needed=True), "data.files[].origin", OLD_UNREAD, NEW_REFUSED),
    "needed": (need("sha256", True), "data.files[].sha256", OLD_UNREAD, NEW_REFUSED),
    "type": (put("UploadedFile", "bytes", type="string"), "data.files[].bytes", BOTH, BOTH),
    "one more value": (
        put("Options", "profile", enum=[*PROFILES, "ultra"]), "data.options.profile", NEW_REFUSED, OLD_UNREAD,
    ),
    "another value": (
        put("Options", "profile", enum=["preview", "standard", "ultra"]), "data.options.profile", BOTH, BOTH,
    ),
    "another constant": (
        lambda _, new: new["properties"]["specversion"].update(const="2.0"), "specversion", BOTH, BOTH,
    ),
    "a constant of two": (
        lambda _, new: new["properties"].update(specversion={"type": "string", "enum": ["1.0", "2.0"]}),
        "specversion", NEW_REFUSED, OLD_UNREAD,
    ),
    "lower maximum": (
        put("Options", "seed", exclusiveMaximum=9), "data.options.seed", OLD_UNREAD, NEW_REFUSED,
    ),
    "higher minimum": (put("Options", "seed", minimum=1), "data.options.seed", OLD_UNREAD, NEW_REFUSED),
    "no maximum": (drop("Options", "holdout", "maximum"), "data.options.holdout", NEW_REFUSED, OLD_UNREAD),
    "fewer items": (put("DatasetUploaded", "files", maxItems=10), "data.files", OLD_UNREAD, NEW_REFUSED),
    "no pattern": (drop("Options", "method", "pattern"), "data.options.method", NEW_REFUSED, OLD_UNREAD),
    "another pattern": (put("Options", "method", pattern="^[a-z]+$"), "data.options.method", BOTH, BOTH),
    "not null any more": (
        lambda defs, _: (
            defs["UploadedFile"]["properties"]["etag"].pop("anyOf"),
            put("UploadedFile", "etag", type="string", pattern=ETAG)(defs, None),
        ),
        "data.files[].etag", OLD_UNREAD, NEW_REFUSED,
    ),
    "place of a tuple": (
        lambda defs, _: defs["Hint"]["properties"]["box"]["anyOf"][0]["prefixItems"][2].update(maximum=2),
        "data.options.hints[].box[2]", NEW_REFUSED, OLD_UNREAD,
    ),
    "length of a tuple": (
        lambda defs, _: defs["KnownLength"]["properties"]["ends"]["prefixItems"].pop(),
        "data.options.known_length.ends", BOTH, BOTH,
    ),
    "no unknown fields": (
        lambda defs, _: defs["Marker"].update(additionalProperties=False),
        "data.options.marker", OLD_UNREAD, NEW_REFUSED,
    ),
    "default": (put("Options", "seed", default=1), "data.options.seed", OTHER_MEANING, OTHER_MEANING),
    "no default": (drop("Options", "seed", "default"), "data.options.seed", OTHER_MEANING, OTHER_MEANING),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
def test_a_change_that_breaks_somebody_is_told_with_its_field_and_its_consequence(case: str) -> None:
    change, field, consequence, undone = CHANGES[case]
    new = after(change)
    for before, then, wanted in ((OLD, new, consequence), (new, OLD, undone)):
        (told,) = changes(before, then)
        assert told.startswith(f"{field}: "), told
        assert told.endswith(f": {wanted}"), told


@pytest.mark.parametrize(
    "change",
    [
        add("origin", needed=False),
        remove("UploadedFile", "etag"),
        remove("Options", "marker"),
        put("Options", "profile", description="Other words.", title="Profile"),
        lambda defs, new: new.update(title="Other words", description="Other words."),
        lambda defs, new: defs.update(Unused={"type": "string"}),
    ],
)
def test_optional_fields_may_come_and_go_and_words_may_change(change: Callable[[Any, Any], object]) -> None:
    assert list(changes(OLD, after(change))) == []
    assert list(changes(after(change), OLD)) == []
    messages = [json.loads(path.read_text()) for path in GOLDEN.glob("*.json") if path.stem != "expected"]
    assert len(messages) > 2
    assert all(Draft202012Validator(after(change)).is_valid(message) for message in messages)


def test_every_earlier_state_counts_and_not_the_last_alone() -> None:
    """A field that was optional, then gone, comes back as another type."""
    with_text, without = after(add("origin", needed=False)), OLD
    with_number = copy.deepcopy(with_text)
    with_number["$defs"]["UploadedFile"]["properties"]["origin"]["type"] = "integer"
    now = schemas() | {"dataset.uploaded.v1": with_number}
    assert schema_files.broken_promises([without], now) == []
    (told,) = schema_files.broken_promises([with_text, without], now)
    assert told == (
        "dataset.uploaded.v1: data.files[].origin: type changed from 'string' to 'integer': "
        f"{BOTH}. Leave it as it was and add an optional field with a default, or make dataset.uploaded.v2 "
        "and an upcaster (contracts/upcast.py)"
    )


def test_a_version_that_was_released_is_read_for_ever() -> None:
    now = {version: made for version, made in schemas().items() if version != "masks.reviewed.v1"}
    (told,) = schema_files.broken_promises(schemas().values(), now)
    assert told.startswith("masks.reviewed.v1 is not read any more")


def test_a_new_version_after_the_newest_is_advised() -> None:
    new = copy.deepcopy(schemas()["masks.reviewed.v1"])
    new["$defs"]["DecisionV1"]["properties"]["keep"]["type"] = "string"
    (told,) = schema_files.broken_promises(schemas().values(), schemas() | {"masks.reviewed.v1": new})
    assert "masks.reviewed.v1: data.decisions.*.keep" in told
    assert "make masks.reviewed.v3" in told


def test_the_command_says_a_sentence_for_each_problem(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["schemas", "check"]).exit_code == 0
    before = copy.deepcopy(schemas())
    before["model.ready.v1"]["$defs"]["ModelReady"]["properties"]["fbx"] = {"type": "string"}
    before["model.ready.v1"]["$defs"]["ModelReady"]["required"] += ["fbx"]
    before["dataset.uploaded.v1"]["$defs"]["Options"]["properties"]["profile"]["enum"] = ["standard"]
    for version, made in before.items():
        (tmp_path / f"{version}.schema.json").write_text(json.dumps(made))
    result = CliRunner().invoke(app, ["schemas", "check", "--against", str(tmp_path)])
    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert first.startswith("phototwin: dataset.uploaded.v1: data.options.profile: enum changed")
    assert second.startswith("phototwin: model.ready.v1: data.fbx: required field removed")
    result = CliRunner().invoke(app, ["schemas", "check", "--against", str(tmp_path), "--json"])
    assert len(json.loads(result.stdout)["problems"]) == 2
    (tmp_path / "broken.json").write_text("{")
    result = CliRunner().invoke(app, ["schemas", "check", "--against", str(tmp_path)])
    assert (result.exit_code, "is not JSON" in result.stderr) == (1, True)

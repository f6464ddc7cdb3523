"""What other teams rely on, held against the schemas, their own examples and what we publish."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from contracts import schema_consumers, schema_files
from contracts.schema import schemas
from contracts.schema_consumers import FOLDER, problems, read
from workers.cli_schemas import places

CONTRACTS = sorted(FOLDER.glob("*/*.json"))


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def test_both_teams_get_what_they_rely_on() -> None:
    assert {path.parent.name for path in CONTRACTS} == {"mobile-backend", "web-gateway"}
    assert list(problems(schemas())) == []


@pytest.mark.parametrize("path", CONTRACTS, ids=named)
def test_a_contract_holds_for_the_message_of_the_example(path: Path) -> None:
    contract = read(path)
    if contract.role == "publishes":
        assert list(Draft202012Validator(schemas()[path.stem]).iter_errors(contract.example)) == []
    document = json.loads((schema_files.FOLDER / "examples" / f"{path.stem}.json").read_text())
    for field, needed in contract.fields.items():
        values = found(document if contract.role == "reads" else contract.example, field)
        assert values or needed.optional or contract.role == "publishes", field
        for value in values:
            assert needed.type is None or Draft202012Validator({"type": needed.type}).is_valid(value), field
            assert not needed.values or value in needed.values, field


def found(node: Any, field: str) -> list[Any]:
    """All values of a field in a message."""
    nodes = [node]
    for part in field.replace("[]", ".[]").split("."):
        if part == "[]":
            nodes = [item for each in nodes for item in each]
        else:
            nodes = [each[part] for each in nodes if part in each]
    return nodes


def dropped(model: str, field: str) -> Callable[[Any], object]:
    return lambda defs: defs[model]["properties"].pop(field)


@pytest.mark.parametrize(
    ("version", "change", "told"),
    [
        (
            "model.ready.v1",
            dropped("ModelReady", "glb"),
            "mobile-backend reads data.glb.key of model.ready.v1 (Downloads the model.), which is not there",
        ),
        (
            "model.ready.v1",
            lambda defs: defs["ModelReady"]["required"].remove("glb"),
            "mobile-backend reads data.glb.key of model.ready.v1 (Downloads the model.), which may be "
            "missing",
        ),
        (
            "job.progress.v1",
            dropped("JobProgress", "preview"),
            "web-gateway reads data.preview of job.progress.v1 (The viewer loads it.), which is not there",
        ),
        (
            "poses.ready.v1",
            lambda defs: defs["PosesReady"]["properties"]["advice"].update(default=None),
            "web-gateway reads data.advice of poses.ready.v1 (Shown when the customer comes back.), which "
            "may be missing",
        ),
        (
            "capture.failed.v1",
            lambda defs: defs["CaptureFailed"]["properties"]["stage"]["enum"].append("publish"),
            "mobile-backend reads data.stage of capture.failed.v1 (For the statistics.), which may be "
            "publish too",
        ),
        (
            "capture.failed.v1",
            lambda defs: defs["Failure"]["properties"]["code"].update(type="integer"),
            "mobile-backend reads data.error.code of capture.failed.v1 (Looks up its own translation.), "
            "which is of type integer, not string",
        ),
        (
            "dataset.uploaded.v1",
            lambda defs: defs["Options"]["properties"]["lane"].update(enum=["interactive"]),
            "mobile-backend publishes data.options.lane of dataset.uploaded.v1 (Nightly imports let "
            "customers go first.), which may not be bulk",
        ),
    ],
)
def test_taking_away_what_a_team_relies_on_names_the_team(
    version: str, change: Callable[[Any], object], told: str
) -> None:
    changed = copy.deepcopy(schemas())
    change(changed[version]["$defs"])
    assert told in list(problems(changed))


def test_a_version_that_is_gone_and_an_example_that_is_refused_name_the_team(tmp_path: Path) -> None:
    without = {version: made for version, made in schemas().items() if version != "model.ready.v1"}
    assert list(problems(without)) == [
        "mobile-backend reads model.ready.v1, which is not known any more",
        "web-gateway reads model.ready.v1, which is not known any more",
    ]
    contract = json.loads((FOLDER / "mobile-backend" / "dataset.uploaded.v1.json").read_text())
    contract["example"]["data"]["files"] = []
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "dataset.uploaded.v1.json").write_text(json.dumps(contract))
    (told,) = problems(schemas(), tmp_path)
    assert told.startswith("shop publishes dataset.uploaded.v1, and its example is refused: ")
    (tmp_path / "shop" / "model.ready.v1.json").write_text('{"role": "reads", "field": {}}')
    with pytest.raises(ValueError, match=r"model\.ready\.v1\.json is not a contract of a team"):
        list(problems(schemas(), tmp_path))


def test_the_check_of_schemas_asks_the_teams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_consumers, "problems", lambda _: iter(["shop misses something"]))
    assert schema_files.check(places()) == ["shop misses something"]

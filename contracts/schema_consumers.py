"""What other teams' programs rely on, as the teams say themselves: `consumers/{team}/{event}.v{N}.json` is a
`TeamContract`. So that nobody takes away what is in use, though the rules of a version would allow it.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.envelope import Envelope
from contracts.errors import ContractError
from contracts.schema import Schema
from contracts.schema_changes import resolved

FOLDER = Path(__file__).parent / "consumers"


class Reliance(BaseModel):
    """What a team needs of a field."""

    model_config = ConfigDict(extra="forbid")

    meaning: str
    """What the team takes it for."""
    type: str | None = None
    """What it must be, in JSON Schema's words."""
    values: tuple[str, ...] = ()
    """Of a reader: all that it can deal with; of a publisher: all that it sends."""
    optional: bool = False
    """Whether a reader can do without."""


class TeamContract(BaseModel):
    """By one team, on one version of one event."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["reads", "publishes"]
    fields: dict[str, Reliance]
    """By path, e.g. `data.files[].key`."""
    example: dict[str, Any] | None = None
    """Of a publisher: a message as it sends it."""


def read(path: Path) -> TeamContract:
    """Raises ValueError."""
    try:
        return TeamContract.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{path} is not a contract of a team: {error}") from None


def problems(schemas: Mapping[str, Schema], folder: Path = FOLDER) -> Iterator[str]:
    """A sentence for each thing that a team relies on and that schemas, by version, do not give. Raises
    ValueError where a team's contract cannot be read."""
    for path in sorted(folder.glob("*/*.json")):
        contract = read(path)
        team, version = f"{path.parent.name} {contract.role}", path.stem
        if version not in schemas:
            yield f"{team} {version}, which is not known any more"
            continue
        for field, needed in contract.fields.items():
            if lack := _lack(schemas[version], field, needed, contract.role):
                yield f"{team} {field} of {version} ({needed.meaning}), which {lack}"
        if contract.example is not None:
            try:
                Envelope.parse(json.dumps(contract.example).encode())
            except ContractError as error:
                yield f"{team} {version}, and its example is refused: {error.message}"


def _lack(schema: Schema, field: str, needed: Reliance, role: str) -> str | None:
    """What is wrong with a field, for a team that needs it so."""
    try:
        node, always = _find(schema, field)
    except KeyError:
        return "is not there"
    if needed.type not in (None, node.get("type")):
        return f"is of type {node.get('type')}, not {needed.type}"
    known = set(node.get("enum", ()))
    if role == "publishes":
        strange = set(needed.values) - known if known else set()
        return f"may not be {', '.join(sorted(strange))}" if strange else None
    if needed.values and not known <= set(needed.values):
        return f"may be {', '.join(sorted(known - set(needed.values)))} too"
    if needed.values and not known:
        return "may be anything"
    return None if always or needed.optional else "may be missing"


def _find(schema: Schema, field: str) -> tuple[Schema, bool]:
    """What a field is where it is not null; and whether what we publish always has it, because it is required
    or has a default. Raises KeyError."""
    node, always = schema, True
    for part in field.replace("[]", ".[]").split("."):
        if part == "[]":
            inner = node["items"]
        else:
            inner = node["properties"][part]
            always &= part in node.get("required", ()) or inner.get("default") is not None
        node = resolved(schema, inner)
        for each in node.get("anyOf", ()):
            if each.get("type") != "null":
                node = resolved(schema, each)
    return node, always

"""The files in `contracts/schemas`, made from the models and compared with them:

{event}.v{N}.schema.json         the JSON Schema of each version
asyncapi.yaml                    all of them with their exchanges and routing keys
examples/{event}.v{N}.json       one message each, written by hand
history/{event}.v{N}/{k}.json    every state of a version's schema that was released, the first being 1
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from contracts import schema_asyncapi, schema_consumers
from contracts.envelope import Envelope
from contracts.errors import ContractError
from contracts.schema import Schema, schemas
from contracts.schema_asyncapi import Places
from contracts.schema_changes import bare, changes

FOLDER = Path(__file__).parent / "schemas"


def export(places: Places, folder: Path = FOLDER) -> None:
    """Write what is generated."""
    for name, text in _generated(places, folder).items():
        (folder / name).write_text(text)


def release(folder: Path = FOLDER) -> None:
    """Keep the schemas that say anything new as released: later ones must fit them."""
    for version, schema in schemas().items():
        kept = folder / "history" / version
        kept.mkdir(parents=True, exist_ok=True)
        count = len(list(kept.glob("*.json")))
        if count == 0 or bare(_read(kept / f"{count}.json")) != bare(schema):
            (kept / f"{count + 1}.json").write_text(_pretty(schema))


def check(places: Places, folder: Path = FOLDER, against: Path | None = None) -> list[str]:
    """A sentence for each problem: files that are not what the code says, examples that are not read, changes
    that a version must not have since the schemas in `against` (default: all released), what teams miss.
    Raises OSError, ValueError."""
    earlier = states(against or folder / "history")
    return [
        *_stale(places, folder),
        *_unread(folder),
        *([] if earlier else [f"{against or folder / 'history'} holds no schemas of phototwin's events"]),
        *broken_promises(earlier, schemas()),
        *schema_consumers.problems(schemas()),
    ]


def states(folder: Path) -> list[Schema]:
    """Every schema of ours in any file below the folder."""
    return [state for path in sorted(folder.rglob("*.json")) if _is_ours(state := _read(path))]


def broken_promises(earlier: Iterable[Schema], now: Mapping[str, Schema]) -> list[str]:
    """A sentence for each thing that sets present schemas, by version, apart from any earlier one, and must
    not."""
    return list(dict.fromkeys(told for state in earlier for told in _broken(state, now)))


def _is_ours(document: Any) -> bool:
    return isinstance(document, dict) and str(document.get("$id")).startswith("urn:phototwin:")


def _broken(state: Schema, now: Mapping[str, Schema]) -> Iterator[str]:
    event, number = state["$id"].split(":")[2:]
    version = f"{event}.v{number}"
    if version not in now:
        yield f"{version} is not read any more; keep its model and its upcaster (contracts/upcast.py)"
        return
    latest = max(int(each.rpartition(".v")[2]) for each in now if each.rpartition(".v")[0] == event)
    for change in changes(state, now[version]):
        yield (
            f"{version}: {change}. Leave it as it was and add an optional field with a default, or make "
            f"{event}.v{latest + 1} and an upcaster (contracts/upcast.py)"
        )


def _generated(places: Places, folder: Path) -> dict[str, str]:
    found = schemas()
    examples = {version: _read(_example(folder, version)) for version in found}
    lines = schema_asyncapi.yaml(schema_asyncapi.document(places, examples))
    made = {f"{version}.schema.json": _pretty(schema) for version, schema in found.items()}
    return made | {"asyncapi.yaml": "\n".join(lines) + "\n"}


def _stale(places: Places, folder: Path) -> Iterator[str]:
    made = _generated(places, folder)
    there = {path.name for path in (*folder.glob("*.v*.schema.json"), *folder.glob("*.yaml"))}
    for name in sorted({*made, *there}):
        if name not in made:
            yield f"{folder / name} is of nothing that the code knows; remove it"
        elif name not in there or (folder / name).read_text() != made[name]:
            yield f"{folder / name} is not what the code says; run 'phototwin schemas export'"


def _unread(folder: Path) -> Iterator[str]:
    for version in schemas():
        path = _example(folder, version)
        try:
            Envelope.parse(path.read_bytes())
        except ContractError as error:
            yield f"{path} is not read: {error.message}"


def _example(folder: Path, version: str) -> Path:
    return folder / "examples" / f"{version}.json"


def _pretty(schema: Schema) -> str:
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None

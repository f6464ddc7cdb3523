"""`phototwin schemas`: the descriptions of our events, for programs in any language."""

import json
from pathlib import Path
from typing import Annotated

import typer

from broker.topology import CONSUMES, Topology
from contracts import schema_files
from contracts.schema_asyncapi import Places
from workers.console import AsJson, fail

OPENAPI = schema_files.FOLDER / "openapi.json"
AGAIN = "run 'phototwin schemas export'"
app = typer.Typer(help="JSON Schemas of the events. Example: `phototwin schemas check`", no_args_is_help=True)


def places() -> Places:
    """Where events travel in an installation with the usual prefix."""
    topology = Topology()
    bound = (binding for binding in topology.bindings() if binding.exchange == topology.events)
    return Places(
        topology.events,
        topology.progress,
        topology.outcomes,
        consumed=frozenset(binding.routing_key for binding in bound),
        sorted=frozenset(key for keys in CONSUMES.values() for key in keys),
    )


@app.command()
def export(
    release: Annotated[
        bool, typer.Option("--release", help="Keep them as released: all later ones must fit them.")
    ] = False,
) -> None:
    """Write JSON Schemas and AsyncAPI of all events, and OpenAPI of the gateway, from the code, into
    contracts/schemas.

    Example: `phototwin schemas export`
    """
    try:
        schema_files.export(places())
        OPENAPI.write_text(_openapi())
        if release:
            _fail_for(_problems())
            schema_files.release()
    except OSError as error:
        fail(str(error))
    print(schema_files.FOLDER)


@app.command()
def check(
    against: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Schemas of another release. Default: all released.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with the events' schemas: files that are not what the code says, changes that a
    version must not have, fields that a client's team relies on and does not get.

    Example: `phototwin schemas check`
    """
    found = _problems(against)
    if as_json:
        print(json.dumps({"problems": found}, indent=1))
    _fail_for(found)
    if not as_json:
        print("the events' schemas are what the code says, and keep what was promised")


def _problems(against: Path | None = None) -> list[str]:
    try:
        found = schema_files.check(places(), against=against)
        stale = not OPENAPI.is_file() or OPENAPI.read_text() != _openapi()
        return [*found, *([f"{OPENAPI.name} is not what the code says; {AGAIN}"] if stale else [])]
    except (OSError, ValueError) as error:
        fail(str(error))


def _openapi() -> str:
    """The gateway's API."""
    from workers.gateway.app import application  # here: a second that no other command need wait

    return json.dumps(application(None).openapi(), indent=1) + "\n"


def _fail_for(problems: list[str]) -> None:
    if problems:
        fail("\nphototwin: ".join(problems))

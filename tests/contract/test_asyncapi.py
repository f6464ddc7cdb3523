"""`asyncapi.yaml`, by AsyncAPI's own schema, and against the topology and the schemas that it names."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.topology import CONSUMES, Topology
from contracts import schema_files
from contracts.events import JobProgress
from contracts.schema import name
from contracts.upcast import READ

FILE = schema_files.FOLDER / "asyncapi.yaml"
JUDGE = Path(__file__).parents[1] / "javascript" / "asyncapi.mjs"


def judged(path: Path) -> tuple[list[str], Any]:
    """What is said against a document, and the document."""
    made = subprocess.run(["node", JUDGE, path], capture_output=True, text=True, check=True)
    said = json.loads(made.stdout)
    return said["complaints"], said["document"]


@pytest.fixture(scope="module")
def document() -> Any:
    complaints, read = judged(FILE)
    assert complaints == []
    return read


def test_the_judge_finds_what_is_wrong(tmp_path: Path) -> None:
    broken = tmp_path / "asyncapi.yaml"
    broken.write_text(FILE.read_text().replace('action: "send"', 'action: "shout"', 1))
    complaints, _ = judged(broken)
    assert any(complaint.startswith("/operations/") for complaint in complaints)


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from ([node["$ref"]] if "$ref" in node else [])
        node = list(node.values())
    for inner in node if isinstance(node, list) else ():
        yield from references(inner)


def test_every_reference_leads_somewhere(document: Any) -> None:
    leading = set(references(document))
    assert len(leading) > 3 * len(READ)
    for reference in leading:
        file, _, pointer = reference.partition("#")
        target = json.loads((schema_files.FOLDER / file).read_text()) if file else document
        for part in pointer.split("/")[1:]:
            target = target[part]
        assert target


def test_channels_are_where_the_topology_has_them(document: Any) -> None:
    topology = Topology()
    exchanges = {exchange.name: exchange.type for exchange in topology.exchanges()}
    channels = dict(document["channels"])
    assert topology.outcomes in [queue.name for queue in topology.queues()]
    assert channels.pop("outcomes")["bindings"]["amqp"]["queue"]["name"] == topology.outcomes
    assert set(channels) == {event.routing_key for event in READ}
    received = {"dataset.uploaded", "masks.reviewed", "capture.cancelled"}
    for key, channel in channels.items():
        suffixed = topology.routing_key(key, "bulk", "a-tenant") != key
        assert ("description" in channel) == (suffixed and key not in received)
        exchange = channel["bindings"]["amqp"]["exchange"]
        assert channel["address"] == key
        assert exchange["name"] == (topology.progress if key == "job.progress" else topology.events)
        assert exchange["type"] == exchanges[exchange["name"]]


def test_what_workers_consume_is_received_in_every_version_and_sent_in_the_newest(document: Any) -> None:
    operations = document["operations"]
    received = {key for key in operations if key.startswith("receive.")}
    consumed = {key for keys in CONSUMES.values() for key in keys} | {"capture.cancelled"}
    assert received == {f"receive.{key}" for key in consumed}

    def versions(operation: str) -> list[str]:
        return [ref["$ref"].rpartition("/")[2] for ref in operations[operation]["messages"]]

    assert versions("receive.masks.reviewed") == ["masks.reviewed.v2", "masks.reviewed.v1"]
    assert versions("send.model.ready") == ["model.ready.v1"]
    assert set(versions("send.outcomes")) == {name(event) for event in READ if event is not JobProgress}

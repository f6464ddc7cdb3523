"""deploy/kubernetes: exchanges, queues, users and what else is generated are what code and settings say."""

import asyncio
import importlib.util
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import pytest
import yaml

from broker.access import grant, user_name
from broker.management import Management
from broker.rabbitmq import Broker
from broker.topology import CONSUMES, Topology
from tests.deploy.kubernetes import KUBERNETES, OVERLAYS, Resource, built, of_kind, triggers
from tests.servers.rabbitmq import Broker as Server
from workers.runtime.settings import Settings


def test_what_is_generated_is_what_the_code_says() -> None:
    for path, text in _generator().files().items():
        assert path.read_text() == text, f"run {KUBERNETES / 'generate.py'}"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_workers_find_the_queues_of_their_settings(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (config,) = of_kind(overlay, "ConfigMap")
    for name, value in config["data"].items():
        monkeypatch.setenv(name, value)
    _declares(list(built(overlay)), Settings().topology)


def test_queues_follow_the_sites_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And those alone, whatever is set where they are generated."""
    settings = tmp_path / "settings.env"
    told = {"PHOTOTWIN_SHARDS": "8", "PHOTOTWIN_TIME_LIMIT": "3000", "PHOTOTWIN_RETRY_DELAYS": "[2, 20]"}
    settings.write_text("# ours\n" + "".join(f"{name}={value}\n" for name, value in told.items()))
    monkeypatch.setenv("PHOTOTWIN_SHARDS", "2")
    (text,) = (text for path, text in _generator().files(settings).items() if path.name == "topology.yaml")
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert Settings().topology == Topology(shards=8, job_seconds=3000, retry_delays=(2, 20))
    _declares(list(yaml.load_all(text, yaml.CSafeLoader)), Settings().topology)


def test_settings_that_the_manifests_cannot_have_are_refused(tmp_path: Path) -> None:
    """The scalers' patterns, the secrets' names and what mounts them have the prefix written in."""
    settings = tmp_path / "settings.env"
    with pytest.raises(SystemExit, match="there is no file"):
        _generator().files(settings)
    settings.write_text("PHOTOTWIN_PREFIX=twins\n")
    with pytest.raises(SystemExit, match="PHOTOTWIN_PREFIX"):
        _generator().files(settings)


def _declares(resources: list[Resource], topology: Topology) -> None:
    """Fails unless their exchanges, queues, bindings and policies are the topology's."""

    def specs(kind: str) -> list[Any]:
        return [resource["spec"] for resource in resources if resource["kind"] == kind]

    arguments = {
        spec["name"]: {"x-queue-type": spec["type"], **spec.get("arguments", {})} for spec in specs("Queue")
    }
    assert arguments == {queue.name: queue.arguments for queue in topology.queues()}
    assert {spec["name"] for spec in specs("Exchange")} == {
        exchange.name for exchange in topology.exchanges()
    }
    assert {(spec["source"], spec["destination"], spec["routingKey"]) for spec in specs("Binding")} == {
        (binding.exchange, binding.queue, binding.routing_key) for binding in topology.bindings()
    }
    definitions = {spec["name"]: spec["definition"] for spec in specs("Policy")}
    assert definitions == {policy.name: policy.definition for policy in topology.policies()}


@pytest.fixture
async def management(rabbitmq: Server) -> AsyncIterator[Management]:
    """Of a vhost of its own; the users that the operator would make are gone again afterwards."""
    vhost = f"kubernetes-{uuid.uuid4()}"
    parts = urlsplit(rabbitmq.management_url)
    root = Management(rabbitmq.management_url, vhost)
    await root.put(f"vhosts/{vhost}", {})
    login = parts.netloc.rpartition("@")[0].partition(":")[0]
    await root.permit(login, ".*", ".*", ".*")
    yield root
    async with aiohttp.ClientSession() as session:
        names = [f"users/{resource['metadata']['name']}" for resource in of_kind("cpu", "User")]
        for path in (f"vhosts/{vhost}", *names):
            await session.delete(f"{rabbitmq.management_url}/api/{path}")


async def test_the_operators_topology_is_ours(management: Management, rabbitmq: Server) -> None:
    """Made by the requests that the topology operator makes of these resources, it is what `topology apply`
    would have made, and the scaler's user sees how much waits in each worker's queues."""
    await _as_the_operator(management)
    topology = _site()
    url = f"{rabbitmq.url.rpartition('/')[0]}/{management.vhost}"
    broker = await Broker.connect(url, topology, name="test")
    try:
        before = await _read(management, "bindings")
        await broker.apply(management)  # which fails where a queue is another than it declares
        assert await _read(management, "bindings") == before
        await broker.check([queue.name for queue in topology.queues()])
    finally:
        await broker.close()
    for permission in await _read(management, "permissions"):
        role = permission["user"].removeprefix(f"{topology.prefix}-")
        if user_name(topology, role) == permission["user"] and role != "keda":
            given = grant(topology, role)
            told = (permission["configure"], permission["write"], permission["read"])
            assert told == (given.configure, given.write, given.read)
    for queue in topology.live_queues("segment")[:3]:
        await _publish(management, topology.work, queue)
    async with asyncio.timeout(30):  # RabbitMQ counts every few seconds
        while await _waiting(management, "segment") != 3:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
    assert {stage: await _waiting(management, stage) for stage in CONSUMES} == dict.fromkeys(CONSUMES, 0) | {
        "segment": 3
    }


async def _as_the_operator(management: Management) -> None:
    """Policies are left out: not every version of RabbitMQ knows all that is in those for the newest."""
    vhost = quote(management.vhost, safe="")
    kinds = ("Exchange", "Queue", "User", "Permission", "TopicPermission")
    for resource in (each for kind in kinds for each in of_kind("cpu", kind)):
        spec = resource["spec"]
        match resource["kind"]:
            case "Exchange":
                body = {"type": spec["type"], "durable": spec["durable"]}
                await management.put(f"exchanges/{vhost}/{spec['name']}", body)
            case "Queue":
                arguments = {"x-queue-type": spec["type"], **spec.get("arguments", {})}
                await management.put(
                    f"queues/{vhost}/{spec['name']}", {"durable": spec["durable"], "arguments": arguments}
                )
            case "User":
                await management.put_user(resource["metadata"]["name"], "secret", spec.get("tags", ()))
            case "Permission":
                await management.permit(spec["userReference"]["name"], **spec["permissions"])
            case "TopicPermission":
                await management.permit_topics(spec["userReference"]["name"], **spec["permissions"])
    async with aiohttp.ClientSession() as session:
        for resource in of_kind("cpu", "Binding"):
            spec = resource["spec"]
            path = f"bindings/{vhost}/e/{spec['source']}/q/{spec['destination']}"
            body = {"routing_key": spec["routingKey"]}
            async with session.post(f"{management.url}/api/{path}", json=body) as answer:
                assert answer.status == 201


async def _read(management: Management, what: str) -> Any:
    vhost = quote(management.vhost, safe="")
    path = f"vhosts/{vhost}/permissions" if what == "permissions" else f"{what}/{vhost}"
    async with aiohttp.ClientSession() as session, session.get(f"{management.url}/api/{path}") as answer:
        found = await answer.json()
    return sorted(found, key=json.dumps)


async def _publish(management: Management, exchange: str, key: str) -> None:
    path = f"exchanges/{quote(management.vhost, safe='')}/{exchange}/publish"
    body = {"routing_key": key, "payload": "x", "payload_encoding": "string", "properties": {}}
    url = f"{management.url}/api/{path}"
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
        assert (await answer.json())["routed"]


async def _waiting(management: Management, stage: str) -> int:
    """How many messages KEDA counts, by the request that its source has."""
    trigger = triggers("cpu")[stage]
    parts = urlsplit(management.url)
    host = f"{parts.hostname}:{parts.port}"
    query = {
        "page": "1",
        "use_regex": trigger["useRegex"],
        "pagination": "false",
        "name": trigger["queueName"],
        "page_size": trigger["pageSize"],
    }
    url = f"{parts.scheme}://phototwin-keda:secret@{host}/api/queues/{quote(management.vhost, safe='')}"
    async with aiohttp.ClientSession() as session, session.get(url, params=query) as answer:
        assert answer.status == 200
        page = await answer.json()
    assert page["page_count"] == 1
    assert sorted(queue["name"] for queue in page["items"]) == sorted(_site().live_queues(stage))
    return sum(queue.get("messages", 0) for queue in page["items"])


def _site() -> Topology:
    generator = _generator()
    found: Topology = generator.told(generator.SETTINGS)
    return found


def _generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate", KUBERNETES / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

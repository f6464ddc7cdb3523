"""deploy/kubernetes: every overlay builds, Kubernetes and the operators understand it, the code agrees."""

import asyncio
import functools
import importlib.util
import json
import re
import subprocess
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import kubernetes_validate
import pytest
from prometheus_client import CollectorRegistry

from broker.access import grant, user_name
from broker.management import Management
from broker.rabbitmq import Broker
from broker.topology import CONSUMES, Topology
from tests.deploy import commands
from tests.deploy.kubernetes import KUBERNETES, OVERLAYS, ROOT, built, group, of_kind, pods
from tests.servers.rabbitmq import Broker as Server
from workers.gateway import serve as gateway
from workers.gateway.settings import GatewaySettings
from workers.runtime import http
from workers.runtime.settings import Settings

OLDEST, NEWEST = "1.30", "1.37"
"""Of the versions of Kubernetes that these are for; preStop's `sleep` is on by default since the first."""
JUDGED_BY_NPM = ("keda.sh", "external-secrets.io")
CLUSTER = {"rabbitmqClusterReference"}
# What the documentation of KEDA and of RabbitMQ's operators names: the one's schemas from npm let other
# fields pass, the others' are not to be had as a package.
SPECS: dict[str, tuple[set[str], set[str]]] = {
    # kind: (fields of its `spec` that must be, others that we use)
    "ScaledJob": (
        {"jobTargetRef", "triggers"},
        {"pollingInterval", "maxReplicaCount", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"}
        | {"rollout", "scalingStrategy"},
    ),
    "ScaledObject": (
        {"scaleTargetRef", "triggers"},
        {"pollingInterval", "minReplicaCount", "maxReplicaCount", "fallback", "advanced"},
    ),
    "TriggerAuthentication": ({"secretTargetRef"}, set()),
    "ExternalSecret": ({"secretStoreRef", "target", "dataFrom"}, {"refreshInterval"}),
    "RabbitmqCluster": (
        set(),
        {"replicas", "image", "tls", "resources", "persistence", "rabbitmq", "override"},
    ),
    "Exchange": (CLUSTER | {"name", "type"}, {"durable"}),
    "Queue": (CLUSTER | {"name", "type", "durable"}, {"arguments", "deletionPolicy"}),
    "Binding": (CLUSTER | {"source", "destination", "destinationType", "routingKey"}, set()),
    "Policy": (CLUSTER | {"name", "pattern", "definition", "applyTo"}, {"priority"}),
    "User": (CLUSTER | {"importCredentialsSecret"}, {"tags"}),
    "Permission": (CLUSTER | {"vhost", "userReference", "permissions"}, set()),
    "TopicPermission": (CLUSTER | {"vhost", "userReference", "permissions"}, set()),
}
TRIGGER = {"protocol", "mode", "value", "queueName", "useRegex", "operation", "pageSize"}

overlays = pytest.mark.parametrize("overlay", OVERLAYS)


@overlays
def test_kubernetes_understands_its_own_kinds(overlay: str) -> None:
    known = 0
    for resource in built(overlay):
        if resource["kind"] == "ScaledJob":
            spec = resource["spec"]["jobTargetRef"]
            resource = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "any"}, "spec": spec}
        if resource["kind"] not in SPECS:
            known += 1
            _judge(json.dumps(resource))
    assert known > 20


@overlays
def test_the_operators_understand_theirs(overlay: str) -> None:
    theirs = [resource for resource in built(overlay) if resource["kind"] in SPECS]
    for resource in theirs:
        needed, more = SPECS[resource["kind"]]
        fields = set(resource["spec"])
        assert needed <= fields <= needed | more, resource
    judged = [resource for resource in theirs if group(resource) in JUDGED_BY_NPM]
    done = subprocess.run(
        ["node", "deploy/kinds.mjs"],
        input=json.dumps(judged),
        cwd=ROOT / "tests",
        capture_output=True,
        text=True,
        check=True,
    )
    assert judged
    assert json.loads(done.stdout) == []


def test_what_is_generated_is_what_the_code_says() -> None:
    for path, text in _generator().files().items():
        assert path.read_text() == text, f"run {KUBERNETES / 'generate.py'}"


@overlays
def test_pods_are_restricted(overlay: str) -> None:
    """Pod Security's profile of that name, and more: read-only, no token."""
    namespaces = of_kind(overlay, "Namespace")
    assert namespaces[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in pods(overlay):
        user, contained = pod.spec["securityContext"], pod.container["securityContext"]
        assert user["runAsNonRoot"]
        assert user["seccompProfile"] == {"type": "RuntimeDefault"}
        assert contained == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod.spec)
        assert all({"name"} < set(volume) <= {"name", "secret", "emptyDir"} for volume in pod.spec["volumes"])
        assert pod.spec["automountServiceAccountToken"] is False
        assert {"memory"} <= set(pod.container["resources"]["limits"])
    (cluster,) = of_kind(overlay, "RabbitmqCluster")
    broker = cluster["spec"]["override"]["statefulSet"]["spec"]["template"]["spec"]
    for container in broker["containers"] + broker["initContainers"]:
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False


@overlays
def test_commands_and_settings_exist(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (config,) = of_kind(overlay, "ConfigMap")
    names = set(config["data"])
    for pod in pods(overlay):
        commands.exists(pod.container["args"])
        assert pod.container["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}]
        names |= {variable["name"] for variable in pod.container["env"]} - commands.BESIDE_SETTINGS
        names |= {key for keys in pod.secrets.values() for key in keys if key != "ca.crt"}
        mounts = {mount["mountPath"] for mount in pod.container["volumeMounts"]}
        told = {variable["name"]: variable.get("value", "") for variable in pod.container["env"]}
        assert mounts == {"/tmp", told["PHOTOTWIN_SECRETS_DIR"], "/run/authority"}
        assert told["PHOTOTWIN_CA_FILE"].startswith("/run/authority/")
    assert names <= commands.SETTINGS
    for name, value in config["data"].items():
        monkeypatch.setenv(name, value)
    assert GatewaySettings().s3_bucket  # and it can be read


@overlays
def test_every_stage_runs_and_every_secret_is_there(overlay: str) -> None:
    made = {pod.stage for pod in pods(overlay)} - {None}
    assert made == set(CONSUMES)
    files = {
        s["metadata"]["name"]: s["spec"]["target"]["template"]["data"]
        for s in of_kind("cpu", "ExternalSecret")
    }
    for pod in pods(overlay):
        for secret, keys in pod.secrets.items():
            assert secret == "phototwin-ca" or keys <= set(files[secret])
        if pod.stage:
            assert f"phototwin-{pod.stage}" in pod.secrets
    (authentication,) = of_kind(overlay, "TriggerAuthentication")
    for target in authentication["spec"]["secretTargetRef"]:
        assert target["name"] == "phototwin-ca" or target["key"] in files[target["name"]]
    for user in of_kind(overlay, "User"):
        assert {"username", "password"} <= set(files[user["spec"]["importCredentialsSecret"]["name"]])


@overlays
async def test_ports_and_probes_are_answered(overlay: str) -> None:
    ports = {"metrics": Settings().http_port, "http": GatewaySettings().gateway_port}
    asked = set()
    for pod in pods(overlay):
        declared = {port["name"]: port["containerPort"] for port in pod.container.get("ports", ())}
        probes = [probe for name, probe in pod.container.items() if name.endswith("Probe")]
        assert bool(probes) == bool(declared) == (pod.name in (*CONSUMES, "gateway"))
        assert declared.items() <= ports.items()
        asked |= {(probe["httpGet"]["port"], probe["httpGet"]["path"]) for probe in probes}
        noted = pod.metadata.get("annotations", {})
        assert noted.get("prometheus.io/port") == (str(ports["metrics"]) if declared else None)
    async with (
        http.serve("127.0.0.1", 0, CollectorRegistry(), lambda: None) as port,
        aiohttp.ClientSession() as me,
    ):
        for name, path in asked:
            assert name == "metrics"
            async with me.get(f"http://127.0.0.1:{port}{path}") as answer:
                assert answer.status == 200
    (service,) = of_kind(overlay, "Service")
    assert service["spec"]["ports"][0]["targetPort"] == "http"


@overlays
def test_grace_is_longer_than_ours(overlay: str) -> None:
    for pod in pods(overlay):
        pause = pod.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        ours = gateway.GRACE_SECONDS if pod.name == "gateway" else Settings().grace_seconds
        assert pod.spec.get("terminationGracePeriodSeconds", 30) >= pause + ours + 5


@overlays
def test_scaling_is_by_all_of_a_workers_queues(overlay: str) -> None:
    for topology in (Topology(), Topology(shards=64)):
        queues = [queue.name for queue in topology.queues()]
        for stage, trigger in _triggers(overlay).items():
            assert set(trigger) == TRIGGER
            found = [name for name in queues if re.search(trigger["queueName"], name)]
            assert sorted(found) == sorted(topology.live_queues(stage))
            assert len(found) <= int(trigger["pageSize"])
    deployments = {resource["metadata"]["name"]: resource for resource in of_kind(overlay, "Deployment")}
    for scaled in of_kind(overlay, "ScaledObject"):
        assert "replicas" not in deployments[scaled["spec"]["scaleTargetRef"]["name"]]["spec"]


@overlays
def test_reconstructions_are_jobs_that_end(overlay: str) -> None:
    (scaled,) = of_kind(overlay, "ScaledJob")
    (pod,) = (pod for pod in pods(overlay) if pod.stage == "reconstruct")
    assert pod.owner is scaled
    assert pod.container["args"][2:] == ["--once" if overlay == "job-for-each" else "--drain"]
    assert scaled["spec"]["scalingStrategy"]["strategy"] in {"default", "custom", "accurate", "eager"}
    assert scaled["spec"]["rollout"]["strategy"] in {"gradual", "immediate"}
    assert pod.spec["restartPolicy"] == "Never"  # or there is no podFailurePolicy
    gpus = {name: value for name, value in pod.container["resources"]["limits"].items() if "nvidia" in name}
    wanted = {"gpu": {"nvidia.com/gpu": "1"}, "mig": {"nvidia.com/mig-1g.18gb": "1"}}
    assert gpus == wanted.get(overlay, {})
    assert bool(gpus) == ("nodeSelector" in pod.spec) == pod.container["image"].endswith("/cuda:0.1.0")


@overlays
def test_only_what_is_named_is_reached(overlay: str) -> None:
    policies = of_kind(overlay, "NetworkPolicy")
    ways: dict[str, set[str]] = {}
    for pod in pods(overlay):
        mine = [p for p in policies if p["spec"]["podSelector"]["matchLabels"].items() <= pod.labels.items()]
        assert any(
            p["spec"]["policyTypes"] == ["Ingress", "Egress"] and "egress" not in p["spec"] for p in mine
        )
        ways[pod.name] = {p["metadata"]["name"] for p in mine if "egress" in p["spec"]}
    everyone = {"to-dns", "to-broker", "to-store"}
    webhooks = set() if overlay == "airgapped" else {"to-webhooks"}
    assert ways.pop("gateway") == everyone | {"to-database"} | webhooks
    assert set(map(frozenset, ways.values())) == {frozenset(everyone)}
    named = {policy["metadata"]["name"]: policy["spec"] for policy in policies}
    files = [s["spec"]["target"]["template"]["data"] for s in of_kind("cpu", "ExternalSecret")]
    urls = {data["PHOTOTWIN_AMQP_URL"].rpartition("@")[2] for data in files if "PHOTOTWIN_AMQP_URL" in data}
    (port,) = named["to-broker"]["egress"][0]["ports"]
    assert urls == {f"rabbitmq.phototwin.svc:{port['port']}/"}
    (cluster,) = of_kind(overlay, "RabbitmqCluster")
    assert cluster["spec"]["tls"]["disableNonTLSListeners"]
    (host,) = (data["host"] for data in files if "host" in data)
    assert host.startswith("https://rabbitmq.phototwin.svc:15671")


@overlays
def test_nodes_can_be_drained(overlay: str) -> None:
    guarded = [
        b["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
        for b in of_kind(overlay, "PodDisruptionBudget")
    ]
    assert sorted(guarded) == ["gateway", "package", "prepare", "rabbitmq", "segment"]
    classes = {resource["metadata"]["name"] for resource in of_kind(overlay, "PriorityClass")}
    assert {pod.spec["priorityClassName"] for pod in pods(overlay)} <= classes


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
    topology = Topology()
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


def _triggers(overlay: str) -> dict[str, dict[str, str]]:
    """Stage -> what its scaler goes by."""
    found = {}
    for scaled in of_kind(overlay, "ScaledObject", "ScaledJob"):
        (trigger,) = scaled["spec"]["triggers"]
        assert trigger["type"] == "rabbitmq"
        found[scaled["metadata"]["name"]] = trigger["metadata"]
    assert set(found) == set(CONSUMES)
    return found


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
    trigger = _triggers("cpu")[stage]
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
    assert sorted(queue["name"] for queue in page["items"]) == sorted(Topology().live_queues(stage))
    return sum(queue.get("messages", 0) for queue in page["items"])


@functools.cache
def _judge(resource: str) -> None:
    """Raises ValidationError. Most are the same in all overlays, and judging them takes a while."""
    for version in (OLDEST, NEWEST):
        kubernetes_validate.validate(json.loads(resource), version, strict=True)


def _generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate", KUBERNETES / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

"""deploy/kubernetes: every overlay builds, Kubernetes and the operators understand it, the code agrees."""

import functools
import json
import re
import subprocess
from urllib.parse import urlsplit

import aiohttp
import kubernetes_validate
import pytest
import yaml
from prometheus_client import CollectorRegistry

from broker.topology import CONSUMES, Topology
from tests.deploy import commands
from tests.deploy.kubernetes import KUBERNETES, OVERLAYS, ROOT, built, group, of_kind, pods, triggers
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
        for stage, trigger in triggers(overlay).items():
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
    everyone = {"to-dns", "to-broker", "to-store"} | ({"to-collector"} if overlay == "traces" else set())
    outside = {"airgapped": set(), "oidc": {"to-issuer"}}.get(overlay, {"to-webhooks"})
    assert ways.pop("gateway") == everyone | {"to-database"} | outside
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
def test_who_may_connect_to_rabbitmq(overlay: str) -> None:
    """Ours, and where the site says so whoever is in the backend's namespace; to no other port than 5671."""
    label = {"app.kubernetes.io/name": "rabbitmq", "app.kubernetes.io/component": "rabbitmq"}
    rules = [
        rule
        for policy in of_kind(overlay, "NetworkPolicy")
        if policy["spec"]["podSelector"]["matchLabels"].items() <= label.items()
        for rule in policy["spec"].get("ingress", ())
    ]
    amqp = [rule["from"] for rule in rules if 5671 in [port["port"] for port in rule["ports"]]]
    ours = [{"podSelector": {"matchLabels": {"app.kubernetes.io/part-of": "phototwin"}}}]
    backend = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "backend"}}}]
    assert sorted(amqp, key=str) == ([backend, ours] if overlay == "publisher" else [ours])
    assert all(rule["ports"] == [{"port": 5671, "protocol": "TCP"}] for rule in rules if rule["from"] in amqp)


def test_spans_reach_the_collector() -> None:
    (config,) = of_kind("traces", "ConfigMap")
    url = urlsplit(config["data"]["PHOTOTWIN_TRACES_URL"])
    (policy,) = (p for p in of_kind("traces", "NetworkPolicy") if p["metadata"]["name"] == "to-collector")
    (rule,) = policy["spec"]["egress"]
    (where,) = (each["namespaceSelector"]["matchLabels"].values() for each in rule["to"])
    assert [port["port"] for port in rule["ports"]] == [url.port]
    assert list(where) == [str(url.hostname).split(".")[1]]


@overlays
def test_each_stage_can_be_upgraded_alone(overlay: str) -> None:
    """By `kubectl apply -k ... -l app.kubernetes.io/name=STAGE`, in the runbook's order."""
    for name in (*CONSUMES, "gateway"):
        labelled = [
            resource
            for resource in built(overlay)
            if resource["metadata"].get("labels", {}).get("app.kubernetes.io/name") == name
        ]
        (pod,) = (pod for pod in pods(overlay) if pod.labels["app.kubernetes.io/name"] == name)
        assert labelled == [pod.owner]


@overlays
def test_the_gateways_replicas_are_the_sites(overlay: str) -> None:
    site = yaml.safe_load((KUBERNETES / "components/site/kustomization.yaml").read_text())
    (told,) = site["replicas"]
    (deployment,) = (d for d in of_kind(overlay, "Deployment") if d["metadata"]["name"] == told["name"])
    assert told["name"] == "gateway"
    assert deployment["spec"]["replicas"] == told["count"] > 1


@overlays
def test_nodes_can_be_drained(overlay: str) -> None:
    guarded = [
        b["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
        for b in of_kind(overlay, "PodDisruptionBudget")
    ]
    assert sorted(guarded) == ["gateway", "package", "prepare", "rabbitmq", "segment"]
    classes = {resource["metadata"]["name"] for resource in of_kind(overlay, "PriorityClass")}
    assert {pod.spec["priorityClassName"] for pod in pods(overlay)} <= classes


@functools.cache
def _judge(resource: str) -> None:
    """Raises ValidationError. Most are the same in all overlays, and judging them takes a while."""
    for version in (OLDEST, NEWEST):
        kubernetes_validate.validate(json.loads(resource), version, strict=True)

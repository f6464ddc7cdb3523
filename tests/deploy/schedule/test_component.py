"""The component of Kubernetes that has a scheduler in KEDA's place."""

import functools
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from broker.embedded import Broker as Embedded
from tests.deploy import commands
from tests.deploy.kubernetes import KUBERNETES, KUSTOMIZE, ROOT, built
from tests.deploy.schedule.site import component, scheduler, wait_for
from tests.servers import kubernetes
from tests.servers.kubernetes import Api
from workers.runtime.settings import Settings
from workers.schedule import template as templates
from workers.schedule.template import Template


@functools.cache
def installed() -> tuple[dict[str, Any], ...]:
    """An overlay of a site without KEDA, as deploy/OPERATIONS.md has it."""
    with tempfile.TemporaryDirectory() as folder:
        parts = os.path.relpath(KUBERNETES, Path(folder).resolve())
        (Path(folder) / "kustomization.yaml").write_text(overlay().replace("../..", parts))
        (Path(folder) / "job.yaml").write_text(yaml.dump_all(built("gpu"), Dumper=yaml.CSafeDumper))
        command = [str(KUSTOMIZE if KUSTOMIZE.exists() else "kustomize"), "build", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.load_all(done.stdout, yaml.CSafeLoader))


def overlay() -> str:
    text = (ROOT / "deploy/OPERATIONS.md").read_text()
    section = text.partition("## Without KEDA")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    return str(block)


def of(kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in installed() if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def test_the_component_takes_kedas_place() -> None:
    assert not [each for each in installed() if each["apiVersion"].startswith("keda.sh")]
    ours = {(each["kind"], each["metadata"]["name"]) for each in component()}
    assert ours <= {(each["kind"], each["metadata"]["name"]) for each in installed()}
    for resource in installed():
        if (
            resource["kind"] not in ("RabbitmqCluster", "ExternalSecret")
            and "rabbitmq.com" not in resource["apiVersion"]
        ):
            for version in kubernetes.VERSIONS:
                kubernetes_validate.validate(resource, version, strict=True)


def test_the_component_fits_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = of("Deployment", "scheduler")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    commands.exists(container["args"])
    assert {each["name"] for each in container["env"]} <= commands.SETTINGS | commands.BESIDE_SETTINGS
    assert container["ports"] == [{"name": "metrics", "containerPort": Settings().http_port}]
    volumes = {each["name"]: each for each in spec["volumes"]}
    items = volumes["secrets"]["secret"]["items"]
    assert {each["key"] for each in items} <= commands.SETTINGS
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    manifest = Path(container["args"][container["args"].index("--template") + 1])
    config = of("ConfigMap", volumes[mounts[str(manifest.parent)]]["configMap"]["name"])
    (tmp_path / manifest.name).write_text(config["data"][manifest.name])
    made: Template = templates.read(tmp_path / manifest.name)
    assert made.spec["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert len(json.dumps(config)) * 2 < 1 << 20  # a ConfigMap's limit, kubectl's annotation included
    restricted = of("Deployment", "deadletter-watch")["spec"]["template"]["spec"]
    assert spec["securityContext"] == restricted["securityContext"]
    assert container["securityContext"] == restricted["containers"][0]["securityContext"]


async def test_the_role_allows_what_is_asked_for(api: Api, waiting: Embedded, path: Path) -> None:
    await wait_for(waiting, 1)
    ours = scheduler(waiting, path)
    await ours.look()
    api.ends("ours-0")
    await ours.look()
    (rule,) = of("Role", "scheduler")["rules"]
    assert (rule["apiGroups"], rule["resources"]) == (["batch"], ["jobs"])
    assert set(rule["verbs"]) == {verb for verb, _ in api.requests}
    (subject,) = of("RoleBinding", "scheduler")["subjects"]
    assert subject["name"] == of("Deployment", "scheduler")["spec"]["template"]["spec"]["serviceAccountName"]

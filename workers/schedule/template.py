"""The Job that a site wants for a reconstruction, from a manifest of its own."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from kubernetes.aio.client import V1Job
from pydantic import ValidationError

from workers.runtime.settings import SettingsError

MANAGER = "phototwin-schedule"
KEEP_SECONDS = 600
"""For which a finished Job stays, where the manifest does not say."""
COMMANDS = tuple(["worker", "reconstruct", how] for how in ("--once", "--drain"))


@dataclass(frozen=True)
class Template:
    """`name`: of all its Jobs, before their slot."""

    name: str
    namespace: str | None
    metadata: dict[str, Any]
    spec: dict[str, Any]

    @property
    def keep(self) -> timedelta:
        return timedelta(seconds=self.spec["ttlSecondsAfterFinished"])

    @property
    def labels(self) -> dict[str, str]:
        """By which our Jobs are known from others."""
        return {"app.kubernetes.io/managed-by": MANAGER, "app.kubernetes.io/instance": self.name}

    @property
    def selector(self) -> str:
        return ",".join(f"{key}={value}" for key, value in self.labels.items())

    def name_of(self, slot: int) -> str:
        return f"{self.name}-{slot}"

    def slot_of(self, name: str) -> int | None:
        slot = name.removeprefix(f"{self.name}-")
        return int(slot) if slot.isdecimal() and self.name_of(int(slot)) == name else None

    def job(self, slot: int) -> dict[str, Any]:
        labels = (self.metadata.get("labels") or {}) | self.labels
        metadata = self.metadata | {"name": self.name_of(slot), "labels": labels}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": self.spec}


def read(path: Path) -> Template:
    """The only Job in a file of manifests, or KEDA's ScaledJob there, which says the same. Raises
    SettingsError."""
    try:
        found = [_as_job(each) for each in yaml.safe_load_all(path.read_text()) if _is_job(each)]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"--template: {path} cannot be read: {error}") from None
    if len(found) != 1:
        raise SettingsError(f"--template: {path} has {len(found)} Jobs; it must have one")
    try:
        V1Job.model_validate(found[0])
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"--template: {path} is no Job: {where}: {first['msg']}") from None
    given = found[0].get("metadata") or {}
    if not given.get("name") or not found[0].get("spec"):
        raise SettingsError(f"--template: {path} is no Job: it must have a name and a spec")
    spec = dict(found[0]["spec"])
    if spec.get("ttlSecondsAfterFinished") is None:
        spec["ttlSecondsAfterFinished"] = KEEP_SECONDS
    _check(path, spec)
    kept = {key: given[key] for key in ("labels", "annotations") if given.get(key)}
    return Template(given["name"], given.get("namespace"), kept, spec)


def _check(path: Path, spec: dict[str, Any]) -> None:
    containers = spec["template"]["spec"]["containers"]
    workers = [
        each
        for each in containers
        if [*(each.get("command") or []), *(each.get("args") or [])][-3:] in COMMANDS
    ]
    if not workers:  # else they would never end
        wanted = " or ".join(f"`phototwin {' '.join(command)}`" for command in COMMANDS)
        raise SettingsError(f"--template: {path} has no container that runs {wanted}")
    if not (workers[0].get("startupProbe") or workers[0].get("readinessProbe")):
        raise SettingsError(
            f"--template: {path} must have a startupProbe or a readinessProbe: it tells which Jobs have begun"
        )


def _is_job(manifest: Any) -> bool:
    if not isinstance(manifest, dict):
        return False
    kind = (str(manifest.get("apiVersion")).partition("/")[0], manifest.get("kind"))
    return kind in (("batch", "Job"), ("keda.sh", "ScaledJob"))


def _as_job(manifest: dict[str, Any]) -> dict[str, Any]:
    if manifest["kind"] == "Job":
        return manifest
    spec = (manifest.get("spec") or {}).get("jobTargetRef")
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": manifest.get("metadata"), "spec": spec}

"""Our Jobs in the cluster, by Kubernetes' own client.

Answers are read as JSON, not into the client's models: those refuse what a newer Kubernetes adds.
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from kubernetes.aio import client, config

from workers.runtime.settings import SettingsError
from workers.schedule.decision import Job, Phase
from workers.schedule.template import Template

TIMEOUT = 10.0
"""Seconds for one request."""
OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
REASONS = ("exists", "quota", "forbidden", "absent", "conflict", "busy", "unavailable")
OURS = (400, 413, 415, 422)
"""Statuses that say that the Job is wrong, and that trying again will not help."""


class ClusterUnavailable(ConnectionError):
    """The cluster does not do as asked now; it may later. `reason`: one of `REASONS`; `retry_after`: seconds
    that it wants to be left alone for."""

    def __init__(self, reason: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.reason, self.retry_after = reason, retry_after


class QuotaExceeded(ClusterUnavailable):
    """No room for another Job; else all is well."""


class Cluster:
    def __init__(self, api: client.BatchV1Api, namespace: str, template: Template) -> None:
        self._api, self._namespace, self._template = api, namespace, template

    async def jobs(self) -> list[Job]:
        """Raises ClusterUnavailable."""
        found = await self._ask("list_namespaced_job", label_selector=self._template.selector)
        return [self._read(job) for job in found["items"]]

    async def create(self, slot: int) -> bool:
        """False where it is there already. Raises QuotaExceeded, ClusterUnavailable, SettingsError."""
        job = self._template.job(slot)
        try:
            await self._ask("create_namespaced_job", body=job, field_validation="Strict")
        except ClusterUnavailable as error:
            if error.reason != "exists":
                raise
            return False
        return True

    async def delete(self, job: Job) -> None:
        """And its pods with it; nothing where it is gone, or another one has got its name. Raises
        ClusterUnavailable."""
        options = {"propagationPolicy": "Background", "preconditions": {"uid": job.uid}}
        try:
            await self._ask("delete_namespaced_job", name=job.name, body=options)
        except ClusterUnavailable as error:
            if error.reason not in ("absent", "conflict"):
                raise

    async def _ask(self, method: str, **arguments: Any) -> Any:
        call = getattr(self._api, f"{method}_without_preload_content")
        try:
            response = await call(namespace=self._namespace, _request_timeout=TIMEOUT, **arguments)
            body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            said = str(error) or type(error).__name__
            raise ClusterUnavailable(
                "unavailable", f"the Kubernetes API cannot be reached: {said}"
            ) from error
        told = _parsed(body)
        if response.status < 300 and told:
            return told
        raise _refusal(response.status, told, response.headers.get("Retry-After", ""))

    def _read(self, job: dict[str, Any]) -> Job:
        about, status = job["metadata"], job.get("status") or {}
        ends = {
            each["type"]: each.get("lastTransitionTime") or about["creationTimestamp"]
            for each in status.get("conditions") or ()
            if each["type"] in ("Complete", "Failed") and each["status"] == "True"
        }
        phase: Phase = "working" if status.get("ready") else "starting"
        if "deletionTimestamp" in about:
            phase = "leaving"
        elif ends:
            phase = "failed" if "Failed" in ends else "succeeded"
        ended = datetime.fromisoformat(next(iter(ends.values()))) if ends else None
        return Job(about["name"], about["uid"], self._template.slot_of(about["name"]), phase, ended)


@asynccontextmanager
async def connected(template: Template) -> AsyncIterator[Cluster]:
    """As the service account of the pod that we are in, else as kubeconfig says. To be made anew for each
    look: tokens expire. Raises SettingsError."""
    configuration, namespace = client.Configuration(), template.namespace
    try:
        config.load_incluster_config(configuration)
        namespace = namespace or OWN_NAMESPACE.read_text()
    except config.ConfigException:
        try:
            loader = await config.load_kube_config(client_configuration=configuration, persist_config=False)
            namespace = namespace or loader.current_context["context"].get("namespace")
        except (config.ConfigException, yaml.YAMLError, OSError) as error:
            raise SettingsError(f"neither in a cluster, nor does kubeconfig name one: {error}") from None
    async with client.ApiClient(configuration) as api:
        yield Cluster(client.BatchV1Api(api), namespace or "default", template)


def _refusal(status: int, told: dict[str, Any], retry_after: str) -> Exception:
    """By a Status object: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/"""
    message = f"the Kubernetes API says {status}: {told.get('message') or 'nothing more'}"
    if status in OURS:
        return SettingsError(f"--template: {message}")
    if status == 403 and "exceeded quota" in message:
        return QuotaExceeded("quota", message)
    reasons = {403: "forbidden", 404: "absent", 409: "conflict", 429: "busy"}
    if told.get("reason") == "AlreadyExists":  # and not a conflict about a quota's own record, say
        return ClusterUnavailable("exists", message)
    seconds = float(retry_after) if retry_after.isdecimal() else 0.0  # Kubernetes sends no dates
    return ClusterUnavailable(reasons.get(status, "unavailable"), message, seconds)


def _parsed(body: bytes) -> dict[str, Any]:
    """Nothing, where a proxy answers with a page of its own."""
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}

"""What `phototwin schedule` needs of Kubernetes' API, as its documentation says it answers:

    https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/
    https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
    https://kubernetes.io/docs/reference/using-api/api-concepts/

Jobs that it accepts are valid by Kubernetes' own schemas. Nothing runs: tests say what becomes of a Job.
"""

import asyncio
import json
import ssl
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from aiohttp import web

VERSIONS = ("1.30", "1.37")
TOKEN = "a-token"
NAMESPACE = "phototwin"
Resource = dict[str, Any]
JOBS = "/apis/batch/v1/namespaces/{namespace}/jobs"


@dataclass(frozen=True)
class Answer:
    """In place of what a request would get; without a reason it is a page of some proxy's. `seconds`: how
    long it takes."""

    status: int
    reason: str = ""
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Api:
    """`quota`: how many Jobs the namespace may hold; `answers`: verb -> what the next requests with it get
    instead; `requests`: verb and name or body of all that came; `lingering`: what is deleted stays."""

    url: str = ""
    quota: int | None = None
    lingering: bool = False
    jobs: dict[str, Resource] = field(default_factory=dict)
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[tuple[str, Any]] = field(default_factory=list)
    _version: int = 0

    def asked(self, verb: str) -> list[Any]:
        return [what for one, what in self.requests if one == verb]

    def names(self) -> list[str]:
        return sorted(self.jobs)

    def becomes_ready(self, name: str) -> None:
        self.jobs[name]["status"] |= {"active": 1, "ready": 1}

    def ends(self, name: str, kind: str = "Complete", at: datetime | None = None) -> None:
        """`kind`: Complete or Failed."""
        when = (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
        condition = {"type": kind, "status": "True", "lastTransitionTime": when, "lastProbeTime": when}
        before = {**condition, "type": "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"}
        self.jobs[name]["status"] = {"active": 0, "ready": 0, "conditions": [before, condition]}

    def kubeconfig(self, folder: Path) -> Path:
        path = folder / "kubeconfig.yaml"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "fake", "user": {"token": TOKEN}}],
            "contexts": [
                {"name": "fake", "context": {"cluster": "fake", "user": "fake", "namespace": NAMESPACE}}
            ],
        }
        path.write_text(yaml.dump(config))
        return path

    async def list(self, request: web.Request) -> web.Response:
        selector = request.query.get("labelSelector", "")
        wanted = dict(pair.split("=") for pair in selector.split(",") if pair)
        if refused := await self._before(request, "list", selector):
            return refused
        found = [
            job for job in self.jobs.values() if wanted.items() <= job["metadata"].get("labels", {}).items()
        ]
        metadata = {"resourceVersion": str(self._version)}
        return web.json_response(
            {"apiVersion": "batch/v1", "kind": "JobList", "metadata": metadata, "items": found}
        )

    async def create(self, request: web.Request) -> web.Response:
        job: Resource = await request.json()
        if refused := await self._before(request, "create", job):
            return refused
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(job, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                return _status(422, "Invalid", f"Job.batch is invalid: {error.message}")
        name = job["metadata"]["name"]
        if name in self.jobs:
            return _status(409, "AlreadyExists", f'jobs.batch "{name}" already exists')
        if self.quota is not None and len(self.jobs) >= self.quota:
            most = f"count/jobs.batch={self.quota}"
            told = f"requested: count/jobs.batch=1, used: {most}, limited: {most}"
            return _status(
                403, "Forbidden", f'jobs.batch "{name}" is forbidden: exceeded quota: jobs, {told}'
            )
        self._version += 1
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        job["metadata"] |= {
            "uid": str(uuid.uuid4()),
            "resourceVersion": str(self._version),
            "creationTimestamp": now,
            "namespace": NAMESPACE,
        }
        # `later` is of a Kubernetes that is newer than the client.
        job |= {"status": {"startTime": now, "active": 1, "ready": 0, "later": {"than": "the client"}}}
        self.jobs[name] = job
        return web.json_response(job, status=201)

    async def delete(self, request: web.Request) -> web.Response:
        name, options = request.match_info["name"], json.loads(await request.text() or "{}")
        if refused := await self._before(request, "delete", name):
            return refused
        if name not in self.jobs:
            return _status(404, "NotFound", f'jobs.batch "{name}" not found')
        job = self.jobs[name]
        wanted, uid = options.get("preconditions", {}).get("uid"), job["metadata"]["uid"]
        if wanted not in (None, uid):
            said = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"
            return _status(409, "Conflict", f'Operation cannot be fulfilled on jobs.batch "{name}": {said}')
        if self.lingering or options.get("propagationPolicy") != "Background":
            job["metadata"] |= {"deletionTimestamp": job["metadata"]["creationTimestamp"]}
            return web.json_response(job)
        del self.jobs[name]
        return web.json_response({"apiVersion": "v1", "kind": "Status", "status": "Success"})

    async def _before(self, request: web.Request, verb: str, what: Any) -> web.Response | None:
        self.requests.append((verb, what))
        if request.headers.get("Authorization", "").lower() != f"bearer {TOKEN}":
            return _status(401, "Unauthorized", "Unauthorized")
        if request.match_info["namespace"] != NAMESPACE:
            return _status(403, "Forbidden", "jobs.batch is forbidden: in this namespace you may do nothing")
        if not (waiting := self.answers.get(verb)):
            return None
        answer = waiting.pop(0)
        await asyncio.sleep(answer.seconds)
        if not answer.reason:
            return web.Response(status=answer.status, text="<html>", content_type="text/html")
        return _status(answer.status, answer.reason, answer.message, answer.headers)


@asynccontextmanager
async def api(secured: ssl.SSLContext | None = None) -> AsyncIterator[Api]:
    made = Api()
    app = web.Application()
    app.add_routes(
        [
            web.get(JOBS, made.list),
            web.post(JOBS, made.create),
            web.delete(f"{JOBS}/{{name}}", made.delete),
        ]
    )
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=secured).start()
        made.url = f"{'https' if secured else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
        yield made
    finally:
        await runner.cleanup()


def _status(code: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    body = {
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }
    return web.json_response(body, status=code, headers=headers)

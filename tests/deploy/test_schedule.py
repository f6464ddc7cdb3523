"""`phototwin schedule`: what it decides, what it asks of Kubernetes, and what it does where that refuses.

There was no cluster: tests/servers/kubernetes.py answers as the API's documentation says.
"""

import asyncio
import functools
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import kubernetes_validate
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.aio.config import incluster_config
from prometheus_client import generate_latest
from typer.testing import CliRunner

from broker.access import NOTHING
from broker.embedded import Broker as Embedded
from broker.interface import Message
from broker.management import Management
from broker.rabbitmq import Broker
from broker.topology import Topology
from contracts.errors import BrokerUnavailable
from tests.deploy import commands
from tests.deploy.kubernetes import KUBERNETES, KUSTOMIZE, ROOT, built, of_kind
from tests.servers import kubernetes
from tests.servers.certificates import Authority
from tests.servers.kubernetes import Answer, Api
from tests.servers.rabbitmq import Broker as Server
from workers.cli import app
from workers.runtime.settings import Settings, SettingsError
from workers.schedule import cluster as clusters
from workers.schedule import template as templates
from workers.schedule.cluster import Cluster, ClusterUnavailable, connected
from workers.schedule.decision import UNFINISHED, Job, Plan, decide
from workers.schedule.scheduler import Scheduler
from workers.schedule.template import COMMAND, Template

KEEP = timedelta(minutes=10)
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
QUEUES = Topology().live_queues("reconstruct")
FORBIDDEN = Answer(403, "Forbidden", 'jobs.batch is forbidden: User "x" cannot create resource "jobs"')
BUSY = Answer(429, "TooManyRequests", "Too many requests, please try again later.", {"Retry-After": "1"})
BROKEN = Answer(500, "InternalError", "etcdserver: request timed out")
COMPONENT = KUBERNETES / "components/scheduler"


class World:
    """A cluster and a queue, as far as a decision goes by them; Kubernetes gives a name once."""

    def __init__(self, most: int) -> None:
        self.most, self.waiting, self.now = most, 0, NOW
        self.jobs: dict[int, Job] = {}
        self.made = 0

    def decide(self) -> Plan:
        return decide(self.waiting, tuple(self.jobs.values()), self.most, KEEP, self.now)

    def apply(self, plan: Plan) -> None:
        """It may be one made from what was so a while ago."""
        for job in plan.delete:
            if self.jobs.get(job.slot or 0) == job:
                del self.jobs[job.slot or 0]
        for slot in plan.create:
            if slot not in self.jobs:
                self.made += 1
                self.jobs[slot] = Job(f"job-{slot}", str(self.made), slot, "starting")

    def in_phase(self, *phases: str) -> list[int]:
        return sorted(slot for slot, job in self.jobs.items() if job.phase in phases)

    def begins(self, slot: int) -> None:
        """With a message, or it ends at once."""
        if self.waiting:
            self.waiting -= 1
            self.jobs[slot] = replace(self.jobs[slot], phase="working")
        else:
            self.ends(slot, "succeeded")

    def ends(self, slot: int, phase: Any) -> None:
        self.jobs[slot] = replace(self.jobs[slot], phase=phase, ended=self.now)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.integers(1, 6)),
        st.tuples(st.just("see"), st.integers(0, 1)),
        st.tuples(st.just("do"), st.integers(0, 1)),
        st.tuples(st.sampled_from(["begin", "succeed", "fail"]), st.integers(0, 9)),
        st.tuples(st.just("pass"), st.sampled_from([1, 300, 700])),
    ),
    max_size=60,
)


@given(st.integers(1, 5), STEPS)
def test_never_too_many_and_always_enough(most: int, steps: list[tuple[str, int]]) -> None:
    """Of two schedulers, each of which does things long after it has seen why; then one goes on alone."""
    world = World(most)
    plans = {0: Plan((), ()), 1: Plan((), ())}
    for what, number in steps:
        match what:
            case "arrive":
                world.waiting += number
            case "see":
                plans[number] = world.decide()
            case "do":
                world.apply(plans[number])
            case "begin" if starting := world.in_phase("starting"):
                world.begins(starting[number % len(starting)])
            case "succeed" if working := world.in_phase("working"):
                world.ends(working[number % len(working)], "succeeded")
            case "fail" if working := world.in_phase("working", "starting"):
                world.ends(working[number % len(working)], "failed")
            case "pass":
                world.now += timedelta(seconds=number)
        assert len(world.in_phase(*UNFINISHED)) <= most
    world.now += KEEP
    world.apply(world.decide())
    starting, working = world.in_phase("starting"), world.in_phase("working")
    assert len(starting) >= min(world.waiting, most - len(working))  # enough
    assert world.decide().create == ()  # and once
    for _ in range(100):
        for slot in world.in_phase("starting"):
            world.begins(slot)
        for slot in world.in_phase("working"):
            world.ends(slot, "succeeded")
        world.apply(world.decide())
    assert (world.waiting, world.in_phase(*UNFINISHED)) == (0, [])
    world.now += KEEP + timedelta(minutes=2)
    world.apply(world.decide())
    assert world.jobs == {}


@given(st.integers(0, 40), st.integers(0, 20), st.integers(1, 20))
def test_what_is_worked_on_does_not_wait(waiting: int, working: int, most: int) -> None:
    jobs = [Job(f"job-{slot}", str(slot), slot, "working") for slot in range(min(working, most))]
    assert len(decide(waiting, jobs, most, KEEP, NOW).create) == min(waiting, most - len(jobs))


def test_failed_jobs_stay_for_a_time() -> None:
    failed = Job("job-0", "a", 0, "failed", NOW - KEEP + timedelta(seconds=1))
    assert decide(5, [failed], 1, KEEP, NOW) == Plan((), ())
    later = NOW + timedelta(seconds=1)
    assert decide(5, [failed], 1, KEEP, later) == Plan((failed,), (0,))
    assert decide(0, [failed], 1, KEEP, later) == Plan((), ())  # Kubernetes deletes it
    assert decide(0, [failed], 1, KEEP, later + timedelta(minutes=1)) == Plan((failed,), ())  # but did not


def test_what_somebody_deletes_is_left_alone() -> None:
    leaving = Job("job-0", "a", 0, "leaving", NOW - 2 * KEEP)
    assert decide(5, [leaving], 2, KEEP, NOW) == Plan((), (1,))
    assert decide(5, [leaving], 1, KEEP, NOW + 2 * KEEP) == Plan((), ())


def test_more_than_there_may_be_are_not_added_to() -> None:
    """After --max-jobs was lowered."""
    jobs = [Job(f"job-{slot}", str(slot), slot, "working") for slot in (2, 3)]
    assert decide(5, jobs, 2, KEEP, NOW).create == ()


# The manifest.


def manifest(**changes: Any) -> dict[str, Any]:
    """A site's own, plain one."""
    container = {
        "name": "phototwin",
        "image": "phototwin-cpu",
        "args": list(COMMAND),
        "startupProbe": {"httpGet": {"path": "/healthz", "port": 9400}},
    }
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [container | changes]}}}
    metadata = {"name": "ours", "labels": {"team": "twins"}, "resourceVersion": "7"}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.dump_all([manifest(), {"apiVersion": "v1", "kind": "ConfigMap"}]))
    return path


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_the_scaled_job_of_an_overlay_will_do(overlay: str, tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(yaml.dump_all(built(overlay), Dumper=yaml.CSafeDumper))
    made = templates.read(path)
    (scaled,) = of_kind(overlay, "ScaledJob")
    job = made.job(3)
    for version in kubernetes.VERSIONS:
        kubernetes_validate.validate(job, version, strict=True)
    assert job["spec"] == {
        **scaled["spec"]["jobTargetRef"],
        "ttlSecondsAfterFinished": templates.KEEP_SECONDS,
    }
    assert (job["metadata"]["name"], made.namespace) == ("reconstruct-3", "phototwin")


def test_a_sites_own_job_is_kept_as_it_is(path: Path) -> None:
    made = templates.read(path)
    labels = {"team": "twins", "app.kubernetes.io/managed-by": "phototwin-schedule"}
    assert made.job(0)["metadata"] == {
        "name": "ours-0",
        "labels": labels | {"app.kubernetes.io/instance": "ours"},
    }
    assert [made.slot_of(name) for name in ("ours-7", "ours-07", "ours-x", "ours", "other-1")] == [
        7,
        None,
        None,
        None,
        None,
    ]
    path.write_text(yaml.dump({**manifest(), "spec": {**manifest()["spec"], "ttlSecondsAfterFinished": 5}}))
    assert templates.read(path).keep == timedelta(seconds=5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("kind: Job\napiVersion: v1", "has 0 Jobs"),
        (yaml.dump_all([manifest(), manifest()]), "has 2 Jobs"),
        (yaml.dump({**manifest(), "spec": None}), "a name and a spec"),
        (yaml.dump({**manifest(), "spec": {**manifest()["spec"], "backofLimit": 1}}), "spec.backofLimit"),
        (yaml.dump({**manifest(), "metadata": {}}), "a name and a spec"),
        (yaml.dump(manifest(args=["worker", "reconstruct"])), "--drain"),
        (yaml.dump(manifest(args=["worker", "package", "--drain"])), "no container that runs"),
        (yaml.dump(manifest(startupProbe=None)), "startupProbe"),
    ],
)
def test_manifests_that_cannot_work_are_refused(text: str, said: str, path: Path) -> None:
    path.write_text(text)
    with pytest.raises(SettingsError, match="--template") as refused:
        templates.read(path)
    assert said in str(refused.value)


# What is asked of Kubernetes.


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    async with kubernetes.api() as made:
        use(made, tmp_path, monkeypatch)
        yield made


def use(api: Api, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Kubernetes' client reads KUBECONFIG when it is imported.
    where = str(api.kubeconfig(folder))
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", where)


@pytest.fixture
def waiting() -> Embedded:
    return Embedded(Topology())


async def wait_for(broker: Embedded | Broker, number: int, queues: list[str] | None = None) -> None:
    queues = queues or QUEUES
    for place in range(number):
        name = uuid.uuid4().hex
        await broker.send(queues[place % len(queues)], Message(b"{}", "masks.ready", name))


async def drain(broker: Embedded | Broker) -> None:
    async with broker.inbox(QUEUES) as inbox:
        for queue in QUEUES:
            while delivery := await inbox.take(queue):
                await delivery.ack()


def scheduler(broker: Any, path: Path, most: int = 3) -> Scheduler:
    template = templates.read(path)
    return Scheduler(broker, QUEUES, lambda: connected(template), template, most)


def counted(of: Scheduler) -> dict[str, float]:
    lines = generate_latest(of.metrics.registry).decode().splitlines()
    mine = [
        line.rsplit(" ", 1) for line in lines if line.startswith("phototwin_") and "_created{" not in line
    ]
    return {name.removeprefix("phototwin_schedule_"): float(value) for name, value in mine if float(value)}


async def test_a_job_for_each_that_waits(api: Api, waiting: Embedded, path: Path) -> None:
    await wait_for(waiting, 2)
    ours = scheduler(waiting, path)
    await ours.look()
    assert api.names() == ["ours-0", "ours-1"]
    await ours.look()
    await scheduler(waiting, path).look()  # started anew
    assert len(api.asked("create")) == 2
    await wait_for(waiting, 8)
    api.becomes_ready("ours-0")
    await ours.look()
    assert api.names() == ["ours-0", "ours-1", "ours-2"]
    assert set(api.asked("list")) == {
        "app.kubernetes.io/managed-by=phototwin-schedule,app.kubernetes.io/instance=ours"
    }
    await ours.look()
    assert counted(ours)["jobs_created_total"] == counted(ours)["jobs_active"] == 3
    assert counted(ours)["waiting"] == 10


async def test_finished_jobs_make_room(api: Api, waiting: Embedded, path: Path) -> None:
    await wait_for(waiting, 3)
    ours = scheduler(waiting, path)
    await ours.look()
    first = {name: job["metadata"]["uid"] for name, job in api.jobs.items()}
    api.becomes_ready("ours-0")
    api.ends("ours-1")
    api.ends("ours-2", "Failed")
    await ours.look()
    assert api.asked("delete") == ["ours-1"]
    second = {name: job["metadata"]["uid"] for name, job in api.jobs.items()}
    assert [name for name in second if second[name] != first[name]] == ["ours-1"]
    api.ends("ours-2", "Failed", datetime.now(UTC) - timedelta(seconds=templates.KEEP_SECONDS))
    await ours.look()
    assert api.asked("delete") == ["ours-1", "ours-2"]


async def test_finished_jobs_go_where_kubernetes_leaves_them(api: Api, waiting: Embedded, path: Path) -> None:
    await wait_for(waiting, 1)
    ours = scheduler(waiting, path)
    await ours.look()
    await drain(waiting)
    api.ends("ours-0", at=datetime.now(UTC) - timedelta(seconds=templates.KEEP_SECONDS + 61))
    await ours.look()
    assert api.names() == []


async def test_a_successor_is_not_deleted(api: Api, waiting: Embedded, path: Path) -> None:
    """Another scheduler has put it there since we looked."""
    await wait_for(waiting, 1)
    template = templates.read(path)
    await scheduler(waiting, path).look()
    async with connected(template) as cluster:
        (job,) = await cluster.jobs()
        await cluster.delete(replace(job, uid="its predecessor"))
        assert api.names() == ["ours-0"]
        assert not await cluster.create(0)
        await cluster.delete(job)
        await cluster.delete(job)  # gone
    assert api.names() == []


async def test_what_takes_long_to_go_keeps_its_name(api: Api, waiting: Embedded, path: Path) -> None:
    await wait_for(waiting, 1)
    ours = scheduler(waiting, path)
    await ours.look()
    api.ends("ours-0")
    api.lingering = True
    await ours.look()
    assert counted(ours)['refused_total{reason="exists"}'] == 1
    await ours.look()
    assert api.names() == ["ours-0", "ours-1"]


async def test_two_at_once_do_not_do_it_twice(api: Api, waiting: Embedded, path: Path) -> None:
    await wait_for(waiting, 3)
    both = [scheduler(waiting, path, 10), scheduler(waiting, path, 10)]
    for _ in range(3):
        await asyncio.gather(*(each.look() for each in both))
    assert api.names() == ["ours-0", "ours-1", "ours-2"]
    created = [counted(each).get("jobs_created_total", 0) for each in both]
    exists = [counted(each).get('refused_total{reason="exists"}', 0) for each in both]
    assert (sum(created), sum(exists)) == (3, len(api.asked("create")) - 3)
    assert sum(exists) > 0


async def test_a_quota_is_waited_for(api: Api, waiting: Embedded, path: Path) -> None:
    api.quota = 1
    await wait_for(waiting, 3)
    ours = scheduler(waiting, path)
    await ours.look()
    assert len(api.asked("create")) == 2  # the third would be refused as well
    await ours.look()
    assert (api.names(), counted(ours)['refused_total{reason="quota"}']) == (["ours-0"], 2)
    api.quota = None
    await ours.look()
    assert len(api.names()) == 3


@pytest.mark.parametrize("verb", ["list", "create", "delete"])
@pytest.mark.parametrize(
    ("answer", "reason", "seconds"),
    [
        (BUSY, "busy", 1.0),
        (BROKEN, "unavailable", 0.0),
        (FORBIDDEN, "forbidden", 0.0),
        (Answer(401, "Unauthorized", "Unauthorized"), "unavailable", 0.0),
        (Answer(502), "unavailable", 0.0),
        (Answer(200), "unavailable", 0.0),
        (Answer(201, seconds=5), "unavailable", 0.0),  # after our patience
    ],
)
async def test_refusals_end_a_look(
    api: Api,
    waiting: Embedded,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    answer: Answer,
    reason: str,
    seconds: float,
) -> None:
    await wait_for(waiting, 2)
    ours = scheduler(waiting, path, 2)
    if verb == "delete":
        await ours.look()
        api.ends("ours-0")
    before = len(api.requests)
    api.answers[verb] = [answer]
    with monkeypatch.context() as short:
        short.setattr(clusters, "TIMEOUT", 1.0 if answer.seconds else clusters.TIMEOUT)
        with pytest.raises(ClusterUnavailable) as refused:
            await ours.look()
    assert (refused.value.reason, refused.value.retry_after) == (reason, seconds)
    assert counted(ours)[f'refused_total{{reason="{reason}"}}'] == 1
    assert [verb for verb, _ in api.requests[before:]][-1] == verb  # and nothing more is asked
    await ours.look()
    assert api.names() == ["ours-0", "ours-1"]


async def test_a_conflict_is_not_taken_for_a_job(api: Api, waiting: Embedded, path: Path) -> None:
    """A quota's own record may be in conflict, whereupon the Job was not created."""
    said = "Operation cannot be fulfilled on resourcequotas: the object has been modified"
    api.answers["create"] = [Answer(409, "Conflict", said)]
    await wait_for(waiting, 1)
    with pytest.raises(ClusterUnavailable):
        await scheduler(waiting, path).look()


async def test_a_job_that_kubernetes_finds_wrong_ends_us(api: Api, waiting: Embedded, path: Path) -> None:
    path.write_text(yaml.dump(manifest(ports=[{"containerPort": 9400, "name": "metrics", "hostPort": 1}])))
    api.answers["create"] = [Answer(422, "Invalid", "Job.batch is invalid: spec.template: Required value")]
    await wait_for(waiting, 1)
    with pytest.raises(SettingsError, match="Required value"):
        async with asyncio.timeout(10):
            await scheduler(waiting, path).run(asyncio.Event(), 1.0)


async def test_patience_grows_and_comes_back(
    api: Api, waiting: Embedded, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the pauses between looks; Retry-After is the least of them."""
    stop, pauses = asyncio.Event(), []
    later = replace(BUSY, headers={"Retry-After": "500"})
    api.answers["list"] = [*(BROKEN for _ in range(6)), later]
    ours = scheduler(waiting, path)

    async def wait(event: asyncio.Event, seconds: float) -> None:
        pauses.append((seconds, ours.fault() is not None))
        if len(pauses) == 8:
            event.set()

    monkeypatch.setattr("workers.schedule.scheduler.wait", wait)
    await ours.run(stop, 5.0)
    expected = [(seconds, True) for seconds in (10.0, 20.0, 40.0, 80.0, 120.0, 120.0, 500.0)]
    assert pauses == [*expected, (5.0, False)]


async def test_rabbitmq_is_waited_for_too(api: Api, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(Embedded):
        async def depth(self, queue: str) -> int:
            raise BrokerUnavailable("RabbitMQ is away")

    async def wait(event: asyncio.Event, seconds: float) -> None:
        event.set()

    monkeypatch.setattr("workers.schedule.scheduler.wait", wait)
    ours = scheduler(Away(Topology()), path)
    await ours.run(asyncio.Event(), 5.0)
    assert ours.fault() == "RabbitMQ is away"


async def test_a_request_that_hangs_holds_up_no_end(api: Api, waiting: Embedded, path: Path) -> None:
    api.answers["list"] = [Answer(200, seconds=30)]
    stop = asyncio.Event()
    running = asyncio.create_task(scheduler(waiting, path).run(stop, 5.0))
    await until(lambda: there(api.asked("list")), 1)
    stop.set()
    async with asyncio.timeout(5):
        await running


async def test_a_message_taken_during_a_look_asks_for_no_job(api: Api, path: Path) -> None:
    """Between the look at the Jobs and that at the queues, whichever is first."""

    class Watched(Embedded):
        taking = False

        async def depth(self, queue: str) -> int:
            found = await super().depth(queue)
            if queue == QUEUES[-1]:
                await self.take()
            return found

        async def take(self) -> None:
            if self.taking:
                self.taking = False
                await drain(self)
                api.becomes_ready("ours-0")

    watched = Watched(Topology())
    await wait_for(watched, 1)
    template = templates.read(path)

    @asynccontextmanager
    async def observed() -> AsyncIterator[Cluster]:
        async with connected(template) as cluster:
            jobs = cluster.jobs

            async def looked() -> list[Job]:
                found = await jobs()
                await watched.take()
                return found

            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(cluster, "jobs", looked)
                yield cluster

    ours = Scheduler(watched, QUEUES, observed, template, 3)
    await ours.look()
    watched.taking = True
    await ours.look()
    assert api.names() == ["ours-0"]
    assert not watched.taking


async def test_the_pod_own_account_is_used(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    secured = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secured.load_cert_chain(*authority.issue("localhost"))
    for name, text in (("token", kubernetes.TOKEN), ("namespace", kubernetes.NAMESPACE)):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority.file))
    monkeypatch.setattr(clusters, "OWN_NAMESPACE", tmp_path / "namespace")
    async with kubernetes.api(secured) as api:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "localhost")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(urlsplit(api.url).port))
        async with connected(templates.read(path)) as cluster:
            assert await cluster.create(0)
        assert api.names() == ["ours-0"]


async def test_without_a_cluster_there_is_a_sentence(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", "/nowhere")
    with pytest.raises(SettingsError, match="neither in a cluster"):
        async with connected(templates.read(path)):
            pass


# The command.


def test_the_client_is_needed_by_this_command_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys, workers.cli; sys.exit('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
    for name in [name for name in sys.modules if name.partition(".")[0] == "kubernetes"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    done = CliRunner().invoke(app, ["schedule", "--template", str(path)])
    assert (done.exit_code, "phototwin[kubernetes]" in done.stderr) == (1, True)


@pytest.fixture
async def real(rabbitmq: Server) -> AsyncIterator[tuple[Broker, str]]:
    """A whole installation's queues in a virtual host of their own, and the URL of a user who may do nothing
    there but connect, as the component has it."""
    name = f"schedule-{uuid.uuid4().hex[:8]}"
    url = f"{rabbitmq.url.rpartition('/')[0]}/{name}"
    root = Management.of(url, rabbitmq.management_url)
    await root.put(f"vhosts/{name}", {})
    await root.permit(urlsplit(rabbitmq.url).username or "guest", ".*", ".*", ".*")
    await root.put_user(name, "secret", ())
    (permission,) = [each for each in component() if each["kind"] == "Permission"]
    assert set(permission["spec"]["permissions"].values()) == {NOTHING}
    await root.permit(name, **permission["spec"]["permissions"])
    broker = await Broker.connect(url, Topology(), name="test")
    await broker.apply(root)
    parts = urlsplit(url)
    try:
        yield broker, parts._replace(netloc=f"{name}:secret@{parts.hostname}:{parts.port}").geturl()
    finally:
        await broker.close()
        async with aiohttp.ClientSession() as session:
            for what in ("vhosts", "users"):
                await session.delete(f"{rabbitmq.management_url}/api/{what}/{name}")


async def test_jobs_come_and_go_with_messages(
    real: tuple[Broker, str], api: Api, path: Path, tmp_path: Path
) -> None:
    broker, url = real
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PHOTOTWIN_")},
        "PHOTOTWIN_AMQP_URL": url,
        "PHOTOTWIN_HTTP_HOST": "127.0.0.1",
        "PHOTOTWIN_HTTP_PORT": "0",
        "KUBECONFIG": str(api.kubeconfig(tmp_path)),
    }
    command = [sys.executable, "-m", "workers.cli", "schedule", "--template", str(path), "--max-jobs", "4"]

    async def once(*options: str) -> tuple[int | None, str, str]:
        made = await asyncio.create_subprocess_exec(
            *command, *options, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = await made.communicate()
        return made.returncode, out.decode(), err.decode()

    await wait_for(broker, 3)
    await until(lambda: depth(broker), 3)
    api.answers["create"] = [FORBIDDEN]
    (status, out, err), refused = await asyncio.gather(once("--dry-run"), once("--once"))
    printed = [job["metadata"]["name"] for job in yaml.safe_load_all(out)]
    assert (status, printed, api.names()) == (0, ["ours-0", "ours-1", "ours-2"], []), err
    assert (refused[0], "cannot create" in refused[2]) == (1, True)

    served = await asyncio.create_subprocess_exec(
        *command, "--interval", "1", env=environment, stderr=subprocess.PIPE
    )
    try:
        assert served.stderr
        port = json.loads(await served.stderr.readline())["http_port"]
        await until(lambda: there(api.names()), 3)
        for name in api.names():
            api.becomes_ready(name)
        await drain(broker)
        for name in api.names():
            api.ends(name)
        await wait_for(broker, 9)
        await until(lambda: there(api.asked("delete")), 3)
        await until(lambda: there(api.names()), 4)  # --max-jobs
        page = await fetched(f"http://127.0.0.1:{port}/metrics")
        assert "phototwin_schedule_jobs_created_total 7.0" in page
        assert await fetched(f"http://127.0.0.1:{port}/readyz") == "ok"
        before = api.names()
        served.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await served.wait() == 0
        assert api.names() == before
    finally:
        if served.returncode is None:
            served.kill()


async def depth(broker: Broker) -> int:
    return sum([await broker.depth(queue) for queue in QUEUES])


async def there(what: Sequence[str]) -> int:
    return len(what)


async def until(figure: Callable[[], Awaitable[int]], wanted: int) -> None:
    async with asyncio.timeout(60):
        while await figure() != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def fetched(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return str(await response.text())


# The component for Kubernetes.


def component() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((COMPONENT / "scheduler.yaml").read_text()))


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

"""What is asked of Kubernetes, and what is done where it refuses.

There was no cluster: tests/servers/kubernetes.py answers as the API's documentation says.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from kubernetes.aio.config import incluster_config

from broker.embedded import Broker as Embedded
from broker.topology import Topology
from contracts.errors import BrokerUnavailable
from tests.deploy.schedule.site import (
    FORBIDDEN,
    QUEUES,
    counted,
    drain,
    manifest,
    scheduler,
    there,
    until,
    wait_for,
)
from tests.servers import kubernetes
from tests.servers.certificates import Authority
from tests.servers.kubernetes import Answer, Api
from workers.runtime.settings import SettingsError
from workers.schedule import cluster as clusters
from workers.schedule import template as templates
from workers.schedule.cluster import Cluster, ClusterUnavailable, connected
from workers.schedule.decision import Job
from workers.schedule.scheduler import Scheduler

BUSY = Answer(429, "TooManyRequests", "Too many requests, please try again later.", {"Retry-After": "1"})
BROKEN = Answer(500, "InternalError", "etcdserver: request timed out")


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
        assert counted(ours).get("up", 0) == (ours.fault() is None)
        if len(pauses) >= 8:
            event.set()

    monkeypatch.setattr("workers.schedule.scheduler.wait", wait)
    await ours.run(stop, 5.0)
    expected = [(seconds, True) for seconds in (10.0, 20.0, 40.0, 80.0, 120.0, 120.0, 500.0)]
    assert pauses == [*expected, (5.0, False)]
    api.answers["list"] = [BROKEN]
    stop.clear()
    await ours.run(stop, 5.0)
    assert pauses[8:] == [(10.0, True)]


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

"""The gateway as it is deployed: replicas of it, the workers, RabbitMQ, an S3, PostgreSQL: each a process."""

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from contracts.events import CaptureFailed
from tests.integration.collector import collecting
from tests.integration.fleet import STAGES, fleet
from tests.integration.gateways import Events, Site, send
from tests.servers.ceph import ObjectStore as S3Server
from tests.servers.postgres import Databases
from tests.servers.rabbitmq import Broker as RabbitServer
from workers.runtime.s3 import connect
from workers.runtime.s3_policy import policy
from workers.simulate.capture import simulate

KINDS = ["dataset.uploaded", "poses.ready", "masks.ready", "mesh.ready", "model.ready"]
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
NOT_STUCK = "{} captures in the store; 0 events were missing in the index; 0 captures are stuck"


@pytest.fixture
async def site(
    rabbitmq: RabbitServer, s3: S3Server, postgres: Databases, tmp_path: Path
) -> AsyncIterator[Site]:
    own = replace(s3, bucket=f"site-{uuid.uuid4()}")  # a whole bucket is read by `reconcile`
    own.create_bucket()
    async with fleet(rabbitmq, own, tmp_path) as ships:
        ships.environment["PHOTOTWIN_DATABASE_URL"] = postgres.database()
        ships.environment["PHOTOTWIN_GATEWAY_HOST"] = "127.0.0.1"
        yield Site(ships, Site.new_key(ships, "shop"))
    own.remove_bucket()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("simulated")
    simulate(folder, views=12, size=(300, 400), seed=3)
    found = sorted(path for path in (folder / "capture").rglob("*") if path.is_file())
    return {path.relative_to(folder / "capture").as_posix(): path.read_bytes() for path in found}


async def test_a_capture_goes_the_whole_way_while_a_gateway_is_killed(
    site: Site, photos: dict[str, bytes]
) -> None:
    with collecting() as collector:
        site.ships.environment["PHOTOTWIN_TRACES_URL"] = collector.url
        await _the_whole_way(site, photos)
        for service in site.ships.services:
            service.end(signal.SIGTERM)
    spans = [span for span in collector.spans if span.trace == TRACE]
    parents = {span.id: span for span in spans}
    asked, *_ = (span for span in spans if span.parent == CALLER)
    assert (asked.service, asked.name) == ("phototwin-gateway", "POST /v1/captures/{capture_id}/complete")
    cause = asked
    for stage, kind in zip(STAGES, KINDS[1:], strict=True):
        (job,) = (span for span in spans if span.name == stage and span.parent == cause.id)
        (cause,) = (span for span in spans if span.name == f"publish {kind}" and span.parent == job.id)
        assert job.service == cause.service == f"phototwin-{stage}"
    assert all(span.parent in parents or span.parent == CALLER for span in spans)


async def _the_whole_way(site: Site, photos: dict[str, bytes]) -> None:
    await site.ships.start(*STAGES)
    (victim, first), (_, second) = await site.gateway(), await site.gateway()
    id = await send(first, photos)
    header = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
    done = await second.post(f"/v1/captures/{id}/complete", headers=header)  # whichever is asked
    assert done.status_code == 202, done.text
    events = Events(f"/v1/captures/{id}/events")
    await events.follow(first, lambda e: any(p["stage"] == "reconstruct" for p in e.progress))
    victim.end(signal.SIGKILL)
    with pytest.raises(httpx.TransportError):
        await first.get("/v1/me")
    async with asyncio.timeout(300):
        await events.follow(second, lambda e: e.status.get("state") == "done")
    first_seen = events.seen[0][0]
    assert events.seen == list(enumerate(KINDS, 1))[first_seen - 1 :]
    assert [stage["state"] for stage in events.status["stages"]] == ["done"] * 5
    latency = events.status["latency"]
    assert all(latency[term] > 0 for term in ("scan", "upload", "signal", "preprocessing", "reconstruction"))

    _, heir = await site.gateway()
    told = [(await client.get(f"/v1/captures/{id}")).json() for client in (second, heir)]
    assert [each.pop("poster") is not None for each in told] == [True, True]
    for each in told:
        del each["loss_curve"], each["losses"], each["preview"]  # what was heard while it went on
    assert told[0] == told[1]

    link = await heir.get(f"/v1/captures/{id}/files/model.glb")
    assert link.status_code == 307
    async with httpx.AsyncClient() as anyone:
        model = await anyone.get(link.headers["location"])
    assert model.headers["content-type"] == "model/gltf-binary"
    assert model.content[:4] == b"glTF"
    theirs = {"Authorization": f"Bearer {Site.new_key(site.ships, 'other')}"}
    assert (await heir.get(f"/v1/captures/{id}", headers=theirs)).status_code == 404

    assert (await heir.delete(f"/v1/captures/{id}")).status_code == 204
    assert await site.ships.store.below(f"captures/shop/{id}/") == []
    assert (await second.get(f"/v1/captures/{id}")).status_code == 404


async def test_a_capture_is_cancelled_while_it_is_worked_on_and_then_deleted(
    site: Site, photos: dict[str, bytes]
) -> None:
    await site.ships.start("prepare", "segment", "reconstruct")
    _, client = await site.gateway()
    id = await send(client, photos)
    await client.post(f"/v1/captures/{id}/complete")
    events = Events(f"/v1/captures/{id}/events")
    await events.follow(client, lambda e: any(p["stage"] == "reconstruct" for p in e.progress))
    answer = await client.delete(f"/v1/captures/{id}")
    assert answer.status_code == 202
    async with asyncio.timeout(180):
        while (await client.get(f"/v1/captures/{id}")).status_code != 404:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
    await asyncio.sleep(2)
    assert await site.ships.store.below(f"captures/shop/{id}/") == []


async def test_an_index_that_was_lost_is_made_again(
    site: Site, photos: dict[str, bytes], postgres: Databases, s3: S3Server, tmp_path: Path
) -> None:
    await site.ships.start("prepare")
    service, client = await site.gateway()
    id = await send(client, photos)
    await client.post(f"/v1/captures/{id}/complete")
    events = Events(f"/v1/captures/{id}/events")
    await events.follow(client, lambda e: e.status.get("number") == 2)
    before = events.status
    assert service.end(signal.SIGTERM) == 0
    site.ships.environment["PHOTOTWIN_DATABASE_URL"] = postgres.database()
    made = site.ships.command("reconcile")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("1 captures in the store")
    bucket = site.ships.settings.s3_bucket
    stranger = s3.add_user(f"stranger-{uuid.uuid4().hex[:8]}", policy("package", bucket))
    theirs = site.ships.settings.model_copy(
        update={"s3_access_key": stranger.key, "s3_secret_key": SecretStr(stranger.secret)}
    )
    async with connect(theirs) as store:  # by whom it was put an object is owned
        await store.put_if_absent("captures/other/c/model/k/manifest.json", b"{}", "application/json")
    part = site.ships.command("reconcile")
    assert part.returncode == 1
    assert part.stdout.startswith("2 captures in the store; 0 events were missing")
    assert "captures/other/c/model/k/manifest.json: GetObject is denied" in part.stderr
    site.key = Site.new_key(site.ships, "shop")
    _, again = await site.gateway()
    after = (await again.get(f"/v1/captures/{id}")).json()
    assert after["state"] == before["state"] == "working"
    assert after["options"] == before["options"]
    assert [s["state"] for s in after["stages"]] == [s["state"] for s in before["stages"]]

    waits = site.ships.command("reconcile", "--quiet", "0")
    first, passed, _ = waits.stdout.splitlines()
    assert first == f"{NOT_STUCK.format(2)}; 1 more may be, and were passed over"
    assert passed.startswith("passed over: segment: not looked at, 1 wait for it")
    named = site.ships.command("reconcile", "--publish", "--capture-id", id, "--tenant", "shop")
    assert named.stdout.splitlines()[1:] == [f"published again: {id} of tenant shop, after poses.ready"]
    assert await site.ships.depth("segment") == 2
    queues = site.ships.settings.topology.live_queues("segment")
    async with site.ships.broker.inbox(queues) as inbox:
        for queue in queues:
            while (taken := await inbox.take(queue)) is not None:
                await taken.ack()  # by nobody who would work on it
    lost = site.ships.command("reconcile", "--quiet", "0", "--publish")
    assert lost.stdout.splitlines()[1:] == [f"stuck: {id} of tenant shop, after poses.ready"]
    assert await site.ships.depth("segment") == 1
    async with connect(site.ships.settings) as store:
        (tmp_path / "a.jpg").write_bytes(b"photo")
        await store.put("captures/shop/silent/upload/a.jpg", tmp_path / "a.jpg", "image/jpeg")
    silent = site.ships.command("reconcile", "--uploads", "0", "--publish")
    assert silent.stdout.splitlines()[1:] == ["stuck: silent of tenant shop, after dataset.uploaded"]
    (failed,) = await site.ships.outcome(CaptureFailed, "silent")
    assert failed.error.code == "format_unsupported"
    once_more = site.ships.command("reconcile", "--uploads", "0", "--publish")
    assert once_more.stdout.splitlines()[1:] == []

"""Events as they happen, decisions on masks, an index made again: with the workers' part played."""

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from contracts.dataset import announced_key
from contracts.envelope import Envelope
from contracts.events import Event, JobProgress, MasksReviewed
from tests.gateway import BASE, Served, one, served
from workers.gateway.access import Principal
from workers.gateway.captures import Captures
from workers.gateway.follower import Follower
from workers.gateway.live import stream
from workers.gateway.reconcile import rebuild
from workers.gateway.record import STAGES
from workers.gateway.status import Teller
from workers.gateway.stuck import latest_inputs


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as made:
        yield made


async def begun(site: Served, id: str) -> Event:
    return Envelope.parse(await site.gateway.store.get(announced_key(Event(capture_id=id)))).data


class Client:
    """Of server-sent events, as far as these tests look."""

    def __init__(self, site: Served, id: str, last: int | None = None) -> None:
        self.events: list[tuple[str, int | None, dict[str, Any]]] = []
        self._task = asyncio.create_task(self._read(site, id, last))

    async def _read(self, site: Served, id: str, last: int | None) -> None:
        captures = Captures(site.gateway, Principal("default", "test"))
        teller = Teller(site.gateway.hub, site.gateway.links, BASE)
        row = await captures.row(id)
        async for text in stream(site.gateway, captures, teller, row, last):
            for said in text.strip().split("\n\n"):
                fields = dict(line.partition(": ")[::2] for line in said.splitlines())
                number = int(fields["id"]) if "id" in fields else None
                self.events.append((fields.get("event", ""), number, json.loads(fields.get("data", "{}"))))

    def named(self, name: str) -> list[dict[str, Any]]:
        return [data for event, _, data in self.events if event == name]

    @property
    def journal(self) -> list[tuple[str, int | None]]:
        known = ("status", "job.progress", "deleted")
        return [(event, number) for event, number, _ in self.events if event not in known]

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(120):
            while not condition(self):
                if self._task.done():
                    self._task.result()
                await asyncio.sleep(0.02)

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_events_come_as_they_happen_and_again_after_a_lost_connection(site: Served) -> None:
    id = await site.uploaded()
    client = Client(site, id)
    await client.until(lambda c: c.named("status"))
    event = await begun(site, id)
    progress = event.followed_by(JobProgress, stage="prepare", fraction=0.5)
    await site.workers.say(progress, "p")
    await client.until(lambda c: c.named("job.progress"))
    for stage in STAGES[:2]:
        event = await site.workers.do(stage, event)
    await client.until(lambda c: c.named("status")[-1]["stages"][2]["state"] == "done")
    assert client.journal == [("poses.ready", 2), ("masks.ready", 3)]
    await client.end()

    for stage in STAGES[2:]:
        event = await site.workers.do(stage, event)
    await site.until(id, "done")
    again = Client(site, id, last=2)
    await again.until(lambda c: c.named("status"))
    assert again.journal == [("masks.ready", 3), ("mesh.ready", 4), ("model.ready", 5)]
    await site.client.delete(f"/v1/captures/{id}")
    await again.until(lambda c: c.named("deleted"))
    await again.end()


async def test_two_replicas_tell_the_same(tmp_path: Path) -> None:
    async with served(tmp_path) as first:
        broker, store = first.gateway.broker, first.gateway.store
        async with one(tmp_path, broker, store) as second:  # type: ignore[arg-type]
            id = await first.uploaded()
            clients = [Client(first, id, last=0), Client(second, id, last=0)]
            event = await begun(first, id)
            for stage in STAGES:
                event = await first.workers.do(stage, event)
            for client in clients:
                await client.until(lambda c: len(c.journal) == 5 and c.named("status")[-1]["state"] == "done")
                numbers = [number for _, number in client.journal]
                assert numbers == [1, 2, 3, 4, 5]
            one_said, other_said = [await each.status(id) for each in (first, second)]
            del one_said["poster"], other_said["poster"]  # links differ in their expiry
            assert one_said == other_said
            for client in clients:
                await client.end()


async def test_listeners_are_dismissed(site: Served) -> None:
    client = Client(site, await site.uploaded())
    await client.until(lambda c: c.named("status"))
    site.gateway.hub.close()
    async with asyncio.timeout(60):
        await client._task


async def test_listeners_have_a_limit(tmp_path: Path) -> None:
    async with served(tmp_path, max_listeners=1) as site:
        client = Client(site, await site.uploaded())
        await client.until(lambda c: c.named("status"))
        refused = await site.client.get(f"/v1/captures/{await site.uploaded()}/events")
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
        assert refused.headers["retry-after"]
        await client.end()


def png(width: int, height: int) -> str:
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\0\0\0\0"
    return "data:image/png;base64," + base64.b64encode(header).decode()


async def test_masks_are_decided_on(site: Served) -> None:
    id = await site.uploaded(options={"review": True})
    event = await begun(site, id)
    poses = await site.workers.do("prepare", event)
    bad = {"p3": {"verdict": "bad", "reasons": ["cut off"]}, "p1": {"verdict": "doubtful"}}
    verdicts = {f"p{i}": {"verdict": "good"} for i in range(12)} | bad
    await site.workers.do("segment", poses, masks=verdicts)
    await site.until(id, "review")
    masks = (await site.client.get(f"/v1/captures/{id}/masks")).json()
    assert masks["waiting"]
    assert [image["stem"] for image in masks["images"][:3]] == ["p3", "p1", "p0"]
    assert masks["images"][0]["reasons"] == ["cut off"]
    assert (await site.client.get(masks["images"][0]["mask"])).content.endswith(b"p3.png")
    assert (await site.client.get(masks["images"][0]["photo"])).content.endswith(b"images/p3.png")

    async def refused(code: int, **decided: Any) -> str:
        answer = await site.client.post(f"/v1/captures/{id}/masks", json=decided)
        assert answer.status_code == code, answer.text
        return str(answer.json()["detail"])

    assert "unknown" in await refused(422, images={"unknown": {"keep": False}})
    assert "other masks" in await refused(422, images={}, proposal=64 * "f")
    assert "4 by 4" in await refused(422, images={"p1": {"keep": True, "mask": png(4, 5)}})
    assert "left" in await refused(422, images={f"p{i}": {"keep": False} for i in range(12)})

    decided = {"p3": {"keep": False}, "p1": {"keep": True, "mask": png(4, 4)}}
    answer = await site.client.post(
        f"/v1/captures/{id}/masks", json={"images": decided, "proposal": masks["proposal"]}
    )
    assert (answer.status_code, answer.json()["state"]) == (202, "working")
    published = Envelope.parse(site.gateway.broker._log[-1].body).data  # type: ignore[attr-defined]
    assert isinstance(published, MasksReviewed)
    assert published.decisions["p3"].decision == "discard"
    replaced = published.decisions["p1"].mask
    assert replaced is not None
    assert (await site.gateway.store.get(replaced.key)).startswith(b"\x89PNG")
    assert "working" in await refused(409, images={})


async def test_without_a_review_there_are_no_masks_to_decide_on(site: Served) -> None:
    id = await site.uploaded()
    assert (await site.client.get(f"/v1/captures/{id}/masks")).status_code == 404


async def test_an_index_is_made_again_from_the_store(tmp_path: Path) -> None:
    async with served(tmp_path / "before") as site:
        done, reviewed, failed, waiting = [
            await site.uploaded(name=name, options={"review": name == "reviewed"})
            for name in ("done", "reviewed", "again", "waiting")
        ]
        unfinished = (await site.created(name="unfinished"))["capture_id"]
        event = await begun(site, done)
        for stage in STAGES:
            event = await site.workers.do(stage, event)
        event = await begun(site, reviewed)
        for stage in STAGES[:2]:
            event = await site.workers.do(stage, event)
        event = await begun(site, failed)
        for stage in STAGES[:3]:
            event = await site.workers.do(stage, event)
        await site.until(done, "done")
        await site.until(reviewed, "review")
        await site.client.post(f"/v1/captures/{failed}/cancel")
        ids = (done, reviewed, waiting, unfinished)
        before = [await site.status(id) for id in ids]
        store = site.gateway.store
        async with served(tmp_path / "after") as fresh:
            made = fresh.gateway
            follower = Follower(made.database, made.broker, store, made.sender, made.hub, lasting=False)
            captures, events, denied = await rebuild(made.database, store, follower, made.settings)
            assert (captures, events > 8, denied) == (5, True, [])
            assert (await rebuild(made.database, store, follower, made.settings))[1] == 0
            same = ("state", "name", "generation", "options", "created", "can", "advice")
            for id, known in zip(ids, before, strict=True):
                told = await fresh.status(id)
                assert [told[field] for field in same] == [known[field] for field in same]
                assert [s["state"] for s in told["stages"]] == [s["state"] for s in known["stages"]]
            assert len(await latest_inputs(made.database)) == 2

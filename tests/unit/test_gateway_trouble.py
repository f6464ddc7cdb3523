"""Clients that do several things at once, hang up, or send what nobody expects."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from contracts.dataset import announced_key
from contracts.envelope import Envelope
from contracts.events import Event
from tests.gateway import Served, content, served
from workers.gateway.database.session import unbroken


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as made:
        yield made


async def test_files_added_while_it_is_completed_are_not_lost(site: Served) -> None:
    told = await site.created()
    await site.send(told["uploads"])
    path, more = f"/v1/captures/{told['capture_id']}", {"files": [{"name": "late.jpg", "bytes": 3}]}
    completed, added = await asyncio.gather(
        site.client.post(f"{path}/complete"), site.client.post(f"{path}/files", json=more)
    )
    assert (completed.status_code, added.status_code) in [(202, 409), (409, 201)]
    if added.status_code == 201:
        names = {file["name"] for file in (await site.client.get(f"{path}/uploads")).json()["files"]}
        assert names == {"a.jpg", "b.jpg", "late.jpg"}


async def test_a_name_is_added_once(site: Served) -> None:
    id = (await site.created())["capture_id"]
    same = [{"files": [{"name": "same.jpg", "bytes": size}]} for size in (3, 4, 5, 6)]
    answers = await asyncio.gather(
        *(site.client.post(f"/v1/captures/{id}/files", json=each) for each in same)
    )
    assert sorted(answer.status_code for answer in answers) == [201, 422, 422, 422]


@pytest.mark.parametrize("name", ["a.jpg/x", "x/" * 450 + "a.jpg", "p/.aside-x"])
async def test_names_that_the_store_could_not_hold(site: Served, name: str) -> None:
    id = (await site.created())["capture_id"]
    more = {"files": [{"name": name, "bytes": 3}]}
    assert (await site.client.post(f"/v1/captures/{id}/files", json=more)).status_code == 422


@pytest.mark.parametrize("path", ["/page/%00.js", "/page/" + 300 * "a" + ".js", "/page/..%2fapi.py"])
async def test_pages_that_are_none(site: Served, path: str) -> None:
    assert (await site.client.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/captures", {"name": "a\0b", "files": [{"name": "a", "bytes": 1}]}),
        ("DELETE", "/v1/webhooks/%00", None),
        ("GET", "/v1/captures/x/events", None),
        ("GET", "/v1/captures?after=WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzE0OjAwIiwgIngiXQ", None),
    ],
)
async def test_what_no_database_takes(site: Served, method: str, path: str, body: Any) -> None:
    headers = {"Last-Event-ID": "9" * 20}
    assert (await site.client.request(method, path, json=body, headers=headers)).status_code == 422


async def test_without_a_key_no_body_is_read(tmp_path: Path) -> None:
    async with served(tmp_path, auth="keys") as site:

        async def unread() -> AsyncIterator[bytes]:
            raise AssertionError("the body was asked for")
            yield b""

        assert (await site.client.post("/v1/captures", content=unread())).status_code == 401


async def test_an_id_is_free_again_where_its_capture_could_not_be_made(
    site: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"capture_id": "shelf", "files": [{"name": "a.jpg", "bytes": 1}]}
    with monkeypatch.context() as patched:
        patched.setattr("workers.gateway.captures.noted", lambda *_, **__: object())
        assert (await site.client.post("/v1/captures", json=asked)).status_code == 500
    assert (await site.client.post("/v1/captures", json=asked)).status_code == 201


async def test_whoever_hangs_up_in_the_middle_of_a_statement_stops_nobody() -> None:
    """As Starlette does it: by a scope of anyio's, which cancels again in every turn of the loop."""
    done = []

    async def statement() -> None:
        await asyncio.sleep(0.5)
        done.append(True)

    spent = time.thread_time()  # of no other thread that an earlier test has left
    with anyio.move_on_after(0.01):
        await unbroken(statement())
    assert done
    assert time.thread_time() - spent < 0.25  # it waits; round and round it would be .5


async def test_what_never_came_is_not_waited_for_after_a_cancellation(site: Served) -> None:
    id = await site.uploaded()
    await site.client.post(f"/v1/captures/{id}/cancel")
    await site.client.post(f"/v1/captures/{id}/files", json={"files": [{"name": "no.jpg", "bytes": 3}]})
    await site.client.post(f"/v1/captures/{id}/cancel")
    late = await site.client.post(f"/v1/captures/{id}/complete")
    assert late.status_code == 409  # cancelled: not taken for done
    more = {"files": [{"name": "c.jpg", "bytes": len(content("c.jpg"))}]}
    targets = (await site.client.post(f"/v1/captures/{id}/files", json=more)).json()
    assert [file["name"] for file in targets["files"]] == ["a.jpg", "b.jpg", "c.jpg"]


async def test_what_never_began_cannot_be_retried(site: Served) -> None:
    id = (await site.created())["capture_id"]
    told = (await site.client.post(f"/v1/captures/{id}/cancel")).json()
    assert told["state"] == "cancelled"
    assert "retry" not in told["can"]


async def test_an_event_that_cannot_be_entered_keeps_no_other_out(
    site: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await site.uploaded(), await site.uploaded()
    usual = site.gateway.follower._apply

    async def refuse(session: Any, envelope: Envelope, manifest: Any) -> Any:
        if envelope.data.capture_id == first:
            raise ValueError("cannot be read")
        return await usual(session, envelope, manifest)

    monkeypatch.setattr(site.gateway.follower, "_apply", refuse)
    for id in (first, second):
        body = await site.gateway.store.get(announced_key(Event(capture_id=id)))
        await site.workers.do("prepare", Envelope.parse(body).data)
    async with asyncio.timeout(120):
        while (await site.status(second))["stages"][1]["state"] != "done":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert (await site.status(first))["stages"][1]["state"] == "waiting"
    assert site.gateway.follower.listening == 2

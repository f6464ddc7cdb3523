"""What can be asked of the gateway, by HTTP; the workers' part is played."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

from contracts.dataset import announced_key, capture_key
from contracts.envelope import Envelope
from contracts.errors import StorageUnavailable, TooFewImages
from contracts.events import CaptureFailed, DatasetUploaded, Event, Failure, JobProgress, Options
from tests.gateway import BASE, Served, content, served
from workers.gateway.database.tables import CaptureRow
from workers.gateway.quota import ABANDONED
from workers.gateway.record import STAGES
from workers.gateway.uploads import Uploads
from workers.runtime.storage import NotFound


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as made:
        yield made


async def announced(site: Served, capture_id: str, generation: int = 0) -> DatasetUploaded:
    body = await site.gateway.store.get(announced_key(Event(capture_id=capture_id, generation=generation)))
    event = Envelope.parse(body).data
    assert isinstance(event, DatasetUploaded)
    return event


async def model(site: Served, capture_id: str, begun: Event, until: str = "done") -> dict[str, Any]:
    for stage in STAGES:
        begun = await site.workers.do(stage, begun)
    return await site.until(capture_id, until)


def states(status: dict[str, Any]) -> list[str]:
    return [stage["state"] for stage in status["stages"]]


async def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert (told["status"], told["code"]) == (status, code)
    assert told["detail"]
    assert told["action"]
    return told


async def test_from_an_upload_to_a_model(site: Served) -> None:
    told = await site.created("a.jpg", "folder/b.jpg", name="Shelf", options={"profile": "preview"})
    id = told["capture_id"]
    assert states(told) == ["running", "waiting", "waiting", "waiting", "waiting"]
    assert told["can"] == ["complete", "append", "cancel", "delete"]
    missing = await site.client.post(f"/v1/captures/{id}/complete")
    assert (await problem(missing, 409, "upload_incomplete"))["missing"] == ["a.jpg", "folder/b.jpg"]

    first, second = told["uploads"]["files"]
    await site.client.put(first["url"], content=content("a.jpg"), headers=first["headers"])
    again = (await site.client.get(f"/v1/captures/{id}/uploads")).json()
    assert [file["received"] for file in again["files"]] == [True, False]
    await site.send({"files": again["files"]})
    done = (await site.client.post(f"/v1/captures/{id}/complete")).json()
    assert states(done) == ["done", "waiting", "waiting", "waiting", "waiting"]
    event = await announced(site, id)
    assert [file.bytes for file in event.files] == [first["bytes"], second["bytes"]]
    assert event.options == Options(profile="preview")
    published = [Envelope.parse(m.body).data for m in site.gateway.broker._log]  # type: ignore[attr-defined]
    assert published == [event]

    finished = await model(site, id, event)
    assert states(finished) == ["done"] * 5
    assert finished["latency"]["preprocessing"] == 5.0
    assert finished["latency"]["reconstruction"] == 2.5
    assert None not in (finished["latency"]["upload"], finished["latency"]["signal"])
    assert finished["latency"]["download"] is None
    await site.client.post(f"/v1/captures/{id}/downloads", json={"seconds": 1.25})
    assert (await site.status(id))["latency"]["download"] == 1.25

    files = (await site.client.get(f"/v1/captures/{id}/files")).json()["files"]
    assert [file["name"] for file in files] == ["model.glb", "report.html", "poster.png"]
    link = await site.client.get(f"/v1/captures/{id}/files/model.glb")
    assert link.status_code == 307
    got = await site.client.get(link.headers["location"])
    assert got.headers["content-type"] == "model/gltf-binary"
    assert got.content.endswith(b"model.glb")
    await problem(await site.client.get(f"/v1/captures/{id}/files/nothing"), 404, "absent")
    meshes = await site.client.get(f"/v1/captures/{id}/files", params={"stage": "reconstruct"})
    assert [file["name"] for file in meshes.json()["files"]] == ["mesh.obj"]


async def test_completing_twice_announces_once(site: Served) -> None:
    id = await site.uploaded()
    again = await site.client.post(f"/v1/captures/{id}/complete")
    assert (again.status_code, again.json()["state"]) == (202, "working")
    assert again.json()["number"] == 1


async def test_an_idempotency_key_makes_one_capture(site: Served) -> None:
    body = {"files": [{"name": "a.jpg", "bytes": 3}]}
    key = {"Idempotency-Key": "once"}
    first = await site.client.post("/v1/captures", json=body, headers=key)
    second = await site.client.post("/v1/captures", json=body, headers=key)
    assert first.json() == second.json()
    assert len((await site.client.get("/v1/captures")).json()["captures"]) == 1
    other = await site.client.post("/v1/captures", json={**body, "name": "x"}, headers=key)
    await problem(other, 422, "idempotency_key_reused")


async def test_a_request_that_was_interrupted_goes_on(site: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    body, key = {"files": [{"name": "a.jpg", "bytes": 3}]}, {"Idempotency-Key": "again"}
    with monkeypatch.context() as patched:
        patched.setattr(Uploads, "begin", AsyncMock(side_effect=StorageUnavailable("away")))
        interrupted = await site.client.post("/v1/captures", json=body, headers=key)
    await problem(interrupted, 503, "unavailable")
    assert (await site.client.post("/v1/captures", json=body, headers=key)).status_code == 201
    assert len((await site.client.get("/v1/captures")).json()["captures"]) == 1


async def test_a_request_whose_answer_was_lost_is_answered_again(
    site: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"files": [{"name": "a.jpg", "bytes": 3}], "callback": "https://example.com/", "capture_id": "it"}
    key = {"Idempotency-Key": "lost"}
    with monkeypatch.context() as patched:  # all that is left to do is to sign links
        patched.setattr(Uploads, "targets", AsyncMock(side_effect=StorageUnavailable("away")))
        lost = await site.client.post("/v1/captures", json=asked, headers=key)
    await problem(lost, 503, "unavailable")
    other = await site.client.post("/v1/captures", json=asked, headers={"Idempotency-Key": "another"})
    await problem(other, 409, "capture_exists")
    await problem(await site.client.post("/v1/captures", json=asked), 409, "capture_exists")
    again = await site.client.post("/v1/captures", json=asked, headers=key)
    assert again.status_code == 201, again.text
    assert again.json()["callback_secret"].startswith("whsec_")
    assert [file["name"] for file in again.json()["uploads"]["files"]] == ["a.jpg"]
    assert len((await site.client.get("/v1/captures")).json()["captures"]) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"files": []}, "files"),
        ({}, "files"),
        ({"files": [{"name": "../a", "bytes": 1}]}, "name"),
        ({"files": [{"name": "a", "bytes": 0}]}, "bytes"),
        ({"files": [{"name": "a", "bytes": 1}, {"name": "a", "bytes": 1}]}, "twice"),
        ({"files": [{"name": "a", "bytes": 1}, {"name": "a/b", "bytes": 1}]}, "folder"),
        ({"files": [{"name": "a", "bytes": 1}], "optoins": {}}, "optoins"),
        ({"files": [{"name": "a", "bytes": 1}], "options": {"profil": "high"}}, "profil"),
        ({"files": [{"name": "a", "bytes": 1}], "options": {"profile": "best"}}, "profile"),
        ({"files": [{"name": "a", "bytes": 1}], "capture_id": "a/b"}, "capture_id"),
        ({"files": [{"name": "a", "bytes": 1}], "callback": "ftp://a.example"}, "callback"),
    ],
)
async def test_a_bad_request_says_which_field(site: Served, body: dict[str, Any], field: str) -> None:
    answer = await site.client.post("/v1/captures", json=body)
    assert field in (await problem(answer, 422, "request_invalid"))["detail"]
    assert (await site.client.get("/v1/captures")).json()["captures"] == []


async def test_requests_that_are_no_requests(site: Served) -> None:
    headers = {"Content-Type": "application/json"}
    await problem(await site.client.post("/v1/captures", content=b"{", headers=headers), 400, "malformed")
    plain = {"Content-Type": "text/plain"}
    kind = await problem(
        await site.client.post("/v1/captures", content=b"{}", headers=plain), 400, "malformed"
    )
    assert (kind["detail"], kind["action"]) == ("Content-Type is text/plain", "Send application/json.")
    key = {"Idempotency-Key": "a b"}
    bad = await site.client.post("/v1/captures", json={"files": [{"name": "a", "bytes": 1}]}, headers=key)
    assert "UUID" in (await problem(bad, 400, "malformed"))["action"]
    await problem(await site.client.get("/v1/nothing"), 404, "absent")
    await problem(await site.client.put("/v1/captures"), 405, "method_not_allowed")
    await problem(await site.client.get("/v1/captures/unknown"), 404, "absent")
    await problem(await site.client.get("/v1/captures", params={"after": "?"}), 422, "request_invalid")
    large = b"[" + b" " * (5 << 20) + b"]"
    await problem(await site.client.post("/v1/captures", content=large, headers=headers), 413, "too_large")

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(6):
            yield b" " * (1 << 20)

    unannounced = await site.client.post("/v1/captures", content=endless(), headers=headers)
    await problem(unannounced, 413, "too_large")


async def test_another_page_is_refused(site: Served) -> None:
    answer = await site.client.get("/v1/captures", headers={"Origin": "https://elsewhere.example"})
    await problem(answer, 403, "forbidden")
    rebound = {"Host": "evil.example", "Origin": "http://evil.example"}
    await problem(await site.client.get("/v1/captures", headers=rebound), 403, "forbidden")
    assert (await site.client.get("/v1/captures", headers={"Origin": BASE})).is_success


async def test_the_quota_holds_for_those_who_ask_at_once(tmp_path: Path) -> None:
    async with served(tmp_path, max_open_captures=2) as site:
        one = {"files": [{"name": "a.jpg", "bytes": 1}]}
        answers = await asyncio.gather(*(site.client.post("/v1/captures", json=one) for _ in range(6)))
        assert sorted(answer.status_code for answer in answers) == [201, 201, 429, 429, 429, 429]
        assert len((await site.client.get("/v1/captures")).json()["captures"]) == 2


async def test_limits(tmp_path: Path) -> None:
    limits: dict[str, Any] = {
        "max_open_captures": 1,
        "max_files": 2,
        "max_upload_bytes": 10,
        "requests_per_minute": 6,
    }
    async with served(tmp_path, **limits) as site:
        three = {"files": [{"name": f"{i}.jpg", "bytes": 1} for i in range(3)]}
        assert (
            "2 is the most"
            in (await problem(await site.client.post("/v1/captures", json=three), 413, "too_large"))["detail"]
        )
        big = {"files": [{"name": "a.jpg", "bytes": 11}]}
        await problem(await site.client.post("/v1/captures", json=big), 413, "too_large")
        small = {"files": [{"name": "a.jpg", "bytes": 3}]}
        assert (await site.client.post("/v1/captures", json=small)).status_code == 201
        refused = await site.client.post("/v1/captures", json=small)
        await problem(refused, 429, "quota_reached")
        me = (await site.client.get("/v1/me")).json()
        assert (me["open_captures"], me["limits"]["files"]) == (1, 2)
        assert (await site.client.get("/v1/me")).is_success
        late = await site.client.get("/v1/me")
        await problem(late, 429, "too_many_requests")
        assert 1 <= int(late.headers["retry-after"]) <= 60


async def test_cancelled_and_done_again(site: Served) -> None:
    id = await site.uploaded()
    cancelled = await site.client.post(f"/v1/captures/{id}/cancel", json={"reason": "wrong object"})
    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
    assert states(cancelled.json()) == ["done", *["cancelled"] * 4]
    assert (await site.client.post(f"/v1/captures/{id}/cancel")).json()["number"] == 2
    late = await site.client.post(f"/v1/captures/{id}/retry", json={"stage": "package"})
    await problem(late, 409, "state_conflict")

    options = {"profile": "high"}
    again = await site.client.post(f"/v1/captures/{id}/retry", json={"stage": "prepare", "options": options})
    assert (again.json()["generation"], again.json()["state"]) == (1, "working")
    assert again.json()["options"]["profile"] == "high"
    event = (await announced(site, id)).model_copy(
        update={"generation": 1, "options": Options(profile="high")}
    )
    assert (await model(site, id, event))["generation"] == 1

    package = await site.client.post(f"/v1/captures/{id}/retry", json={"stage": "package"})
    assert states(package.json()) == ["done", "done", "done", "done", "waiting"]
    assert package.json()["generation"] == 2
    files = (await site.client.get(f"/v1/captures/{id}/files")).json()["files"]
    assert files[0]["name"] == "model.glb"  # what was there stays until there is another
    refused = await site.client.post(f"/v1/captures/{id}/retry", json={"stage": "package"})
    await problem(refused, 409, "state_conflict")


async def test_photos_are_added(site: Served) -> None:
    id = await site.uploaded()
    event = await announced(site, id)
    poses = await site.workers.do("prepare", event)
    await problem(
        await site.client.post(f"/v1/captures/{id}/files", json={"files": [{"name": "c.jpg", "bytes": 1}]}),
        409,
        "state_conflict",
    )
    for stage in STAGES[1:]:
        poses = await site.workers.do(stage, poses)
    await site.until(id, "done")
    more = {"files": [{"name": "c.jpg", "bytes": len(content("c.jpg"))}]}
    same = await site.client.post(f"/v1/captures/{id}/files", json={"files": [{"name": "a.jpg", "bytes": 1}]})
    await problem(same, 422, "request_invalid")
    targets = (await site.client.post(f"/v1/captures/{id}/files", json=more)).json()
    assert [file["received"] for file in targets["files"]] == [True, True, False]
    assert (await site.status(id))["state"] == "uploading"
    await site.send(targets)
    done = (await site.client.post(f"/v1/captures/{id}/complete")).json()
    assert (done["state"], done["generation"]) == ("working", 1)
    grown = await announced(site, id, 1)
    assert [file.key.rpartition("/")[2] for file in grown.files] == ["a.jpg", "b.jpg", "c.jpg"]
    assert grown.previous is not None


async def test_a_failure_is_told_in_plain_words(site: Served) -> None:
    id = await site.uploaded()
    event = await announced(site, id)
    error = TooFewImages("all are")
    failure = Failure(code=error.code, message="all are", sentence=error.sentence, action=error.action)
    failed = event.followed_by(CaptureFailed, stage="prepare", error=failure)
    await site.workers.say(failed, "failed")
    told = await site.until(id, "failed")
    assert states(told) == ["done", "failed", "waiting", "waiting", "waiting"]
    assert told["error"]["action"] == error.action
    assert told["failed_stage"] == "prepare"
    assert "retry" in told["can"]


async def test_progress_and_previews_are_told(site: Served) -> None:
    id = await site.uploaded()
    event = await announced(site, id)
    for fraction, loss in ((0.25, 0.5), (0.5, 0.25)):
        progress = event.followed_by(
            JobProgress,
            stage="prepare",
            fraction=fraction,
            eta_seconds=4.0,
            step="photo 3 of 12",
            losses={"image": loss},
            preview=f"{event.folder}previews/x/latest.glb",
        )
        await site.workers.say(progress, f"progress {fraction}")
    with_progress = await site.until(id, "working")
    prepare = with_progress["stages"][1]
    assert (prepare["state"], prepare["progress"], prepare["eta_seconds"]) == ("running", 0.5, 4.0)
    assert with_progress["loss_curve"] == [[0.25, {"image": 0.5}], [0.5, {"image": 0.25}]]
    assert with_progress["preview"]["number"] == 2
    assert with_progress["preview"]["up"] is None
    await site.workers.do("prepare", event, world={"up": [0, 0, 1]})
    async with asyncio.timeout(20):
        while (await site.status(id))["preview"]["up"] != [0, 0, 1]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert "latest.glb" in with_progress["preview"]["glb"]


@pytest.mark.parametrize(("first", "then"), [("all.ZIP", "a.jpg"), ("a.jpg", "all.zip")])
async def test_nothing_is_added_that_would_not_be_used(site: Served, first: str, then: str) -> None:
    id = (await site.created(first))["capture_id"]
    more = {"files": [{"name": then, "bytes": 3}]}
    refused = await site.client.post(f"/v1/captures/{id}/files", json=more)
    assert "zip" in (await problem(refused, 422, "request_invalid"))["detail"].lower()


async def test_what_a_model_is_worth_is_told_and_stays_as_it_does(site: Served) -> None:
    id = await site.uploaded()
    event: Event = await announced(site, id)
    for stage in STAGES[:3]:
        event = await site.workers.do(stage, event)
    judged = {"judged": {"grade": "weak"}, "weak": ["It is open."], "advice": "Go around it."}
    await site.workers.do("package", event, **judged)
    told = await site.until(id, "done")
    assert told["quality"] == {"grade": "weak", "weak": ["It is open."], "advice": "Go around it."}
    assert told["warnings"] == ["prepare was unsure", "package was unsure"]
    await site.client.post(f"/v1/captures/{id}/retry", json={"stage": "reconstruct"})
    again = await site.status(id)
    assert (again["state"], again["poster"] is None, again["quality"]) == ("working", False, told["quality"])


async def test_uploads_that_were_abandoned_do_not_count(tmp_path: Path) -> None:
    async with served(tmp_path, max_open_captures=1) as site:
        one = {"files": [{"name": "a.jpg", "bytes": 1}]}
        id = (await site.client.post("/v1/captures", json=one)).json()["capture_id"]
        await problem(await site.client.post("/v1/captures", json=one), 429, "quota_reached")
        async with site.gateway.database.begin() as session:
            row = await session.get(CaptureRow, ("default", id))
            assert row is not None
            row.updated -= ABANDONED
        assert (await site.client.post("/v1/captures", json=one)).status_code == 201
        assert (await site.client.get(f"/v1/captures/{id}/uploads")).status_code == 200


async def test_a_deleted_capture_leaves_a_line(site: Served) -> None:
    id = await site.uploaded()
    await model(site, id, await announced(site, id))
    assert (await site.client.delete(f"/v1/captures/{id}")).status_code == 204
    await problem(await site.client.get(f"/v1/captures/{id}"), 404, "absent")
    assert await site.gateway.store.below(f"captures/default/{id}/") == []
    with pytest.raises(NotFound):
        await site.gateway.store.get(capture_key(Event(capture_id=id)))
    files = [{"name": "a.jpg", "bytes": 1}]
    taken = await site.client.post("/v1/captures", json={"capture_id": id, "files": files})
    await problem(taken, 409, "capture_exists")


async def test_a_link_that_outlives_its_capture_leaves_nothing(site: Served) -> None:
    told = await site.created()
    assert (await site.client.delete(f"/v1/captures/{told['capture_id']}")).status_code == 204
    await site.send(told["uploads"])
    folder = f"captures/default/{told['capture_id']}/"
    assert len(await site.gateway.store.below(folder)) == 2
    await site.gateway.remover.sweep()
    assert await site.gateway.store.below(folder) == []


async def test_a_capture_that_is_worked_on_goes_when_the_worker_has_let_go(site: Served) -> None:
    id = await site.uploaded()
    event = await announced(site, id)
    running = f"{event.folder}running/job"
    await site.gateway.store.put_if_absent(running, b"", "text/plain")
    assert (await site.client.delete(f"/v1/captures/{id}")).status_code == 202
    assert (await site.status(id))["state"] == "deleting"
    left = {entry.key for entry in await site.gateway.store.below(event.folder)}
    assert left == {running}


async def test_captures_are_listed_by_page_and_state(site: Served) -> None:
    ids = [await site.uploaded(name=str(i)) for i in range(5)]
    await site.client.post(f"/v1/captures/{ids[1]}/cancel")
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = (await site.client.get("/v1/captures", params={"limit": 2, **after})).json()
        seen += [capture["capture_id"] for capture in page["captures"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == ids[::-1]
    cancelled = (await site.client.get("/v1/captures", params={"state": "cancelled"})).json()
    assert [capture["capture_id"] for capture in cancelled["captures"]] == [ids[1]]


async def test_tenants_see_their_own(tmp_path: Path) -> None:
    async with served(tmp_path, auth="keys") as site:
        await problem(await site.client.get("/v1/captures"), 401, "unauthorized")
        mine, theirs = [
            {"Authorization": f"Bearer {(await site.gateway.access.create_key(tenant, 'app'))[1]}"}
            for tenant in ("mine", "theirs")
        ]
        body = {"capture_id": "shelf", "files": [{"name": "a.jpg", "bytes": 1}]}
        for who in (mine, theirs):  # ids are the tenant's own
            assert (await site.client.post("/v1/captures", json=body, headers=who)).status_code == 201
        assert (await site.client.delete("/v1/captures/shelf", headers=theirs)).status_code == 204
        assert (await site.client.get("/v1/captures/shelf", headers=mine)).is_success
        await problem(await site.client.get("/v1/captures/shelf", headers=theirs), 404, "absent")

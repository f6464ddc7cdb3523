"""Links to a folder store: what they allow, and that nothing arrives but whole."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.errors import StorageUnavailable
from tests.unit.gateway_store import BASE, JPEG, KEY, Site, in_memory, running, until
from workers.gateway.links import interface
from workers.gateway.links.folder import FolderLinks
from workers.gateway.links.interface import Missing, Target, UploadLost, disposition, slices
from workers.gateway.problems import Problem
from workers.runtime.storage import NotFound

PART = 1000


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(interface, "PART_BYTES", PART)
    async with in_memory(tmp_path / "store") as made:
        yield made


def test_slices_cover_an_object_and_are_never_more_than_the_store_takes() -> None:
    for size in (1, 16 << 20, (16 << 20) + 1, 160_000 << 20, 1 << 40):
        parts = slices(size)
        assert [part.number for part in parts] == list(range(1, len(parts) + 1))
        assert [part.offset for part in parts[1:]] == [part.offset + part.bytes for part in parts[:-1]]
        assert sum(part.bytes for part in parts) == size
        assert len(parts) <= 10_000
        assert all(part.bytes >= 16 << 20 for part in parts[:-1])


def test_a_name_in_a_header_breaks_out_of_nothing() -> None:
    said = disposition('a"\r\nX-Evil: 1; ümlaut%20.glb', inline=False)
    assert said.startswith(
        "attachment; filename=\"a___X-Evil: 1; _mlaut_20.glb\"; filename*=UTF-8''a%22%0D%0A"
    )
    assert said.isascii()


async def test_what_is_put_by_its_link_is_there_and_wanted_no_more(site: Site) -> None:
    target = await site.link()
    assert not target.received
    assert target.headers == {"Content-Type": JPEG}
    for body in (b"x" * 10, b"y" * 10):  # twice is fine
        assert (await site.put(target, body)).status_code == 200
        assert await site.store.get(KEY) == body
    assert site.files() == ["ä photo.jpg"]
    assert await site.link() == Target(received=True)
    assert (await site.link(11)).url
    stat = await site.links.finish(KEY, 10, None)
    assert stat == await site.store.stat(KEY)
    with pytest.raises(Missing, match="has 10 bytes, not 11"):
        await site.links.finish(KEY, 11, None)
    with pytest.raises(Missing, match="not there"):
        await site.links.finish(KEY + "x", 10, None)


async def test_a_listing_spares_looking_for_each(site: Site) -> None:
    assert (await site.links.target(KEY, 10, JPEG, None, BASE, arrived={KEY: 10})).received
    assert not (await site.links.target(KEY, 10, JPEG, None, BASE, arrived={})).received


@pytest.mark.parametrize("length", [0, 9, 11, 100_000])
@pytest.mark.parametrize("announced", [True, False])
async def test_another_size_is_refused_and_leaves_nothing(site: Site, length: int, announced: bool) -> None:
    taken = 0

    async def stream() -> AsyncIterator[bytes]:
        nonlocal taken
        for start in range(0, length, 5):
            taken += 5
            yield b"x" * min(5, length - start)

    target = await site.link()
    assert target.url
    headers = {**target.headers, **({"Content-Length": str(length)} if announced else {})}
    await site.refused(await site.client.put(target.url, content=stream(), headers=headers))
    assert taken <= (0 if announced else 15)
    assert site.files() == []


async def test_another_media_type_is_refused(site: Site) -> None:
    target = await site.link()
    await site.refused(await site.put(target, b"x" * 10, **{"Content-Type": "text/html"}))
    assert site.files() == []


async def test_a_link_is_good_for_what_it_says_until_it_expires(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = await site.link()
    assert target.url
    put, get = target.url, await site.download()
    await site.refused(await site.client.get(put))
    await site.refused(await site.client.put(get, content=b"x" * 10))
    token = put.split("/")[4]
    body, _, signature = token.partition(".")
    other = FolderLinks(site.store, b"of another", 60)
    foreign = (await other.target(KEY, 10, JPEG, None, BASE)).url
    assert foreign
    changed = [
        token.replace(body, body[:n] + ("A" if body[n] != "A" else "B") + body[n + 1 :]) for n in (0, 60)
    ]
    changed += [
        f"{body}.{signature[:-1]}{'A' if signature[-1] != 'A' else 'B'}",
        body,
        "a.b",
        "ü",
        f"{body}.",
    ]
    for wrong in [foreign, *(put.replace(token, each) for each in changed)]:
        await site.refused(await site.client.put(wrong, content=b"x" * 10, headers=target.headers))
    assert site.files() == []
    late = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: late)
    response = await site.put(target, b"x" * 10)
    await site.refused(response, "link_expired")
    assert "seconds ago" in response.json()["detail"]
    await site.refused(await site.client.get(get), "link_expired")


async def test_what_goes_in_parts_is_resumed_and_finished_as_often_as_asked(site: Site) -> None:
    body = os.urandom(2 * PART + 500)
    upload = await site.links.begin(KEY, len(body), JPEG)
    assert upload
    target = await site.links.target(KEY, len(body), JPEG, upload, BASE)
    assert target.url is None
    assert [(part.number, part.offset, part.bytes, part.received) for part in target.parts] == [
        (1, 0, 1000, False),
        (2, 1000, 1000, False),
        (3, 2000, 500, False),
    ]

    async def put(part: interface.Part, content: bytes | None = None) -> httpx.Response:
        piece = body[part.offset : part.offset + part.bytes] if content is None else content
        return await site.client.put(part.url or "", content=piece)

    assert (await put(target.parts[2])).status_code == 200
    await site.refused(await put(target.parts[0], b"x" * 999))
    assert (await put(target.parts[0])).status_code == 200
    with pytest.raises(Missing, match="1 of its 3 parts"):
        await site.links.finish(KEY, len(body), upload)
    with pytest.raises(NotFound):
        await site.store.get(KEY)
    assert await site.store.below("captures/") == []  # parts are no objects

    target = await site.links.target(KEY, len(body), JPEG, upload, BASE)
    assert [(part.received, part.url is None) for part in target.parts] == [
        (True, True),
        (False, False),
        (True, True),
    ]
    assert (await put(target.parts[1])).status_code == 200
    stats = await asyncio.gather(*(site.links.finish(KEY, len(body), upload) for _ in range(4)))
    assert await site.links.finish(KEY, len(body), upload) == stats[0]
    assert len(set(stats)) == 1
    assert await site.store.get(KEY) == body
    assert site.files() == ["ä photo.jpg"]
    assert (await site.links.target(KEY, len(body), JPEG, upload, BASE)).received
    response = await put(target.parts[1])  # too late
    await site.refused(response)
    assert "over" in response.json()["detail"]
    assert site.files() == ["ä photo.jpg"]


async def test_of_many_who_finish_at_once_none_is_told_that_parts_are_missing(site: Site) -> None:
    for number in range(20):
        key = f"{KEY}{number}"
        upload = await site.links.begin(key, 2 * PART, JPEG)
        for part in (await site.links.target(key, 2 * PART, JPEG, upload, BASE)).parts:
            await site.client.put(part.url or "", content=b"x" * PART)
        stats = await asyncio.gather(*(site.links.finish(key, 2 * PART, upload) for _ in range(6)))
        assert len(set(stats)) == 1


async def test_what_is_given_up_leaves_nothing_and_takes_no_more(site: Site) -> None:
    upload = await site.links.begin(KEY, 1500, JPEG)
    assert upload
    target = await site.links.target(KEY, 1500, JPEG, upload, BASE)
    urls = [part.url or "" for part in target.parts]
    assert (await site.client.put(urls[0], content=b"x" * 1000)).status_code == 200
    started, going_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 400
        started.set()
        await going_on.wait()
        yield b"x" * 100

    late = asyncio.create_task(site.links._arrivals.receive_part(KEY, upload, 2, 500, slow()))
    await started.wait()
    for _ in range(2):
        await site.links.abort(KEY, upload)
    going_on.set()
    with pytest.raises(Problem, match="over"):
        await late
    read = 0

    async def unread() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield b"x" * 1000

    await site.refused(await site.client.put(urls[0], content=unread()))
    assert read == 0
    assert site.files() == []
    with pytest.raises(UploadLost):
        await site.links.target(KEY, 1500, JPEG, upload, BASE)
    with pytest.raises(UploadLost):
        await site.links.finish(KEY, 1500, upload)


async def test_what_is_given_up_while_it_is_finished_is_lost(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = await site.links.begin(KEY, 2 * PART, JPEG)
    assert upload
    for part in (await site.links.target(KEY, 2 * PART, JPEG, upload, BASE)).parts:
        await site.client.put(part.url or "", content=b"x" * PART)
    copy = shutil.copyfileobj

    def copy_and_lose(*arguments: Any) -> None:
        copy(*arguments)
        asyncio.run(site.links.abort(KEY, upload))

    monkeypatch.setattr(shutil, "copyfileobj", copy_and_lose)
    with pytest.raises(UploadLost):
        await site.links.finish(KEY, 2 * PART, upload)
    assert site.files() == []


async def test_no_key_leaves_the_folder(site: Site, tmp_path: Path) -> None:
    for key in ("../outside", "/tmp/outside"):
        target = await site.links.target(key, 10, JPEG, None, BASE, arrived={})
        with pytest.raises(StorageUnavailable):
            await site.put(target, b"x" * 10)
        with pytest.raises(StorageUnavailable):
            await site.links.begin(key, PART + 1, JPEG)
    assert not (tmp_path / "outside").exists()


async def test_a_client_that_hangs_up_leaves_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path / "store") as (site, port):
        size = 1_000_000
        target = await site.link(size)
        assert target.url
        path = target.url.removeprefix(BASE)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        headers = f"Host: x\r\nContent-Type: {JPEG}\r\nContent-Length: {size}\r\n"
        writer.write(f"PUT {path} HTTP/1.1\r\n{headers}\r\n".encode())
        writer.write(b"x" * (size // 2))
        await writer.drain()
        await until(lambda: bool(site.files()))
        assert site.files()[0].startswith(".aside-")
        writer.close()
        await until(lambda: not site.files())
        url = f"http://127.0.0.1:{port}{path}"
        again = await site.client.put(url, content=b"y" * size, headers=target.headers)
        assert again.status_code == 200
        assert await site.store.get(KEY) == b"y" * size
        await site.refused(await site.client.put(url, content=b"y" * (size + 1), headers=target.headers))
    assert not [record for record in caplog.records if record.levelname == "ERROR"]

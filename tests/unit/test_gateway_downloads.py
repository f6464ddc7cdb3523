"""What a folder store's links answer: as HTTP has it, whole, and harmless."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.gateway_store import BASE, JPEG, KEY, Site, in_memory, running


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with in_memory(tmp_path / "store") as made:
        yield made


async def test_a_download_has_its_name_and_media_type(site: Site) -> None:
    await site.put(await site.link(), b"0123456789")
    response = await site.client.get(await site.download(name="mein mödel.glb", inline=False))
    assert response.status_code == 200
    assert response.content == b"0123456789"
    assert response.headers["content-type"] == "model/gltf-binary"
    assert response.headers["content-disposition"] == (
        "attachment; filename=\"mein m_del.glb\"; filename*=UTF-8''mein%20m%C3%B6del.glb"
    )
    assert response.headers["content-length"] == "10"
    assert response.headers["access-control-allow-origin"] == "*"
    assert "ETag" in response.headers["access-control-expose-headers"]
    assert response.headers["content-security-policy"].startswith("sandbox")  # of the origin of the API
    head = await site.client.head(await site.download())
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "10", b"")
    assert head.headers["etag"] == response.headers["etag"]
    assert head.headers["content-disposition"].startswith("inline")
    again = await site.client.get(await site.download(), headers={"If-None-Match": head.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    await site.store.delete(KEY)
    response = await site.client.get(await site.download())
    assert (response.status_code, response.json()["code"]) == (404, "absent")


@pytest.mark.parametrize(
    ("asked", "status", "content", "range_"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=7-99", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=4-2", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("lines=0-1", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
    ],
)
async def test_a_range_is_answered_as_http_has_it(
    site: Site, asked: str, status: int, content: bytes, range_: str | None
) -> None:
    await site.put(await site.link(), b"0123456789")
    response = await site.client.get(await site.download(), headers={"Range": asked})
    assert (response.status_code, response.content) == (status, content)
    assert response.headers.get("content-range") == range_
    assert response.headers["access-control-allow-origin"] == "*"
    stale = {"Range": asked, "If-Range": '"another"'}
    assert (await site.client.get(await site.download(), headers=stale)).content == b"0123456789"


async def test_a_file_that_is_replaced_while_it_is_read_comes_whole(site: Site, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"o" * 3_000_000)
    new.write_bytes(b"n" * 50)
    await site.store.put(KEY, old, JPEG)
    async with running(tmp_path / "store") as (served, port):
        url = (await served.download()).replace(BASE, f"http://127.0.0.1:{port}")
        async with served.client.stream("GET", url) as response:
            await served.store.put(KEY, new, JPEG)
            assert b"".join([chunk async for chunk in response.aiter_bytes()]) == b"o" * 3_000_000
        assert (await served.client.get(url)).content == b"n" * 50


async def test_a_page_of_any_origin_may_ask(site: Site) -> None:
    target = await site.link()
    asked = {
        "Origin": "https://elsewhere.example",
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type",
    }
    response = await site.client.options(target.url or "", headers=asked)
    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == "*"
    assert "PUT" in response.headers["access-control-allow-methods"]
    assert response.headers["access-control-allow-headers"] == "*"

"""Links to a real S3, made with the rights of the gateway and no others."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import SecretStr

from contracts.errors import StorageUnavailable
from tests.servers.ceph import ObjectStore as S3Server
from workers.cli_access import storage_app
from workers.gateway.links import interface
from workers.gateway.links.interface import Missing, Part, Target, UploadLost
from workers.gateway.links.s3 import S3Links, apply_cors, connect
from workers.gateway.settings import GatewaySettings
from workers.runtime import s3 as objects
from workers.runtime.s3 import S3Store
from workers.runtime.s3_policy import policy
from workers.runtime.storage import NotFound

JPEG = "image/jpeg"
PART = 5 << 20
"""The smallest that S3 takes, but for the last."""
BASE = "unused"


class Site:
    def __init__(self, store: S3Store, links: S3Links, client: httpx.AsyncClient) -> None:
        self.store, self.links, self.client = store, links, client
        self.key = f"captures/acme/{uuid.uuid4().hex}/upload/some photos/ä photo+.jpg"

    async def link(self, size: int = 10) -> Target:
        return await self.links.target(self.key, size, JPEG, None, BASE)

    async def put(self, url: str | None, body: bytes, **headers: str) -> int:
        assert url
        return (await self.client.put(url, content=body, headers=headers)).status_code

    async def absent(self) -> bool:
        try:
            await self.store.stat(self.key)
        except NotFound:
            return True
        return False


def settings(server: S3Server, **changes: object) -> GatewaySettings:
    return GatewaySettings(
        s3_endpoint_url=server.endpoint_url,
        s3_bucket=server.bucket,
        s3_access_key=server.key,
        s3_secret_key=SecretStr(server.secret),
    ).model_copy(update=changes)


@asynccontextmanager
async def opened(found: GatewaySettings) -> AsyncIterator[Site]:
    async with objects.connect(found) as store, connect(store, found) as links, httpx.AsyncClient() as client:
        yield Site(store, links, client)


@pytest.fixture(scope="session")
def gateway(s3: S3Server) -> S3Server:
    """The store for the gateway's user."""
    return s3.add_user(f"gateway-{uuid.uuid4().hex[:8]}", policy("gateway", s3.bucket))


@pytest.fixture
async def site(gateway: S3Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(interface, "PART_BYTES", PART)
    async with opened(settings(gateway)) as made:
        yield made


async def test_what_is_put_by_its_link_is_there_and_wanted_no_more(site: Site) -> None:
    target = await site.link()
    assert not target.received
    for body in (b"x" * 10, b"y" * 10):  # twice is fine
        assert await site.put(target.url, body, **target.headers) == 200
        assert await site.store.get(site.key) == body
    assert await site.link() == Target(received=True)
    assert (await site.links.target(site.key, 10, JPEG, None, BASE, arrived={})).url
    assert await site.links.finish(site.key, 10, None) == await site.store.stat(site.key)
    with pytest.raises(Missing, match="has 10 bytes, not 11"):
        await site.links.finish(site.key, 11, None)
    with pytest.raises(Missing, match="not there"):
        await site.links.finish(f"{site.key}x", 10, None)


async def test_the_store_refuses_what_a_link_is_not_for(site: Site) -> None:
    async def streamed() -> AsyncIterator[bytes]:
        yield b"x" * 10

    target = await site.link()
    assert target.url
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in target.url
    for length in (0, 9, 11, 100_000):
        assert await site.put(target.url, b"x" * length, **target.headers) == 403, length
    unsized = await site.client.put(target.url, content=streamed(), headers=target.headers)
    assert unsized.status_code == 403
    assert await site.put(target.url, b"x" * 10, **{"Content-Type": "text/html"}) == 403
    assert await site.put(target.url, b"x" * 10) == 403
    assert await site.put(target.url.replace("some%20photos", "mesh"), b"x" * 10, **target.headers) == 403
    assert (await site.client.get(target.url)).status_code == 403
    assert (await site.client.delete(target.url)).status_code == 403
    assert await site.absent()


async def test_a_link_expires(gateway: S3Server) -> None:
    async with opened(settings(gateway, upload_seconds=1)) as site:
        target = await site.link()
        download = await site.links.download(site.key, BASE, name="a", media_type=JPEG, seconds=1)
        await asyncio.sleep(2.1)
        assert await site.put(target.url, b"x" * 10, **target.headers) == 403
        assert await site.absent()
        assert (await site.client.get(download)).status_code == 403


async def test_an_upload_in_parts_goes_on_after_a_lost_connection(site: Site) -> None:
    body = os.urandom(2 * PART + 500)
    upload = await site.links.begin(site.key, len(body), "video/mp4")
    assert upload
    target = await site.links.target(site.key, len(body), "video/mp4", upload, BASE)
    assert (target.url, target.received) == (None, False)
    assert [part.bytes for part in target.parts] == [PART, PART, 500]

    async def put(part: Part, less: int = 0) -> int:
        return await site.put(part.url, body[part.offset : part.offset + part.bytes - less], **target.headers)

    assert await put(target.parts[0]) == 200
    assert await put(target.parts[2], less=1) == 403
    assert await put(target.parts[2]) == 200
    second = target.parts[1]
    await hang_up(second.url or "", body[second.offset : second.offset + PART // 2], PART)
    with pytest.raises(Missing, match="1 of its 3 parts"):
        await site.links.finish(site.key, len(body), upload)
    assert await site.absent()

    target = await site.links.target(site.key, len(body), "video/mp4", upload, BASE)
    assert [part.received for part in target.parts] == [True, False, True]
    assert [part.url is None for part in target.parts] == [True, False, True]
    assert not target.received
    assert await put(target.parts[1]) == 200
    # All parts are there, though nobody has put them together: there is nothing to be sent again.
    assert (await site.links.target(site.key, len(body), "video/mp4", upload, BASE)).received
    stats = await asyncio.gather(*(site.links.finish(site.key, len(body), upload) for _ in range(4)))
    assert await site.links.finish(site.key, len(body), upload) == stats[0]
    assert len(set(stats)) == 1
    assert await site.store.get(site.key) == body
    assert (await site.links.target(site.key, len(body), "video/mp4", upload, BASE)).received


async def hang_up(url: str, some: bytes, size: int, header: str = "") -> None:
    """Say that so much comes, send some of it, and be gone."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    headers = f"Host: {parts.netloc}\r\nContent-Length: {size}\r\n{header}"
    writer.write(f"PUT {parts.path}?{parts.query} HTTP/1.1\r\n{headers}\r\n".encode() + some)
    await writer.drain()
    writer.write_eof()
    assert b" 200 " not in await asyncio.wait_for(reader.readline(), 60)
    writer.close()


async def test_what_hangs_up_leaves_no_object(site: Site) -> None:
    target = await site.link(1_000_000)
    await hang_up(target.url or "", b"x" * 500_000, 1_000_000, f"Content-Type: {JPEG}\r\n")
    assert await site.absent()


async def test_what_is_given_up_is_gone(site: Site) -> None:
    upload = await site.links.begin(site.key, PART + 1, JPEG)
    assert upload
    target = await site.links.target(site.key, PART + 1, JPEG, upload, BASE)
    for _ in range(2):
        await site.links.abort(site.key, upload)
    assert await site.put(target.parts[1].url, b"x") == 404
    with pytest.raises(UploadLost):
        await site.links.target(site.key, PART + 1, JPEG, upload, BASE)
    with pytest.raises(UploadLost):
        await site.links.finish(site.key, PART + 1, upload)


async def test_a_right_that_lacks_is_no_lost_upload(s3: S3Server, site: Site) -> None:
    upload = await site.links.begin(site.key, 1 << 30, JPEG)
    rights = policy("gateway", s3.bucket)
    for statement in rights["Statement"]:
        statement["Action"] = [a for a in statement["Action"] if a != "s3:ListMultipartUploadParts"]
    async with opened(settings(s3.add_user(f"less-{uuid.uuid4().hex[:8]}", rights))) as less:
        with pytest.raises(StorageUnavailable, match="ListParts is denied"):
            await less.links.target(site.key, 1 << 30, JPEG, upload, BASE)


async def test_a_download_has_its_name_and_media_type_and_comes_in_part(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    await site.store.put(site.key, file, "application/octet-stream")
    for inline, kind in ((True, "inline"), (False, "attachment")):
        url = await site.links.download(
            site.key, BASE, name="mein mödel.glb", media_type="model/gltf-binary", seconds=60, inline=inline
        )
        response = await site.client.get(url, headers={"Range": "bytes=2-4"})
        assert (response.status_code, response.content) == (206, b"234")
        assert response.headers["content-range"] == "bytes 2-4/10"
        assert response.headers["content-type"] == "model/gltf-binary"
        assert response.headers["content-disposition"] == (
            f"{kind}; filename=\"mein m_del.glb\"; filename*=UTF-8''mein%20m%C3%B6del.glb"
        )


async def test_links_name_the_store_as_clients_do(gateway: S3Server) -> None:
    port = urlsplit(gateway.endpoint_url).port
    public = f"http://localhost:{port}"
    async with opened(settings(gateway, s3_public_endpoint_url=public)) as site:
        target = await site.link()
        assert target.url
        assert target.url.startswith(f"{public}/")
        assert await site.put(target.url, b"x" * 10, **target.headers) == 200
        url = await site.links.download(site.key, BASE, name="a", media_type=JPEG, seconds=60)
        assert url.startswith(f"{public}/")
        assert (await site.client.get(url)).content == b"x" * 10


async def test_a_store_that_is_away_or_refuses_is_a_clear_error(gateway: S3Server) -> None:
    async with opened(settings(gateway, s3_endpoint_url="http://127.0.0.1:9")) as site:
        told = await asyncio.gather(
            site.links.begin(site.key, 1 << 30, JPEG),
            site.links.target(site.key, 10, JPEG, None, BASE),
            site.links.target(site.key, 1 << 30, JPEG, "upload", BASE, arrived={}),
            site.links.finish(site.key, 1 << 30, "upload"),
            site.links.abort(site.key, "upload"),
            return_exceptions=True,
        )
    for error in told:
        assert isinstance(error, StorageUnavailable)
        assert "EndpointConnectionError" in str(error)
    async with opened(settings(gateway)) as site:
        with pytest.raises(StorageUnavailable, match="denied"):
            await apply_cors(site.store, ["https://app.example"])
        with pytest.raises(StorageUnavailable, match="denied"):
            await site.links.begin("captures/acme/c/model/k", 1 << 30, JPEG)


def test_pages_of_the_origins_that_are_named_may_use_links(
    s3: S3Server,
    gateway: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in (
        ("ENDPOINT_URL", s3.endpoint_url),
        ("BUCKET", s3.bucket),
        ("ACCESS_KEY", s3.key),
        ("SECRET_KEY", s3.secret),
    ):
        monkeypatch.setenv(f"PHOTOTWIN_S3_{name}", value)
    origins = [f"https://{uuid.uuid4().hex}.example", "http://localhost:8080"]
    options = [word for origin in origins for word in ("--origin", origin)]
    assert not storage_app(["cors", *options], standalone_mode=False)
    assert origins[0] in capsys.readouterr().out
    for wrong in ("*", "app.example", "https://app.example/path", "https://*.example"):
        assert storage_app(["cors", "--origin", wrong], standalone_mode=False) == 1

    async def ask() -> None:
        async with opened(settings(gateway)) as site:
            target = await site.link()
            wanted = {
                "Access-Control-Request-Method": "PUT",
                "Access-Control-Request-Headers": "content-type",
            }
            for origin, allowed in (*((origin, True) for origin in origins), ("https://evil.example", False)):
                response = await site.client.options(target.url or "", headers={"Origin": origin} | wanted)
                assert (response.status_code == 200) == allowed
                assert response.headers.get("access-control-allow-origin") == (origin if allowed else None)
            headers = {"Origin": origins[0]}
            put = await site.client.put(
                target.url or "", content=b"x" * 10, headers={**target.headers, **headers}
            )
            assert put.status_code == 200
            url = await site.links.download(site.key, BASE, name="a", media_type=JPEG, seconds=60)
            got = await site.client.get(url, headers=headers)
            assert got.headers["access-control-allow-origin"] == origins[0]
            for name in ("ETag", "Content-Range", "Accept-Ranges", "Content-Length"):
                assert name in got.headers["access-control-expose-headers"]

    asyncio.run(ask())

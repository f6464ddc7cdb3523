"""One suite of promises, kept by S3 and by the folder store alike."""

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from contracts.errors import StorageUnavailable
from tests.servers.ceph import ObjectStore as Server
from workers.runtime import s3 as s3_store
from workers.runtime.folder import FolderStore
from workers.runtime.settings import Settings
from workers.runtime.storage import NotFound, ObjectStore


@pytest.fixture(params=["s3", "folder"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    if request.param == "folder":
        yield FolderStore(tmp_path / "store")
        return
    async with s3_store.connect(settings_for(request.getfixturevalue("s3"))) as connected:
        yield connected


def settings_for(server: Server, **changes: object) -> Settings:
    return Settings(
        s3_endpoint_url=server.endpoint_url,
        s3_bucket=server.bucket,
        s3_access_key=server.key,
        s3_secret_key=SecretStr(server.secret),
    ).model_copy(update=changes)


@pytest.fixture
def key() -> str:
    return f"captures/default/{uuid.uuid4()}/upload/a photo, ümlaut.jpg"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo"
    path.write_bytes(b"pixels" * 500_000)
    return path


async def test_a_file_comes_back_with_its_digest(
    store: ObjectStore, key: str, photo: Path, tmp_path: Path
) -> None:
    await store.put(key, photo, "image/jpeg")
    back = tmp_path / "back"
    fetched = await store.download(key, back, limit=photo.stat().st_size)
    assert back.read_bytes() == photo.read_bytes()
    assert fetched.bytes == photo.stat().st_size
    assert fetched.sha256 == hashlib.sha256(photo.read_bytes()).hexdigest()
    assert await store.get(key) == photo.read_bytes()


async def test_a_put_replaces(store: ObjectStore, key: str, photo: Path) -> None:
    await store.put(key, photo, "image/jpeg")
    photo.write_bytes(b"other")
    await store.put(key, photo, "image/jpeg")
    assert await store.get(key) == b"other"


async def test_a_download_stops_just_past_its_limit(
    store: ObjectStore, key: str, photo: Path, tmp_path: Path
) -> None:
    await store.put(key, photo, "image/jpeg")
    fetched = await store.download(key, tmp_path / "back", limit=1000)
    assert fetched.bytes == 1001
    assert (tmp_path / "back").stat().st_size == 1001


async def test_stat_tells_size_and_md5_as_etag(store: ObjectStore, key: str, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.write_bytes(b"small")
    await store.put(key, small, "text/plain")
    stat = await store.stat(key)
    assert (stat.bytes, stat.etag) == (5, hashlib.md5(b"small").hexdigest())


async def test_what_is_not_there_is_not_found(store: ObjectStore, key: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await store.get(key)
    with pytest.raises(NotFound):
        await store.stat(key)
    with pytest.raises(NotFound):
        await store.download(key, tmp_path / "x", limit=10)


async def test_of_many_conditional_puts_one_wins(store: ObjectStore, key: str) -> None:
    bodies = [f"writer {number}".encode() for number in range(8)]
    wins = await asyncio.gather(*(store.put_if_absent(key, body, "text/plain") for body in bodies))
    assert sorted(wins) == [False] * 7 + [True]
    assert await store.get(key) == bodies[wins.index(True)]
    assert not await store.put_if_absent(key, b"late", "text/plain")


async def test_a_folder_is_listed_with_all_below_it_and_nothing_beside_it(
    store: ObjectStore, key: str, photo: Path
) -> None:
    folder = key.rpartition("/")[0] + "/"
    beside = key.replace("/upload/", "/uploaded/")
    assert await store.below(folder) == []
    for name in (key, f"{folder}deeper/still/b", beside):
        await store.put(name, photo, "image/jpeg")
    started = time.time()
    listed = {entry.key: entry for entry in await store.below(folder)}
    assert set(listed) == {key, f"{folder}deeper/still/b"}
    assert {entry.bytes for entry in listed.values()} == {photo.stat().st_size}
    assert all(abs(entry.modified - started) < 60 for entry in listed.values())


async def test_a_listing_has_no_end_at_a_thousand(s3: Server, tmp_path: Path) -> None:
    folder = f"captures/default/{uuid.uuid4()}/"
    async with s3_store.connect(settings_for(s3)) as store:
        keys = [f"{folder}{number}" for number in range(1003)]
        for some in range(0, len(keys), 50):
            await asyncio.gather(
                *(store.put_if_absent(key, b"", "text/plain") for key in keys[some : some + 50])
            )
        assert {entry.key for entry in await store.below(folder)} == set(keys)


async def test_what_is_deleted_is_gone_and_may_be_deleted_again(
    store: ObjectStore, key: str, photo: Path
) -> None:
    await store.put(key, photo, "image/jpeg")
    for _ in range(2):
        await store.delete(key)
        with pytest.raises(NotFound):
            await store.stat(key)
    assert await store.below(key.rpartition("/")[0] + "/") == []


async def test_no_key_leaves_the_folder(tmp_path: Path, photo: Path) -> None:
    store = FolderStore(tmp_path / "store")
    with pytest.raises(StorageUnavailable):
        await store.put("../outside", photo, "text/plain")
    assert not (tmp_path / "outside").exists()


async def test_a_wrong_secret_and_no_server_are_clear_errors(s3: Server, key: str) -> None:
    async with s3_store.connect(settings_for(s3, s3_secret_key=SecretStr("wrong"))) as store:
        with pytest.raises(StorageUnavailable, match="SignatureDoesNotMatch"):
            await store.get(key)
    async with s3_store.connect(settings_for(s3, s3_endpoint_url="http://127.0.0.1:9")) as store:
        with pytest.raises(StorageUnavailable, match="EndpointConnectionError"):
            await store.get(key)

"""What is swept, what stays, and that nobody's work is touched."""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from workers.runtime.folder import FolderStore
from workers.runtime.s3 import S3Store
from workers.runtime.settings import Settings, SettingsError
from workers.runtime.storage import captures
from workers.runtime.sweep import DAY, lifetimes, sweep

NOW = 1_800_000_000.0
SETTINGS = Settings(keep_uploads_days=30, keep_intermediates_days=10, keep_checkpoints_days=2)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


async def put(store: FolderStore, key: str, days: float) -> None:
    """An object of so many days ago."""
    assert await store.put_if_absent(key, b"12345", "application/octet-stream")
    os.utime(store.root / key, (NOW - days * DAY,) * 2)


async def left(store: FolderStore) -> set[str]:
    return {each.key.removeprefix("captures/default/") for each in await store.below("captures/")}


async def test_each_kind_goes_in_its_time(store: FolderStore) -> None:
    gone = {
        "a/upload/x.jpg": 31,
        "a/dataset/j/manifest.json": 11,
        "a/dataset/j/d/cameras.json": 11,
        "a/masks/j/manifest.json": 12,
        "a/checkpoints/j/d/field.npz": 3,
        "a/previews/j/latest.png": 3,
    }
    kept = {
        "a/upload/y.jpg": 29,
        "a/mesh/j/manifest.json": 9,
        "a/mesh/j/d/mesh.obj": 11,  # of one job: as young as its youngest
        "a/model/j/manifest.json": 4000,
        "a/model/j/d/model.glb": 4000,
        "a/outcomes/0.json": 4000,
        "a/checkpoints/k/d/field.npz": 1,
    }
    # An upload is kept or goes as a whole: a capture of half its photos is worth nothing.
    for key, days in {**gone, **kept, "a/upload/y.jpg": 31}.items():
        await put(store, f"captures/default/{key}", days)
    dry = await sweep(store, SETTINGS, dry_run=True, now=NOW)
    assert len(await left(store)) == len(gone) + len(kept)
    swept = await sweep(store, SETTINGS, dry_run=False, now=NOW)
    assert (swept.objects, swept.bytes) == (dry.objects, dry.bytes)
    assert swept.objects == {"upload": 2, "dataset": 2, "masks": 1, "checkpoints": 1, "previews": 1}
    assert swept.bytes["dataset"] == 10
    assert await left(store) == set(kept) - {"a/upload/y.jpg"}


async def test_an_upload_with_a_young_photo_stays_whole(store: FolderStore) -> None:
    await put(store, "captures/default/a/upload/x.jpg", 300)
    await put(store, "captures/default/a/upload/y.jpg", 1)
    assert not (await sweep(store, SETTINGS, dry_run=False, now=NOW)).objects


async def test_a_capture_at_work_is_not_touched(store: FolderStore) -> None:
    for capture, started in (("busy", 0.01), ("died", 1)):
        await put(store, f"captures/default/{capture}/upload/x.jpg", 300)
        await put(store, f"captures/default/{capture}/running/job", started)
    swept = await sweep(store, SETTINGS, dry_run=False, now=NOW)
    assert swept.spared == ["captures/default/busy/"]
    assert await left(store) == {"busy/upload/x.jpg", "busy/running/job", "died/running/job"}


async def test_a_manifest_goes_before_what_it_names(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/artefact.png", "manifest.json", "z/artefact.png"):
        await put(store, f"captures/default/a/masks/j/{name}", 11)
    deleted: list[str] = []

    async def delete(key: str) -> None:
        deleted.append(key)

    monkeypatch.setattr(store, "delete", delete)
    await sweep(store, SETTINGS, dry_run=False, now=NOW)
    assert [key.endswith("manifest.json") for key in deleted] == [True, False, False]


def test_nothing_may_be_kept_for_less_than_a_job_lasts() -> None:
    with pytest.raises(SettingsError, match="TIME_LIMIT"):
        lifetimes(Settings(keep_checkpoints_days=0.01))


class Endless:
    """A bucket's listing as S3 gives it, of captures of 300 objects each; `pages` were asked for."""

    def __init__(self, of: int) -> None:
        self.of, self.pages = of, 0

    def get_paginator(self, _: str) -> "Endless":
        return self

    async def paginate(self, **_: Any) -> AsyncIterator[dict[str, Any]]:
        at = datetime.fromtimestamp(NOW, UTC)
        for page in range(self.of):
            self.pages += 1
            numbers = range(1000 * page, 1000 * page + 1000)
            keys = [f"captures/acme/c{number // 300:09}/upload/{number:09}.jpg" for number in numbers]
            yield {"Contents": [{"Key": key, "Size": 5, "LastModified": at} for key in keys]}


async def test_a_listing_is_read_no_further_than_the_capture_at_hand() -> None:
    client = Endless(of=12)
    sizes = []
    async for folder, objects in captures(S3Store(client, "bucket")):  # type: ignore[arg-type]
        assert {each.key.startswith(folder) for each in objects} == {True}
        sizes.append(len(objects))
        assert client.pages <= sum(sizes) // 1000 + 1
    assert (client.pages, sizes) == (12, [300] * 40)


async def test_all_of_a_capture_comes_at_once(store: FolderStore) -> None:
    """Also where another's name goes on where its ends, and where something else lies about."""
    expected = {}
    for folder in ("captures/a/c/", "captures/a/c-1/", "captures/a/c.d/", "captures/a-b/c/"):
        names = ("upload/a.jpg", "upload.txt", "upload/deep/er/b.jpg", "model/m")
        expected[folder] = {f"{folder}{name}" for name in names}
        for key in expected[folder]:
            await put(store, key, 1)
    for stray in ("captures/stray", "captures/a/stray"):
        await put(store, stray, 1)
    found = [(folder, {each.key for each in objects}) async for folder, objects in captures(store)]
    assert len(found) == len(expected)
    assert dict(found) == expected
    assert [key async for key, _ in captures(store, "captures/a/c/")] == ["captures/a/c/"]
    assert [key async for key, _ in captures(store, "captures/nobody/c/")] == []

"""What is swept, what stays, and that nobody's work is touched."""

import os
from pathlib import Path

import pytest

from workers.runtime.folder import FolderStore
from workers.runtime.settings import Settings, SettingsError
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

"""Least privilege in a real object store: what each role's policy lets its user do, and nothing beyond."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from pydantic import SecretStr

from contracts.errors import StorageUnavailable
from tests.servers.ceph import ObjectStore as S3Server
from workers.runtime import s3 as objects
from workers.runtime.s3 import S3Store
from workers.runtime.s3_policy import ACCESS, policy
from workers.runtime.settings import Settings
from workers.runtime.storage import NotFound

SHARED = {"checkpoints", "outcomes"}
GETS = {
    "prepare": {"upload", "dataset", "weights"} | SHARED,
    "segment": {"upload", "dataset", "masks", "weights"} | SHARED,
    "reconstruct": {"dataset", "masks", "mesh", "weights"} | SHARED,
    "package": {"dataset", "masks", "mesh", "model"} | SHARED,
    "publisher": {"dataset", "masks", "model", "previews", "outcomes"},
    "operator": {"outcomes"},
    "sweeper": set(),
}
FOLDERS = {"dataset", "masks", "mesh", "model", "previews", "running"}
GETS["gateway"] = {"capture.json", "announced", "upload"} | FOLDERS | SHARED
PUTS = {
    "prepare": {"dataset", "running"} | SHARED,
    "segment": {"masks", "running"} | SHARED,
    "reconstruct": {"mesh", "previews", "running"} | SHARED,
    "package": {"model", "running"} | SHARED,
    "publisher": {"upload"},
    "gateway": {"upload", "capture.json", "announced", "outcomes"},
    "operator": {"outcomes"},
    "sweeper": set(),
}
WORKER_DELETES = {"checkpoints", "running"}
DELETES = {
    **dict.fromkeys(("prepare", "segment", "reconstruct", "package"), WORKER_DELETES),
    "publisher": set(),
    "gateway": GETS["gateway"],
    "operator": set(),
    "sweeper": {"upload", "dataset", "masks", "mesh", "checkpoints", "previews"},
}
SURVEYS = {"gateway", "sweeper", "operator"}
WITHIN = (
    "capture.json",
    "announced/0.json",
    "upload/a.jpg",
    # What a phone sent may be named like what is ours.
    *(f"upload/{folder}/k/manifest.json" for folder in ("dataset", "masks", "mesh", "model")),
    "upload/checkpoints/k",
    "upload/running/k",
    *(f"{folder}/k/manifest.json" for folder in ("dataset", "masks", "mesh", "model")),
    "checkpoints/k/digest/state",
    "previews/k/latest.glb",
    "running/k",
    "outcomes/0.json",
)


@asynccontextmanager
async def opened(server: S3Server) -> AsyncIterator[S3Store]:
    settings = Settings(
        s3_endpoint_url=server.endpoint_url,
        s3_bucket=server.bucket,
        s3_access_key=server.key,
        s3_secret_key=SecretStr(server.secret),
    )
    async with objects.connect(settings) as store:
        yield store


async def may(act: Awaitable[object]) -> bool:
    """Whether the store lets it; False for its policy's refusal alone."""
    try:
        await act
    except NotFound:
        return True
    except StorageUnavailable as error:
        if "is denied; see 'phototwin storage policy'" not in error.message:
            raise
        return False
    return True


@pytest.mark.parametrize("role", ACCESS)
async def test_a_role_reads_writes_lists_and_deletes_what_it_is_there_for(
    s3: S3Server, tmp_path: Path, role: str
) -> None:
    weights = f"weights-{uuid.uuid4().hex[:8]}"
    user = s3.add_user(f"{role}-{uuid.uuid4().hex[:8]}", policy(role, s3.bucket, f"{weights}/"))
    capture = f"captures/acme/{uuid.uuid4().hex}/"
    file = tmp_path / "file"
    file.write_bytes(b"photo")
    keys = {f"{capture}{name}": name.partition("/")[0] for name in WITHIN}
    keys |= {f"{weights}/model.onnx": "weights", f"elsewhere-{weights}/upload/a": "elsewhere"}
    surveys = role in SURVEYS

    async def tried(key: str, folder: str) -> None:
        await owner.put(key, file, "text/plain")
        gets, puts = folder in GETS[role], folder in PUTS[role]
        assert await may(store.get(key)) == gets, ("get", key)
        assert await may(store.stat(key)) == gets, ("stat", key)
        lists = gets or (surveys and key.startswith(capture))
        assert await may(store.get(f"{key}.absent")) == lists, ("get what is absent", key)
        assert await may(store.below(f"{key.rpartition('/')[0]}/")) == lists, ("list", key)
        assert await may(store.put(key, file, "text/plain")) == puts, ("put", key)
        assert await may(store.put_if_absent(key, b"", "text/plain")) == puts, ("put if absent", key)
        assert await may(store.delete(key)) == (folder in DELETES[role]), ("delete", key)

    async with opened(s3) as owner, opened(user) as store:
        await asyncio.gather(*(tried(key, folder) for key, folder in keys.items()))
        for everything in ("", "captures/", "captures/acme/", capture):
            lists = surveys and everything.startswith("captures/")
            assert await may(store.below(everything)) == lists, everything


async def test_that_no_job_was_done_yet_is_told_to_its_worker(s3: S3Server) -> None:
    """A store that may not be listed says `denied` of what is absent: work would never begin."""
    user = s3.add_user(f"absent-{uuid.uuid4().hex[:8]}", policy("prepare", s3.bucket))
    async with opened(user) as store:
        for name in ("outcomes/0.json", "dataset/k/manifest.json", "upload/a.jpg"):
            key = f"captures/acme/{uuid.uuid4().hex}/{name}"
            for asked in (store.get, store.stat):
                with pytest.raises(NotFound):
                    await asked(key)


async def test_a_worker_stores_what_goes_in_several_parts(s3: S3Server, tmp_path: Path) -> None:
    user = s3.add_user(f"parts-{uuid.uuid4().hex[:8]}", policy("reconstruct", s3.bucket))
    file = tmp_path / "mesh.obj"
    file.write_bytes(bytes(20 << 20))
    key = f"captures/acme/{uuid.uuid4().hex}/mesh/k/digest/mesh.obj"
    async with opened(user) as store:
        await store.put(key, file, "model/obj")
        assert (await store.stat(key)).bytes == 20 << 20
        with pytest.raises(StorageUnavailable, match="denied"):
            await store.put(key.replace("/mesh/", "/masks/"), file, "model/obj")


@pytest.mark.parametrize("role", ACCESS)
def test_where_stars_span_slashes_a_role_gets_no_further(role: str) -> None:
    """As on Amazon's S3; in Ceph they do not."""
    said = policy(role, "b", "weights")

    def allowed(action: str, key: str) -> bool:
        effects = {
            statement["Effect"]
            for statement in said["Statement"]
            if action in statement["Action"]
            and any(fnmatchcase(f"arn:aws:s3:::b/{key}", pattern) for pattern in statement["Resource"])
        }
        return effects == {"Allow"}

    for name in WITHIN:
        key, folder = f"captures/acme/c/{name}", name.partition("/")[0]
        assert allowed("s3:GetObject", key) == (folder in GETS[role]), ("get", key)
        assert allowed("s3:PutObject", key) == (folder in PUTS[role]), ("put", key)
        assert allowed("s3:DeleteObject", key) == (folder in DELETES[role]), ("delete", key)

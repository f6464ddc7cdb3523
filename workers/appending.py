"""A capture that grows: what an earlier run into the same folder matched is there for the next one."""

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from contracts.dataset import Artefact, Manifest, Producer, Usage, artefact_key, manifest_key, manifest_ref
from contracts.events import DatasetUploaded
from workers.prepare.sfm.matches_file import FILE
from workers.runtime.storage import ObjectStore

KEPT = f"dataset/{FILE}"
"""Where `local.run` leaves it in its output folder."""


def matches_in(out: Path) -> bytes | None:
    """What an earlier run left in its output folder."""
    path = out / KEPT
    return path.read_bytes() if path.is_file() else None


async def continued(store: ObjectStore, event: DatasetUploaded, matches: bytes) -> DatasetUploaded:
    """The event, with a dataset in the store as its `previous` one that holds the matches and nothing
    else."""
    digest = sha256(matches).hexdigest()
    key = artefact_key(event, "prepare", digest, digest, FILE)
    kind = "application/octet-stream"
    await store.put_if_absent(key, matches, kind)
    manifest = Manifest(
        stage="prepare",
        job_key=digest,
        tenant=event.tenant,
        capture_id=event.capture_id,
        generation=event.generation,
        inputs={},
        parameters={},
        producer=Producer(
            name="phototwin-run", version="0", algorithm="0", device="unknown", seed=0, libraries={}
        ),
        artefacts=(Artefact(name=FILE, key=key, sha256=digest, bytes=len(matches), media_type=kind),),
        usage=Usage(wall_seconds=0, cpu_seconds=0, peak_rss_mb=0),
        metrics={},
        warnings=(),
        created=datetime.now(UTC),
    )
    place, body = manifest_key(event, "prepare", digest), manifest.encode()
    await store.put_if_absent(place, body, "application/json")
    return event.model_copy(update={"previous": manifest_ref(place, body, manifest)})

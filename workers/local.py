"""The whole pipeline in one process: embedded broker, a folder as store, one computing child."""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from broker.embedded import Broker
from broker.interface import Message
from contracts.dataset import FOLDERS, Manifest
from contracts.envelope import Envelope, event_id, new_traceparent
from contracts.errors import PhototwinError, from_code
from contracts.events import CaptureFailed, Event, JobProgress, MasksProposed, MasksReviewed, Options, Stage
from contracts.fields import ManifestRef
from contracts.review import DecisionsFile
from workers.appending import continued
from workers.decisions import reviewed
from workers.runtime.compute import Compute
from workers.runtime.folder import FolderStore
from workers.runtime.metrics import Metrics
from workers.runtime.run_loop import RunLoop
from workers.runtime.settings import from_environment
from workers.runtime.storage import NotFound
from workers.stages import WORKERS
from workers.upload import CaptureError, upload

OnProgress = Callable[[JobProgress], None]
Decide = Callable[[MasksProposed], Coroutine[Any, Any, MasksReviewed]]
SUBFOLDERS: dict[Stage, str] = {"prepare": "dataset", "segment": "masks", "reconstruct": "", "package": ""}
"""Where below the output folder each stage's artefacts go."""
PREVIEWS = "previews"
"""Where how it looks so far goes."""
RECORD = "result.json"
RESULTS = (
    *("model.glb", "model_100k.glb", "model_30k.glb", "model_8k.glb", "model_web.glb", "model_ar.glb"),
    *("model.usdz", "model_obj.zip", "poster.png", "turntable.webp", "report.html"),
    *("mesh.obj", "mesh.mtl", "light.hdr", "contact_sheet.png", "points.ply", "colmap"),
)
"""What the stages without a folder of their own leave."""


class CaptureFailure(Exception):
    """The capture ended in `capture.failed`."""

    def __init__(self, failed: CaptureFailed) -> None:
        super().__init__(failed.error.message)
        self.failed = failed

    @property
    def error(self) -> PhototwinError:
        return from_code(self.failed.error.code, self.failed.error.message, **self.failed.error.params)


async def run(
    capture: Path,
    out: Path,
    options: Options,
    on_progress: OnProgress,
    until: Stage = "package",
    decisions: DecisionsFile | None = None,
    matches: bytes | None = None,
) -> dict[str, Any]:
    """All stages up to `until`; leaves their files and `result.json` in `out` (which `claim` has made
    ours), and returns the latter. Where `options.review` asks for a person it ends with the masks as they
    are proposed, or goes on with that person's `decisions` on them. matches: of an earlier run (see
    `appending`); they are not looked for again.

    Raises CaptureError, CaptureFailure, SettingsError.
    """
    stages = list(WORKERS)[: list(WORKERS).index(until) + 1]
    with tempfile.TemporaryDirectory(prefix="phototwin-") as folder:
        store = FolderStore(Path(folder, "store"))
        # Whoever waits here wants to know at once.
        settings = from_environment().model_copy(
            update={"work_dir": folder, "max_attempts": 1, "min_free_bytes": 0, "shards": 1}
        )
        broker = Broker(settings.topology)
        workers = [WORKERS[stage](settings) for stage in stages]
        compute = Compute(tuple(worker.compute for worker in workers), settings.threads)
        await compute.start()
        stop = asyncio.Event()
        running = [
            asyncio.create_task(RunLoop(worker, broker, store, compute, settings, Metrics()).run(stop))
            for worker in workers
        ]
        result: dict[str, Any] = _nothing_yet()
        running.append(asyncio.create_task(_listen(broker, store, out, result, on_progress)))
        try:
            event = await upload(store, capture, tenant="default", capture_id="local", options=options)
            if matches is not None:
                event = await continued(store, event, matches)
            await _publish(broker, event)
            decide = None if decisions is None else partial(reviewed, store, decisions)
            following = asyncio.create_task(
                _follow(broker, store, stages[-1], out, result, on_progress, decide)
            )
            await asyncio.wait({following, *running}, return_when=asyncio.FIRST_COMPLETED)
            for task in running:
                if task.done():
                    task.result()
            return await following
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await compute.close()
            await broker.close()


async def _publish(broker: Broker, event: Event) -> None:
    envelope = Envelope.wrap(
        event,
        id=event_id(event.event_type(), f"{event.folder}{os.getpid()}"),
        source="phototwin/run",
        traceparent=new_traceparent(),
    )
    await broker.publish(Message(envelope.encode(), event.routing_key, envelope.id))


async def _listen(
    broker: Broker, store: FolderStore, out: Path, result: dict[str, Any], on_progress: OnProgress
) -> None:
    async with broker.progress() as messages:
        async for message in messages:
            data = Envelope.parse(message.body).data
            if isinstance(data, JobProgress):
                with suppress(PhototwinError, NotFound, OSError):  # a result that cannot be written says so
                    await _show(data, store, out, result)
                on_progress(data)


async def _show(progress: JobProgress, store: FolderStore, out: Path, result: dict[str, Any]) -> None:
    """Leave the previews that there are news of; recorded first, so that `claim` knows them for ours."""
    for key in filter(None, (progress.preview, progress.preview_image)):
        content, name = await store.get(key), f"{PREVIEWS}/{Path(key).name}"
        if name not in result["previews"]:
            result["previews"].append(name)
            record(out, result)
        (out / PREVIEWS).mkdir(exist_ok=True)
        (out / name).write_bytes(content)


async def _follow(
    broker: Broker,
    store: FolderStore,
    last: Stage,
    out: Path,
    result: dict[str, Any],
    on_progress: OnProgress,
    decide: Decide | None,
) -> dict[str, Any]:
    """Export each stage's result as its event comes by, until the last has, or masks wait for a person."""
    async with broker.outcomes() as outcomes:
        async for _, message in outcomes:
            event = Envelope.parse(message.body).data
            if isinstance(event, CaptureFailed):
                raise CaptureFailure(event)
            ref = _result_of(event)
            if ref is None or isinstance(event, MasksReviewed):
                continue
            manifest = Manifest.model_validate_json(await store.get(ref.key))
            await asyncio.to_thread(_take, manifest, store.root, out, result)
            record(out, result)
            on_progress(event.followed_by(JobProgress, stage=manifest.stage, fraction=1.0, step="done"))
            if isinstance(event, MasksProposed) and decide is not None:
                await _publish(broker, await decide(event))
            elif isinstance(event, MasksProposed) or manifest.stage == last:
                return result
    raise RuntimeError("the stream of outcomes ended")


def _result_of(event: Event) -> ManifestRef | None:
    """The manifest that a stage's event announces: its newest."""
    for name in reversed(list(FOLDERS.values())):
        reference = getattr(event, name, None)
        if isinstance(reference, ManifestRef):
            return reference
    return None


def claim(out: Path) -> None:
    """Make `out` ours: an earlier run's files go, anybody else's are not touched.

    Raises CaptureError where something else lies where ours would.
    """
    if out.exists() and not out.is_dir():
        raise CaptureError(f"{out} is a file; --out names a folder")
    written = _written_before(out)
    if (taken := _not_ours(out, {out / name for name in written})) is not None:
        raise CaptureError(f"{taken} is there already and not ours; choose another --out")
    for name in written:
        (out / name).unlink(missing_ok=True)
        with suppress(OSError):  # not empty: somebody else's folder
            for folder in (out / name).relative_to(out).parents[:-1]:
                (out / folder).rmdir()
    out.mkdir(parents=True, exist_ok=True)
    record(out, _nothing_yet())


def _not_ours(out: Path, ours: set[Path]) -> Path | None:
    """What lies where a result would, and an earlier run did not write."""
    for name in filter(None, (*SUBFOLDERS.values(), PREVIEWS, *RESULTS, RECORD)):
        place = out / name
        found = [place] if place.is_symlink() or place.exists() else []
        if found and place.is_dir() and any(path.is_relative_to(place) for path in ours):
            found = [path for path in sorted(place.rglob("*")) if path.is_symlink() or not path.is_dir()]
        if strange := [path for path in found if path not in ours]:
            return strange[0]
    return None


def _nothing_yet() -> dict[str, Any]:
    return {"stages": {}, "warnings": [], "previews": []}


def record(out: Path, result: dict[str, Any]) -> None:
    """Write `result.json`, which also says which files of the folder are ours."""
    (out / RECORD).write_text(json.dumps(result, indent=1))


def _written_before(out: Path) -> list[str]:
    """What the record of an earlier run in this folder says it wrote, itself included."""
    try:
        record = json.loads((out / RECORD).read_text())
        names = [str(name) for stage in record["stages"].values() for name in stage["files"]]
        names += [str(name) for name in record.get("previews", [])]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []
    root = out.resolve()
    return [name for name in (*names, RECORD) if (root / name).resolve().is_relative_to(root)]


def _take(manifest: Manifest, store: Path, out: Path, result: dict[str, Any]) -> None:
    """Leave a stage's files in `out` in place of those it left before, and enter what is told of them:
    reviewed masks add to what was told of the proposed ones."""
    before = result["stages"].get(manifest.stage, {"files": [], "metrics": {}})
    for name in before["files"]:
        (out / name).unlink(missing_ok=True)
    usage = manifest.usage.model_dump()
    cost = {
        name: (max if name == "peak_rss_mb" else sum)((before.get(name, 0.0), spent))
        for name, spent in usage.items()
    }
    metrics = {**before["metrics"], **manifest.metrics}
    files = _export(manifest, store, out)
    told = {**cost, "metrics": metrics, "files": files, "content": manifest.content}
    result["stages"][manifest.stage] = told
    result["warnings"] += manifest.warnings


def _export(manifest: Manifest, store: Path, out: Path) -> list[str]:
    """Copy a stage's artefacts; returns their paths below `out`."""
    names = [f"{SUBFOLDERS[manifest.stage]}/{a.name}".lstrip("/") for a in manifest.artefacts]
    for name, artefact in zip(names, manifest.artefacts, strict=True):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(store / artefact.key, out / name)
    return names

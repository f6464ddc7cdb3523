"""The whole pipeline in one process: embedded broker, a folder as store, one computing child."""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from broker.embedded import Broker
from broker.interface import Message
from broker.topology import Topology
from contracts.dataset import FOLDERS, Manifest
from contracts.envelope import Envelope, event_id, new_traceparent
from contracts.errors import PhototwinError, from_code
from contracts.events import CaptureFailed, Event, JobProgress, Options, Stage
from contracts.fields import ManifestRef
from workers.runtime.compute import Compute
from workers.runtime.folder import FolderStore
from workers.runtime.metrics import Metrics
from workers.runtime.settings import Settings
from workers.runtime.shell import Shell
from workers.stages import WORKERS
from workers.upload import upload

OnProgress = Callable[[JobProgress], None]
SUBFOLDERS: dict[Stage, str] = {"prepare": "dataset", "segment": "masks", "reconstruct": "", "package": ""}
"""Where below the output folder each stage's artefacts go."""


class CaptureFailure(Exception):
    """The capture ended in `capture.failed`."""

    def __init__(self, failed: CaptureFailed) -> None:
        super().__init__(failed.error.message)
        self.failed = failed

    @property
    def error(self) -> PhototwinError:
        return from_code(self.failed.error.code, self.failed.error.message, **self.failed.error.params)


async def run(
    capture: Path, out: Path, options: Options, on_progress: OnProgress, until: Stage = "package"
) -> dict[str, Any]:
    """All stages up to `until`; leaves their files and `result.json` in `out`, returns the latter.

    Raises CaptureError, CaptureFailure.
    """
    topology = Topology()
    broker = Broker(topology)
    stages = list(WORKERS)[: list(WORKERS).index(until) + 1]
    with tempfile.TemporaryDirectory(prefix="phototwin-") as folder:
        store = FolderStore(Path(folder, "store"))
        settings = Settings(work_dir=folder, max_attempts=1)  # whoever waits here wants to know at once
        compute = Compute(tuple(WORKERS[stage].compute for stage in stages), settings.threads)
        await compute.start()
        stop = asyncio.Event()
        running = [
            asyncio.create_task(
                Shell(WORKERS[stage](), broker, store, compute, settings, Metrics()).run(stop)
            )
            for stage in stages
        ]
        running.append(asyncio.create_task(_listen(broker, on_progress)))
        try:
            event = await upload(store, capture, tenant="default", capture_id="local", options=options)
            await _publish(broker, event)
            following = asyncio.create_task(_follow(broker, store, stages, out))
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


async def _listen(broker: Broker, on_progress: OnProgress) -> None:
    async with broker.progress() as messages:
        async for message in messages:
            data = Envelope.parse(message.body).data
            if isinstance(data, JobProgress):
                on_progress(data)


async def _follow(broker: Broker, store: FolderStore, stages: list[Stage], out: Path) -> dict[str, Any]:
    """Export each stage's result as its event comes by, until the last has."""
    result: dict[str, Any] = {"stages": {}, "warnings": []}
    out.mkdir(parents=True, exist_ok=True)
    async with broker.outcomes() as outcomes:
        async for _, message in outcomes:
            event = Envelope.parse(message.body).data
            if isinstance(event, CaptureFailed):
                raise CaptureFailure(event)
            ref = _result_of(event)
            if ref is None:
                continue
            manifest = Manifest.model_validate_json(await store.get(ref.key))
            await asyncio.to_thread(_export, manifest, store.root, out)
            usage = manifest.usage.model_dump()
            result["stages"][manifest.stage] = {**usage, "metrics": manifest.metrics}
            result["warnings"] += manifest.warnings
            (out / "result.json").write_text(json.dumps(result, indent=1))
            if manifest.stage == stages[-1]:
                return result
    raise RuntimeError("the stream of outcomes ended")


def _result_of(event: Event) -> ManifestRef | None:
    """The manifest that a stage's event announces: its newest."""
    for name in reversed(list(FOLDERS.values())):
        reference = getattr(event, name, None)
        if isinstance(reference, ManifestRef):
            return reference
    return None


def _export(manifest: Manifest, store: Path, out: Path) -> None:
    folder = out / SUBFOLDERS[manifest.stage]
    if SUBFOLDERS[manifest.stage]:
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)
    for artefact in manifest.artefacts:
        target = folder / artefact.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(store / artefact.key, target)

"""The segment worker: poses.ready -> masks.ready."""

from typing import Any

from contracts.dataset import Manifest
from contracts.events import MasksReady, PosesReady
from contracts.fields import ManifestRef
from workers.runtime.worker import Inputs, Worker


class Segment(Worker[PosesReady]):
    """One sharp mask for each image of the dataset."""

    stage = "segment"
    consumes = PosesReady
    algorithm = "2"
    compute = "workers.segment.compute"

    def inputs(self, event: PosesReady) -> Inputs:
        return Inputs(manifests={"dataset": event.dataset})

    def parameters(self, event: PosesReady) -> dict[str, Any]:
        return {"threshold": 0.5}

    def reply(self, event: PosesReady, manifest: Manifest, ref: ManifestRef) -> MasksReady:
        return event.followed_by(
            MasksReady,
            dataset=event.dataset,
            masks=ref,
            images=manifest.metrics["images"],
            world=event.world,
            options=event.options,
        )

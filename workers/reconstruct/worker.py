"""The reconstruct worker: masks.ready -> mesh.ready."""

from typing import Any

from contracts.dataset import Manifest
from contracts.events import MasksReady, MeshReady
from contracts.fields import ManifestRef
from workers.runtime.worker import Inputs, Worker


class Reconstruct(Worker[MasksReady]):
    """A textured mesh from posed images and masks, by the method that the options name."""

    stage = "reconstruct"
    consumes = (MasksReady,)
    algorithm = "8"
    compute = "workers.reconstruct.compute"

    def inputs(self, event: MasksReady) -> Inputs:
        return Inputs(manifests={"dataset": event.dataset, "masks": event.masks})

    def parameters(self, event: MasksReady) -> dict[str, Any]:
        options = event.options
        return {
            "profile": options.profile,
            "method": options.method,
            "seed": options.seed,
            "holdout": options.holdout,
        }

    def reply(self, event: MasksReady, manifest: Manifest, ref: ManifestRef) -> MeshReady:
        return event.followed_by(
            MeshReady,
            dataset=event.dataset,
            masks=event.masks,
            mesh=ref,
            world=event.world,
            options=event.options,
        )

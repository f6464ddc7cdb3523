"""The package worker: mesh.ready -> model.ready."""

from typing import Any

from contracts.dataset import Manifest
from contracts.events import MeshReady, ModelReady
from contracts.fields import ManifestRef, ObjectRef
from workers.runtime.worker import Inputs, Worker


class Package(Worker[MeshReady]):
    """model.glb and a poster picture."""

    stage = "package"
    consumes = (MeshReady,)
    algorithm = "1"
    compute = "workers.package.compute"

    def inputs(self, event: MeshReady) -> Inputs:
        return Inputs(
            manifests={"dataset": event.dataset, "mesh": event.mesh}, only={"dataset": ("cameras.json",)}
        )

    def parameters(self, event: MeshReady) -> dict[str, Any]:
        return {"up": event.world.up, "scale": event.world.scale}

    def reply(self, event: MeshReady, manifest: Manifest, ref: ManifestRef) -> ModelReady:
        return event.followed_by(
            ModelReady,
            model=ref,
            glb=_reference(manifest, "model.glb"),
            poster=_reference(manifest, "poster.png"),
        )


def _reference(manifest: Manifest, name: str) -> ObjectRef:
    artefact = manifest.artefact(name)
    return ObjectRef(
        key=artefact.key, sha256=artefact.sha256, bytes=artefact.bytes, media_type=artefact.media_type
    )

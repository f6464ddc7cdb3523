"""The package worker: mesh.ready -> model.ready."""

from typing import Any

from contracts.dataset import Artefact, Manifest
from contracts.events import MeshReady, ModelReady, Variant
from contracts.fields import ManifestRef, ObjectRef
from workers.runtime.worker import Inputs, Worker


class Package(Worker[MeshReady]):
    """The model in the files that people open, pictures of it, and a report on what it is worth."""

    stage = "package"
    consumes = (MeshReady,)
    algorithm = "3"
    compute = "workers.package.compute"

    def inputs(self, event: MeshReady) -> Inputs:
        manifests = {"dataset": event.dataset, "masks": event.masks, "mesh": event.mesh}
        return Inputs(manifests=manifests, with_manifests=True)

    def parameters(self, event: MeshReady) -> dict[str, Any]:
        return {
            "up": event.world.up,
            "scale": event.world.scale,
            "origin": event.options.origin,
            "turntable": event.options.profile != "preview",  # whose whole point is to be there soon
        }

    def reply(self, event: MeshReady, manifest: Manifest, ref: ManifestRef) -> ModelReady:
        made = {artefact.name: _reference(artefact) for artefact in manifest.artefacts}
        variants = [
            Variant(name=name, triangles=file["triangles"], file=made[name])
            for name, file in manifest.metrics.get("files", {}).items()
        ]
        return event.followed_by(
            ModelReady,
            model=ref,
            glb=made["model.glb"],
            poster=made["poster.png"],
            usdz=made.get("model.usdz"),
            turntable=made.get("turntable.webp"),
            report=made.get("report.html"),
            variants=tuple(variants),
        )


def _reference(artefact: Artefact) -> ObjectRef:
    return ObjectRef(
        key=artefact.key, sha256=artefact.sha256, bytes=artefact.bytes, media_type=artefact.media_type
    )

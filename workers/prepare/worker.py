"""The prepare worker: dataset.uploaded -> poses.ready."""

from typing import Any

from contracts.dataset import Manifest
from contracts.events import DatasetUploaded, PosesReady
from contracts.fields import ManifestRef
from workers.runtime.worker import Inputs, Worker

LARGEST = {"preview": 512, "standard": 512, "high": 1024}
"""Of the images' sides in pixels, where the photos have as many to show."""


class Prepare(Worker[DatasetUploaded]):
    """Any supported capture becomes a dataset of square, undistorted images with poses."""

    stage = "prepare"
    consumes = (DatasetUploaded,)
    algorithm = "3"
    compute = "workers.prepare.compute"

    def inputs(self, event: DatasetUploaded) -> Inputs:
        return Inputs(uploads=event.files)

    def parameters(self, event: DatasetUploaded) -> dict[str, Any]:
        options = event.options
        return {
            "kind": event.kind,
            "largest": LARGEST[options.profile],
            "ignore_masks": options.ignore_masks,
            "ignore_poses": options.ignore_poses,
            "refine_poses": options.refine_poses,
            "mapper": options.mapper,
        }

    def reply(self, event: DatasetUploaded, manifest: Manifest, ref: ManifestRef) -> PosesReady:
        return event.followed_by(
            PosesReady,
            dataset=ref,
            images=manifest.metrics["images"],
            posed=manifest.metrics["posed"],
            masked=manifest.metrics["masked"],
            world=manifest.metrics["world"],
            options=event.options,
        )

"""A worker for the runtime's tests."""

from typing import Any

from contracts.dataset import Manifest
from contracts.events import DatasetUploaded, PosesReady
from contracts.fields import ManifestRef
from workers.runtime.worker import Inputs, Worker


class Obedient(Worker[DatasetUploaded]):
    """Consumes dataset.uploaded and does what the upload's `orders.json` says (see `task`)."""

    stage = "prepare"
    consumes = (DatasetUploaded,)
    algorithm = "test"
    compute = "tests.fakes.task"

    def inputs(self, event: DatasetUploaded) -> Inputs:
        return Inputs(uploads=event.files)

    def parameters(self, event: DatasetUploaded) -> dict[str, Any]:
        return {"seed": event.options.seed}

    def reply(self, event: DatasetUploaded, manifest: Manifest, ref: ManifestRef) -> PosesReady:
        return event.followed_by(
            PosesReady, dataset=ref, images=1, posed=True, masked=True, options=event.options
        )

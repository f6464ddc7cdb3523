"""The segment worker: poses.ready -> masks.ready, or masks.proposed where a person is to look at them first;
masks.reviewed -> masks.ready."""

from typing import Any

from contracts.dataset import Manifest
from contracts.events import MasksProposed, MasksReady, MasksReviewed, PosesReady
from contracts.fields import ManifestRef
from workers.geometry.errors import NumericError
from workers.networks.weights import of_onnx
from workers.runtime.metrics import Metrics
from workers.runtime.settings import Settings, SettingsError
from workers.runtime.worker import Inputs, Worker
from workers.segment.networks import weights

THRESHOLD = 0.5
"""Of a soft mask, from which a pixel is the object's."""
HINT: Any = {"image": True, "box": True, "taps": {"__all__": {"x", "y", "object"}}}
"""What of a hint decides the masks: not what a newer sender may have put beside it."""


class Segment(Worker[PosesReady | MasksReviewed]):
    """One sharp mask for each image of the dataset.

    A review has one result for each proposal and generation: that of the first decisions that could be
    applied. Later ones, the same or others, adopt it, so that one capture never becomes two models. Decisions
    that could not be applied end the capture as any bad input does; a person decides anew under a higher
    generation.
    """

    stage = "segment"
    consumes = (PosesReady, MasksReviewed)
    algorithm = "3"
    compute = "workers.segment.compute"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        segmenter = settings.segmenter
        if segmenter in weights.PACKAGES:
            try:
                weights.ready(segmenter, settings.weights_folder, self._weights(segmenter))
            except NumericError as error:
                raise SettingsError(f"PHOTOTWIN_SEGMENTER is {segmenter}, but {error}") from None

    @classmethod
    def networks(cls, settings: Settings) -> bool:
        return True

    def task(self, event: PosesReady | MasksReviewed) -> str:
        return "workers.segment.review.compute" if isinstance(event, MasksReviewed) else self.compute

    def inputs(self, event: PosesReady | MasksReviewed) -> Inputs:
        if isinstance(event, MasksReviewed):
            return Inputs(uploads=event.replaced, manifests={"dataset": event.dataset, "masks": event.masks})
        return Inputs(manifests={"dataset": event.dataset})

    def parameters(self, event: PosesReady | MasksReviewed) -> dict[str, Any]:
        if isinstance(event, MasksReviewed):
            return {"decisions": {stem: _told(event, stem) for stem in sorted(event.decisions)}}
        asked = event.options.segmenter
        segmenter = self.settings.segmenter if asked == "auto" else asked
        return {
            "threshold": THRESHOLD,
            "segmenter": segmenter,
            "weights": self._weights(segmenter),
            "hints": [hint.model_dump(include=HINT) for hint in event.options.hints],
        }

    def _weights(self, segmenter: str) -> dict[str, str]:
        """The files, by digest, that a segmenter reads on this worker."""
        settings = self.settings
        if segmenter == "carvekit":
            return weights.of_carvekit(settings.weights_folder)
        if segmenter == "onnx" and settings.onnx_model and settings.onnx_sha256:
            return of_onnx(settings.weights_folder, settings.onnx_model, settings.onnx_sha256)
        return {}

    def question(
        self, event: PosesReady | MasksReviewed, digests: dict[str, str]
    ) -> tuple[dict[str, str], dict[str, Any]]:
        if isinstance(event, MasksReviewed):
            return {name: digests[name] for name in ("dataset", "masks")}, {}
        return super().question(event, digests)

    def reply(
        self, event: PosesReady | MasksReviewed, manifest: Manifest, ref: ManifestRef
    ) -> MasksReady | MasksProposed:
        if isinstance(event, PosesReady) and event.options.review:
            return event.followed_by(
                MasksProposed, dataset=event.dataset, masks=ref, world=event.world, options=event.options
            )
        return event.followed_by(
            MasksReady,
            dataset=event.dataset,
            masks=ref,
            images=manifest.metrics["images"],
            world=event.world,
            options=event.options,
        )

    def observe(self, metrics: Metrics, manifest: Manifest) -> None:
        found = manifest.metrics
        if review := found.get("review"):
            for decision, stems in review.items():
                metrics.masks_reviewed.labels(decision).inc(len(stems))
            return
        made = found["masks"]
        seconds = manifest.usage.wall_seconds / len(made)
        metrics.mask_duration.labels(found["segmenter"]).observe(seconds)
        for mask in made.values():
            metrics.masks.labels(found["segmenter"], mask["verdict"]).inc()


def _told(event: MasksReviewed, stem: str) -> dict[str, Any]:
    """A decision as `review.compute` reads it."""
    decision = event.decisions[stem]
    mask = decision.mask and decision.mask.key.removeprefix(f"{event.folder}upload/")
    return {"decision": decision.decision, "mask": mask}

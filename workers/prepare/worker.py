"""The prepare worker: dataset.uploaded -> poses.ready."""

from typing import Any

from contracts.dataset import Manifest
from contracts.events import DatasetUploaded, PosesReady
from contracts.fields import ManifestRef
from workers.geometry.errors import NumericError
from workers.networks.weights import of_onnx
from workers.prepare.sfm.matches_file import FILE
from workers.prepare.sfm.weights import Networks, of_aliked, ready
from workers.runtime.settings import Settings, SettingsError
from workers.runtime.worker import Inputs, Worker

LARGEST = {"preview": 512, "standard": 512, "high": 1024}
"""Of the images' sides in pixels, where the photos have as many to show."""
LENGTHS: Any = {
    "known_length": {"metres": True, "ends": {"__all__": {"__all__": {"image", "x", "y"}}}},
    "marker": {"metres", "dictionary"},
}
"""What of the options decides the scale: not what a newer sender may have put beside it."""


class Prepare(Worker[DatasetUploaded]):
    """Any supported capture becomes a dataset of square, undistorted images with poses."""

    stage = "prepare"
    consumes = (DatasetUploaded,)
    algorithm = "4"
    compute = "workers.prepare.compute"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        try:
            ready(self._networks(), settings.weights_folder)
        except NumericError as error:
            raise SettingsError(f"photos cannot be matched as PHOTOTWIN_* say: {error}") from None

    @classmethod
    def networks(cls, settings: Settings) -> bool:
        return settings.features != "sift" or settings.retrieval_model is not None

    def inputs(self, event: DatasetUploaded) -> Inputs:
        if event.previous is None:
            return Inputs(uploads=event.files)
        return Inputs(event.files, {"previous": event.previous}, {"previous": (FILE,)})

    def parameters(self, event: DatasetUploaded) -> dict[str, Any]:
        options = event.options
        return {
            "kind": event.kind,
            "largest": LARGEST[options.profile],
            "ignore_masks": options.ignore_masks,
            "ignore_poses": options.ignore_poses,
            "refine_poses": options.refine_poses,
            "mapper": options.mapper,
            "networks": self._networks(),
            **options.model_dump(include=LENGTHS, mode="json"),
        }

    def _networks(self) -> Networks:
        """Those that the settings name. SettingsError where they name something in part."""
        settings, named = self.settings, {}
        if settings.features == "aliked":
            named["aliked"] = of_aliked()
        for name in ("lightglue", "retrieval"):
            model, sha256 = (getattr(settings, f"{name}_{what}") for what in ("model", "sha256"))
            if (model is None) != (sha256 is None):
                both = f"PHOTOTWIN_{name.upper()}_MODEL and PHOTOTWIN_{name.upper()}_SHA256"
                raise SettingsError(f"of {both} one is set: set both or none")
            if model is not None:
                named[name] = of_onnx(settings.weights_folder, model, sha256)
        if "lightglue" in named and "aliked" not in named:
            raise SettingsError("PHOTOTWIN_LIGHTGLUE_MODEL matches ALIKED: set PHOTOTWIN_FEATURES=aliked")
        return named

    def reply(self, event: DatasetUploaded, manifest: Manifest, ref: ManifestRef) -> PosesReady:
        return event.followed_by(
            PosesReady,
            dataset=ref,
            images=manifest.metrics["images"],
            posed=manifest.metrics["posed"],
            masked=manifest.metrics["masked"],
            advice=manifest.metrics.get("quality", {}).get("advice", ""),
            world=manifest.metrics["world"],
            options=event.options,
        )

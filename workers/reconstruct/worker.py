"""The reconstruct worker: masks.ready -> mesh.ready."""

from typing import Any

from contracts.dataset import Manifest
from contracts.events import MasksReady, MeshReady
from contracts.fields import ManifestRef
from workers.geometry.errors import NumericError
from workers.networks.weights import verified
from workers.runtime.settings import Settings, SettingsError
from workers.runtime.worker import Inputs, Worker


class Reconstruct(Worker[MasksReady]):
    """A textured mesh from posed images and masks, by the method that the options name."""

    stage = "reconstruct"
    consumes = (MasksReady,)
    algorithm = "9"
    compute = "workers.reconstruct.compute"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        try:
            for file, digest in self._network().items():
                verified(settings.weights_folder, file, digest)
        except NumericError as error:
            raise SettingsError(f"PHOTOTWIN_SINGLE_VIEW_MODEL is set, but {error}") from None

    @classmethod
    def networks(cls, settings: Settings) -> bool:
        return settings.single_view_model is not None

    def inputs(self, event: MasksReady) -> Inputs:
        return Inputs(manifests={"dataset": event.dataset, "masks": event.masks})

    def parameters(self, event: MasksReady) -> dict[str, Any]:
        options = event.options
        return {
            "profile": options.profile,
            "method": options.method,
            "seed": options.seed,
            "holdout": options.holdout,
            **({"network": network} if (network := self._network()) else {}),
        }

    def _network(self) -> dict[str, str]:
        """The file, by digest, that method single-view reads on this worker; none for the one that ships."""
        settings = self.settings
        if settings.single_view_model is None:
            return {}
        if settings.single_view_sha256 is None:
            raise SettingsError("PHOTOTWIN_SINGLE_VIEW_MODEL needs PHOTOTWIN_SINGLE_VIEW_SHA256")
        return {settings.single_view_model: f"sha256:{settings.single_view_sha256}"}

    def reply(self, event: MasksReady, manifest: Manifest, ref: ManifestRef) -> MeshReady:
        return event.followed_by(
            MeshReady,
            dataset=event.dataset,
            masks=event.masks,
            mesh=ref,
            world=event.world,
            options=event.options,
        )

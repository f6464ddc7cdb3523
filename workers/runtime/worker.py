"""What makes a worker: the few facts in which one differs from another."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from contracts.dataset import Manifest
from contracts.events import Event, Stage, UploadedFile
from contracts.fields import ManifestRef
from workers.runtime.metrics import Metrics
from workers.runtime.settings import Settings

E = TypeVar("E", bound=Event)


@dataclass(frozen=True)
class Inputs:
    """What a job reads. In the task's input folder, uploads lie below `upload/` under the names they
    were uploaded with, the artefacts of each manifest below a folder of its name here."""

    uploads: tuple[UploadedFile, ...] = ()
    manifests: dict[str, ManifestRef] = field(default_factory=dict)
    only: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The artefacts wanted of a manifest, where not all of them are."""
    with_manifests: bool = False
    """Whether each manifest lies with its artefacts, as `manifest.json`."""


class Worker(ABC, Generic[E]):
    """A stage of the pipeline. The shell does the rest: parse, fetch, compute, put, publish, ack."""

    stage: ClassVar[Stage]
    consumes: ClassVar[tuple[type[Event], ...]]
    algorithm: ClassVar[str]
    """Version of the computation; a new one computes again what an older one has done."""
    compute: ClassVar[str]
    """Module whose `run` computes, in the child process (see `runtime.child`)."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError where the settings ask for what cannot be done here."""
        self.settings = settings

    @classmethod
    def networks(cls, settings: Settings) -> bool:
        """Whether it wants the weights of networks, as `weights` in its input folder."""
        return False

    def task(self, event: E) -> str:
        """The module that computes for this event, where not all are for `compute`."""
        return self.compute

    @abstractmethod
    def inputs(self, event: E) -> Inputs: ...

    @abstractmethod
    def parameters(self, event: E) -> dict[str, Any]:
        """What, beside the inputs, decides the result; JSON."""

    def question(self, event: E, digests: dict[str, str]) -> tuple[dict[str, str], dict[str, Any]]:
        """What of the inputs (`digests`, by name) and the parameters makes this job the one it is: of jobs
        that ask the same the first result counts, and all others adopt it."""
        return digests, self.parameters(event)

    @abstractmethod
    def reply(self, event: E, manifest: Manifest, ref: ManifestRef) -> Event:
        """The event to publish. A function of the manifest alone, so that a result found in the
        store is announced just as a fresh one."""

    def observe(self, metrics: Metrics, manifest: Manifest) -> None:
        """Count what a result has to say beyond its cost; called once for each that was computed here."""
        return

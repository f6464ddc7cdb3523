"""The events, one model each, of its newest version (the README has them in one table; `upcast.py` has the
earlier versions). `schemas/` is made from them: after a change run `phototwin schemas export`.

Field rules are checked on decoding; fields nobody here knows are kept, so that an older worker
passes on what a newer publisher said.
"""

from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import ConfigDict, Field, model_validator

from contracts.fields import (
    Bytes,
    Code,
    Contract,
    Etag,
    ManifestRef,
    ObjectKey,
    ObjectRef,
    Sha256,
    Slug,
    Stem,
    World,
)
from contracts.options import LANES as LANES
from contracts.options import Dictionary as Dictionary
from contracts.options import Hint as Hint
from contracts.options import Lane as Lane
from contracts.options import Mapper as Mapper
from contracts.options import Options as Options
from contracts.options import Origin as Origin
from contracts.options import Profile as Profile
from contracts.options import Refine as Refine
from contracts.options import Segmenter as Segmenter

Stage = Literal["prepare", "segment", "reconstruct", "package"]
Kind = Literal["auto", "session", "transforms", "llff", "record3d", "scanner", "colmap", "photos", "video"]
MAX_LOSSES = 16

MAX_GENERATION = 1_000_000
F = TypeVar("F", bound="Event")


class Event(Contract):
    """What every event carries."""

    routing_key: ClassVar[str]
    version: ClassVar[int] = 1
    ends_capture: ClassVar[bool] = True
    """Whether the capture has failed where this event does."""

    tenant: Slug = "default"
    """Whose capture it is, where an installation serves several."""
    capture_id: Slug
    """Names the capture, within its tenant; its sender chooses it."""
    generation: Annotated[int, Field(ge=0, le=MAX_GENERATION)] = 0
    """Grows when a user asks for something to be done again."""
    attempt: Annotated[int, Field(ge=0, le=1000)] = 0
    """Counts from 0 and grows with each retry of this event. A sender leaves it out."""

    @classmethod
    def event_type(cls) -> str:
        """The CloudEvents type, e.g. `phototwin.dataset.uploaded.v1`."""
        return f"phototwin.{cls.routing_key}.v{cls.version}"

    @classmethod
    def dataschema(cls) -> str:
        """Names the JSON Schema of the version, e.g. `urn:phototwin:dataset.uploaded:1`."""
        return f"urn:phototwin:{cls.routing_key}:{cls.version}"

    def followed_by(self, kind: type[F], **fields: Any) -> F:
        """An event of the same capture and generation, in its first attempt."""
        return kind(tenant=self.tenant, capture_id=self.capture_id, generation=self.generation, **fields)

    @property
    def folder(self) -> str:
        """The capture's prefix in the object store."""
        return f"captures/{self.tenant}/{self.capture_id}/"

    @model_validator(mode="after")
    def _keys_belong_to_the_capture(self) -> Self:
        for key in _keys(self):
            if not key.startswith(self.folder):
                raise ValueError(f"key {key} must begin with {self.folder}")
        return self


class UploadedFile(Contract):
    """One uploaded object; at least one of etag and sha256 is worth sending, sha256 best."""

    key: ObjectKey
    """Where it is in the object store; begins with `captures/{tenant}/{capture_id}/upload/` of the event."""
    bytes: Bytes
    """Its size."""
    etag: Etag | None = None
    """As the store gave it when it was put, with or without its quotes; checked before it is used."""
    sha256: Sha256 | None = None
    """SHA-256 of its bytes, in hexadecimal; checked when it is read."""


class DatasetUploaded(Event):
    """The raw upload of a capture is in the store."""

    routing_key: ClassVar[str] = "dataset.uploaded"
    files: Annotated[tuple[UploadedFile, ...], Field(min_length=1, max_length=5000)]
    """All of its files; none twice, and none of them a folder of another."""
    kind: Kind = "auto"
    """Which layout it is in; auto has us look."""
    previous: ManifestRef | None = None
    """The dataset (of its `poses.ready`) that was made of some of these photos before: what was matched for
    it is not matched again."""
    options: Options = Options()
    """What the sender chooses."""

    @model_validator(mode="after")
    def _files_are_uploads(self) -> Self:
        keys = [file.key for file in self.files]
        if len(set(keys)) != len(keys):
            raise ValueError("files must not name a key twice")
        _check_uploads("files", keys, self.folder)
        return self


class PosesReady(Event):
    """The normalised dataset: square undistorted images, intrinsics and poses."""

    routing_key: ClassVar[str] = "poses.ready"
    dataset: ManifestRef
    """The dataset."""
    images: Annotated[int, Field(ge=1)]
    """How many images it has."""
    posed: bool
    """Whether they have poses; only a single picture may have none."""
    masked: bool
    """Whether masks came with the upload."""
    advice: Annotated[str, Field(max_length=1000)] = ""
    """One plain sentence on what to photograph next time."""
    world: World = World()
    """What is known of the world in which the poses are."""
    options: Options = Options()
    """Those of the upload."""


class MasksProposed(Event):
    """Masks wait for a person to review them."""

    routing_key: ClassVar[str] = "masks.proposed"
    dataset: ManifestRef
    """The images."""
    masks: ManifestRef
    """The masks, one `<stem>.png` for an image."""
    world: World = World()
    """What is known of the world in which the poses are."""
    options: Options = Options()
    """Those of the upload."""


class Decision(Contract):
    """What a person says of one image."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"decision": {"const": "replace"}}},
            "then": {"required": ["mask"], "properties": {"mask": {"type": "object"}}},
            "else": {"properties": {"mask": {"type": "null"}}},
        }
    )

    decision: Literal["keep", "discard", "replace"]
    """Use the proposed mask, leave the image out, or use another mask."""
    mask: UploadedFile | None = None
    """The other mask, with replace and only then: a picture of the image's own size, whose alpha is the mask;
    where it has none, its brightness."""

    @model_validator(mode="after")
    def _a_mask_replaces(self) -> Self:
        if (self.mask is not None) != (self.decision == "replace"):
            raise ValueError("must have a mask where its decision is replace, and nowhere else")
        return self


class MasksReviewed(Event):
    """A person has looked at the proposed masks. Of several of the same generation for one proposal the first
    that succeeds counts: to decide anew, raise the generation."""

    routing_key: ClassVar[str] = "masks.reviewed"
    version: ClassVar[int] = 2
    ends_capture: ClassVar[bool] = False
    dataset: ManifestRef
    """The proposal's."""
    masks: ManifestRef
    """The proposal's."""
    decisions: Annotated[dict[Stem, Decision], Field(max_length=5000)]
    """By the images' stems (names without suffix); an image that is not mentioned is kept as proposed."""
    world: World = World()
    """The proposal's."""
    options: Options = Options()
    """The proposal's."""

    @property
    def replaced(self) -> tuple[UploadedFile, ...]:
        """The masks that a person made, each file once."""
        files = [decision.mask for decision in self.decisions.values() if decision.mask is not None]
        return tuple({file.key: file for file in files}.values())

    @model_validator(mode="after")
    def _masks_are_uploads(self) -> Self:
        masks = {file.key: file for file in self.replaced}
        if any(d.mask is not None and d.mask != masks[d.mask.key] for d in self.decisions.values()):
            raise ValueError("decisions must not announce two contents of one key")
        _check_uploads("decisions", [file.key for file in self.replaced], self.folder)
        return self


class MasksReady(Event):
    """One alpha mask for each image that was kept."""

    routing_key: ClassVar[str] = "masks.ready"
    dataset: ManifestRef
    """The images."""
    masks: ManifestRef
    """The masks, one `<stem>.png` for an image."""
    images: Annotated[int, Field(ge=1)]
    """How many masks there are."""
    world: World = World()
    """What is known of the world in which the poses are."""
    options: Options = Options()
    """Those of the upload."""


class MeshReady(Event):
    """mesh.obj, mesh.mtl and the textures."""

    routing_key: ClassVar[str] = "mesh.ready"
    dataset: ManifestRef
    """The images it was made from."""
    masks: ManifestRef
    """Their masks."""
    mesh: ManifestRef
    """Mesh and textures."""
    world: World = World()
    """What is known of the world in which the mesh is."""
    options: Options = Options()
    """Those of the upload."""


class Variant(Contract):
    """One of the files that the model is handed out in."""

    name: Annotated[str, Field(max_length=200)]
    """What it is called, such as model_8k.glb; more may be added."""
    triangles: Annotated[int, Field(ge=0)]
    """How many it has."""
    file: ObjectRef
    """Where it lies."""


class ModelReady(Event):
    """The finished model."""

    routing_key: ClassVar[str] = "model.ready"
    model: ManifestRef
    """All that was made."""
    glb: ObjectRef
    """The model, binary glTF 2.0."""
    poster: ObjectRef
    """A picture of it, PNG."""
    usdz: ObjectRef | None = None
    """For AR on iPhone and iPad; it stands on its base, and so it does in model_ar.glb, for Android."""
    turntable: ObjectRef | None = None
    """It turns once, animated WebP. Not of a preview."""
    report: ObjectRef | None = None
    """What it is worth, for people: one HTML page that needs nothing else."""
    variants: Annotated[tuple[Variant, ...], Field(max_length=50)] = ()
    """All files that hold the model, `glb` and `usdz` among them."""


class Failure(Contract):
    """Why a capture failed."""

    code: Code
    """For a program: one of `errors.json`, to which more may be added."""
    message: Annotated[str, Field(max_length=4000)]
    """For a developer."""
    sentence: Annotated[str, Field(max_length=1000)]
    """For the user of the phone, in English: what went wrong."""
    action: Annotated[str, Field(max_length=1000)]
    """For the user of the phone, in English: what to do about it."""
    params: dict[str, Any] = Field(default_factory=dict)
    """What the names in braces stand for in `errors.json`, for an app that translates it."""


class CaptureFailed(Event):
    """Terminal: no further event of this generation follows. Two kinds of failures leave the capture open,
    and the event can be sent again, corrected: one that could not be read (`event_...`), and a person's
    decisions that cannot be applied."""

    routing_key: ClassVar[str] = "capture.failed"
    stage: Stage
    """Where it failed."""
    error: Failure
    """Why."""


class CaptureCancelled(Event):
    """Stop work on this capture."""

    routing_key: ClassVar[str] = "capture.cancelled"
    reason: Annotated[str, Field(max_length=1000)] = ""
    """For whoever reads logs."""


class JobProgress(Event):
    """How far a stage is; transient, may be lost, never blocks work."""

    routing_key: ClassVar[str] = "job.progress"
    stage: Stage
    """Which stage."""
    fraction: Annotated[float, Field(ge=0, le=1)]
    """How much of it is done."""
    eta_seconds: Annotated[float, Field(ge=0)] | None = None
    """About how long the rest will take."""
    step: Annotated[str, Field(max_length=100)] = ""
    """What is being done, in a word or two."""
    preview: ObjectKey | None = None
    """There when there is a new one: the result as it looks so far, binary glTF. The key is the same
    throughout, and begins with `captures/{tenant}/{capture_id}/previews/` of the event."""
    preview_image: ObjectKey | None = None
    """The same as a picture, PNG."""
    losses: dict[Annotated[str, Field(min_length=1, max_length=64)], float] = Field(
        default_factory=dict, max_length=MAX_LOSSES
    )
    """What the method minimises, by name."""

    @model_validator(mode="after")
    def _previews_belong_to_the_capture(self) -> Self:
        for key in (self.preview, self.preview_image):
            if key is not None and not key.startswith(self.folder + "previews/"):
                raise ValueError(f"preview key {key} must begin with {self.folder}previews/")
        return self


EVENTS: tuple[type[Event], ...] = (
    DatasetUploaded,
    PosesReady,
    MasksProposed,
    MasksReviewed,
    MasksReady,
    MeshReady,
    ModelReady,
    CaptureFailed,
    CaptureCancelled,
    JobProgress,
)


def _keys(value: object) -> list[str]:
    """The object keys of all references within an event."""
    if isinstance(value, ManifestRef | ObjectRef | UploadedFile):
        return [value.key]
    if isinstance(value, Contract):
        return [key for name in type(value).model_fields for key in _keys(getattr(value, name))]
    if isinstance(value, tuple):
        return [key for item in value for key in _keys(item)]
    return []


def _check_uploads(field: str, keys: list[str], folder: str) -> None:
    """Raises ValueError, unless all can lie side by side in the upload of the capture in `folder`."""
    for key, following in pairwise(sorted(keys, key=lambda key: key.split("/"))):
        if following.startswith(key + "/"):  # what lies below a key comes right after it
            raise ValueError(f"{field}: {key} cannot be both a file and a folder")
    for key in keys:
        if not key.startswith(folder + "upload/"):
            raise ValueError(f"{field}: key {key} must begin with {folder}upload/")

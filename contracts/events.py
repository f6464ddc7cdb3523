"""The events, one model each and version 1 of all (the README has them in one table).

Field rules are checked on decoding; fields nobody here knows are kept, so that an older worker
passes on what a newer publisher said.
"""

from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, StrictBool, model_validator

from contracts.fields import (
    Bytes,
    Code,
    Contract,
    Etag,
    ManifestRef,
    ObjectKey,
    ObjectRef,
    RelativePath,
    Sha256,
    Slug,
    Stem,
    World,
)

Stage = Literal["prepare", "segment", "reconstruct", "package"]
Profile = Literal["preview", "standard", "high"]
Segmenter = Literal["auto", "multiview", "carvekit", "onnx"]
Mapper = Literal["incremental", "global"]
Refine = Literal["auto", "always", "never"]
Kind = Literal["auto", "session", "transforms", "llff", "record3d", "scanner", "colmap", "photos", "video"]
Dictionary = Literal["4x4_50", "5x5_50", "6x6_50", "april_36h11"]
MAX_LOSSES = 16


def _not_one(holdout: int) -> int:
    if holdout == 1:
        raise ValueError("must be 0 or at least 2: with 1 no view would be left")
    return holdout


Part = Annotated[float, Field(ge=0, le=1)]
"""Of a photo's width or height, as it is shown upright, from its top left."""


class Tap(Contract):
    """A point of a photo that is on the object, or is not."""

    x: Part
    y: Part
    object: StrictBool = True


class Hint(Contract):
    """What the sender marked in one photo, named by its path in the upload or by its file name. The object is
    within `box`: left, top, right, bottom."""

    image: RelativePath
    box: tuple[Part, Part, Part, Part] | None = None
    taps: Annotated[tuple[Tap, ...], Field(max_length=100)] = ()

    @model_validator(mode="after")
    def _a_box_has_an_inside(self) -> Self:
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError("box must be left, top, right, bottom, with left < right and top < bottom")
        return self


class Mark(Contract):
    """A place in one photo, named as in a hint."""

    image: RelativePath
    x: Part
    y: Part


End = Annotated[tuple[Mark, ...], Field(min_length=2, max_length=100)]
"""One point of the scene, marked in two photos or more that show it from different sides."""
Metres = Annotated[float, Field(gt=0, le=1000)]


class KnownLength(Contract):
    """How far apart two points of the scene are."""

    metres: Metres
    ends: tuple[End, End]


class Marker(Contract):
    """Printed square markers lie in the scene, all of one size: the side of the black square."""

    metres: Metres
    dictionary: Dictionary = "4x4_50"


class Options(Contract):
    """What the sender may choose for a capture; passed on unchanged from stage to stage."""

    profile: Profile = "standard"
    method: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")] = "auto"
    seed: Annotated[int, Field(ge=0, lt=1 << 31)] = 0
    holdout: Annotated[int, Field(ge=0, le=1000), AfterValidator(_not_one)] = 8
    """From 24 views on, every `holdout`-th is kept out for the quality report; 0 uses all."""
    segmenter: Segmenter = "auto"
    """What makes masks where none were sent; auto: what the worker's settings say."""
    ignore_masks: bool = False
    ignore_poses: bool = False
    """Whether poses are estimated from the photos though some were sent."""
    refine_poses: Refine = "auto"
    """Whether poses that were sent give way to others that fit the photos much better; auto: those of a
    phone's own tracking do."""
    mapper: Mapper = "incremental"
    """What estimates poses; global is believed only where it fits, and needs lenses that are known."""
    hints: Annotated[tuple[Hint, ...], Field(max_length=600)] = ()
    """Where the object is, for whatever makes the masks."""
    known_length: KnownLength | None = None
    marker: Marker | None = None
    """What a unit of the capture's world is in metres, where one of these tells."""
    review: bool = False
    """Whether a person looks at the masks before anything is made from them."""

    @model_validator(mode="after")
    def _one_thing_tells_the_scale(self) -> Self:
        if self.known_length is not None and self.marker is not None:
            raise ValueError("known_length and marker must not both be given: which is right?")
        return self


F = TypeVar("F", bound="Event")


class Event(Contract):
    """What every event carries. `attempt` counts from 0 and grows with each retry of this event;
    `generation` grows when a user asks for a stage to be done again."""

    routing_key: ClassVar[str]
    version: ClassVar[int] = 1

    tenant: Slug = "default"
    capture_id: Slug
    generation: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    attempt: Annotated[int, Field(ge=0, le=1000)] = 0

    @classmethod
    def event_type(cls) -> str:
        """The CloudEvents type, e.g. `phototwin.dataset.uploaded.v1`."""
        return f"phototwin.{cls.routing_key}.v{cls.version}"

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
    bytes: Bytes
    etag: Etag | None = None
    sha256: Sha256 | None = None


class DatasetUploaded(Event):
    """The raw upload of a capture. `kind` says which layout it is in, `auto` has us look. `previous` is the
    dataset (of its `poses.ready`) that was made of some of these photos before: what was matched for it is
    not matched again."""

    routing_key: ClassVar[str] = "dataset.uploaded"
    files: Annotated[tuple[UploadedFile, ...], Field(min_length=1, max_length=5000)]
    kind: Kind = "auto"
    previous: ManifestRef | None = None
    options: Options = Options()

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
    images: Annotated[int, Field(ge=1)]
    posed: bool
    masked: bool
    """Whether masks came with the upload."""
    advice: Annotated[str, Field(max_length=1000)] = ""
    """One plain sentence on what to photograph next time."""
    world: World = World()
    options: Options = Options()


class MasksProposed(Event):
    """Masks wait for a person to review them."""

    routing_key: ClassVar[str] = "masks.proposed"
    dataset: ManifestRef
    masks: ManifestRef
    world: World = World()
    options: Options = Options()


class Decision(Contract):
    """What a person says of one image: use its mask, use this one instead, or leave the image out."""

    keep: StrictBool
    mask: UploadedFile | None = None

    @model_validator(mode="after")
    def _a_mask_is_for_use(self) -> Self:
        if self.mask is not None and not self.keep:
            raise ValueError("an image that is not kept cannot have a mask")
        return self


class MasksReviewed(Event):
    """A person has looked at the proposed masks. `decisions` are by the images' stems; an image that is not
    mentioned is kept as proposed. Of several of the same generation for one proposal the first that
    succeeds counts: to decide anew, raise the generation."""

    routing_key: ClassVar[str] = "masks.reviewed"
    dataset: ManifestRef
    masks: ManifestRef
    """What was proposed."""
    decisions: Annotated[dict[Stem, Decision], Field(max_length=5000)]
    world: World = World()
    options: Options = Options()

    @property
    def replaced(self) -> tuple[UploadedFile, ...]:
        """The masks that a person made, each file once."""
        files = [decision.mask for decision in self.decisions.values() if decision.mask is not None]
        return tuple({file.key: file for file in files}.values())

    @model_validator(mode="after")
    def _masks_are_uploads(self) -> Self:
        if any(d.mask is not None and d.mask not in self.replaced for d in self.decisions.values()):
            raise ValueError("decisions must not announce two contents of one key")
        _check_uploads("decisions", [file.key for file in self.replaced], self.folder)
        return self


class MasksReady(Event):
    """One alpha mask for each image that was kept."""

    routing_key: ClassVar[str] = "masks.ready"
    dataset: ManifestRef
    masks: ManifestRef
    images: Annotated[int, Field(ge=1)]
    world: World = World()
    options: Options = Options()


class MeshReady(Event):
    """mesh.obj, mesh.mtl and the textures."""

    routing_key: ClassVar[str] = "mesh.ready"
    dataset: ManifestRef
    masks: ManifestRef
    mesh: ManifestRef
    world: World = World()
    options: Options = Options()


class ModelReady(Event):
    """The finished model."""

    routing_key: ClassVar[str] = "model.ready"
    model: ManifestRef
    glb: ObjectRef
    poster: ObjectRef


class Failure(Contract):
    """Why a capture failed: for a program (`code`, `params`), a developer (`message`) and a phone
    user (`sentence`, `action`, from `errors.json`)."""

    code: Code
    message: Annotated[str, Field(max_length=4000)]
    sentence: Annotated[str, Field(max_length=1000)]
    action: Annotated[str, Field(max_length=1000)]
    params: dict[str, Any] = Field(default_factory=dict)


class CaptureFailed(Event):
    """Terminal: no further event of this generation follows."""

    routing_key: ClassVar[str] = "capture.failed"
    stage: Stage
    error: Failure


class CaptureCancelled(Event):
    """Stop work on this capture."""

    routing_key: ClassVar[str] = "capture.cancelled"
    reason: Annotated[str, Field(max_length=1000)] = ""


class JobProgress(Event):
    """How far a stage is; transient, may be lost, never blocks work.

    `preview` (binary glTF) and `preview_image` (PNG) are there when new ones are: the result as it looks so
    far, under the same keys throughout. `losses` are what the method minimises, by name.
    """

    routing_key: ClassVar[str] = "job.progress"
    stage: Stage
    fraction: Annotated[float, Field(ge=0, le=1)]
    eta_seconds: Annotated[float, Field(ge=0)] | None = None
    step: Annotated[str, Field(max_length=100)] = ""
    preview: ObjectKey | None = None
    preview_image: ObjectKey | None = None
    losses: dict[Annotated[str, Field(min_length=1, max_length=64)], float] = Field(
        default_factory=dict, max_length=MAX_LOSSES
    )

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
    folders = {key[:end] for key in keys for end, character in enumerate(key) if character == "/"}
    if clash := folders.intersection(keys):
        raise ValueError(f"{field}: {min(clash)} cannot be both a file and a folder")
    for key in keys:
        if not key.startswith(folder + "upload/"):
            raise ValueError(f"{field}: key {key} must begin with {folder}upload/")

"""What clients send and get. The OpenAPI document is made of these, with the docstrings."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, Protocol, Self

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, model_validator

from contracts.events import Failure, Options, Stage
from contracts.fields import Bytes, RelativePath, Sha256, Slug, Stem

CaptureState = Literal["uploading", "working", "review", "done", "failed", "cancelled", "deleting"]
StageName = Literal["upload", "prepare", "segment", "reconstruct", "package"]
StageState = Literal["waiting", "running", "review", "done", "failed", "cancelled"]


class Sent(BaseModel):
    """Unknown fields are refused: a misspelt one would be ignored in silence."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Told(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class NewFile(Sent):
    """A file that will be uploaded."""

    name: RelativePath
    """Its path in the upload, such as `images/IMG_0001.jpg`."""
    bytes: Annotated[Bytes, Field(gt=0)]
    """Its size: an upload of another size is refused."""
    sha256: Sha256 | None = None
    """Where it is known: what arrives is checked by it."""


class Named(Protocol):
    @property
    def name(self) -> str: ...


Files = Annotated[tuple[NewFile, ...], Field(min_length=1, max_length=5000)]


def side_by_side(files: Sequence[Named]) -> None:
    names = {file.name for file in files}
    if len(names) != len(files):
        raise ValueError("files must not have a name twice")
    for name in names:
        parts = name.split("/")
        for count in range(1, len(parts)):
            if "/".join(parts[:count]) in names:
                raise ValueError(f"files: {'/'.join(parts[:count])} cannot be both a file and a folder")


class NewCapture(Sent):
    """What is to be uploaded, and what to make of it."""

    capture_id: Slug | None = None
    """Names the capture; left out, it is given one."""
    name: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    """For people."""
    files: Files
    """All files of the capture."""
    options: Options = Options()
    """What to make of it, and how; `lane` and `review` among them."""
    callback: AnyHttpUrl | None = None
    """Called when the capture has ended, or waits for a person: see webhooks."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        side_by_side(self.files)
        return self


class MoreFiles(Sent):
    """Photos to add to a capture."""

    files: Files
    """Those that are added; names that the capture has already are refused."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        side_by_side(self.files)
        return self


class PartTarget(Told):
    """Where a part of a file is put: `bytes` bytes from `offset` on."""

    number: int
    """From 1."""
    offset: int
    """Of its first byte in the file."""
    bytes: int
    """Its size."""
    received: bool
    """Whether it is there already."""
    url: str | None
    """PUT it here; none where it is there."""


class UploadTarget(Told):
    """Where a file of the capture is put."""

    name: str
    """Of the file."""
    bytes: int
    """Its size."""
    received: bool
    """Whether it is there already."""
    url: str | None
    """PUT the file here, with `headers`; none where it is there, or is sent in parts."""
    headers: dict[str, str]
    """Of every PUT of it."""
    parts: tuple[PartTarget, ...]
    """Of a large file: PUT each at its own address, in any order; some at a time, if you like."""


class Uploads(Told):
    """Where to upload."""

    expires: datetime
    """When the addresses have expired; ask for others then, and go on where you were."""
    files: tuple[UploadTarget, ...]
    """All files of the capture that are being uploaded."""


class StageStatus(Told):
    """One stage of the way from photos to a model."""

    stage: StageName
    """Which."""
    state: StageState
    """waiting: not begun. review: a person is to look at the masks."""
    progress: float
    """From 0 to 1."""
    step: str
    """What is being done, in a word or two."""
    eta_seconds: float | None
    """About how long this stage will still take, where that can be told."""
    started: datetime | None
    """When it began, as far as we know."""
    finished: datetime | None
    """When it ended."""
    seconds: float | None
    """How long it took."""


class Latency(Told):
    """Where the time went, in seconds; none of what has not happened, or cannot be known."""

    scan: float | None
    """T_scan: from the first photo to the last, by the capture's own timestamps."""
    upload: float | None
    """T_upload: from the capture's creation until its upload was complete."""
    signal: float | None
    """T_signal: from there until the first worker was at work on it."""
    preprocessing: float | None
    """T_preprocessing: poses and masks."""
    reconstruction: float | None
    """T_reconstruction: mesh and materials."""
    package: float | None
    """Packaging, which comes on top."""
    download: float | None
    """T_download: of the model, by its download link."""


class Preview(Told):
    """How it looks so far; the addresses are good for some minutes."""

    glb: str | None
    """The model, binary glTF."""
    image: str | None
    """A picture of it."""
    number: int
    """Grows with each new one."""
    up: tuple[float, float, float] | None
    """Which way is up in it, where that is known."""


class Quality(Told):
    """What the finished model is worth, by its own photos; the report has it all."""

    grade: Literal["good", "fair", "weak"]
    """How well it agrees with them."""
    weak: tuple[str, ...]
    """What is weak, the gravest first; sentences."""
    advice: str
    """What to photograph next time; one plain sentence."""


class CaptureStatus(Told):
    """A capture, and how far it is."""

    capture_id: str
    """Names it."""
    name: str
    """For people."""
    state: CaptureState
    """What it is in as a whole."""
    generation: int
    """Grows when something is done again."""
    number: int
    """Grows with everything that happens to it: the id of the latest of its events."""
    created: datetime
    """When."""
    updated: datetime
    """When something last happened to it."""
    options: Options
    """As they were sent."""
    stages: tuple[StageStatus, ...]
    """In their order."""
    latency: Latency
    """Where the time went."""
    losses: dict[str, float]
    """What the method minimises at present, by name."""
    loss_curve: tuple[tuple[float, dict[str, float]], ...]
    """The same over time: progress of the reconstruction, and the losses there."""
    preview: Preview | None
    """How it looks so far."""
    poster: str | None
    """Address of a picture of the finished model."""
    quality: Quality | None
    """Of that model. It stays, as the model does, until there is a new one."""
    warnings: tuple[str, ...]
    """What the stages noticed that may spoil the model; sentences."""
    error: Failure | None
    """Why it failed."""
    failed_stage: Stage | None
    """Where it failed."""
    advice: str
    """One plain sentence on what to photograph next time."""
    can: tuple[str, ...]
    """What can be asked of it now: complete, append, cancel, retry, review, delete."""


class CaptureCreated(CaptureStatus):
    """A new capture, and where to upload it."""

    uploads: Uploads
    """Where to upload."""
    callback_secret: str | None
    """What calls of its callback are signed with; told this once."""


class Captures(Told):
    """Some of a tenant's captures, the latest first."""

    captures: tuple[CaptureStatus, ...]
    """These."""
    next: str | None
    """For the following ones: send it as `after`."""


class Retry(Sent):
    """What to do again."""

    stage: Stage
    """From here on everything is made anew."""
    options: Options | None = None
    """Others than before, of use with `prepare` only."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.options is not None and self.stage != "prepare":
            raise ValueError("options can change from the stage prepare on only")
        return self


class Cancel(Sent):
    """Why it is cancelled."""

    reason: Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")] = ""
    """For whoever reads logs."""


class MaskView(Told):
    """A proposed mask beside its photo; the addresses are good for some minutes."""

    stem: Stem
    """Names the image."""
    photo: str
    """Address of the photo, as it was prepared."""
    mask: str | None
    """Address of the mask, PNG: white is the object. None where the stage discarded it."""
    verdict: str
    """good, doubtful or bad, as we judge it."""
    reasons: tuple[str, ...]
    """Why."""


class Masks(Told):
    """The masks of a capture, the worst first."""

    proposal: str
    """Names these masks; send it with the decisions."""
    waiting: bool
    """Whether a person's decisions are waited for."""
    images: tuple[MaskView, ...]
    """Each."""


class File(Told):
    """Something that was made."""

    name: str
    """Such as model.glb."""
    stage: Stage
    """Which made it."""
    bytes: int
    """Its size."""
    media_type: str
    """Such as model/gltf-binary."""
    sha256: str
    """Of its bytes."""
    url: str
    """To download it by, for some minutes."""


class FilesMade(Told):
    """All that was made of a capture."""

    expires: datetime
    """Until when the addresses are good."""
    files: tuple[File, ...]
    """Those of the model first."""


class Downloaded(Sent):
    """How long a download took, told by whoever downloaded."""

    name: Literal["model.glb", "model_web.glb", "model_ar.glb", "model.usdz"] = "model.glb"
    """What was downloaded."""
    seconds: Annotated[float, Field(gt=0, lt=86_400)]
    """From the request to the last byte."""


class NewWebhook(Sent):
    """Where a tenant's captures are told of."""

    url: AnyHttpUrl
    """Called with POST."""
    kinds: tuple[
        Literal[
            "dataset.uploaded",
            "poses.ready",
            "masks.proposed",
            "masks.reviewed",
            "masks.ready",
            "mesh.ready",
            "model.ready",
            "capture.failed",
            "capture.cancelled",
        ],
        ...,
    ] = ()
    """Which events; left out: masks.proposed, model.ready, capture.failed and capture.cancelled."""


class Webhook(Told):
    """Where a tenant's captures are told of."""

    id: str
    """Names it."""
    url: str
    """Called with POST."""
    kinds: tuple[str, ...]
    """Which events it is told of."""
    created: datetime
    """When."""
    waiting: int
    """How many calls are still to be made."""
    given_up: int
    """How many were tried so often that they are not tried any more."""
    error: str | None
    """Why the latest one failed that did."""


class WebhookCreated(Webhook):
    """A new webhook."""

    secret: str
    """What its calls are signed with (see the description of webhooks); told this once."""


class Webhooks(Told):
    """A tenant's webhooks."""

    webhooks: tuple[Webhook, ...]
    """All of them."""


class StageLoad(Told):
    """How much a stage has to do, of all tenants."""

    stage: Stage
    """Which."""
    waiting: int
    """Jobs that wait in its queues."""
    workers: int
    """Workers that listen."""
    seconds: float | None
    """What a job took, in the middle of the latest ones."""
    oldest_seconds: float | None
    """For how long the oldest capture has waited for it."""


class Capacity(Told):
    """Whether there is much to do."""

    stages: tuple[StageLoad, ...]
    """In their order."""
    wait_seconds: float | None
    """How long a new capture would wait before it is worked on; none where nobody works."""
    model_seconds: float | None
    """And how long it would then take, as the latest ones did."""


class Limits(Told):
    """What is too much."""

    requests_per_minute: int
    """Of the tenant."""
    open_captures: int
    """That are being uploaded or worked on at a time."""
    files: int
    """Of a capture."""
    bytes: int
    """Of all files of a capture."""


class Me(Told):
    """Who is asking."""

    tenant: str
    """Whose captures are seen."""
    who: str
    """The key's name, or the token's subject."""
    limits: Limits
    """What is too much."""
    open_captures: int
    """How many there are."""

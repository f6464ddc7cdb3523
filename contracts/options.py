"""What the sender of a capture may choose."""

from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, StrictBool, model_validator

from contracts.fields import Contract, RelativePath

Profile = Literal["preview", "standard", "high"]
Segmenter = Literal["auto", "multiview", "carvekit", "onnx"]
Mapper = Literal["incremental", "global"]
Refine = Literal["auto", "always", "never"]
Lane = Literal["interactive", "bulk"]
Origin = Literal["world", "base"]
LANES: tuple[Lane, ...] = get_args(Lane)
Dictionary = Literal["4x4_50", "5x5_50", "6x6_50", "april_36h11"]


def _not_one(holdout: int) -> int:
    if holdout == 1:
        raise ValueError("must be 0 or at least 2: with 1 no view would be left")
    return holdout


Part = Annotated[float, Field(ge=0, le=1)]
"""Of a photo's width or height, as it is shown upright, from its top left."""


class Tap(Contract):
    """A point of a photo that is on the object, or is not."""

    x: Part
    """Part of the width of the photo, as it is shown upright, from its left."""
    y: Part
    """Part of its height, from its top."""
    object: StrictBool = True
    """false: what is there is not the object."""


class Hint(Contract):
    """What the sender marked in one photo."""

    image: RelativePath
    """The photo: its path in the upload, or its file name."""
    box: tuple[Part, Part, Part, Part] | None = None
    """All of the object is within: left, top, right, bottom, as parts of the width and height of the upright
    photo; left < right, top < bottom."""
    taps: Annotated[tuple[Tap, ...], Field(max_length=100)] = ()
    """Points on the object, or beside it."""

    @model_validator(mode="after")
    def _a_box_has_an_inside(self) -> Self:
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError("box must be left, top, right, bottom, with left < right and top < bottom")
        return self


class Mark(Contract):
    """A place in one photo."""

    image: RelativePath
    """The photo: its path in the upload, or its file name."""
    x: Part
    """Part of the width of the photo, as it is shown upright, from its left."""
    y: Part
    """Part of its height, from its top."""


End = Annotated[tuple[Mark, ...], Field(min_length=2, max_length=100)]
"""One point of the scene, marked in two photos or more that show it from different sides."""
Metres = Annotated[float, Field(gt=0, le=1000)]


class KnownLength(Contract):
    """How far apart two points of the scene are."""

    metres: Metres
    """The distance."""
    ends: tuple[End, End]
    """Each of the two points, marked in two photos or more that show it from different sides."""


class Marker(Contract):
    """Printed square markers lie in the scene, all of one size."""

    metres: Metres
    """The side of the black square."""
    dictionary: Dictionary = "4x4_50"
    """Which markers they are: ArUco 4x4, 5x5, 6x6, or AprilTag 36h11."""


class Options(Contract):
    """What the sender may choose for a capture; passed on unchanged from stage to stage. At most one of
    `known_length` and `marker`."""

    profile: Profile = "standard"
    """How good, for how much time."""
    method: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")] = "auto"
    """What reconstructs the mesh: surface, neus, dmtet, single-view, or one that the installation adds; auto:
    surface, or single-view where there is but one photo."""
    seed: Annotated[int, Field(ge=0, lt=1 << 31)] = 0
    """Of all that is drawn at random."""
    holdout: Annotated[
        int,
        Field(ge=0, le=1000, json_schema_extra={"not": {"const": 1}}),
        AfterValidator(_not_one),
    ] = 8
    """From 24 views on, every `holdout`-th is kept out for the quality report; 0 uses all."""
    segmenter: Segmenter = "auto"
    """What makes masks where none were sent; auto: what the worker's settings say."""
    ignore_masks: bool = False
    """Whether masks are made though some were sent."""
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
    """What a unit of the capture's world is in metres, by two points and their distance."""
    marker: Marker | None = None
    """The same, by printed markers."""
    origin: Origin = "world"
    """Where the origin of the model is: world, where the capture has it; base, in the middle of the object's
    base, on the ground."""
    lane: Lane = "interactive"
    """bulk: nobody waits for it, so it lets others go first."""
    review: bool = False
    """Whether a person looks at the masks before anything is made from them."""

    @model_validator(mode="after")
    def _one_thing_tells_the_scale(self) -> Self:
        if self.known_length is not None and self.marker is not None:
            raise ValueError("known_length and marker must not both be given: which is right?")
        return self

"""`session.jsonl`: what a phone's augmented reality recorded of a capture, one JSON object a line: a header,
then a frame for each photo (or for each picture of a video) in the order in which they were taken.

World: right-handed, y up (against gravity), metres; where it lies may change during the session, as ARCore's
does, and anchors tell how. Camera: OpenGL axes, x right, y up, z towards the viewer. Whoever writes an app
needs no more than `schemas/session.schema.json`, which this module prints:

    python -m contracts.session > contracts/schemas/session.schema.json
"""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from contracts.fields import Contract, Name, RelativePath

MAX_ANCHORS = 50
"""Of one frame."""
UNIT = 0.01
"""How far a quaternion's length may be from 1."""

Coordinate = Annotated[float, Field(ge=-1e9, le=1e9)]
Focal = Annotated[float, Field(gt=0, le=1e6)]
Pixels = Annotated[int, Field(gt=0, le=100_000)]
Depth = Annotated[float, Field(gt=0, le=1e6)]
TrackingState = Literal["TRACKING", "PAUSED", "STOPPED"]


def _unit(value: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    if abs(sum(part * part for part in value) ** 0.5 - 1) > UNIT:
        raise ValueError("must be of length 1")
    return value


class Record(Contract):
    """Types are taken as they are: no number in quotes."""

    model_config = ConfigDict(strict=True)


class Pose(Record):
    """Where an anchor is in the world."""

    position: Annotated[
        tuple[Coordinate, Coordinate, Coordinate],
        Field(description="x, y, z in metres: ARCore's getTranslation."),
    ]
    quaternion_xyzw: Annotated[
        tuple[Coordinate, Coordinate, Coordinate, Coordinate],
        Field(description="Its rotation, x, y, z, w, of length 1: ARCore's getRotationQuaternion."),
        AfterValidator(_unit),
    ]


class Anchor(Record):
    """One anchor as the frame has it. List it in every frame from its creation on, whatever its state: an
    anchor does not move in the real world, so the way from `initial_pose` to `current_pose` is how far the
    phone's world has moved since, which is taken out of the cameras' poses. Three or more, spread around the
    object, are best.
    """

    id: Annotated[Name, Field(description="The same in all frames, and used for one anchor only.")]
    tracking_state: Annotated[TrackingState, Field(description="In this frame. Only TRACKING ones are used.")]
    initial_pose: Annotated[
        Pose,
        Field(
            description="When the anchor was created, in the world of that moment; the same in all frames."
        ),
    ]
    current_pose: Annotated[Pose, Field(description="In the world of this frame.")]


class Camera(Record):
    """The camera of one frame."""

    pose_matrix: Annotated[
        tuple[
            Coordinate, Coordinate, Coordinate, Coordinate, Coordinate, Coordinate, Coordinate, Coordinate,
            Coordinate, Coordinate, Coordinate, Coordinate, Coordinate, Coordinate, Coordinate, Coordinate,
        ],
        Field(
            description="Camera-to-world, 4x4 in COLUMN-major order, as ARCore's Pose.toMatrix and ARKit's "
            "simd_float4x4 store it: right, 0, up, 0, backwards, 0, place, 1. OpenGL axes: x right, y up, "
            "looking along -z; of the stored image or of the sensor, as the header's pose_axes says. In "
            "metres, in the world of this frame, as the phone gave it: not corrected by anchors."
        ),
    ]  # fmt: skip
    tracking_state: Annotated[
        TrackingState,
        Field(description="Frames that are not TRACKING are left out: their poses mean nothing."),
    ]


class Intrinsics(Record):
    """A pinhole, in pixels of the image as it is stored in its file, before any EXIF orientation is applied;
    origin at the outer corner of the top left pixel, x right, y down.
    """

    width: Annotated[Pixels, Field(description="Of the image that the rest is for.")]
    height: Annotated[Pixels, Field(description="Of the image that the rest is for.")]
    fx: Annotated[Focal, Field(description="Focal length across, in pixels.")]
    fy: Annotated[Focal, Field(description="Focal length down, in pixels.")]
    cx: Annotated[float, Field(ge=0, le=1e5, description="Principal point, pixels from the left edge.")]
    cy: Annotated[float, Field(ge=0, le=1e5, description="Principal point, pixels from the top edge.")]


class SessionHeader(Record):
    """The first line."""

    type: Literal["session"]
    session_id: Annotated[Name | None, Field(description="Whatever names the session to its sender.")] = None
    pose_axes: Annotated[
        Literal["image", "sensor"],
        Field(
            description="Whose axes pose_matrix has. 'image': those of the image as stored, x to its right "
            "and y to its top (ARCore: getDisplayOrientedPose with images turned as the display is). "
            "'sensor': those of the physical camera, whatever way the image was turned since (ARCore: "
            "Camera.getPose; ARKit: ARCamera.transform)."
        ),
    ] = "image"
    image_rotation: Annotated[
        Literal[0, 90, 180, 270],
        Field(
            description="By how many degrees clockwise the stored image is turned against the sensor's: 90 "
            "for the portrait photo of most phones, 0 where the camera's image was saved as it came. Matters "
            "only where pose_axes is 'sensor'. Intrinsics are of the image as stored, so turned with it."
        ),
    ] = 0
    video: Annotated[
        RelativePath | None,
        Field(
            description="Path, from the folder of this file, of a video that all frames are taken from, by "
            "video_time. Its stored image is what players show, after any rotation that the file asks for."
        ),
    ] = None


class SessionFrame(Record):
    """One of the lines after the header."""

    type: Literal["frame"]
    frame_index: Annotated[int, Field(ge=0, description="Counts up through the file; gaps are fine.")]
    timestamp_ns: Annotated[int | None, Field(ge=0, description="Nanoseconds of any clock.")] = None
    image: Annotated[
        RelativePath | None,
        Field(description="Path of the frame's image (JPEG, PNG, WebP, HEIC), from the folder of this file."),
    ] = None
    video_time: Annotated[
        float | None,
        Field(ge=0, le=1e6, description="Instead of image: seconds from the start of the header's video."),
    ] = None
    camera: Camera
    intrinsics: Intrinsics
    min_depth: Annotated[
        Depth | None, Field(description="Metres along the optical axis to the nearest point of the object.")
    ] = None
    max_depth: Annotated[
        Depth | None, Field(description="Metres along the optical axis to the farthest point of the object.")
    ] = None
    anchors: Annotated[tuple[Anchor, ...], Field(max_length=MAX_ANCHORS)] = ()

    @model_validator(mode="after")
    def _has_one_picture(self) -> Self:
        if (self.image is None) == (self.video_time is None):
            raise ValueError("must have either image or video_time")
        return self

    @model_validator(mode="after")
    def _depth_grows(self) -> Self:
        if self.min_depth and self.max_depth and self.min_depth > self.max_depth:
            raise ValueError("min_depth must not be larger than max_depth")
        return self

    @model_validator(mode="after")
    def _names_anchors_once(self) -> Self:
        if len({anchor.id for anchor in self.anchors}) < len(self.anchors):
            raise ValueError("anchors must have each id once")
        return self


SessionLine = Annotated[SessionHeader | SessionFrame, Field(discriminator="type")]
_LINE: TypeAdapter[SessionHeader | SessionFrame] = TypeAdapter(SessionLine)


def parse_line(line: bytes) -> SessionHeader | SessionFrame:
    """Raises ValueError, whose message names the first broken field and its rule."""
    try:
        return _LINE.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"][1:])
        message = f"{field}: {first['msg']}" if field else first["msg"]
        raise ValueError(message[:300]) from None  # it may repeat what it complains of


def schema() -> dict[str, Any]:
    """JSON Schema of one line of the file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of session.jsonl",
        "description": "session.jsonl has one JSON object a line, UTF-8: a header (type 'session') first, "
        "then a frame (type 'frame') for each photo in the order in which they were taken. World: "
        "right-handed, y up against gravity, metres. Fields that are not named here are allowed and ignored.",
        **_LINE.json_schema(),
    }


if __name__ == "__main__":
    print(json.dumps(schema(), indent=1))

"""The small types that events and manifests are made of, each with its own rule."""

from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

Slug = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Etag = Annotated[
    str,
    BeforeValidator(lambda value: value.strip('"') if isinstance(value, str) else value),
    StringConstraints(pattern=r'^[^\s"]{1,128}$'),
    WithJsonSchema({"type": "string", "pattern": r'^"*[^\s"]{1,128}"*$'}),
]
"""As S3 gives it, with or without its quotes."""
Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Bytes = Annotated[int, Field(ge=0, le=1 << 40)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]


def _relative_path(value: str) -> str:
    if len(value.encode()) > 1024:
        raise ValueError("must be at most 1024 bytes")
    if any(len(part.encode()) > 255 for part in value.split("/")):
        raise ValueError("must not contain a part of more than 255 bytes")
    if any(ord(character) < 32 or character in "\\\x7f" for character in value):
        raise ValueError("must not contain control characters or backslashes")
    if any(part in ("", ".", "..") for part in value.split("/")):
        raise ValueError("must not contain empty, '.' or '..' parts, nor start or end with '/'")
    return value


_PART = r"(?!\.\.?(?:/|$))[^/\\\x00-\x1f\x7f]+"
_PATH = rf"{_PART}(?:/{_PART})*"


def _path_schema(pattern: str) -> WithJsonSchema:
    """As much of the rule as a JSON Schema can say: it counts characters, where stores count bytes."""
    return WithJsonSchema({"type": "string", "maxLength": 1024, "pattern": f"^{pattern}$"})


RelativePath = Annotated[str, AfterValidator(_relative_path), _path_schema(_PATH)]


def _stem(value: str) -> str:
    if "/" in _relative_path(value):
        raise ValueError("must not contain a slash")
    return value


Stem = Annotated[str, AfterValidator(_stem), _path_schema(_PART)]
"""An image's file name without its suffix."""


def _object_key(value: str) -> str:
    if not _relative_path(value).startswith("captures/"):
        raise ValueError("must begin with 'captures/'")
    return value


ObjectKey = Annotated[str, AfterValidator(_object_key), _path_schema(f"captures/{_PATH}")]


class Contract(BaseModel):
    """Base of all that crosses a boundary: immutable, and unknown fields are kept as they came. What stands
    below a field describes it in the JSON Schema."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class ObjectRef(Contract):
    """One stored object and what its bytes must be."""

    key: ObjectKey
    """Where it is in the object store; begins with `captures/{tenant}/{capture_id}/` of the event."""
    sha256: Sha256
    """SHA-256 of its bytes, in hexadecimal."""
    bytes: Bytes
    """Its size."""
    media_type: Name
    """For instance model/gltf-binary."""


class ManifestRef(Contract):
    """A stage's result, by its manifest: a JSON file that lists the artefacts with their keys and digests."""

    key: ObjectKey
    """Where the manifest is in the object store; begins with `captures/{tenant}/{capture_id}/` of the
    event."""
    sha256: Sha256
    """SHA-256 of the manifest's bytes, in hexadecimal."""
    content: Sha256
    """SHA-256 over the names and digests of the artefacts alone, so that it is the same whenever the result
    is. The next stage's job key is made from it."""


class World(Contract):
    """What is known of the capture's world frame."""

    up: tuple[float, float, float] | None = None
    """Which way is up, as a unit vector."""
    scale: Annotated[float, Field(gt=0)] | None = None
    """Metres per unit."""

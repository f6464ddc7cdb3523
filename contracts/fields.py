"""The small types that events and manifests are made of, each with its own rule."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

Slug = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Etag = Annotated[
    str,
    BeforeValidator(lambda value: value.strip('"') if isinstance(value, str) else value),
    StringConstraints(pattern=r'^[^\s"]{1,128}$'),
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


RelativePath = Annotated[str, AfterValidator(_relative_path)]


def _stem(value: str) -> str:
    if "/" in _relative_path(value):
        raise ValueError("must not contain a slash")
    return value


Stem = Annotated[str, AfterValidator(_stem)]
"""An image's file name without its suffix."""


def _object_key(value: str) -> str:
    if not _relative_path(value).startswith("captures/"):
        raise ValueError("must begin with 'captures/'")
    return value


ObjectKey = Annotated[str, AfterValidator(_object_key)]


class Contract(BaseModel):
    """Base of all that crosses a boundary: immutable, and unknown fields are kept as they came."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)


class ObjectRef(Contract):
    """One stored object and what its bytes must be."""

    key: ObjectKey
    sha256: Sha256
    bytes: Bytes
    media_type: Name


class ManifestRef(Contract):
    """A stage's result: the manifest's key and digest, and the digest of what it lists.

    `content` depends on the artefacts alone (see `Manifest.content`), not on timings, and is what
    the next stage's job key is made from.
    """

    key: ObjectKey
    sha256: Sha256
    content: Sha256


class World(Contract):
    """What is known of the capture's world frame: `up` as a unit vector, `scale` in metres per unit."""

    up: tuple[float, float, float] | None = None
    scale: Annotated[float, Field(gt=0)] | None = None

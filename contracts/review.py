"""`decisions.json`: what a person decided on proposed masks, as the page of `phototwin masks review` saves
it. By the images' stems:

    {"images": {"IMG_0001": {"keep": true, "mask": "data:image/png;base64,iVBO..."},
                "IMG_0002": {"keep": false}},
     "proposal": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}
"""

import base64
import codecs
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StrictBool, ValidationError, model_validator

from contracts.errors import ReviewOtherMasks, ReviewUnreadable
from contracts.fields import Contract, Sha256, Stem

MAX_BYTES = 256 << 20
MAX_VALUES = 100_000
"""Of JSON: 5000 images have four each."""
MAX_MASK = 16 << 20
"""Characters of one mask's data URL."""
PREFIX = "data:image/png;base64,"


def _png_url(value: str) -> str:
    if not value.startswith(PREFIX):
        raise ValueError(f"must begin with {PREFIX}")
    try:
        base64.b64decode(value.removeprefix(PREFIX), validate=True)
    except ValueError:
        raise ValueError("must be base64 after its prefix") from None
    return value


class ImageDecision(Contract):
    """Use the proposed mask, use this one instead, or leave the image out. `mask`: a picture of the image's
    own size, whose alpha is the mask; where it has none, its brightness."""

    keep: StrictBool
    mask: Annotated[str, Field(max_length=MAX_MASK), AfterValidator(_png_url)] | None = None

    @model_validator(mode="after")
    def _a_mask_is_for_use(self) -> Self:
        if self.mask is not None and not self.keep:
            raise ValueError("an image that is not kept cannot have a mask")
        return self

    @property
    def picture(self) -> bytes | None:
        """The bytes of the mask's file, where there is one."""
        return None if self.mask is None else base64.b64decode(self.mask.removeprefix(PREFIX))


class DecisionsFile(Contract):
    """By the images' stems; an image that is not mentioned is kept as proposed. `proposal`: the `content` of
    the masks that were looked at (see `Manifest`), so that no decision is taken for one on others."""

    images: Annotated[dict[Stem, ImageDecision], Field(max_length=5000)]
    proposal: Sha256 | None = None

    def check(self, content: str) -> None:
        """Raises ReviewOtherMasks where these are decisions on other masks than those of that content."""
        if self.proposal not in (None, content):
            raise ReviewOtherMasks("these decisions were made on other masks than are proposed now")

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Raises ReviewUnreadable, which names the first broken field and its rule."""
        if len(body) > MAX_BYTES:
            raise ReviewUnreadable(f"the decisions have more than the {MAX_BYTES} bytes that are read")
        if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
            raise ReviewUnreadable(f"the decisions have more than the {MAX_VALUES} values that are read")
        try:
            return cls.model_validate_json(body.removeprefix(codecs.BOM_UTF8))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            field = ".".join(map(str, first["loc"]))[:300] or "decisions"
            raise ReviewUnreadable(f"{field}: {first['msg']}", field=field, rule=first["msg"]) from None

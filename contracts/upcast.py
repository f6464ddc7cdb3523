"""Versions of events that are read but not published any more: one model each, and a pure function that
makes its data into the next version's. `Envelope.parse` applies them, so that whoever asks for an event gets
its newest version; the rules of that hold too.

To make a new version, move what changes here under a name of its own, and write down the step.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, StrictBool

from contracts.events import EVENTS, Event, MasksReviewed, Options, UploadedFile
from contracts.fields import Contract, ManifestRef, Stem, World


class DecisionV1(Contract):
    """What a person says of one image: use its mask, use this one instead, or leave the image out."""

    keep: StrictBool
    """false leaves the image out."""
    mask: UploadedFile | None = None
    """Another mask to use; only of an image that is kept."""


class MasksReviewedV1(Event):
    """A person has looked at the proposed masks. Superseded by version 2, whose decisions are words."""

    routing_key: ClassVar[str] = "masks.reviewed"
    dataset: ManifestRef
    """The proposal's."""
    masks: ManifestRef
    """The proposal's."""
    decisions: Annotated[dict[Stem, DecisionV1], Field(max_length=5000)]
    """By the images' stems (names without suffix); an image that is not mentioned is kept as proposed."""
    world: World = World()
    """The proposal's."""
    options: Options = Options()
    """The proposal's."""


def _decisions_as_words(data: dict[str, Any]) -> dict[str, Any]:
    """masks.reviewed 1 -> 2."""

    def in_words(told: dict[str, Any]) -> dict[str, Any]:
        rest = {name: value for name, value in told.items() if name != "keep"}
        used = "keep" if rest.get("mask") is None else "replace"
        return {**rest, "decision": used if told["keep"] else "discard"}

    return data | {"decisions": {stem: in_words(told) for stem, told in data["decisions"].items()}}


STEPS: Mapping[type[Event], tuple[type[Event], Callable[[dict[str, Any]], dict[str, Any]]]] = {
    MasksReviewedV1: (MasksReviewed, _decisions_as_words),
}
"""Each version that is not the newest, with the next and the way there."""

READ: tuple[type[Event], ...] = (*EVENTS, *STEPS)
"""Every version of every event that is understood."""


def newest(event: Event) -> Event:
    """The same event in its newest version. Raises pydantic's ValidationError where it breaks a rule of a
    version on the way."""
    while step := STEPS.get(type(event)):
        following, change = step
        event = following.model_validate(change(event.model_dump(mode="json", exclude_unset=True)))
    return event

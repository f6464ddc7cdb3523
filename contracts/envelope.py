"""CloudEvents 1.0, structured JSON: the one form in which an event travels.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

import json
import secrets
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, StringConstraints, ValidationError

from contracts.errors import EventInvalid, EventUndecodable, EventUnknown
from contracts.events import EVENTS, Event
from contracts.fields import Contract, Name

MEDIA_TYPE = "application/cloudevents+json"
MAX_BYTES = 4 << 20

# Any fixed UUID serves: with it the same job gives the same event id on every machine.
_NAMESPACE = uuid.UUID("9d5c6f5e-3b43-5c0a-8a3a-6a4b1f0d7c11")
_TRACEPARENT = r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"


class Envelope(Contract):
    """The CloudEvents attributes; `data` is one of `contracts.events`.

    Raises (on `parse`): EventUndecodable, EventUnknown, EventInvalid.
    """

    specversion: Literal["1.0"]
    id: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    source: Name
    type: Name
    subject: str | None = None
    time: AwareDatetime
    datacontenttype: Literal["application/json"] = "application/json"
    traceparent: Annotated[str, StringConstraints(pattern=_TRACEPARENT)] = Field(
        default_factory=lambda: new_traceparent()
    )
    """Where the sender did not start a trace, one is started here."""
    data: Event

    @classmethod
    def wrap(cls, event: Event, *, id: str, source: str, traceparent: str) -> "Envelope":
        """An event with its attributes, stamped with the present time."""
        return cls(
            specversion="1.0",
            id=id,
            source=source,
            type=event.event_type(),
            subject=event.capture_id,
            time=datetime.now(UTC),
            traceparent=traceparent,
            data=event,
        )

    def encode(self) -> bytes:
        """The bytes of the message body."""
        return self.model_dump_json(serialize_as_any=True, exclude_none=True).encode()

    @classmethod
    def parse(cls, body: bytes) -> "Envelope":
        """Decode a message body; `data` is of the event class that `type` names."""
        document = _document(body)
        event_class = _event_class(document.get("type"))
        try:
            envelope = cls.model_validate_json(json.dumps(document | {"data": _PLACEHOLDER}))
            event = event_class.model_validate_json(json.dumps(document.get("data")))
        except ValidationError as error:
            raise _invalid(error, document) from None
        return envelope.model_copy(update={"data": event})


_PLACEHOLDER: dict[str, Any] = {"capture_id": "placeholder"}


def _document(body: bytes) -> dict[str, Any]:
    if len(body) > MAX_BYTES:
        raise EventUndecodable(f"the message has {len(body)} bytes; at most {MAX_BYTES} are read")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise EventUndecodable(f"the message is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise EventUndecodable("the message is not a JSON object; send a CloudEvents 1.0 envelope")
    return document


def _event_class(type_: object) -> type[Event]:
    for event_class in EVENTS:
        if event_class.event_type() == type_:
            return event_class
    known = ", ".join(event_class.event_type() for event_class in EVENTS)
    raise EventUnknown(f"type {type_!r:.200} is not known; known are {known}")


def _invalid(error: ValidationError, document: dict[str, Any]) -> EventInvalid:
    """Name the first broken field and its rule."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    prefix = "" if error.title == Envelope.__name__ else "data"
    field = ".".join(str(part) for part in (prefix, *first["loc"]) if part != "")
    return EventInvalid(
        f"{document.get('type')}: field {field or 'data'}: {first['msg']}", field=field, rule=first["msg"]
    )


def sender(body: bytes) -> Event | None:
    """Whose event it is, as far as that can be read from one that breaks its contract elsewhere."""
    try:
        data = _document(body)["data"]
        known = {name: data[name] for name in ("tenant", "capture_id", "generation") if name in data}
        return Event.model_validate(known)
    except (EventUndecodable, ValidationError, KeyError, TypeError):
        return None


def event_id(event_type: str, job_key: str) -> str:
    """The id every publication of this job's event has, whoever publishes it and however often."""
    return str(uuid.uuid5(_NAMESPACE, f"{event_type}\n{job_key}"))


def new_traceparent() -> str:
    """The root of a new W3C trace (https://www.w3.org/TR/trace-context/), sampled."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def child_traceparent(parent: str) -> str:
    """A new span of the same trace."""
    version, trace, _, flags = parent.split("-")
    return f"{version}-{trace}-{secrets.token_hex(8)}-{flags}"


def trace_id(traceparent: str) -> str:
    return traceparent.split("-")[1]

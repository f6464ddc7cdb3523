"""CloudEvents 1.0, structured JSON: the one form in which an event travels.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

import json
import secrets
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, StringConstraints, ValidationError

from contracts.errors import EventInvalid, EventUndecodable, EventUnknown
from contracts.events import Event
from contracts.fields import Contract, Name
from contracts.upcast import READ, newest

MEDIA_TYPE = "application/cloudevents+json"
MAX_BYTES = 4 << 20
MAX_VALUES = 250_000

# Any fixed UUID serves: with it the same job gives the same event id on every machine.
_NAMESPACE = uuid.UUID("9d5c6f5e-3b43-5c0a-8a3a-6a4b1f0d7c11")
_TRACEPARENT = r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"


class Envelope(Contract):
    """The CloudEvents attributes; `data` is one of `contracts.events`.

    Raises (on `parse`): EventUndecodable, EventUnknown, EventInvalid.
    """

    specversion: Literal["1.0"]
    """Of CloudEvents."""
    id: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    """The same whenever the same event is published again; whoever has seen it ignores it."""
    source: Name
    """Who published it, e.g. shop-app/backend."""
    type: Name
    """Which event it is, in which version."""
    subject: str | None = None
    """The capture's id once more, for those who route by attributes."""
    time: AwareDatetime
    """When it was published: RFC 3339, with its offset from UTC."""
    datacontenttype: Literal["application/json"] = "application/json"
    """What `data` is."""
    dataschema: str | None = None
    """The `$id` of the JSON Schema that the message keeps to, for other readers than phototwin."""
    traceparent: Annotated[str, StringConstraints(pattern=_TRACEPARENT)] = Field(
        default_factory=lambda: new_traceparent()
    )
    """W3C trace context. Where the sender did not start a trace, one is started here."""
    data: Event
    """What happened."""

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
            dataschema=event.dataschema(),
            traceparent=traceparent,
            data=event,
        )

    def encode(self) -> bytes:
        """The bytes of the message body."""
        return self.model_dump_json(serialize_as_any=True, exclude_none=True).encode()

    @classmethod
    def parse(cls, body: bytes) -> "Envelope":
        """Decode a message body. `data` is of the newest version of the event that `type` names, and the
        envelope then says so too."""
        document = _document(body)
        event_class = _event_class(document.get("type"))
        try:
            envelope = cls.model_validate_json(json.dumps(document | {"data": _PLACEHOLDER}))
            sent = event_class.model_validate_json(json.dumps(document.get("data")))
            event = newest(sent)
        except ValidationError as error:
            raise _invalid(error, document) from None
        if event is sent:
            return envelope.model_copy(update={"data": event})
        named = {"type": event.event_type(), "dataschema": event.dataschema()}
        return envelope.model_copy(update={"data": event, **named})


_PLACEHOLDER: dict[str, Any] = {"capture_id": "placeholder"}


def _document(body: bytes) -> dict[str, Any]:
    if len(body) > MAX_BYTES:
        raise EventUndecodable(f"the message has {len(body)} bytes; at most {MAX_BYTES} are read")
    if (values := body.count(b",")) > MAX_VALUES:  # each takes many times its own bytes once it is read
        raise EventUndecodable(f"the message has {values} values; at most {MAX_VALUES} are read")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise EventUndecodable(f"the message is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise EventUndecodable("the message is not a JSON object; send a CloudEvents 1.0 envelope")
    return document


def _event_class(type_: object) -> type[Event]:
    known = {event_class.event_type(): event_class for event_class in READ}
    if isinstance(type_, str) and type_ in known:
        return known[type_]
    family = str(type_).rpartition(".v")[0]
    versions = sorted(name for name in known if name.rpartition(".v")[0] == family)
    raise EventUnknown(
        f"type {type_!r:.200} is not known; known are {', '.join(versions or known)}"
        + ("; a newer version takes newer workers" if versions else "")
    )


def _invalid(error: ValidationError, document: dict[str, Any]) -> EventInvalid:
    """Name the first broken field and its rule."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    prefix = "" if error.title == Envelope.__name__ else "data"
    field = ".".join(str(part) for part in (prefix, *first["loc"]) if part != "")[:300]
    return EventInvalid(
        f"{document.get('type')}: field {field or 'data'}: {first['msg']}", field=field, rule=first["msg"]
    )


def retried(body: bytes, envelope: Envelope, attempt: int) -> bytes:
    """The message that `envelope` was read from, for another attempt. Of the version it came in: an older
    worker may be the next to read it."""
    document = _document(body)
    document["data"]["attempt"] = attempt
    return json.dumps(document | {"traceparent": envelope.traceparent}).encode()


def sender(body: bytes) -> Event | None:
    """Whose event it is, as far as that can be read from one that breaks its contract elsewhere; of which
    generation, if that can be read too."""
    for names in (("tenant", "capture_id", "generation"), ("tenant", "capture_id")):
        with suppress(EventUndecodable, ValidationError, KeyError, TypeError):
            data = _document(body)["data"]
            return Event.model_validate({name: data[name] for name in names if name in data})
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

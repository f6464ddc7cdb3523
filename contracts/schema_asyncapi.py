"""AsyncAPI 3.0 of phototwin as seen from outside: what it receives and what it sends, over which exchange of
RabbitMQ, under which routing key.

https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from contracts.envelope import MEDIA_TYPE
from contracts.events import EVENTS, Event, JobProgress
from contracts.schema import Schema, name
from contracts.upcast import READ

FROM_OUTSIDE = {"dataset.uploaded", "masks.reviewed", "capture.cancelled"}
"""Routing keys of the events that no worker publishes."""
BINDING = {"bindingVersion": "0.3.0"}
"""https://github.com/asyncapi/bindings/tree/v3.0.0/amqp"""


@dataclass(frozen=True)
class Places:
    """Names of the topic exchange of events, the fanout exchange of progress and the stream of outcomes; the
    routing keys of what is consumed, and of what workers send each other with a lane and a shard appended."""

    events: str
    progress: str
    outcomes: str
    consumed: frozenset[str]
    sorted: frozenset[str]


def document(places: Places, examples: Mapping[str, Any]) -> Schema:
    """`examples`: a message of each version, by the version's name."""
    channels: Schema = {}
    for event in READ:
        channel = channels.setdefault(event.routing_key, _channel(event, places))
        channel["messages"] |= _messages([event])
    told = [event for event in READ if event is not JobProgress]
    channels["outcomes"] = _stream(places.outcomes, told)
    operations = {}
    for event in EVENTS:
        key = event.routing_key
        if key in places.consumed:
            versions = [each for each in READ if each.routing_key == key]
            operations[f"receive.{key}"] = _operation("receive", key, versions)
        if key not in FROM_OUTSIDE:
            operations[f"send.{key}"] = _operation("send", key, [event])
    operations["send.outcomes"] = _operation("send", "outcomes", told)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "phototwin",
            "version": version("phototwin"),
            "description": "Photos in, digital twin out. Messages are CloudEvents 1.0 in structured JSON; "
            "publish them mandatory, confirmed and persistent. The names of exchanges and stream begin with "
            "what the installation has as PHOTOTWIN_PREFIX, phototwin unless set otherwise.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": MEDIA_TYPE,
        "channels": channels,
        "operations": operations,
        "components": {"messages": {name(event): _message(event, examples[name(event)]) for event in READ}},
    }


def _channel(event: type[Event], places: Places) -> Schema:
    transient = event is JobProgress
    exchange = {
        "name": places.progress if transient else places.events,
        "type": "fanout" if transient else "topic",
        "durable": True,
        "autoDelete": False,
    }
    key = event.routing_key
    suffixed = {
        "description": f"Workers send it under {key}.LANE.SHARD: to listen, bind {key}.#; whoever does a "
        f"worker's work in its place sends it under {key}."
    }
    return {
        "address": key,
        **(suffixed if key in places.sorted - FROM_OUTSIDE else {}),
        "messages": {},
        "bindings": {"amqp": {"is": "routingKey", "exchange": exchange, **BINDING}},
    }


def _stream(queue: str, events: Iterable[type[Event]]) -> Schema:
    bound = {"name": queue, "durable": True, "exclusive": False, "autoDelete": False}
    return {
        "address": queue,
        "description": "A stream of all events but job.progress, in the order of their publication. Consume "
        "it with acknowledgements, a prefetch, and the argument x-stream-offset: first, next, or the number "
        "that a message has in its header of that name. Pass over what you do not know.",
        "messages": _messages(events),
        "bindings": {"amqp": {"is": "queue", "queue": bound, **BINDING}},
    }


def _messages(events: Iterable[type[Event]]) -> Schema:
    return {name(event): {"$ref": f"#/components/messages/{name(event)}"} for event in events}


def _operation(action: str, channel: str, events: Iterable[type[Event]]) -> Schema:
    safe = {"deliveryMode": 2, "mandatory": True, **BINDING}
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name(event)}"} for event in events],
        **({} if channel in ("outcomes", JobProgress.routing_key) else {"bindings": {"amqp": safe}}),
    }


def _message(event: type[Event], example: Any) -> Schema:
    return {
        "name": event.event_type(),
        "title": f"{event.routing_key}, version {event.version}",
        "summary": " ".join((event.__doc__ or "").split()),
        "contentType": MEDIA_TYPE,
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"./{name(event)}.schema.json"},
        },
        "examples": [{"name": "example", "payload": example}],
    }


def yaml(node: Any, indent: str = "") -> Iterator[str]:
    """The lines of a document. YAML takes scalars as JSON writes them."""
    entries = node.items() if isinstance(node, dict) else ((None, item) for item in node)
    for key, value in entries:
        start = f"{indent}-" if key is None else f"{indent}{_key(key)}:"
        if not value or not isinstance(value, dict | list):
            yield f"{start} {json.dumps(value, ensure_ascii=False)}"
            continue
        lines = yaml(value, indent + "  ")
        yield start if key is not None else f"{start} {next(lines).lstrip()}"
        yield from lines


def _key(key: str) -> str:
    return key if re.fullmatch(r"[$A-Za-z][\w.$-]*", key) else json.dumps(key)

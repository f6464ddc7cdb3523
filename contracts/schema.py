"""JSON Schema (2020-12) of whole messages, one for each version of each event, made from the models.

What it cannot say stands in the descriptions: which keys belong to the capture, above all. It refuses nothing
that it does not know: fields may be added.
"""

import re
from typing import Any, Literal

from pydantic import BaseModel, Field, create_model
from pydantic.json_schema import GenerateJsonSchema

from contracts.envelope import Envelope
from contracts.events import Event
from contracts.upcast import READ

Schema = dict[str, Any]


class _Generator(GenerateJsonSchema):
    """Without titles that only repeat a field's name; the default of an object is `{}`, so that each default
    within is told in one place; and a rule for the keys of a mapping holds for all of them."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, BaseModel):
            return dft.model_dump(mode="json", exclude_defaults=True)
        return super().encode_default(dft)

    def dict_schema(self, schema: Any) -> Schema:
        made = super().dict_schema(schema)
        if "patternProperties" in made:
            (values,) = made.pop("patternProperties").values()
            made |= {
                "propertyNames": self.generate_inner(schema["keys_schema"]),
                "additionalProperties": values,
            }
        return made


def name(event: type[Event]) -> str:
    """What the files of a version are called by, e.g. `dataset.uploaded.v1`."""
    return f"{event.routing_key}.v{event.version}"


def schema(event: type[Event]) -> Schema:
    """Of a message that carries the event."""
    type_: Any = Literal[event.event_type()]
    message = create_model(
        name(event),
        __base__=Envelope,
        __doc__=event.__doc__,
        type=(type_, Field(description=Envelope.model_fields["type"].description)),
        data=(event, Field(description=Envelope.model_fields["data"].description)),
    )
    made: Schema = _flowing(message.model_json_schema(schema_generator=_Generator))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": event.dataschema(),
        "title": f"{event.routing_key}, version {event.version}",
        "description": made.pop("description"),
        **{keyword: value for keyword, value in made.items() if keyword != "title"},
    }


def schemas() -> dict[str, Schema]:
    """All of them, by the versions' names."""
    return {name(event): schema(event) for event in READ}


def _flowing(node: Any) -> Any:
    """Descriptions as paragraphs, not as the lines of the docstrings that they come from."""
    if isinstance(node, dict):
        return {
            keyword: re.sub(r"(?<!\n)\n(?!\n)", " ", value)
            if keyword == "description" and isinstance(value, str)
            else _flowing(value)
            for keyword, value in node.items()
        }
    return [_flowing(value) for value in node] if isinstance(node, list) else node

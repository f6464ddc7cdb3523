"""Whether two states of one version's JSON Schema understand each other, both ways: whatever was valid before
must be read now, and whatever is published now must have been valid before (full compatibility; with all
earlier states, full transitive). So nothing may change but optional fields and words.
"""

from collections.abc import Iterator
from typing import Any

from contracts.schema import Schema

WORDS = {"$schema", "$id", "title", "description", "examples"}
LOWER = {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"}
UPPER = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"}
INNER = {"items": "[]", "additionalProperties": ".*"}
"""Keywords below which other values are described, with how these are called."""

OLD_UNREAD = "messages that were sent before would not be read any more"
NEW_REFUSED = "readers of the released version would refuse what is sent now"
OTHER_MEANING = "messages that leave it out would mean something else than when they were sent"


def changes(old: Schema, new: Schema) -> Iterator[str]:
    """What sets them apart, but for optional fields and words: for each its field, the change and what comes
    of it, in a sentence."""
    yield from _Comparison(old, new).of(old, new, "")


def bare(node: Any) -> Any:
    """A schema without words, to see whether anything else differs."""
    if isinstance(node, dict):
        named = ("properties", "$defs")  # below these the keys are names of fields and models, not keywords
        return {
            key: {name: bare(inner) for name, inner in value.items()} if key in named else bare(value)
            for key, value in node.items()
            if key not in WORDS
        }
    return [bare(item) for item in node] if isinstance(node, list) else node


class _Comparison:
    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old, new

    def of(self, old: Schema, new: Schema, field: str) -> Iterator[str]:
        """Of two nodes; `field` is the path to them in a message."""
        old, new = resolved(self._old, old), resolved(self._new, new)
        yield from _said(field, "default", old.pop("default", None), new.pop("default", None))
        before, after = old.pop("anyOf", None), new.pop("anyOf", None)
        if before and after and len(before) == len(after):
            yield from self._each(before, after, [field] * len(after))
        elif before or after:
            yield from _said(field, "alternatives", before or [old], after or [new])
            return
        yield from self._properties(old, new, field)
        for keyword in sorted({*old, *new} - WORDS - {"properties", "required", "$defs"}):
            was, now = old.get(keyword), new.get(keyword)
            if isinstance(was, dict) and isinstance(now, dict) and keyword in INNER:
                yield from self.of(was, now, field + INNER[keyword])
            elif keyword == "prefixItems" and was and now and len(was) == len(now):
                yield from self._each(was, now, [f"{field}[{place}]" for place in range(len(now))])
            else:
                yield from _said(field, keyword, was, now)

    def _properties(self, old: Schema, new: Schema, field: str) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        needed, needs = set(old.get("required", ())), set(new.get("required", ()))
        for name in sorted({*before, *after}):
            path = f"{field}.{name}" if field else name
            if name not in after:
                if name in needed:
                    yield f"{path}: required field removed: {NEW_REFUSED}"
            elif name not in before:
                if name in needs:
                    yield f"{path}: required field added: {OLD_UNREAD}"
            else:
                if name in needs - needed:
                    yield f"{path}: became required: {OLD_UNREAD}"
                if name in needed - needs:
                    yield f"{path}: became optional: {NEW_REFUSED}"
                yield from self.of(before[name], after[name], path)

    def _each(self, old: list[Any], new: list[Any], fields: list[str]) -> Iterator[str]:
        for before, after, field in zip(old, new, fields, strict=True):
            yield from self.of(before, after, field)


def resolved(root: Schema, node: Schema) -> Schema:
    """A copy of a node with its `$ref` followed, and a constant written as the only value there is."""
    while "$ref" in node:
        rest = {keyword: value for keyword, value in node.items() if keyword != "$ref"}
        node = root["$defs"][node["$ref"].removeprefix("#/$defs/")] | rest
    only = {"enum": [node["const"]]} if "const" in node else {}
    return {keyword: value for keyword, value in node.items() if keyword != "const"} | only


def _said(field: str, keyword: str, old: Any, new: Any) -> Iterator[str]:
    if bare(old) == bare(new) and isinstance(old, bool) == isinstance(new, bool):  # as True == 1
        return
    shown = ["none" if value is None else f"{bare(value)!r:.150}" for value in (old, new)]
    said = f"{field or 'message'}: {keyword} changed from {shown[0]} to {shown[1]}"
    if keyword == "default":
        yield f"{said}: {OTHER_MEANING}"
        return
    narrower, wider = _allows(keyword, bare(old), bare(new))
    yield f"{said}: " + ", and ".join([OLD_UNREAD] * narrower + [NEW_REFUSED] * wider)


def _allows(keyword: str, old: Any, new: Any) -> tuple[bool, bool]:
    """Whether the new rule allows less than the old, and whether it allows more."""
    free = [rule is None or rule is True for rule in (old, new)]
    if any(free):
        return free[0], free[1]
    if keyword in ("enum", "alternatives"):
        return any(value not in new for value in old), any(value not in old for value in new)
    if keyword in LOWER | UPPER:
        narrower = (new < old) == (keyword in UPPER)
        return narrower, not narrower
    return True, True

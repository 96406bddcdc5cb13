"""What a JSON Schema is made of: its subschemas, and where its references lead."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote

from pydantic import JsonValue

# Under these the keys are names of the author's, not keywords.
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"})
# These hold data: a `$ref` in them is a value like any other.
_DATA = frozenset({"enum", "const", "default", "examples", "required", "type", "dependentRequired"})
REFERENCES = ("$ref", "$dynamicRef")


def subschemas(schema: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    """The schemas directly in a schema, each with the keyword that holds it; also under keywords nobody knows."""
    for keyword, value in schema.items() if isinstance(schema, dict) else ():
        if keyword in _DATA:
            continue
        if keyword in _NAMED and isinstance(value, dict):
            yield from ((keyword, inner) for inner in value.values())
        elif isinstance(value, list):
            yield from ((keyword, inner) for inner in value if isinstance(inner, (dict, bool)))
        elif isinstance(value, dict):
            yield keyword, value


class References:
    """Where the references of one schema lead. Every way of referring inside one document is followed.

    `$ref` may be `#`, a JSON Pointer (percent-encoded or not), an `$anchor`, and any of these behind the document's
    own `$id`; a `$dynamicRef` may lead to every `$dynamicAnchor` of its name. An `$id` below the top would change
    what the references under it mean: `problem` refuses it.
    """

    def __init__(self, schema: JsonValue) -> None:
        self._schema = schema
        self._anchors: dict[str, list[JsonValue]] = {}
        self.problem: str | None = None
        own = schema.get("$id") if isinstance(schema, dict) else None
        self._base = own.partition("#")[0] if isinstance(own, str) else ""
        level = [schema]
        while level:
            for node in level:
                self._note(node)
            level = [inner for node in level for _, inner in subschemas(node)]

    def targets(self, keyword: str, reference: str) -> list[JsonValue]:
        """The schemas a reference may lead to; empty when none of this document is meant."""
        base, _, fragment = reference.partition("#")
        if base not in ("", self._base):
            return []
        name = unquote(fragment)
        if not name:
            return [self._schema]
        if name.startswith("/"):
            found = self._pointed(name)
            return [] if found is None else [found]
        anchored = self._anchors.get(name, [])
        return anchored if keyword == "$dynamicRef" else anchored[:1]

    def _note(self, node: JsonValue) -> None:
        if not isinstance(node, dict):
            return
        if node is not self._schema and isinstance(node.get("$id"), str):
            self.problem = "an $id below its top level is not supported; refer to definitions as #/$defs/NAME."
        for keyword in ("$anchor", "$dynamicAnchor"):
            name = node.get(keyword)
            if isinstance(name, str):
                self._anchors.setdefault(name, []).append(node)

    def _pointed(self, pointer: str) -> JsonValue:
        value = self._schema
        for step in pointer.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict):
                value = value.get(name)
            elif isinstance(value, list) and name.isdecimal() and name.isascii() and len(name) <= 6:
                value = value[int(name)] if int(name) < len(value) else None
            else:
                return None
        return value

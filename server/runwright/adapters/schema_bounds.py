"""Bounds on a JSON Schema, checked before a validator sees it.

The validator follows references without counting: definitions that refer to each
other twice double the work at every level, while it holds the interpreter lock.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import JsonValue

MAX_DEPTH = 32
MAX_BRANCHES = 64
MAX_LIST = 1024
MAX_EXPANDED = 10_000


def bounds_problem(schema: JsonValue) -> str | None:
    """Which bound a schema breaks; None when it keeps all of them."""
    return _shape_problem(schema, MAX_DEPTH) or _expansion_problem(schema)


def _shape_problem(value: JsonValue, depth: int) -> str | None:
    if depth == 0:
        return f"it is nested deeper than {MAX_DEPTH}."
    if isinstance(value, list) and len(value) > MAX_LIST:
        return f"a list in it is longer than {MAX_LIST}."
    for key, inner in _members(value):
        if key in ("anyOf", "oneOf", "allOf") and isinstance(inner, list) and len(inner) > MAX_BRANCHES:
            return f"it has more than {MAX_BRANCHES} alternatives in one place."
        problem = _shape_problem(inner, depth - 1)
        if problem:
            return problem
    return None


def _members(value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from (("", inner) for inner in value)


def _expansion_problem(schema: JsonValue) -> str | None:
    """Counts what the schema becomes when every local reference is written out; cycles count once."""
    known: dict[str, int] = {}

    def count(value: JsonValue) -> int:
        total = 1
        for key, inner in _members(value):
            if key == "$ref" and isinstance(inner, str):
                total += target(inner)
            elif key not in ("$defs", "definitions"):  # these weigh where they are referred to
                total += count(inner)
        return min(total, MAX_EXPANDED + 1)

    def target(ref: str) -> int:
        if ref not in known:
            known[ref] = 1
            known[ref] = count(_resolve(schema, ref))
        return known[ref]

    if count(schema) > MAX_EXPANDED:
        return f"its references expand to more than {MAX_EXPANDED} parts."
    return None


def _resolve(schema: JsonValue, ref: str) -> JsonValue:
    value = schema
    for step in ref.removeprefix("#").split("/")[1:] if ref.startswith("#") else ():
        name = step.replace("~1", "/").replace("~0", "~")
        value = value.get(name) if isinstance(value, dict) else None
    return value if ref.startswith("#/") else None

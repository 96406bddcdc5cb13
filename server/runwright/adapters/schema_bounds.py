"""Bounds on a JSON Schema, checked before a validator sees it.

They keep obvious mistakes out of a package. What a check costs is not theirs to
bound: that depends on the arguments, see `schema_cost` and `schema_worker`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pydantic import JsonValue

from runwright.adapters.schema_parts import REFERENCES, References, subschemas

MAX_DEPTH = 32
MAX_BRANCHES = 64
MAX_LIST = 1024
MAX_EXPANDED = 10_000
MAX_FOLLOWED = 192  # levels, references followed: below the interpreter's own limit


class Expansion:
    """A schema with its references written out; where it refers to itself, once."""

    def __init__(self, schema: JsonValue, weigh: Callable[[JsonValue], int] | None = None) -> None:
        """`weigh` says how many parts a schema is without those in it. Takes time in proportion to its size."""
        self.is_recursive = False
        self._references = References(schema)
        self.problem: str | None = self._references.problem
        self._weigh = weigh or parts_of
        self._known: dict[int, int] = {}  # by the identity of what is referred to
        self._active: set[int] = set()
        self.parts = self._count(schema, 0)
        if self.problem is None and self.parts > MAX_EXPANDED:
            self.problem = f"its references expand to more than {MAX_EXPANDED} parts."

    def _count(self, value: JsonValue, depth: int) -> int:
        if depth > MAX_FOLLOWED:
            self.problem = f"followed through its references it is nested deeper than {MAX_FOLLOWED}."
            return MAX_EXPANDED + 1
        total = self._weigh(value)
        for keyword, inner in subschemas(value):
            if keyword not in ("$defs", "definitions"):  # these weigh where they are referred to
                total += self._count(inner, depth + 1)
            if total > MAX_EXPANDED:
                return MAX_EXPANDED + 1
        for keyword in REFERENCES:
            reference = value.get(keyword) if isinstance(value, dict) else None
            if isinstance(reference, str):
                total += self._followed(keyword, reference, depth)
        return min(total, MAX_EXPANDED + 1)

    def _followed(self, keyword: str, reference: str, depth: int) -> int:
        targets = self._references.targets(keyword, reference)
        if not targets:
            self.problem = self.problem or "a reference in it leads to nothing in the schema itself."
        return sum(self._target(target, depth) for target in targets)

    def _target(self, target: JsonValue, depth: int) -> int:
        key = id(target)
        if key in self._active:
            self.is_recursive = True
            return 1
        if key not in self._known:
            self._active.add(key)
            self._known[key] = self._count(target, depth + 1)
            self._active.discard(key)
        return self._known[key]


def bounds_problem(schema: JsonValue) -> str | None:
    """Which bound a schema breaks; None when it keeps all of them."""
    return _shape_problem(schema, MAX_DEPTH) or Expansion(schema).problem


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


def parts_of(schema: JsonValue) -> int:
    """A schema without those in it: its keywords, and the values that some of them list."""
    if not isinstance(schema, dict):
        return 1
    return 1 + sum(len(value) if isinstance(value, (list, dict)) else 1 for value in schema.values())

"""What checking arguments by a schema may cost, estimated from above before it is done.

A schema is *plain* when it is built from keywords of which each looks at each part
of the arguments at most once: then parts × size bounds the work. Everything else
(recursion, dynamic references, `unevaluated…`, patterns that expand) has no such
bound and is checked where it can be stopped.
"""

from __future__ import annotations

import re

from msgspec import Struct
from pydantic import JsonValue

from runwright.adapters.schema_bounds import MAX_EXPANDED, Expansion, parts_of

# Parts × bytes that may be checked on the event loop: at some 10 ns each this is 5 ms, a tenth of what it may stand.
INLINE_COST = 500_000
_SMALLEST = 64  # bytes: a check costs something even if there is nothing to look at
_PATTERN_LENGTH = 128
_MOST_REPEATED = 64
_COUNTED = re.compile(r"\{(\d{1,9})?(?:,(\d{1,9})?)?\}")
_PLAIN = frozenset(
    {"$ref", "$defs", "definitions", "$comment", "$schema", "title", "description", "default", "examples"}
    | {"deprecated", "readOnly", "writeOnly", "format", "type", "enum", "const", "multipleOf", "pattern"}
    | {"maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength", "minLength"}
    | {"items", "prefixItems", "maxItems", "minItems", "uniqueItems", "contains", "maxContains", "minContains"}
    | {"properties", "additionalProperties", "required", "minProperties", "maxProperties", "propertyNames"}
    | {"dependentRequired", "allOf", "anyOf", "oneOf", "not", "if", "then", "else"}
)
# Keywords that do more with each part than to look at it, in times of looking.
_HEAVY = {"uniqueItems": 16, "multipleOf": 200}
# To say which alternative does not hold, and why, the validator keeps what is wrong with every one of them.
_ALTERNATIVES = frozenset({"anyOf", "oneOf"})
_ALTERNATIVES_FACTOR = 8


class Cost(Struct, frozen=True):
    """The parts that every byte of the arguments may meet; None when nothing bounds the work."""

    parts: int | None

    def is_small(self, size: int) -> bool:
        """True when arguments of that many bytes may be checked at once."""
        return self.parts is not None and self.parts * max(size, _SMALLEST) <= INLINE_COST


def cost_of(schema: JsonValue) -> Cost:
    """The cost of checking by a schema that keeps its bounds."""
    weigher = _Weigher()
    expansion = Expansion(schema, weigher.weigh)
    if expansion.problem is not None or expansion.is_recursive:
        return Cost(None)
    return Cost(expansion.parts * (_ALTERNATIVES_FACTOR if weigher.has_alternatives else 1))


class _Weigher:
    """Weighs schemas, each without those in it."""

    def __init__(self) -> None:
        self.has_alternatives = False

    def weigh(self, schema: JsonValue) -> int:
        """The parts of a schema; more than may be for one that is not plain."""
        parts = parts_of(schema)
        if not isinstance(schema, dict):
            return parts
        pattern = schema.get("pattern", "")
        weight = _pattern_parts(pattern) if isinstance(pattern, str) else None
        if weight is None or not schema.keys() <= _PLAIN:
            return MAX_EXPANDED + 1
        self.has_alternatives = self.has_alternatives or not schema.keys().isdisjoint(_ALTERNATIVES)
        return parts + weight + sum(heavy for keyword, heavy in _HEAVY.items() if keyword in schema)


def _pattern_parts(pattern: str) -> int | None:
    """States of the automaton, roughly; None for a pattern whose size its text does not bound."""
    if len(pattern) > _PATTERN_LENGTH or "(?" in pattern or "\\p" in pattern.lower():
        return None
    parts = len(pattern)
    for least, most in _COUNTED.findall(pattern):
        repeated = int(most or least or 1)
        if repeated > _MOST_REPEATED:
            return None
        parts *= max(repeated, 1)
    return parts

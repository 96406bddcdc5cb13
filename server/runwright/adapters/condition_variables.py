"""What conditions can see of the variables: to make a value ready for CEL takes longer than to evaluate a condition.

Found from the text, and only where that leaves no doubt: a variable of which every mention is followed by the name of
a field is needed with those fields alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from pydantic import JsonValue

from runwright.adapters.condition_cost import tokens_of

# Fields by variable; None: all of them.
Seen = Mapping[str, frozenset[str] | None]
_OPERANDS = frozenset({"name", "text", "raw", "number"})
_CLOSING = frozenset({")", "]", "}"})


@lru_cache(maxsize=4096)
def _mentions(condition: str) -> Seen:
    tokens = [*tokens_of(condition), *[("other", "")] * 3]
    seen: dict[str, frozenset[str] | None] = {}
    for index, (kind, name) in enumerate(tokens):
        if kind != "name" or _is_field(tokens, index):
            continue
        (_, dot), (what, field), (_, after) = tokens[index + 1 : index + 4]
        fields = frozenset({field}) if dot == "." and what == "name" and after != "(" else None
        known = seen.get(name, frozenset())
        seen[name] = None if fields is None or known is None else known | fields
    return seen


def _is_field(tokens: Sequence[tuple[str, str]], index: int) -> bool:
    """True for what stands behind the dot of something; a dot at the beginning is no such dot."""
    if index < 2 or tokens[index - 1][1] != ".":
        return False
    kind, token = tokens[index - 2]
    return kind in _OPERANDS or token in _CLOSING


def seen_by(conditions: Sequence[str], names: Sequence[str]) -> Seen:
    """What conditions can see of the variables that they speak of; `names` are those, in the library's words."""
    seen: dict[str, frozenset[str] | None] = {}
    for name in names:
        fields = frozenset[str]()
        for condition in conditions:
            mentioned = _mentions(condition).get(name, frozenset())
            if mentioned is None:
                break
            fields |= mentioned
        else:
            seen[name] = fields or None  # spoken of, but not found in the text: all of it
            continue
        seen[name] = None
    return seen


def visible(variables: Mapping[str, JsonValue], seen: Seen) -> dict[str, JsonValue]:
    """The variables with what can be seen of them."""
    found: dict[str, JsonValue] = {}
    for name, fields in seen.items():
        if name not in variables:
            continue
        value = variables[name]
        if fields is None or not isinstance(value, dict):
            found[name] = value
        else:
            found[name] = {field: value[field] for field in fields if field in value}
    return found

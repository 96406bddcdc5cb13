"""What vendors send where a text, a number or a list is expected, as that: coerced where its meaning is plain.

Servers that speak a vendor's format differ in everything that no client of
theirs minded so far. Nothing here raises.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from pydantic import JsonValue

Fields: TypeAlias = dict[str, JsonValue]
MOST_TOKENS = 2**40  # a thousand rounds of it still fit into the record's 64 bits
MOST_DEPTH = 32  # of lists of parts within one another


def fields(value: object) -> Fields:
    """An object; anything else is an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> Sequence[JsonValue]:
    """A list; a single object is a list of one, and what is neither an empty one."""
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, dict) else []


def count(value: object) -> int:
    """A number of tokens: rounded, never negative; what is no number counts as none."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    if isinstance(value, float) and not math.isfinite(value):
        return 0
    return round(max(0, min(value, MOST_TOKENS)))  # bounded first: a whole number may be larger than any float


def text(value: object) -> str:
    """A text, whole in Unicode; a list of parts is what its texts say together, a number is its digits."""
    return whole(_text(value))


def _text(value: object, depth: int = 0) -> str:
    if depth > MOST_DEPTH:
        return ""
    match value:
        case str():
            return value
        case None | bool():
            return ""
        case int() | float():
            return json.dumps(value)
        case list():
            return "".join(_text(each, depth + 1) for each in value)
        case Mapping():
            return _text(value.get("text"), depth + 1) if value.get("type", "text") in ("text", "output_text") else ""
        case _:
            return ""


def whole(said: str) -> str:
    """Halves of a surrogate pair joined, and one that stays alone as U+FFFD: JSON may escape them one by one."""
    return said.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def arguments(value: object) -> str:
    """The arguments of a call as text: as they stand if they are one, else their JSON; empty when there are none."""
    if value is None:
        return ""
    if isinstance(value, str):
        return whole(value)
    return whole(json.dumps(value, ensure_ascii=False))


class Pieces:
    """A text that comes in pieces; half of a surrogate pair at an end waits for the other."""

    def __init__(self) -> None:
        self._held = ""

    def add(self, piece: str) -> str:
        """What can be told after one more piece."""
        said = self._held + piece
        self._held = said[-1] if said and "\ud800" <= said[-1] <= "\udbff" else ""
        return whole(said[: len(said) - len(self._held)])

    def end(self) -> str:
        """What is left."""
        held, self._held = self._held, ""
        return whole(held)

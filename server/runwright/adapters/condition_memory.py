"""What conditions said of facts that come again: of the tool, the caller, the run's labels, how far the run is.

The outcome of a condition depends on what it can see and on nothing else. Arguments, results and texts are others each
time; the rest is the same for many inputs, and to look it up takes less time than to evaluate it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache

from msgspec import Struct
from msgspec.json import encode
from pydantic import JsonValue

from runwright.adapters.condition_variables import visible
from runwright.adapters.condition_worker import compiled, seen_of

_OTHERS_EACH_TIME = ("args", "result", "input", "output")
MAX_REMEMBERED = 1024
MAX_FACTS_BYTES = 1024  # of one entry, as JSON


class Parts(Struct, frozen=True):
    """Conditions over facts, and the rest of them; `order`: where each of all is in first those, then these."""

    of_facts: tuple[str, ...]
    rest: tuple[str, ...]
    order: tuple[int, ...]


@lru_cache(maxsize=1024)
def parts_of(conditions: tuple[str, ...]) -> Parts:
    """The conditions in two parts. It compiles what is not compiled yet."""
    of_facts: list[int] = []
    rest: list[int] = []
    for place, condition in enumerate(conditions):
        names = list(_OTHERS_EACH_TIME)
        with suppress(Exception):  # what is no CEL fails where it is evaluated
            names = compiled(condition).variables()
        (of_facts if set(names).isdisjoint(_OTHERS_EACH_TIME) else rest).append(place)
    order = {place: index for index, place in enumerate((*of_facts, *rest))}
    return Parts(
        tuple(conditions[place] for place in of_facts),
        tuple(conditions[place] for place in rest),
        tuple(order[place] for place in range(len(conditions))),
    )


class Facts(Struct, frozen=True):
    """What conditions can see of a question's facts. `key`: under which it is remembered; None: it is too much."""

    seen: dict[str, JsonValue]
    key: tuple[tuple[str, ...], bytes] | None


class ConditionMemory:
    """Letters of conditions, by the facts that these can see. Bounded: when it is full it begins anew."""

    def __init__(self) -> None:
        self._letters: dict[tuple[tuple[str, ...], bytes], str] = {}

    def facts(self, conditions: tuple[str, ...], variables: Mapping[str, JsonValue]) -> Facts:
        """What the conditions can see of the variables."""
        seen = visible(variables, seen_of(conditions))
        text = encode(seen)  # unlike equal values in Python, 1 and true are different texts
        return Facts(seen, (conditions, text) if len(text) <= MAX_FACTS_BYTES else None)

    def recall(self, facts: Facts) -> str | None:
        """The letters, if they are known."""
        return None if facts.key is None else self._letters.get(facts.key)

    def remember(self, facts: Facts, letters: str) -> None:
        """Holds what was evaluated within the bounds; what failed for want of time would fail for ever."""
        if facts.key is None:
            return
        if len(self._letters) >= MAX_REMEMBERED:
            self._letters.clear()
        self._letters[facts.key] = letters

"""What a step expects, held against what came. Mappings say what must be there; lists say all that must be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from runwright.core.errors import MEANINGS, ErrorReason
from runwright.transport.status import STATUS

from tests.conformance.normal import events

_GONE = object()


def differences(expected: Any, actual: Any, at: str = "$") -> list[str]:
    """Where the actual value is not as expected; empty when it is."""
    if expected == "$any":
        return [f"{at}: nothing is there"] if actual is _GONE else []
    if expected == "$absent":
        return [] if actual is _GONE else [f"{at}: {_short(actual)} is there"]
    if isinstance(expected, Mapping):
        rules = {key: value for key, value in expected.items() if str(key).startswith("$")}
        found = [line for name, rule in rules.items() for line in _rule(name)(rule, actual, at)]
        plain = {key: value for key, value in expected.items() if key not in rules}
        return found + (_fields(plain, actual, at) if plain or not rules else [])
    if isinstance(expected, list):
        return _items(expected, actual, at)
    if actual is _GONE and expected in (None, "", 0, False):
        return []  # a default is left out of what came
    is_same = expected == actual and isinstance(expected, bool) == isinstance(actual, bool)
    return [] if is_same else [f"{at}: expected {_short(expected)}, got {_short(actual)}"]


def _fields(expected: Mapping[str, Any], actual: Any, at: str) -> list[str]:
    if not isinstance(actual, Mapping):
        return [f"{at}: expected fields {sorted(expected)}, got {_short(actual)}"]
    return [
        line for key, value in expected.items() for line in differences(value, actual.get(key, _GONE), f"{at}.{key}")
    ]


def _items(expected: list[Any], actual: Any, at: str) -> list[str]:
    have = [] if actual is _GONE else actual
    if not isinstance(have, list) or len(have) != len(expected):
        return [f"{at}: expected {len(expected)} items, got {_short(actual)}"]
    return [line for n, value in enumerate(expected) for line in differences(value, have[n], f"{at}.{n}")]


def _contains(expected: Any, actual: Any, at: str) -> list[str]:
    if isinstance(actual, str):
        return [] if str(expected) in actual else [f"{at}: {_short(expected)} is not in {_short(actual)}"]
    wanted = expected if isinstance(expected, list) else [expected]
    have = actual if isinstance(actual, list) else []
    missing = [value for value in wanted if all(differences(value, item) for item in have)]
    return [f"{at}: none is like {_short(value)} in {_short(actual)}" for value in missing]


def _contains_not(expected: Any, actual: Any, at: str) -> list[str]:
    have = actual if isinstance(actual, list) else []
    return [f"{at}.{n}: {_short(item)} is there" for n, item in enumerate(have) if not differences(expected, item)]


def _each(expected: Any, actual: Any, at: str) -> list[str]:
    have = actual if isinstance(actual, list) else []
    return [line for n, item in enumerate(have) for line in differences(expected, item, f"{at}.{n}")]


def _regex(expected: str, actual: Any, at: str) -> list[str]:
    is_like = isinstance(actual, str) and re.search(expected, actual)
    return [] if is_like else [f"{at}: {_short(actual)} is not like {expected}"]


def _measured(name: str, measure: Callable[[Any], Any]) -> Callable[[Any, Any, str], list[str]]:
    def rule(expected: Any, actual: Any, at: str) -> list[str]:
        return differences(expected, measure([] if actual is _GONE else actual), f"{at}.{name}")

    return rule


def _holds(sign: str, test: Callable[[Any, Any], bool]) -> Callable[[Any, Any, str], list[str]]:
    def rule(expected: Any, actual: Any, at: str) -> list[str]:
        have = 0 if actual is _GONE else actual
        return [] if test(have, expected) else [f"{at}: {_short(have)} is not {sign} {_short(expected)}"]

    return rule


def _same_events(expected: Any, actual: Any, at: str) -> list[str]:
    return differences(events(expected), events(actual), at)


def _same_facts(expected: Any, actual: Any, at: str) -> list[str]:
    """The same events, perhaps of another scope or filter: cursors differ then."""
    wanted, have = ([{**frame, "cursor": ""} for frame in events(frames)] for frames in (expected, actual))
    return differences(wanted, have, at)


def kinds(frames: Any) -> list[str]:
    """The kinds of the durable events, in short."""
    return [frame["event"]["kind"].removeprefix("EVENT_KIND_") for frame in events(frames)]


def _refusal(reason: str, actual: Any, at: str) -> list[str]:
    """An error of a call as the server's own tables have it."""
    known = ErrorReason[reason]
    meaning = MEANINGS[known]
    wanted = {
        "reason": reason,
        "code": STATUS[known].name,
        "retryable": meaning.retry.name == "RETRYABLE",
        "has_remedy": True,
        "metadata": dict.fromkeys(meaning.keys, "$any"),
    }
    return differences(wanted, actual, at)


def _failure(reason: str, actual: Any, at: str) -> list[str]:
    """An AgentError inside of a run or an event, as the server's own tables have it."""
    meaning = MEANINGS[ErrorReason[reason]]
    wanted = {
        "reason": f"ERROR_REASON_{reason}",
        "kind": f"AGENT_ERROR_KIND_{meaning.kind.name}",
        "retry_class": f"RETRY_CLASS_{meaning.retry.name}",
        "remedy": meaning.remedy,
        "message": "$any",
        "metadata": dict.fromkeys(meaning.keys, "$any") or "$absent",
    }
    return differences(wanted, actual, at)


_RULES: dict[str, Callable[[Any, Any, str], list[str]]] = {
    "$contains": _contains,
    "$not_contains": _contains_not,
    "$each": _each,
    "$regex": _regex,
    "$count": _measured("count", len),
    "$keys": _measured("keys", sorted),
    "$kinds": _measured("kinds", kinds),
    "$events": _measured("events", events),
    "$gte": _holds("at least", lambda have, bound: have >= bound),
    "$lte": _holds("at most", lambda have, bound: have <= bound),
    "$not": _holds("other than", lambda have, other: have != other),
    "$one_of": _holds("one of", lambda have, choice: have in choice),
    "$same_events": _same_events,
    "$same_facts": _same_facts,
    "$refusal": _refusal,
    "$failure": _failure,
    "$all": lambda rules, actual, at: [line for rule in rules for line in differences(rule, actual, at)],
}


def _rule(name: str) -> Callable[[Any, Any, str], list[str]]:
    if name not in _RULES:
        raise KeyError(f"there is no matcher {name}; there are {sorted(_RULES)}, $any, $absent and $saved")
    return _RULES[name]


def _short(value: Any) -> str:
    text = "nothing" if value is _GONE else repr(value)
    return text if len(text) <= 600 else f"{text[:600]}… ({len(text)} characters)"

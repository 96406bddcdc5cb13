"""Values of a case: names in `${...}`, repeated texts, and the way to a value inside of another."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_NAME = re.compile(r"\$\{([A-Za-z_][\w.-]*)\}")


class UnknownNameError(KeyError):
    """A name that nothing was saved under, or a way that leads nowhere."""


def reach(value: Any, path: str) -> Any:
    """What lies at `a.0.b` inside of a value; a list takes numbers, -1 being its last."""
    for step in path.split(".") if path else ():
        try:
            value = value[int(step)] if isinstance(value, Sequence) else value[step]
        except (KeyError, IndexError, ValueError, TypeError):
            raise UnknownNameError(f"{path}: there is no {step} in {str(value)[:400]}") from None
    return value


def named(names: Mapping[str, Any], name: str) -> Any:
    """What was saved as `name`, or what lies inside of it."""
    first, _, rest = name.partition(".")
    if first not in names:
        raise UnknownNameError(f"nothing is saved as {first}; there are {sorted(names)}")
    return reach(names[first], rest)


def filled(value: Any, names: Mapping[str, Any]) -> Any:
    """The value with every name replaced and every `{$repeat: [text, times]}` written out."""
    if isinstance(value, str):
        whole = _NAME.fullmatch(value)
        if whole:
            return named(names, whole[1])
        return _NAME.sub(lambda found: str(named(names, found[1])), value)
    if isinstance(value, Mapping):
        if set(value) == {"$repeat"}:
            text, times = value["$repeat"]
            return filled(text, names) * int(filled(times, names))
        if set(value) == {"$saved"}:
            return named(names, value["$saved"])
        return {filled(key, names): filled(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, names) for inner in value]
    return value

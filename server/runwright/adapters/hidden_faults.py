"""Rules over several fields of a package, told also where one of the fields is wrong.

pydantic asks for them once all fields are right. So what is wrong with a field is put right in a copy, and the copy is
read again, until nothing more is said: an author is to be told everything at once.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from runwright.core.package import RuntimePackage

LOOKS = 5
_MOST_FAULTS = 100  # of the first look: with more of them nobody misses the rest
_OF_SEVERAL_FIELDS = "value_error"
# What makes a field right that must be there, or an entry that is none. A field that may be left out is left out.
_FIELDS: dict[str, Any] = {
    "format": "runwright-package-v0",
    "id": "x",
    "agent": {"id": "x"},
    "provider": {"adapter": "x", "model": "x"},
    "adapter": "x",
    "model": "x",
    "executor": "x",
    "effect": "read",
    "then": "deny",
    "builtin": "read-only",
    "remote": "x",
    "rules": [{"then": "deny"}],
}
_ENTRIES: dict[str, dict[str, Any]] = {
    "policies": {"builtin": "read-only"},
    "rules": {"then": "deny"},
    "fallbacks": {"adapter": "x"},
    "tools": {"executor": "x", "effect": "read"},
}
_UNLIKE = {"fallbacks": "model", "tools": "name"}  # what an entry has that no other has


def hidden_faults(value: object, faults: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """What more is wrong with a package that has these faults."""
    if not faults or len(faults) > _MOST_FAULTS:
        return []
    known = {(one["loc"], one["msg"]) for one in faults}
    found: list[ErrorDetails] = []
    mended = copy.deepcopy(value)
    for look in range(LOOKS):
        for number, one in enumerate(faults):
            _mend(mended, one["loc"], f"x{look}-{number}")
        try:
            RuntimePackage.model_validate(mended)
            break
        except ValidationError as error:
            faults = error.errors(include_url=False)
        except (ValueError, RecursionError):
            break
        for one in faults:
            if one["type"] == _OF_SEVERAL_FIELDS and (one["loc"], one["msg"]) not in known:
                known.add((one["loc"], one["msg"]))
                found.append(one)
    return found


def _mend(value: Any, where: Sequence[str | int], unique: str) -> None:
    """Puts right what is wrong at a place; what cannot be is left as it is."""
    try:
        *outer, last = where
        parent = value
        for step in outer:
            parent = parent[step]
        match parent, last:
            case dict(), "name" if outer[:1] == ["tools"]:
                parent[last] = unique
            case dict(), str() if last in _FIELDS:
                parent[last] = copy.deepcopy(_FIELDS[last])
            case dict(), str():
                parent.pop(last, None)
                if outer[-2:-1] == ["policies"] and not {"builtin", "rules", "remote"} & parent.keys():
                    parent["builtin"] = "read-only"  # what was meant by the key that is gone may be either
            case list(), int() if outer and outer[-1] in _ENTRIES:
                of, unlike = str(outer[-1]), _UNLIKE.get(str(outer[-1]))
                parent[last] = copy.deepcopy(_ENTRIES[of]) | ({unlike: unique} if unlike else {})
    except (ValueError, KeyError, IndexError, TypeError):
        return

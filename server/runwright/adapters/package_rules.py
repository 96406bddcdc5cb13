"""What pydantic finds in a package, in the words of somebody who writes one, with what to write instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from runwright.core.near import did_you_mean
from runwright.core.package import ID_PATTERN, NAME_PATTERN, RuntimePackage

LONGEST_WORD = 64  # of what was written; longer ones are not suggested anew
_ID = "an id: 1 to 128 letters, digits and . _ : @ -, the first a letter or digit"
_NAME = "a name: 1 to 64 letters, digits, _ and -, the first a letter or _"
_NOT_IN = {ID_PATTERN: (_ID, re.compile(r"[^A-Za-z0-9._:@-]+")), NAME_PATTERN: (_NAME, re.compile(r"[^A-Za-z0-9_-]+"))}
_INSTEAD = {
    "int_type": "Write a whole number without quotes.",
    "int_parsing": "Write a whole number without quotes.",
    "int_from_float": "Write a whole number.",
    "string_type": "Write a text; what looks like a number, true or null is one in quotes.",
    "bool_type": "Write true or false without quotes.",
    "model_type": "Write its keys below it, one a line, each as `key: value`.",
    "model_attributes_type": "Write its keys below it, one a line, each as `key: value`.",
    "dict_type": "Write its keys below it, one a line, each as `key: value`.",
    "tuple_type": "Write a list: one line for each entry, beginning with `- `.",
    "list_type": "Write a list: one line for each entry, beginning with `- `.",
    "too_long": "Leave some out, or divide them between two packages.",
    "string_too_long": "Shorten it.",
    "string_too_short": "Write something there.",
    "greater_than_equal": "Raise it to the bound that is named.",
    "less_than_equal": "Lower it to the bound that is named.",
}


class Rule(NamedTuple):
    """The rule that a place of a package breaks, without a full stop, and what to do."""

    expected: str
    remedy: str


def explained(found: ErrorDetails, model: type[BaseModel] = RuntimePackage) -> Rule:
    """One finding in what is read as `model`.

    Of what was written only a short word is shown, as far as it could be right.
    """
    kind, path, said = found["type"], found["loc"], found["msg"]
    match kind:
        case "extra_forbidden":
            known = _keys(path[:-1], model)
            remedy = did_you_mean(str(path[-1]), known) or f"Remove it; there are: {', '.join(known)}."
            if "parameters" in known and path[0] in ("provider", "fallbacks"):
                remedy += " What the model itself takes, such as temperature, stands in parameters."
            return Rule("no key that is known here", remedy.strip())
        case "missing":
            return Rule("required", f"Add `{path[-1]}: …` to {'.'.join(map(str, path[:-1])) or 'the file'}.")
        case "string_pattern_mismatch":
            may_be_shown = not {"provider", "fallbacks"} & set(path)  # where somebody may have put a key
            return _pattern(found.get("ctx", {}).get("pattern", ""), found["input"] if may_be_shown else "", said)
        case "enum" | "literal_error":
            return _one_of(str(found.get("ctx", {}).get("expected", "")), found["input"])
        case "value_error":
            return Rule(said.removeprefix("Value error, "), "Write it so, and check with `runwright package validate`.")
        case _:
            return Rule(said, _INSTEAD.get(kind, "Write it so, and check with `runwright package validate`."))


def _pattern(pattern: str, value: object, said: str) -> Rule:
    expected, unfit = _NOT_IN.get(pattern, (said, None))
    fit = unfit.sub("-", str(value)[:LONGEST_WORD]).lstrip("-._:@") if unfit else ""
    return Rule(expected, f"Write {fit} instead." if fit else "Write one such as workspace-1.")


def _one_of(expected: str, value: object) -> Rule:
    known = re.findall(r"'([^']*)'", expected)
    remedy = did_you_mean(str(value), known) if isinstance(value, str) else ""
    return Rule(f"one of {', '.join(known)}", remedy.strip() or f"Write {known[0] if known else expected}.")


def _keys(path: Sequence[str | int], model: type[BaseModel] | None) -> list[str]:
    """The keys that a part of a file may have."""
    for step in path:
        if isinstance(step, int) or model is None:
            continue
        field = model.model_fields.get(step)
        model = _model(field.annotation) if field else None
    return list(model.model_fields) if model else []


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model(part))), None)

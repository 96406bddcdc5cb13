"""What pydantic finds in a package, in the words of somebody who writes one, with what to write instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from runwright.core.near import nearest
from runwright.core.package import ID_PATTERN, NAME_PATTERN, SPAN_PATTERN, RuntimePackage
from runwright.core.package_fields import INSTEAD, is_later, is_later_choice
from runwright.core.package_findings import FindingRule
from runwright.core.policy_rules import CODE_PATTERN
from runwright.core.schema_digests import SCHEMA_DIGEST_PATTERN

LONGEST_WORD = 64  # of what was written; longer ones are not suggested anew
_ID = "an id: 1 to 128 letters, digits and . _ : @ -, the first a letter or digit"
_NAME = "a name: 1 to 64 letters, digits, _ and -, the first a letter or _"
_CODE = "a code: 1 to 64 lower-case letters, digits and . _ -, the first a letter"
_NOT_IN = {
    CODE_PATTERN: (_CODE, re.compile(r"[^a-z0-9_.-]+")),
    ID_PATTERN: (_ID, re.compile(r"[^A-Za-z0-9._:@-]+")),
    NAME_PATTERN: (_NAME, re.compile(r"[^A-Za-z0-9_-]+")),
}
CHECK_REMEDY = "Write it so, and check with `runwright package validate`."
_BELOW = "Write its keys below it, one a line, each as `key: value`."
_LIST = "Write a list: one line for each entry, beginning with `- `."
_DIGITS = "Write a whole number without quotes."


class Rule(NamedTuple):
    """The rule that a place of a package breaks, without a full stop, and what to do."""

    expected: str
    remedy: str
    kind: FindingRule = FindingRule.VALUE
    meant: str = ""


_TYPES = {
    "int_type": Rule("a whole number", _DIGITS, FindingRule.TYPE),
    "int_parsing": Rule("a whole number", _DIGITS, FindingRule.TYPE),
    "int_parsing_size": Rule("a whole number", _DIGITS, FindingRule.TYPE),
    "int_from_float": Rule("a whole number", "Write a whole number.", FindingRule.TYPE),
    "finite_number": Rule("a whole number", "Write a whole number.", FindingRule.TYPE),
    "float_type": Rule("a number", "Write a number without quotes.", FindingRule.TYPE),
    "string_type": Rule(
        "a text", "Write a text; what looks like a number, true or null is one in quotes.", FindingRule.TYPE
    ),
    "string_unicode": Rule("a text of Unicode characters", "Leave out the half of a character.", FindingRule.TYPE),
    "bool_type": Rule("true or false", "Write true or false without quotes.", FindingRule.TYPE),
    "model_type": Rule("keys with values", _BELOW, FindingRule.TYPE),
    "model_attributes_type": Rule("keys with values", _BELOW, FindingRule.TYPE),
    "dict_type": Rule("keys with values", _BELOW, FindingRule.TYPE),
    "tuple_type": Rule("a list", _LIST, FindingRule.TYPE),
    "list_type": Rule("a list", _LIST, FindingRule.TYPE),
}
_OTHER = Rule("a value of the kind that docs/packages.md names", CHECK_REMEDY, FindingRule.TYPE)
# Bounds, by the name that pydantic has for each in the context of an error.
_BOUNDS = {
    "too_long": ("at most {max_length} entries", "Leave some out, or divide them between two packages."),
    "string_too_long": ("at most {max_length} characters", "Shorten it."),
    "string_too_short": ("at least {min_length} character", "Write something there."),
    "greater_than_equal": ("at least {ge}", "Raise it to the bound that is named."),
    "less_than_equal": ("at most {le}", "Lower it to the bound that is named."),
}


def explained(found: ErrorDetails, model: type[BaseModel] = RuntimePackage) -> Rule:
    """One finding in what is read as `model`, in words of ours.

    Of what was written only a short word is shown, as far as it could be right.
    """
    kind, path = found["type"], found["loc"]
    context = found.get("ctx", {})
    match kind:
        case "extra_forbidden":
            return _unknown(path, model)
        case "missing":
            where = ".".join(map(str, path[:-1])) or "the file"
            return Rule("required", f"Add `{path[-1]}: …` to {where}.", FindingRule.REQUIRED)
        case "string_pattern_mismatch":
            may_be_shown = not {"provider", "fallbacks"} & set(path)  # where somebody may have put a key
            return _pattern(context.get("pattern", ""), found["input"] if may_be_shown else "")
        case "enum" | "literal_error":
            return _later_choice(path, found["input"]) or _one_of(str(context.get("expected", "")), found["input"])
        case "value_error":
            return Rule(str(context.get("error", "")) or "a value that is allowed here", CHECK_REMEDY)
        case "repeated_tool" | "repeated_route" | "inexact" | "sidecar" | "unknown_approval":
            return Rule(found["msg"], CHECK_REMEDY)
        case _ if kind in _BOUNDS:
            words, remedy = _BOUNDS[kind]
            rule = FindingRule.RANGE if kind.endswith("_equal") else FindingRule.LENGTH
            return Rule(words.format_map(context), remedy, rule)
        case _:
            return _TYPES.get(kind, _OTHER)


def _unknown(path: Sequence[str | int], model: type[BaseModel]) -> Rule:
    part, name = [step for step in path[:-1] if isinstance(step, str)], str(path[-1])
    if is_later(within := _in_package(path[:-1]), name):
        instead = INSTEAD.get(f"{within}.{name}", "Remove it; nothing would do what it says.")
        expected = f"no `{name}`: it is a field of a later version of Runwright, and not there yet"
        return Rule(expected, instead, FindingRule.LATER_FIELD)
    known = _keys(part, model)
    meant = nearest(name, known)
    remedy = f"Did you mean {meant}?" if meant else f"Remove it; there are: {', '.join(known)}."
    if "parameters" in known and part[0] in ("provider", "fallbacks"):
        remedy += " What the model itself takes, such as temperature, stands in parameters."
    return Rule("no key that is known here", remedy, FindingRule.UNKNOWN_FIELD, meant)


def _later_choice(path: Sequence[str | int], value: object) -> Rule | None:
    """What to write instead of a choice that comes with a later version."""
    field = _in_package(path)
    if not isinstance(value, str) or not is_later_choice(field, value):
        return None
    expected = f"another value than {value}, which comes with a later version of Runwright and is not there yet"
    return Rule(expected, INSTEAD[f"{field}.{value}"], FindingRule.LATER_FIELD, "")


def _in_package(path: Sequence[str | int]) -> str:
    """A path without list indexes, as in a package: an operator's policies are those of a namespace."""
    steps = [step for step in path if isinstance(step, str)]
    return ".".join(["policies", *steps[2:]] if steps[:1] == ["namespaces"] else steps)


def _pattern(pattern: str, value: object) -> Rule:
    if pattern == SCHEMA_DIGEST_PATTERN:
        remedy = "Take it from `runwright package tools --sidecars`, or from a client's schema digest."
        return Rule("the digest of a schema: sha256: and 64 hex digits", remedy, FindingRule.PATTERN)
    if pattern == SPAN_PATTERN:
        return Rule("a time: a whole number and s, m, h or d", "Write it as in 90s, 10m or 2h.", FindingRule.PATTERN)
    expected, unfit = _NOT_IN.get(pattern, (f"a text that matches {pattern}", None))
    fit = unfit.sub("-", str(value)[:LONGEST_WORD]).lstrip("-._:@") if unfit else ""
    remedy = f"Write {fit} instead." if fit else "Write one such as workspace-1."
    return Rule(expected, remedy, FindingRule.PATTERN)


def _one_of(expected: str, value: object) -> Rule:
    known = re.findall(r"'([^']*)'", expected)
    meant = nearest(value, known) if isinstance(value, str) else ""
    remedy = f"Did you mean {meant}?" if meant and meant != value else f"Write {known[0] if known else expected}."
    return Rule(f"one of {', '.join(known)}", remedy, FindingRule.CHOICE, meant)


def _keys(path: Sequence[str], model: type[BaseModel] | None) -> list[str]:
    """The keys that a part of a file may have."""
    for step in path:
        field = model.model_fields.get(step) if model else None
        model = _model(field.annotation) if field else None
    return list(model.model_fields) if model else []


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model(part))), None)

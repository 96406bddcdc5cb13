"""What of the package format this version does not serve: fields and choices, so that validation can say so by name.

A field or choice leaves this table in the change that serves it, which adds it to the model in `core/package.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

# By the path of the part they stand in, without list indexes.
LATER_FIELDS: Mapping[str, frozenset[str]] = {
    "": frozenset({"outputs"}),
    "budget": frozenset({"tokens", "cost", "wall_ms"}),
    "tools": frozenset(
        {
            "result",
            "on_failure",
            "max_concurrency",
        }
    ),
    "policies": frozenset({"on_failure"}),
}
# By the path of the field that they are values of.
LATER_CHOICES: Mapping[str, frozenset[str]] = {
    "policies.rules.stage": frozenset({"model_request"}),
    "policies.rules.then": frozenset({"modify", "defer"}),
    "policies.stages": frozenset({"model_request"}),
}
# What to do instead, where something is there for it.
INSTEAD: Mapping[str, str] = {
    "policies.on_failure": "Remove it: a remote policy that does not answer denies.",
    "policies.rules.stage.model_request": "Decide on what goes into a request: at input, post_tool or pre_tool.",
    "policies.stages.model_request": "Have it decide on what goes into a request: at input, post_tool or pre_tool.",
    "policies.rules.then.modify": "Have a remote policy say so, or deny it with a `message`.",
    "policies.rules.then.defer": "Have a remote policy say so, or deny it with a `message`.",
}


def is_later(part: str, name: str) -> bool:
    """True for a field of the format that this version does not serve yet."""
    return name in LATER_FIELDS.get(part, ())


def is_later_choice(field: str, value: str) -> bool:
    """True for a value of a field that this version does not serve yet."""
    return value in LATER_CHOICES.get(field, ())

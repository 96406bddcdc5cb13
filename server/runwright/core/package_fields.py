"""Fields of the package format whose behaviour this version does not have, so that validation can say so by name.

A field leaves this table in the change that serves it, which adds it to the model in `core/package.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

# By the path of the part they stand in, without list indexes.
LATER_FIELDS: Mapping[str, frozenset[str]] = {
    "": frozenset({"outputs"}),
    "budget": frozenset({"tokens", "cost", "wall_ms"}),
    "tools": frozenset(
        {
            "reversible",
            "summary",
            "grantable",
            "reconcilable",
            "reconcile_for",
            "result",
            "on_failure",
            "max_concurrency",
        }
    ),
}


def is_later(part: str, name: str) -> bool:
    """True for a field of the format that this version does not serve yet."""
    return name in LATER_FIELDS.get(part, ())

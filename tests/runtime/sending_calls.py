"""Runs that send once a round and wait for somebody to approve it each time."""

from __future__ import annotations

from typing import Any

from runwright.core.package import RuntimePackage

from tests import builders as b
from tests.runtime.approving import SHOWN, WRITES

FIRST, SECOND, THIRD = "run-1/a1.1.1", "run-1/a2.1.1", "run-1/a3.1.1"
ASKS: b.Fields = {"when": 'tool.effect == "write"', "then": "ask", "approval": "writes"}


def sending(*arguments: dict[str, Any] | str, rules: tuple[b.Fields, ...] = (ASKS,), **fields: Any) -> RuntimePackage:
    """A package whose model sends with these arguments, one call a round; a text is the arguments as the model wrote
    them. The approval `mine` is Ann's alone."""
    calls: list[b.Fields] = [
        {"tool": "send", "arguments_json" if isinstance(each, str) else "arguments": each} for each in arguments
    ]
    return b.package(
        *(b.asks(call) for call in calls),
        b.says("done"),
        policy="builtin:read-only",
        **{
            "tools": ({**b.writing_tool("send"), **SHOWN},),
            "policies": [{"builtin": "read-only"}, {"rules": list(rules)}],
            "approvals": {"writes": WRITES, "mine": {"sets": [{"principals": ["ann"]}], "expires": "1h"}},
            **fields,
        },
    )

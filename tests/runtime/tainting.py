"""Runs that read what strangers wrote, and ask before they send anything."""

from __future__ import annotations

from typing import Any

from runwright.core.package import RuntimePackage
from runwright.core.taint import Taint
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.approving import WRITES, Sent

SEND = {"tool": "send", "arguments": {"to": "bob"}}
ASKS = {"when": 'tool.effect == "write"', "then": "ask", "approval": "writes", "code": "writes"}


def reading_and_sending(
    *script: Any, rules: tuple[b.Fields, ...] = (ASKS,), approval: b.Fields | None = None, **fields: Any
) -> RuntimePackage:
    """A package that reads pages of strangers and notes of its own, and asks before it sends anything."""
    return b.package(
        *script,
        tools=(b.tool("page", untrusted=True), b.tool("note"), b.writing_tool("send")),
        policy="builtin:read-only",
        policies=[{"builtin": "read-only"}, {"rules": list(rules)}],
        approvals={"writes": approval or WRITES, "others": WRITES},
        **fields,
    )


def reading_tools() -> FunctionTools:
    """Its tools."""
    return FunctionTools({"page": b.look, "note": b.look, "send": Sent()})


def named(taint: Taint | None) -> list[str]:
    """The calls that it names, with the run where that is an earlier turn, and how many more there are."""
    assert taint is not None
    more = [f"{taint.more} more"] if taint.more else []
    return [*("/".join(filter(None, (call.run_id, call.effect_id))) for call in taint.calls), *more]

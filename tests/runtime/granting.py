"""Runs of a package whose approvals may be given with a grant."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from runwright.core.grants import GrantMatcher, GrantRequest, GrantScope
from runwright.core.package import RuntimePackage
from runwright.core.principal import Principal
from runwright.runtime import AgentRuntime
from runwright.runtime.grants import Grants
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.approving import BOB, Sent, decide

ID = "run-1/g1.1.1"
TO_BOB: b.Fields = {"tool": "send", "arguments": {"to": "bob"}}
TO_EVE: b.Fields = {"tool": "send", "arguments": {"to": "eve"}}
ALL: Mapping[str, Any] = {
    "scopes": ["run", "session", "agent_and_principal", "namespace"],
    "matchers": ["exact_arguments", "constraints", "any"],
    "max_uses": 10,
    "max_time": "2h",
    "tainted": True,
}
RUN, SESSION = GrantScope.RUN, GrantScope.SESSION
WHOSE, NAMESPACE = GrantScope.AGENT_AND_PRINCIPAL, GrantScope.NAMESPACE
EXACT, CONSTRAINTS, ANY = GrantMatcher.EXACT_ARGUMENTS, GrantMatcher.CONSTRAINTS, GrantMatcher.ANY


def granting(
    *rounds: b.Fields | tuple[b.Fields, ...],
    offers: Mapping[str, Any] | None = ALL,
    rules: list[dict[str, Any]] | None = None,
    tool: Mapping[str, Any] | None = None,
    **approval: Any,
) -> RuntimePackage:
    """A package that writes in each of the rounds, if somebody approves or a grant answers."""
    asks = [b.asks(*(each if isinstance(each, tuple) else (each,))) for each in rounds or (TO_BOB, TO_BOB)]
    asking = {"when": 'tool.effect == "write"', "then": "ask", "approval": "writes", "code": "writes"}
    writes = {"sets": [{"roles": ["approver"]}], "expires": "1h", **approval}
    return b.package(
        *asks,
        b.says("told {results}"),
        tools=(b.writing_tool("send", **(tool or {})), b.tool("look", **{"untrusted": True})),
        policy="builtin:read-only",
        policies=[{"builtin": "read-only"}, {"rules": rules or [asking]}],
        approvals={"writes": writes if offers is None else {**writes, "grants": dict(offers)}},
    )


def begun(bench: b.Bench, package: RuntimePackage) -> tuple[AgentRuntime, Sent]:
    """A runtime with the package, and what was sent."""
    sent = Sent()
    bench.packages, bench.tools = (package,), FunctionTools({"send": sent, "look": b.look})
    return bench.runtime(), sent


def grant(
    scope: GrantScope = RUN, matcher: GrantMatcher = EXACT, uses: int = 5, valid_for: str = "1h", **fields: Any
) -> GrantRequest:
    """A grant as somebody asks for it."""
    return GrantRequest(scope, matcher, uses=uses, valid_for=valid_for, **fields)


async def asked(runtime: AgentRuntime, run_id: str = "run-1", effect: str = "a1.1.1") -> None:
    """Waits until the approval is pending."""
    approval = f"{run_id}/{effect}"
    found = None
    while found is None:
        await asyncio.sleep(0)
        found = await runtime.approvals.look_up(BOB.namespace, approval)


async def given(
    runtime: AgentRuntime,
    wanted: GrantRequest,
    who: Principal = BOB,
    approval_id: str = "run-1/a1.1.1",
    **decision: Any,
) -> None:
    """Approves with a grant."""
    run_id, _, effect = approval_id.partition("/")
    await asked(runtime, run_id, effect)
    await decide(runtime, who=who, approval_id=approval_id, grant=wanted, **decision)


async def asks_again(bench: b.Bench, runtime: AgentRuntime, run_id: str = "run-1", effect: str = "a2.1.1") -> bool:
    """Whether somebody is asked for that approval; False when the run ended without."""
    approval = f"{run_id}/{effect}"
    while True:
        await asyncio.sleep(0)
        if await runtime.approvals.look_up(BOB.namespace, approval) is not None:
            return True
        if (await runtime.run_snapshot(run_id)).state.is_terminal:
            return False


def grants_of(runtime: AgentRuntime) -> Grants:
    """The grants of a runtime, as its service has them."""
    return Grants(runtime.ports, runtime.approvals)

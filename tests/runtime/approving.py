"""Runs that ask for an approval, and the people who may decide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from runwright.adapters.key_approvers import KeyApprovers
from runwright.core.approval_requests import DecisionRequest, StandingApproval
from runwright.core.approvals import ApprovalVerdict
from runwright.core.errors import AgentError
from runwright.core.executor_names import ExecutorNames
from runwright.core.ids import DEFAULT_NAMESPACE, LOCAL_PRINCIPAL, Namespace
from runwright.core.kinds import EventKind
from runwright.core.package import RuntimePackage
from runwright.core.principal import Principal, Role
from runwright.runtime import AgentRuntime
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.watching import reached

ID = "run-1/a1.1.1"
WRITES = {"sets": [{"roles": ["approver"]}], "expires": "1h"}
# What whoever approves a call is shown of its tool.
SHOWN: Mapping[str, Any] = {"summary": '"Send to " + args.to', "highlight": ["/to"], "reversible": True}
HAND_OVER = {"sets": [{"roles": ["approver"], "for": "10m"}, {"principals": ["ann"]}], "expires": "1h"}


def person(name: str, *roles: Role, namespace: str = DEFAULT_NAMESPACE) -> Principal:
    """Somebody with a key; an approver unless other roles are given."""
    return Principal(name, Namespace(namespace), frozenset(roles or {Role.APPROVER}), f"key:{name}")


ANN, BOB = person("ann"), person("bob")
CALLER, HOST = person("cal", Role.CALLER, Role.APPROVER), person("hal", Role.EXECUTOR, Role.APPROVER)
EVERYBODY = (ANN, BOB, CALLER, HOST, person("eve", namespace="other"))


class Known:
    """A keys file that is a list."""

    def __init__(self, principals: Iterable[Principal] = EVERYBODY) -> None:
        self.everybody = list(principals)

    def principals(self) -> Iterable[Principal]:
        """Everybody."""
        return self.everybody


def separated(bench: b.Bench, *principals: Principal, owners: dict[str, list[str]] | None = None) -> b.Bench:
    """The bench with keys: approvers are told from others."""
    bench.approvers = KeyApprovers(Known(principals or EVERYBODY), ExecutorNames(owners or {}))
    return bench


def asking(
    *calls: str | b.Fields, then: str = "told {results}", approval: dict[str, Any] | None = None, **fields: Any
) -> RuntimePackage:
    """A package whose writing calls wait for an approval."""
    rules = [{"when": 'tool.effect == "write"', "then": "ask", "approval": "writes", "code": "writes"}]
    return b.package(
        b.asks(*(calls or ({"tool": "send", "arguments": {"to": "bob"}},))),
        b.says(then),
        tools=({**b.writing_tool("send"), **SHOWN}, b.tool("look")),
        policy="builtin:read-only",
        policies=[{"builtin": "read-only"}, {"rules": rules}],
        approvals={"writes": approval or WRITES},
        **fields,
    )


def of_the_run(
    *stages: str, approval: dict[str, Any] | None = None, answer: str | b.Fields = "42", **fields: Any
) -> RuntimePackage:
    """A package that asks at these stages of a run, whose model answers at once."""
    rules = [{"stage": stage, "then": "ask", "approval": "board", "code": f"board.{stage}"} for stage in stages]
    said = b.says(answer) if isinstance(answer, str) else answer
    return b.package(
        said, policies=[{"rules": rules}], approvals={"board": approval or WRITES}, policy="builtin:read-only", **fields
    )


class Sent:
    """A tool that notes what it was called with."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    async def __call__(self, arguments: Any) -> str:
        """One call."""
        self.calls.append(arguments)
        return "sent"


async def waiting(
    bench: b.Bench, package: RuntimePackage | None = None, principal: str = LOCAL_PRINCIPAL
) -> tuple[AgentRuntime, Sent]:
    """A runtime with a run that waits for somebody to decide, and what was sent."""
    sent = Sent()
    bench.packages, bench.tools = (package or asking(),), FunctionTools({"send": sent, "look": b.look})
    runtime = bench.runtime()
    await runtime.start_run(b.request(), principal=principal)
    await reached(runtime, EventKind.APPROVAL_REQUESTED)
    return runtime, sent


async def shown(runtime: AgentRuntime, who: Principal = BOB, approval_id: str = ID) -> StandingApproval:
    """The approval as somebody sees it."""
    return await runtime.approvals.get(who, approval_id)


async def decide(
    runtime: AgentRuntime,
    verdict: ApprovalVerdict = ApprovalVerdict.APPROVE,
    who: Principal = BOB,
    approval_id: str = ID,
    request_id: str = "decision-1",
    **fields: Any,
) -> tuple[StandingApproval, bool]:
    """Somebody decides on what they see."""
    if "digest" not in fields:
        found = await runtime.approvals.look_up(who.namespace, approval_id)
        fields["digest"] = found.asked.digest if found else "sha256:runwright-approval-v1:" + "0" * 64
    request = DecisionRequest(approval_id=approval_id, verdict=verdict, request_id=request_id, **fields)
    return await runtime.approvals.decide(who, request)


async def refused(runtime: AgentRuntime, *args: Any, **fields: Any) -> AgentError:
    """What a decision is refused with."""
    with pytest.raises(AgentError) as caught:
        await decide(runtime, *args, **fields)
    return caught.value

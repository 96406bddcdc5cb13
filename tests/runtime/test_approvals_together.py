"""Who decides on what, where dispatchers, delegations, edits and grants meet on one approval."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from runwright.core import records as r
from runwright.core.approval_dispatches import ApprovalNotice
from runwright.core.approval_requests import ApprovalFilter
from runwright.core.approvals import ApprovalState, ApprovalVerdict
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.fingerprint import canonical_json
from runwright.core.ids import DEFAULT_NAMESPACE
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunStatus
from runwright.core.policy import Verdict
from runwright.core.policy_chain import OperatorRules
from runwright.core.policy_rules import PolicySpec
from runwright.core.principal import Principal, Role
from runwright.ports.approval_dispatchers import ApprovalNotification, DispatcherReply
from runwright.ports.remote_policies import PolicyReply, PolicyRequest
from runwright.runtime import AgentRuntime
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.approving import (
    ANN,
    BOB,
    CALLER,
    WRITES,
    Sent,
    asking,
    decide,
    of_the_run,
    person,
    refused,
    separated,
    shown,
    waiting,
)
from tests.runtime.test_approval_edits import ASKS, Compliance, ruled
from tests.runtime.told import ACKNOWLEDGED, Told, decides
from tests.runtime.watching import eventually, quiet, reached, records_of, stood_still

APPROVE, RESPOND = ApprovalVerdict.APPROVE, ApprovalVerdict.RESPOND
EDIT, DELEGATE = ApprovalVerdict.APPROVE_WITH_EDITS, ApprovalVerdict.DELEGATE
DISPATCH, UPDATE, WITHDRAW = ApprovalNotice.DISPATCH, ApprovalNotice.UPDATE, ApprovalNotice.WITHDRAW
BOT, DAN = person("bot", Role.DISPATCHER, Role.APPROVER), person("dan")
KEYS = (ANN, BOB, CALLER, BOT, DAN)
TOLD: dict[str, Any] = {
    "sets": [{"principals": ["ann", "bob"]}],
    "expires": "1h",
    "delegates": ["dan", "bot"],
    "dispatchers": ["chat"],
}


async def running(bench: b.Bench, told: Told, approval: dict[str, Any] | None = None) -> tuple[AgentRuntime, Sent]:
    """A run that has asked, of which its dispatcher is told."""
    sent = Sent()
    bench.packages = (asking(approval=approval or TOLD),)
    bench.tools = FunctionTools({"send": sent, "look": b.look})
    bench.dispatchers = told
    runtime = separated(bench, *KEYS, owners={"tools": ["hal"]}).runtime()
    await runtime.start_run(b.request())
    await reached(runtime, EventKind.APPROVAL_REQUESTED)
    return runtime, sent


async def delegated(runtime: AgentRuntime, to: str, who: Principal = ANN) -> None:
    """Somebody has somebody else decide."""
    await decide(runtime, DELEGATE, who=who, delegate_to=to, request_id=f"to-{to}")


class SlowCompliance(Compliance):
    """Says of edited arguments what it says once the test lets it."""

    def __init__(self, **said: Any) -> None:
        super().__init__(**said)
        self.answering = asyncio.Event()

    async def decide(self, request: PolicyRequest) -> PolicyReply:
        """See the port."""
        if self.asked:
            await self.answering.wait()
        return await super().decide(request)


async def restarted(bench: b.Bench, runtime: AgentRuntime) -> AgentRuntime:
    """Another runtime over the same journal."""
    await runtime.drain(0)
    made = bench.runtime()
    await made.recover()
    return made


async def test_a_dispatcher_is_told_to_whom_it_was_delegated(bench: b.Bench) -> None:
    told = Told()
    runtime, _ = await running(bench, told)
    await eventually(lambda: told.notices == [DISPATCH])

    await delegated(runtime, "dan")
    await eventually(lambda: told.notices == [DISPATCH, UPDATE])

    before, after = (each.approval for each in told.told)
    assert before.approvers.principals == ("ann", "bob")
    assert after.approvers.principals == ("dan", "ann")
    assert [each.delegated_to for each in after.delegations] == ["dan"]
    assert after == await shown(runtime, ANN)


@pytest.mark.parametrize(("to", "refusal", "state"), [("bot", "", "APPROVED"), ("dan", "approver_set", "PENDING")])
async def test_what_a_dispatcher_answers_counts_as_it_was_delegated(
    bench: b.Bench, to: str, refusal: str, state: str
) -> None:
    def answer(notification: ApprovalNotification) -> DispatcherReply:
        found = decides(APPROVE)(notification) if notification.revision == 2 else ACKNOWLEDGED
        assert isinstance(found, DispatcherReply)
        return found

    told = Told(answer)
    runtime, sent = await running(bench, told)
    await reached(runtime, EventKind.APPROVAL_DISPATCHED)

    await delegated(runtime, to)
    await reached(runtime, EventKind.APPROVAL_DISPATCHED, times=2)

    [result] = [each for each in await records_of(bench.journal, r.ApprovalDispatched) if each.decision]
    assert result.refusal == refusal
    assert (await shown(runtime, ANN)).state is ApprovalState[state]
    await quiet()
    assert len(sent.calls) == (state == "APPROVED")


@pytest.mark.parametrize(
    ("verdict", "fields", "refusal"),
    [
        (EDIT, {}, "invalid"),
        (DELEGATE, {}, "invalid"),
        (RESPOND, {"message": "r" * (64 * 1024 + 1)}, "invalid"),
        (RESPOND, {"message": "ä" * (32 * 1024 + 1)}, "invalid"),
        (RESPOND, {"message": "r" * 64 * 1024}, ""),
        (RESPOND, {}, "invalid"),
    ],
)
async def test_a_dispatcher_answers_what_can_be_answered_and_no_more(
    bench: b.Bench, verdict: ApprovalVerdict, fields: dict[str, Any], refusal: str
) -> None:
    runtime, sent = await running(bench, Told(decides(verdict, **fields)), {**TOLD, "sets": [{"principals": ["bot"]}]})
    await reached(runtime, EventKind.APPROVAL_DISPATCHED)

    [result, *_] = await records_of(bench.journal, r.ApprovalDispatched)
    assert (result.refusal, result.decision) == (refusal, r.DispatchedDecision(verdict))
    assert (await shown(runtime, BOT)).state is (ApprovalState.PENDING if refusal else ApprovalState.RESPONDED)
    assert sent.calls == []


async def test_what_the_operator_denies_by_now_is_not_made_when_a_dispatcher_approves(bench: b.Bench) -> None:
    pressed = asyncio.Event()

    async def answer(notification: ApprovalNotification) -> DispatcherReply:
        await pressed.wait()
        found = decides(APPROVE)(notification) if notification.notice is DISPATCH else ACKNOWLEDGED
        assert isinstance(found, DispatcherReply)
        return found

    told = Told(answer)
    runtime, sent = await running(bench, told, {**TOLD, "sets": [{"principals": ["bot"]}]})
    await eventually(lambda: told.notices == [DISPATCH])
    denies = PolicySpec.model_validate({"rules": [{"then": "deny", "code": "not_any_more"}]})
    runtime.ports.policies.replace_operator_rules({DEFAULT_NAMESPACE: OperatorRules((denies,), "sha256:rules-2")})
    pressed.set()

    ended = await stood_still(runtime)
    assert ("not_any_more" in (ended.text or ""), sent.calls) == (True, [])


async def test_a_dispatcher_is_told_that_what_was_given_counts_no_more(bench: b.Bench) -> None:
    """Also where it knew already that it was given: people would take it for decided."""
    changes = {"verdict": Verdict.MODIFY, "arguments_json": canonical_json({"to": "eve@example.com"})}
    bench.remote_policies = remote = SlowCompliance(eve=changes)
    bench.dispatchers = told = Told()
    package = ruled(ASKS, remote="compliance", writes={**WRITES, "dispatchers": ["chat"]})
    runtime, _ = await waiting(separated(bench), package)
    await eventually(lambda: told.notices == [DISPATCH])

    await decide(runtime, EDIT, arguments_json=canonical_json({"to": "eve"}))
    await eventually(lambda: told.notices == [DISPATCH, UPDATE])
    await quiet()
    remote.answering.set()
    await reached(runtime, EventKind.APPROVAL_SUPERSEDED)
    await eventually(lambda: len(told.told) == 4)

    first, second = "a1.1.1", "a1.1.2"
    of = [(each.approval.asked.approval_id, each.notice, each.approval.state.name) for each in told.told]
    assert sorted(of[2:], key=str) == [(first, WITHDRAW, "SUPERSEDED"), (second, DISPATCH, "PENDING")]


@pytest.mark.parametrize("stage", ["run_start", "output"])
async def test_starts_and_answers_are_delegated_like_calls(bench: b.Bench, stage: str) -> None:
    bench.packages = (of_the_run(stage, approval=TOLD),)
    bench.dispatchers = told = Told()
    runtime = separated(bench, *KEYS).runtime()
    await runtime.start_run(b.request())
    await reached(runtime, EventKind.APPROVAL_REQUESTED)
    name = "run-1/a0.1" if stage == "run_start" else "run-1/a1.1"

    await decide(runtime, DELEGATE, who=ANN, approval_id=name, delegate_to="dan", request_id="to-dan")

    assert (await shown(runtime, DAN, name)).approvers.principals == ("dan", "ann")
    [wait] = (await runtime.run_snapshot("run-1")).waiting_on
    assert "by dan, ann before" in wait.unblocked_by
    of_bob = await refused(runtime, who=BOB, approval_id=name)
    assert (of_bob.reason, of_bob.metadata["rule"]) == (ErrorReason.APPROVER_NOT_ALLOWED, "approver_set")
    await eventually(lambda: told.notices == [DISPATCH, UPDATE])
    assert told.told[1].approval.approvers.principals == ("dan", "ann")

    runtime = await restarted(bench, runtime)
    await decide(runtime, who=DAN, approval_id=name, request_id="decision-2")

    ended = await stood_still(runtime)
    assert (ended.status, ended.text) == (RunStatus.COMPLETED, "42")
    [decided] = await records_of(bench.journal, r.ApprovalDecided)
    assert decided.decided_by == "dan"


@pytest.mark.parametrize("role", list(Role))
async def test_every_role_can_be_named_in_a_set_and_comes_on_top_of_approver(bench: b.Bench, role: Role) -> None:
    """Whoever has that role decides with role approver, and nobody with another one; an admin has every role."""
    named, root = person("ned", role, Role.APPROVER), person("root", Role.ADMIN)
    separated(bench, named, root, *KEYS, owners={"tools": ["hal"]})
    runtime, sent = await waiting(bench, asking(approval={"sets": [{"roles": [role.value]}], "expires": "1h"}))

    if role is not Role.APPROVER:
        with pytest.raises(AgentError, match="APPROVAL_NOT_FOUND"):
            await decide(runtime, who=BOB)
    page = await runtime.approval_list.page(root, ApprovalFilter(mine=True), "", 9)
    assert [each.asked.run_id for each in page.approvals] == ["run-1"]
    standing, _ = await decide(runtime, who=named)

    assert (standing.state, standing.approvers.roles) == (ApprovalState.APPROVED, (role.value,))
    await stood_still(runtime)
    assert sent.calls == [{"to": "bob"}]


@pytest.mark.parametrize("owners", [{}, {"tools": ["ann"]}], ids=["of a name without owner", "of a name of hers"])
async def test_with_another_key_whoever_may_perform_the_call_decides_on_it_no_more(
    bench: b.Bench, owners: dict[str, list[str]]
) -> None:
    """Who may serve an executor is asked of people, not of their keys; as for delegates."""
    other = Principal("ann", DEFAULT_NAMESPACE, frozenset({Role.EXECUTOR}), "key:ann-2")
    separated(bench, ANN, other, BOB, owners=owners)
    runtime, sent = await waiting(bench)

    error = await refused(runtime, who=ANN)

    assert (error.reason, error.metadata["rule"]) == (ErrorReason.APPROVER_NOT_ALLOWED, "executor")
    assert (await shown(runtime)).state is ApprovalState.PENDING
    await decide(runtime, who=BOB)
    await stood_still(runtime)
    assert sent.calls == [{"to": "bob"}]

"""Approvals with edits: what somebody edited is what runs, once, under the policies as they speak of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from runwright.core import records as r
from runwright.core.approvals import ApprovalState, ApprovalVerdict
from runwright.core.errors import ErrorReason
from runwright.core.fingerprint import canonical_json
from runwright.core.ids import DEFAULT_NAMESPACE
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunStatus, StopReason
from runwright.core.package import RuntimePackage
from runwright.core.policy import Verdict
from runwright.ports.remote_policies import NoRemotePolicies, PolicyReply, PolicyReplyKind, PolicyRequest
from runwright.ports.tools import ToolInvocation, ToolOutcome, ToolOutcomeKind
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.approving import ANN, BOB, HOST, ID, WRITES, Sent, asking, decide, refused, separated, shown, waiting
from tests.runtime.parts import PlayedTools
from tests.runtime.test_rules_reloaded import replace_rules
from tests.runtime.watching import abandoned, eventually, kinds, quiet, reached, records_of, stood_still

EDIT, APPROVE, DENY = ApprovalVerdict.APPROVE_WITH_EDITS, ApprovalVerdict.APPROVE, ApprovalVerdict.DENY
TO_EVE = b'{"to": "eve"}'
SCHEMA = {
    "type": "object",
    "properties": {"to": {"type": "string", "maxLength": 8}},
    "required": ["to"],
    "additionalProperties": False,
}


async def edit(runtime: Any, arguments: bytes = TO_EVE, **fields: Any) -> Any:
    """Somebody approves a call with other arguments."""
    return await decide(runtime, EDIT, arguments_json=arguments, **fields)


async def edit_refused(runtime: Any, arguments: bytes = TO_EVE, **fields: Any) -> Any:
    """What an edit is refused with."""
    return await refused(runtime, EDIT, arguments_json=arguments, **fields)


def strict(**fields: Any) -> RuntimePackage:
    """The package of `asking` whose tool says what it takes."""
    return asking().model_validate(
        {**asking(**fields).model_dump(by_alias=True), "tools": [b.writing_tool("send", parameters=SCHEMA)]}
    )


def ruled(*rules: b.Fields, remote: str = "", **approvals: Any) -> RuntimePackage:
    """A package with these rules, and a call that sends to Bob."""
    policies: list[b.Fields] = [{"builtin": "read-only"}, {"rules": list(rules)}]
    return b.package(
        b.asks({"tool": "send", "arguments": {"to": "bob"}}),
        b.says("told {results}"),
        tools=(b.writing_tool("send"),),
        policy="builtin:read-only",
        policies=[*policies, {"remote": remote}] if remote else policies,
        approvals={"writes": WRITES, **approvals},
    )


ASKS = {"when": 'tool.name == "send"', "then": "ask", "approval": "writes", "code": "writes"}


async def test_what_was_edited_is_what_the_executor_gets_once(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench))
    asked = (await shown(runtime)).asked

    standing, is_first = await edit(runtime, b' {"to" : "eve"} ')

    ended = await stood_still(runtime)
    assert (ended.status, sent.calls, is_first) == (RunStatus.COMPLETED, [{"to": "eve"}], True)
    outcome = standing.outcome
    assert (standing.state, outcome.verdict, outcome.digest) == (ApprovalState.APPROVED, EDIT, asked.digest)
    assert await runtime.approvals.arguments(DEFAULT_NAMESPACE, asked, outcome.edited_arguments) == b'{"to":"eve"}'


async def test_the_intent_spends_the_digest_of_what_was_edited(bench: b.Bench) -> None:
    runtime, _ = await waiting(separated(bench))
    asked = (await shown(runtime)).asked

    standing, _ = await edit(runtime)

    await stood_still(runtime)
    [started] = await records_of(bench.journal, r.ToolStarted)
    [replaced] = await records_of(bench.journal, r.SubjectReplaced)
    edited = standing.outcome.edited_arguments
    assert (started.approval_id, started.approved_by) == ("a1.1.1", "bob")
    assert (started.approval_digest, started.arguments_digest) == (standing.outcome.edited_digest, edited.digest)
    assert started.approval_digest != asked.digest
    assert (replaced.policy_ref, replaced.decider, replaced.replacement) == ("approval:writes", "bob", edited)
    assert replaced.replaced_digest == asked.arguments.digest


async def test_an_edit_is_one_commit_with_what_follows(bench: b.Bench) -> None:
    runtime, _ = await waiting(separated(bench))
    before = bench.journal.commits

    await edit(runtime)

    found = [kind.name for kind in await kinds(bench.journal)]
    first = found.index("APPROVAL_DECIDED")
    expected = ["APPROVAL_DECIDED", "SUBJECT_REPLACED", "POLICY_DECIDED", "TOOL_STARTED"]
    assert found[first : first + 4] == expected
    await stood_still(runtime)
    assert bench.journal.commits == before + 3  # the decision with its intent, the result, the answer


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (b"{", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"\xff", "not UTF-8"),
        (b'{"to": "somebody far away"}', "properties/to/maxLength"),
        (b'{"to": "eve", "bcc": "mallory"}', "additionalProperties"),
        (b"{}", "to"),
        (b'{"to": "' + b"e" * 300_000 + b'"}', "larger than"),
        (b'{"to": "bob"}', "approve them as they are"),
        (b'{"to": "ann", "to": "eve"}', 'they name "to" twice'),
        (b"null", "not a JSON object"),
    ],
    ids=[
        *("broken", "a list", "no text", "too long", "a field too many", "a field too few", "too large", "no edit"),
        *("a name that stands twice", "nothing"),
    ],
)
async def test_a_bad_edit_is_refused_and_the_approval_is_as_it_was(bench: b.Bench, arguments: bytes, says: str) -> None:
    runtime, sent = await waiting(separated(bench), strict())
    before, commits = await shown(runtime), bench.journal.commits

    error = await edit_refused(runtime, arguments)

    assert error.reason is ErrorReason.APPROVAL_EDIT_INVALID
    assert says in error.metadata["rule"] and says in error.message
    assert (await shown(runtime), bench.journal.commits, sent.calls) == (before, commits, [])
    await edit(runtime)
    await stood_still(runtime)
    assert sent.calls == [{"to": "eve"}]


async def test_an_edit_without_arguments_and_arguments_without_an_edit_are_refused_by_field(bench: b.Bench) -> None:
    runtime, _ = await waiting(separated(bench))

    missing = await edit_refused(runtime, b"")
    too_many = await refused(runtime, APPROVE, arguments_json=TO_EVE)

    assert [error.reason for error in (missing, too_many)] == [ErrorReason.INVALID_REQUEST] * 2
    assert [error.metadata["field"] for error in (missing, too_many)] == ["arguments_json"] * 2


async def test_an_edit_that_is_late_by_a_millisecond_becomes_the_expiry(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench))
    clock = bench.manual_clock
    clock.advance((await shown(runtime)).asked.expires_at - clock.now() - 1000)
    deciding = asyncio.create_task(edit_refused(runtime))
    clock.advance(1000)

    late = await deciding

    assert late.reason is ErrorReason.APPROVAL_EXPIRED
    await stood_still(runtime)
    assert (sent.calls, EventKind.APPROVAL_DECIDED in await kinds(bench.journal)) == ([], False)


async def test_an_edit_with_a_wrong_digest_is_refused(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench))

    error = await edit_refused(runtime, digest="sha256:runwright-approval-v1:" + "0" * 64)

    assert error.reason is ErrorReason.APPROVAL_DIGEST_MISMATCH
    assert ((await shown(runtime)).state, sent.calls) == (ApprovalState.PENDING, [])


async def test_an_edit_that_is_sent_again_gets_the_same_answer_also_after_a_restart(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench))
    first, _ = await edit(runtime)
    await stood_still(runtime)
    other = await edit_refused(runtime, b'{"to": "mallory"}')
    await runtime.drain(0)

    after_restart = bench.runtime()
    await after_restart.recover()
    again, is_first = await edit(after_restart)

    assert (again.outcome, is_first) == (first.outcome, False)
    assert other.reason is ErrorReason.REQUEST_ID_CONFLICT
    assert sent.calls == [{"to": "eve"}]


async def test_an_edit_does_not_cover_the_next_identical_call(bench: b.Bench) -> None:
    """Neither a call like the one that was asked for nor one like the one that was approved."""
    calls = [{"tool": "send", "arguments": {"to": to}} for to in ("bob", "bob", "eve")]
    runtime, sent = await waiting(separated(bench), asking(*calls))
    await edit(runtime)
    await eventually(lambda: len(sent.calls) == 1)

    replayed = await edit_refused(runtime, request_id="decision-2")
    await quiet()

    assert replayed.reason is ErrorReason.APPROVAL_ALREADY_DECIDED
    others = [await shown(runtime, approval_id=f"run-1/a1.{number}.1") for number in (2, 3)]
    assert [each.state for each in others] == [ApprovalState.PENDING] * 2
    assert sent.calls == [{"to": "eve"}]


async def test_an_edit_by_whoever_serves_the_executor_is_refused(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench, owners={"tools": ["hal"]}))

    error = await edit_refused(runtime, who=HOST)

    assert (error.reason, error.metadata["rule"]) == (ErrorReason.APPROVER_NOT_ALLOWED, "executor")
    assert ((await shown(runtime)).state, sent.calls) == (ApprovalState.PENDING, [])


async def test_an_edit_of_a_decided_approval_is_told_who_decided(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench))
    await decide(runtime, DENY, who=ANN, request_id="decision-2")

    error = await edit_refused(runtime)

    assert (error.reason, error.metadata["decided_by"]) == (ErrorReason.APPROVAL_ALREADY_DECIDED, "ann")
    await stood_still(runtime)
    assert sent.calls == []


async def test_policies_that_deny_what_was_edited_win(bench: b.Bench) -> None:
    denies = {"when": 'args.to == "eve"', "then": "deny", "code": "not_to_eve"}
    runtime, sent = await waiting(separated(bench), ruled(denies, ASKS))

    standing, _ = await edit(runtime)

    ended = await stood_still(runtime)
    assert (ended.status, "not_to_eve" in (ended.text or ""), sent.calls) == (RunStatus.COMPLETED, True, [])
    assert standing.state is ApprovalState.APPROVED


async def test_policies_that_interrupt_over_what_was_edited_end_the_run(bench: b.Bench) -> None:
    interrupts = {"when": 'args.to == "eve"', "then": "interrupt", "code": "not_to_eve"}
    runtime, sent = await waiting(separated(bench), ruled(interrupts, ASKS))

    await edit(runtime)

    ended = await stood_still(runtime)
    assert (ended.status, ended.state.stop, sent.calls) == (RunStatus.FAILED, StopReason.POLICY_INTERRUPT, [])


@pytest.mark.parametrize("is_first", [True, False], ids=["before the other rule", "behind the other rule"])
async def test_a_rule_that_asks_for_another_approval_of_what_was_edited_is_heard(
    bench: b.Bench, is_first: bool
) -> None:
    """Also where the rule that the decision answers speaks first."""
    other = {"when": 'args.to == "eve"', "then": "ask", "approval": "outside", "code": "outside"}
    rules = (other, ASKS) if is_first else (ASKS, other)
    package = ruled(*rules, outside={"sets": [{"principals": ["ann"]}], "expires": "2h"})
    runtime, sent = await waiting(separated(bench), package)

    standing, _ = await edit(runtime)
    await quiet()

    second = await shown(runtime, ANN, "run-1/a1.1.2")
    assert (standing.state, second.state) == (ApprovalState.SUPERSEDED, ApprovalState.PENDING)
    assert (second.asked.approval, second.asked.digest) == ("outside", standing.outcome.edited_digest)
    assert (second.asked.arguments, sent.calls) == (standing.outcome.edited_arguments, [])
    of_superseded = await edit_refused(runtime, request_id="decision-2")
    assert of_superseded.reason is ErrorReason.APPROVAL_ALREADY_DECIDED

    await decide(runtime, who=ANN, approval_id="run-1/a1.1.2", request_id="decision-3")

    await stood_still(runtime)
    assert sent.calls == [{"to": "eve"}]
    [started] = await records_of(bench.journal, r.ToolStarted)
    assert (started.approval_id, started.approved_by) == ("a1.1.2", "ann")


class Compliance(NoRemotePolicies):
    """A remote policy that says what the test says of arguments, and notes what it was asked about."""

    def __init__(self, **said: Any) -> None:
        self.asked: list[Any] = []
        self.said = said  # by who is written to

    def is_there(self, namespace: Any, policy: str) -> bool:
        """See the port."""
        return True

    async def decide(self, request: PolicyRequest) -> PolicyReply:
        """See the port."""
        assert request.call is not None
        arguments = json.loads(request.call.arguments_json)
        self.asked.append(arguments["to"])
        said = self.said.get(arguments["to"], {"verdict": Verdict.ALLOW})
        return PolicyReply(kind=PolicyReplyKind.ANSWERED, subject_digest=request.subject_digest, **said)


async def test_a_remote_policy_is_asked_again_about_what_was_edited(bench: b.Bench) -> None:
    bench.remote_policies = policy = Compliance()
    runtime, sent = await waiting(separated(bench), ruled(ASKS, remote="compliance"))

    await edit(runtime)

    ended = await stood_still(runtime)
    assert (ended.status, policy.asked, sent.calls) == (RunStatus.COMPLETED, ["bob", "eve"], [{"to": "eve"}])
    [started] = await records_of(bench.journal, r.ToolStarted)
    assert (started.approval_id, started.approved_by) == ("a1.1.1", "bob")


async def test_a_remote_policy_that_denies_what_was_edited_wins(bench: b.Bench) -> None:
    bench.remote_policies = Compliance(eve={"verdict": Verdict.DENY, "code": "not_to_eve"})
    runtime, sent = await waiting(separated(bench), ruled(ASKS, remote="compliance"))

    await edit(runtime)

    ended = await stood_still(runtime)
    assert ("not_to_eve" in (ended.text or ""), sent.calls) == (True, [])


async def test_what_a_remote_policy_makes_of_an_edit_is_approved_by_nobody(bench: b.Bench) -> None:
    changes = {"verdict": Verdict.MODIFY, "arguments_json": canonical_json({"to": "eve@example.com"})}
    bench.remote_policies = Compliance(eve=changes)
    runtime, sent = await waiting(separated(bench), ruled(ASKS, remote="compliance"))

    await edit(runtime)
    await reached(runtime, EventKind.APPROVAL_SUPERSEDED)
    await eventually(lambda: len(bench.remote_policies.asked) == 3)
    await quiet()

    assert (await shown(runtime)).state is ApprovalState.SUPERSEDED
    second = await shown(runtime, approval_id="run-1/a1.1.2")
    assert (second.state, sent.calls) == (ApprovalState.PENDING, [])
    await decide(runtime, approval_id="run-1/a1.1.2", request_id="decision-2")
    await stood_still(runtime)
    assert sent.calls == [{"to": "eve@example.com"}]


async def test_what_was_sent_before_is_sent_again_as_it_was(bench: b.Bench) -> None:
    def play(invocation: ToolInvocation) -> ToolOutcome:
        if invocation.attempt > 1:
            return ToolOutcome(ToolOutcomeKind.RESULT, b'"sent"')
        replace_rules(runtime, {"rules": [{"when": 'tool.name == "send"', "then": "ask"}]})
        return ToolOutcome(ToolOutcomeKind.LOST)

    tools = bench.tools = PlayedTools(play)
    bench.packages = (
        b.package(
            b.asks({"tool": "send", "arguments": {"to": "bob"}}),
            b.says("told {results}"),
            tools=(b.writing_tool("send", idempotent=True, max_attempts=3),),
            policy="builtin:read-only",
            policies=[{"rules": [{"when": 'tool.name == "send"', "then": "allow"}]}],
        ),
    )
    runtime = separated(bench).runtime()
    await runtime.start_run(b.request())
    await reached(runtime, EventKind.RETRY_SCHEDULED)
    bench.manual_clock.advance(60 * b.SECOND)
    await reached(runtime, EventKind.APPROVAL_REQUESTED)

    error = await edit_refused(runtime)
    await decide(runtime, APPROVE)

    assert error.reason is ErrorReason.APPROVAL_EDIT_INVALID
    assert "was sent before" in error.message
    assert (await stood_still(runtime)).status is RunStatus.COMPLETED
    assert [call.attempt for call in tools.calls] == [1, 2]
    assert not await records_of(bench.journal, r.SubjectReplaced)


class Lossy(PlayedTools):
    """Executors that lose the first attempt."""

    def __init__(self) -> None:
        super().__init__(self._play)
        self.got: list[Any] = []

    def _play(self, call: ToolInvocation) -> ToolOutcome:
        self.got.append(json.loads(call.arguments_json))
        is_lost = len(self.got) == 1
        return ToolOutcome(ToolOutcomeKind.LOST) if is_lost else ToolOutcome(ToolOutcomeKind.RESULT, b'"sent"')


class HeldSent(Sent):
    """A tool that notes what it was called with, and answers when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()

    async def __call__(self, arguments: Any) -> str:
        """One call."""
        answer = await super().__call__(arguments)
        await self.let_go.wait()
        return answer


async def test_a_retry_keeps_what_was_edited(bench: b.Bench) -> None:
    package = asking()
    tools = [b.writing_tool("send", idempotent=True, max_attempts=3)]
    bench.packages = (package.model_validate({**package.model_dump(by_alias=True), "tools": tools}),)
    bench.tools = executors = Lossy()
    runtime = separated(bench).runtime()
    await runtime.start_run(b.request())
    await reached(runtime, EventKind.APPROVAL_REQUESTED)

    await edit(runtime)
    await reached(runtime, EventKind.RETRY_SCHEDULED)
    bench.manual_clock.advance(60 * b.SECOND)

    ended = await stood_still(runtime)
    assert (ended.status, executors.got) == (RunStatus.COMPLETED, [{"to": "eve"}] * 2)
    started = await records_of(bench.journal, r.ToolStarted)
    assert len({(each.approval_id, each.approval_digest, each.arguments_digest) for each in started}) == 1


async def test_an_edit_outlives_a_restart_before_it_is_spent(bench: b.Bench) -> None:
    """Approved while there is no place: it is approved and unspent, and what is sent then is what was edited."""
    held = HeldSent()
    bench.packages, bench.tools = (asking(),), FunctionTools({"send": held}, most_calls=1)
    async with abandoned():
        runtime = separated(bench).runtime()
        for run_id in ("run-1", "run-2"):
            await runtime.start_run(b.request(run_id))
            await reached(runtime, EventKind.APPROVAL_REQUESTED, run_id)
        await decide(runtime, approval_id="run-2/a1.1.1")
        await eventually(lambda: len(held.calls) == 1)
        standing, _ = await edit(runtime)
        await quiet()
    assert (standing.state, EventKind.TOOL_STARTED in await kinds(bench.journal)) == (ApprovalState.APPROVED, False)

    sent = Sent()
    bench.tools = FunctionTools({"send": sent})
    after_restart = bench.runtime()
    await after_restart.recover()

    await stood_still(after_restart)
    assert sent.calls == [{"to": "eve"}]
    [started] = await records_of(bench.journal, r.ToolStarted)
    assert started.approval_digest == standing.outcome.edited_digest


async def test_fifty_edits_at_once_make_one(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench))

    async def outcome(number: int) -> str:
        arguments = json.dumps({"to": f"eve-{number}"}).encode()
        who = (ANN, BOB)[number % 2]
        try:
            await edit(runtime, arguments, who=who, approval_id=ID, request_id=f"decision-{number}")
        except Exception as error:  # noqa: BLE001 - which one is what is looked at
            return getattr(error, "reason", ErrorReason.INTERNAL).name
        return "decided"

    said = await asyncio.gather(*(outcome(number) for number in range(50)))

    assert (said.count("decided"), set(said)) == (1, {"decided", "APPROVAL_ALREADY_DECIDED"})
    await stood_still(runtime)
    assert sent.calls == [{"to": f"eve-{said.index('decided')}"}]

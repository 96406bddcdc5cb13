"""Repair: whoever found out what became of a call says so, once, and the run goes on from it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from runwright.adapters.memory.audit import MemoryAudit
from runwright.core import effects as e
from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.audit import AuditKind
from runwright.core.content import Content
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import EffectId
from runwright.core.kinds import TERMINAL, EventKind
from runwright.core.outcomes import Resolution, RunStatus, StopReason
from runwright.core.resolution import ResolutionRequest, ResolvedResult
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind
from runwright.runtime import AgentRuntime
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import GatedJournal
from tests.runtime.parts import HeldTool
from tests.runtime.watching import key, kinds, quiet, records_of, stood_still

SENDING = b.package(b.asks("send"), b.says("told {results}"), tools=(b.writing_tool("send"),))
LOST = ToolOutcome(ToolOutcomeKind.LOST)
CALL = EffectId("c1.1")


class Outbox:
    """A tool's own ledger: what it has really done, by idempotency key, whatever it answered."""

    def __init__(self, *answers: Any, performs: tuple[bool, ...] = (True,)) -> None:
        self.sent: list[int] = []
        self._answers, self._performs, self._calls = list(answers), list(performs), 0

    async def __call__(self, arguments: Mapping[str, Any]) -> Any:
        """One attempt: it may send, and then it may be lost."""
        self._calls += 1
        if self._performs.pop(0) if self._performs else True:
            self.sent.append(self._calls)
        return self._answers.pop(0) if self._answers else "sent"


def said(resolution: Resolution, attempt: int = 1, request_id: str = "decision-1", **fields: Any) -> ResolutionRequest:
    """A decision about the only call."""
    if resolution is Resolution.HAPPENED and "result" not in fields:
        fields["result"] = ResolvedResult(b'"sent at noon"')
    return ResolutionRequest(effect_id=CALL, attempt=attempt, request_id=request_id, resolution=resolution, **fields)


async def in_repair(bench: b.Bench, outbox: Outbox) -> AgentRuntime:
    """A runtime whose run has lost its only call."""
    bench.packages, bench.tools = (SENDING,), FunctionTools({"send": outbox})
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    assert (await stood_still(runtime)).status is RunStatus.REPAIR_NEEDED
    return runtime


async def refused(runtime: AgentRuntime, request: ResolutionRequest, principal: str = "bob") -> AgentError:
    """What a decision is refused with."""
    with pytest.raises(AgentError) as caught:
        await runtime.repair.resolve("run-1", request, principal=principal)
    return caught.value


async def test_a_call_that_happened_gives_its_result_to_the_model(bench: b.Bench) -> None:
    outbox = Outbox(LOST)
    runtime = await in_repair(bench, outbox)

    resolved = await runtime.repair.resolve(
        "run-1", said(Resolution.HAPPENED, reason="it is in the outbox"), principal="ann"
    )

    ended = await stood_still(runtime)
    assert (ended.status, ended.text) == (RunStatus.COMPLETED, 'told "sent at noon"')
    assert outbox.sent == [1]
    [decision] = await records_of(bench.journal, r.EffectResolved)
    assert (decision.resolved_by, decision.reason, decision.attempt) == ("ann", "it is in the outbox", 1)
    assert (resolved.is_first, resolved.decision.resolved_by) == (True, "ann")
    [completed] = await records_of(bench.journal, r.ToolCompleted)
    assert completed.result == Content.of(b'"sent at noon"', "application/json").ref


async def test_a_call_that_did_not_happen_is_sent_again_under_a_higher_attempt(bench: b.Bench) -> None:
    outbox = Outbox(LOST, performs=(False, True))
    runtime = await in_repair(bench, outbox)

    await runtime.repair.resolve("run-1", said(Resolution.TRY_AGAIN))

    ended = await stood_still(runtime)
    assert (ended.status, ended.text) == (RunStatus.COMPLETED, 'told "sent"')
    assert outbox.sent == [2]
    assert [(each.attempt, each.idempotency_key) for each in bench.function_tools.ledger] == [
        (1, bench.key("c1.1")),
        (2, bench.key("c1.1")),
    ]


async def test_the_model_is_told_of_a_call_that_did_not_happen(bench: b.Bench) -> None:
    outbox = Outbox(LOST, performs=(False,))
    runtime = await in_repair(bench, outbox)

    await runtime.repair.resolve("run-1", said(Resolution.FAILED, message="the mailbox is full"))

    ended = await stood_still(runtime)
    assert ended.status is RunStatus.COMPLETED
    assert "the mailbox is full" in (ended.text or "")
    assert outbox.sent == []


async def test_a_run_can_be_ended_with_its_call_unknown(bench: b.Bench) -> None:
    runtime = await in_repair(bench, Outbox(LOST))

    await runtime.repair.resolve("run-1", said(Resolution.END_RUN, reason="the vendor is gone"), principal="ann")

    ended = await stood_still(runtime)
    assert (ended.status, ended.state.stop) == (RunStatus.FAILED, StopReason.EFFECT_UNKNOWN)
    assert ended.state.error is not None
    assert ended.state.error.reason is ErrorReason.EFFECT_UNKNOWN
    [barrier] = await records_of(bench.journal, r.RunCancelRequested)
    assert (barrier.requested_by, barrier.reason) == ("ann", "the vendor is gone")


@pytest.mark.parametrize("resolution", list(Resolution))
async def test_the_same_request_gets_the_same_answer_also_after_a_restart(
    bench: b.Bench, resolution: Resolution
) -> None:
    runtime = await in_repair(bench, Outbox(LOST))
    first = await runtime.repair.resolve("run-1", said(resolution), principal="ann")
    again = await runtime.repair.resolve("run-1", said(resolution), principal="bob")
    await stood_still(runtime)
    await runtime.drain(0)

    after_restart = bench.runtime()
    await after_restart.recover()
    once_more = await after_restart.repair.resolve("run-1", said(resolution), principal="bob")

    assert (first.is_first, again.is_first, once_more.is_first) == (True, False, False)
    assert first.decision == again.decision == once_more.decision
    assert len(await records_of(bench.journal, r.EffectResolved)) == 1


async def test_a_second_other_decision_is_told_who_decided_what_and_when(bench: b.Bench) -> None:
    runtime = await in_repair(bench, Outbox(LOST))
    first = await runtime.repair.resolve("run-1", said(Resolution.HAPPENED), principal="ann")

    error = await refused(runtime, said(Resolution.FAILED, request_id="decision-2"))

    assert error.reason is ErrorReason.EFFECT_ALREADY_RESOLVED
    assert error.metadata["resolved_by"] == "ann"
    assert error.metadata["resolution"] == "HAPPENED"
    assert error.metadata["request_id"] == "decision-1"
    assert error.metadata["resolved_at"].startswith("20")
    assert first.is_first


async def test_a_decision_about_another_attempt_is_refused_with_its_own_reason(bench: b.Bench) -> None:
    runtime = await in_repair(bench, Outbox(LOST, LOST))
    early = await refused(runtime, said(Resolution.HAPPENED, attempt=2))
    await runtime.repair.resolve("run-1", said(Resolution.TRY_AGAIN), principal="ann")
    await stood_still(runtime)

    late = await refused(runtime, said(Resolution.HAPPENED, attempt=1, request_id="decision-2"))
    await runtime.repair.resolve("run-1", said(Resolution.HAPPENED, attempt=2, request_id="decision-3"))

    assert (early.reason, early.metadata["attempt"]) == (ErrorReason.EFFECT_ATTEMPT_STALE, "1")
    assert (late.reason, late.metadata["resolved_by"]) == (ErrorReason.EFFECT_ALREADY_RESOLVED, "ann")
    assert (await stood_still(runtime)).status is RunStatus.COMPLETED


async def test_a_request_whose_caller_went_away_is_answered_when_it_is_sent_again(bench: b.Bench) -> None:
    runtime = await in_repair(bench, Outbox(LOST))
    journal = GatedJournal(bench.journal)
    await runtime.drain(0)
    runtime = bench.runtime(journal=journal)
    await runtime.recover()
    journal.gate.clear()
    gone = asyncio.create_task(runtime.repair.resolve("run-1", said(Resolution.HAPPENED), principal="ann"))
    await quiet()
    gone.cancel()
    again = asyncio.create_task(runtime.repair.resolve("run-1", said(Resolution.HAPPENED), principal="ann"))
    other = asyncio.create_task(_outcome(runtime, said(Resolution.FAILED, request_id="decision-2")))
    await quiet()

    journal.gate.set()

    answer = await again
    assert (answer.is_first, answer.decision.resolved_by) == (False, "ann")
    assert await other == "EFFECT_ALREADY_RESOLVED"
    assert len(await records_of(bench.journal, r.EffectResolved)) == 1


async def test_a_request_id_is_of_one_request(bench: b.Bench) -> None:
    runtime = await in_repair(bench, Outbox(LOST))
    await runtime.repair.resolve("run-1", said(Resolution.HAPPENED))

    error = await refused(runtime, said(Resolution.HAPPENED, reason="and another reason"))

    assert (error.reason, error.metadata["field"]) == (ErrorReason.INVALID_REQUEST, "request_id")


async def test_what_is_not_unknown_is_not_decided_about(bench: b.Bench) -> None:
    runtime = await in_repair(bench, Outbox(LOST))
    request = ResolutionRequest(
        effect_id=EffectId("c1.2"), attempt=1, request_id="decision-1", resolution=Resolution.FAILED
    )
    nowhere = await refused(runtime, request)
    await runtime.cancel_run("run-1")
    await stood_still(runtime)

    ended = await refused(runtime, said(Resolution.FAILED))

    assert (nowhere.reason, nowhere.metadata["state"]) == (ErrorReason.EFFECT_NOT_UNKNOWN, "RUNNING")
    assert (ended.reason, ended.metadata["state"]) == (ErrorReason.EFFECT_NOT_UNKNOWN, "CANCELLED")


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (said(Resolution.HAPPENED, result=None), "result"),
        (said(Resolution.FAILED, result=ResolvedResult(b"")), "result"),
        (said(Resolution.HAPPENED, result=ResolvedResult(b"x" * (1024 * 1024 + 1))), "result.data"),
        (said(Resolution.TRY_AGAIN, message="no"), "message"),
        (said(Resolution.FAILED, message="x" * 4097), "message"),
        (said(Resolution.FAILED, request_id=""), "request_id"),
        (said(Resolution.FAILED, request_id="a b"), "request_id"),
        (said(Resolution.FAILED, attempt=0), "attempt"),
    ],
)
async def test_a_decision_that_breaks_a_rule_is_refused_by_field(
    bench: b.Bench, request_: ResolutionRequest, field: str
) -> None:
    runtime = await in_repair(bench, Outbox(LOST))

    error = await refused(runtime, request_)

    assert (error.reason, error.metadata["field"]) == (ErrorReason.INVALID_REQUEST, field)
    assert (await runtime.run_snapshot("run-1")).status is RunStatus.REPAIR_NEEDED


async def test_a_late_answer_of_an_executor_is_audited_and_changes_nothing(bench: b.Bench) -> None:
    bench.audit = audit = MemoryAudit(bench.clock)
    second = HeldTool()
    attempts = iter([Outbox(LOST), second])

    async def send(arguments: Mapping[str, Any]) -> Any:
        return await next(attempts)(arguments)

    bench.packages, bench.tools = (SENDING,), FunctionTools({"send": send})
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await stood_still(runtime)
    await runtime.repair.resolve("run-1", said(Resolution.TRY_AGAIN))
    await second.begun.wait()
    before = await kinds(bench.journal)
    late = Content.of(b'"sent, after all"', "application/json")
    answer = i.ToolReturned(at=bench.clock.now(), call_id=CALL, attempt=1, ok=True, result=late.ref, contents=(late,))
    first_attempt = e.CallTool(CALL, "send", "tools", 1, late.ref, bench.key(CALL), False, 0)

    driver = runtime._supervisor._live.get(key())
    assert driver is not None
    made_true = await driver.submit(answer, settles=first_attempt)

    assert (made_true, await kinds(bench.journal)) == ([], before)
    [entry] = (await audit.page(("default",), before=None, limit=9)).entries
    assert (entry.kind, entry.subjects) == (AuditKind.ANSWER_IGNORED, ("run-1", CALL))
    second.let_go.set()
    assert (await stood_still(runtime)).text == 'told "done"'


async def test_of_a_decision_and_a_cancel_at_once_one_wins_and_the_other_is_told(bench: b.Bench) -> None:
    outcomes = set[tuple[str, str]]()
    for turn in range(200):
        bench = b.Bench()
        outbox = Outbox(LOST, performs=(turn % 4 < 2, True))
        runtime = await in_repair(bench, outbox)
        resolution = list(Resolution)[turn % 4]
        resolving = asyncio.create_task(_outcome(runtime, said(resolution)))
        for _ in range(turn // 4 % 12):
            await asyncio.sleep(0)

        await runtime.cancel_run("run-1")

        outcome = await resolving
        ended = await stood_still(runtime)
        told = await kinds(bench.journal)
        assert sum(kind in TERMINAL for kind in told) == 1
        assert (outcome == "resolved") == (EventKind.EFFECT_RESOLVED in told)
        assert len(outbox.sent) == len(bench.function_tools.ledger) - (turn % 4 >= 2)
        outcomes.add((outcome, ended.status.name))
        await runtime.drain(0)
    assert {"resolved", "EFFECT_NOT_UNKNOWN"} == {outcome for outcome, _ in outcomes}
    assert {"CANCELLED", "FAILED"} <= {status for _, status in outcomes}


async def _outcome(runtime: AgentRuntime, request: ResolutionRequest) -> str:
    try:
        await runtime.repair.resolve("run-1", request)
    except AgentError as error:
        return error.reason.name
    return "resolved"


async def test_of_fifty_contradicting_decisions_at_once_one_stands(bench: b.Bench) -> None:
    outbox = Outbox(LOST)
    runtime = await in_repair(bench, outbox)

    told = await asyncio.gather(
        *(
            _outcome(runtime, said(list(Resolution)[number % 4], request_id=f"decision-{number}"))
            for number in range(50)
        )
    )

    assert sorted(set(told)) == ["EFFECT_ALREADY_RESOLVED", "resolved"]
    assert told.count("resolved") == 1
    assert len(await records_of(bench.journal, r.EffectResolved)) == 1

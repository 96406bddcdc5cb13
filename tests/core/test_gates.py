"""Gates: what is looked at, in which order; who is held, by what, and what that lets the others do."""

from __future__ import annotations

import pytest
from runwright.core import effects as e
from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.errors import ErrorReason
from runwright.core.ids import EffectId
from runwright.core.machine import decide, pending, status, waiting_on
from runwright.core.machine.gates import GATES, Gate, Subject, walk
from runwright.core.machine.holds import Hold, holds
from runwright.core.machine.step import Step
from runwright.core.outcomes import CallPhase, RunPhase, RunStatus, WaitKind
from runwright.core.package import RuntimePackage
from runwright.core.policy import PolicyStage
from runwright.core.request import Budget
from runwright.core.state import CallState, ModelState, RunState

from tests.core import builders as b

RUN = EffectId("")
AWAY, BUSY = i.Availability.AWAY, i.Availability.BUSY
INVALID = ErrorReason.TOOL_ARGUMENTS_INVALID
STRICT = b.package(b.tool("lookup"), b.tool("send", effect="write"), policy="builtin:read-only")
STINGY = b.package(b.tool("lookup"), b.tool("send", effect="write"), budget={"tool_calls": 0})


def of_calls(records: list[r.Record]) -> list[str]:
    """Kinds of the records that say what became of the calls."""
    return [kind for kind in b.kinds(records) if kind.startswith(("POLICY", "TOOL", "RETRY"))]


def call(number: int, phase: CallPhase, **fields: object) -> CallState:
    """A call of the first round."""
    fields = {"passed": PolicyStage.PRE_TOOL, "arguments": b.json_text("{}"), "executor": "tools", **fields}
    return CallState(EffectId(f"c1.{number}"), "lookup", phase, **fields)


@pytest.mark.parametrize(
    ("package", "call", "expected"),
    [
        (STRICT, b.tool_call("send", INVALID, AWAY), ["TOOL_REQUESTED", "TOOL_FAILED"]),
        (STRICT, b.tool_call("send", None, AWAY), ["TOOL_REQUESTED", "POLICY_DECIDED", "TOOL_DENIED"]),
        (STINGY, b.tool_call("send", None, AWAY), ["TOOL_REQUESTED", "POLICY_DECIDED", "TOOL_FAILED"]),
        (STRICT, b.tool_call("lookup", None, AWAY), ["TOOL_REQUESTED", "POLICY_DECIDED", "RETRY_SCHEDULED"]),
        (STRICT, b.tool_call("lookup", None, BUSY), ["TOOL_REQUESTED", "POLICY_DECIDED"]),
        (STRICT, b.tool_call("lookup"), ["TOOL_REQUESTED", "POLICY_DECIDED", "TOOL_STARTED"]),
    ],
    ids=["problem before policy", "policy before budget", "budget before executor", "away", "busy", "passed"],
)
def test_what_is_looked_at_first_at_pre_tool_decides(
    package: RuntimePackage, call: i.RequestedCall, expected: list[str]
) -> None:
    _, records = b.play(package, b.started(package), b.asks(call))

    assert of_calls(records) == expected


def test_only_what_is_used_is_walked() -> None:
    state, _ = b.play(STRICT, b.started(STRICT))
    step = Step(STRICT, state, b.at(1))

    stages = [PolicyStage.RUN_START, PolicyStage.INPUT, PolicyStage.PRE_TOOL, PolicyStage.POST_TOOL, PolicyStage.OUTPUT]
    assert list(GATES) == stages
    assert walk(step, RUN, i.Findings())
    assert step.records == []


def test_a_stage_is_taken_in_by_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[EffectId] = []

    def is_fit(_: Step, subject: EffectId, __: i.Findings) -> bool:
        looked_at.append(subject)
        return False

    state, _ = b.play(STRICT, b.started(STRICT))
    monkeypatch.setitem(GATES, PolicyStage.OUTPUT, Gate(Subject.RUN, lambda *_: True, (is_fit, is_fit)))
    monkeypatch.setitem(GATES, PolicyStage.INPUT, Gate(Subject.RUN, lambda *_: False, (is_fit,)))

    assert not walk(Step(STRICT, state, b.at(1)), RUN, i.Findings())
    assert looked_at == [RUN], "a walk ends at the first check that does not let its subject on"
    _, records = b.play(STRICT, b.asks(b.tool_call("lookup")), state=state)
    assert of_calls(records) == ["TOOL_REQUESTED", "POLICY_DECIDED", "TOOL_STARTED"]


def test_a_decision_says_its_stage_and_its_subject() -> None:
    _, records = b.play(STRICT, b.started(STRICT), b.asks(b.tool_call("lookup"), b.tool_call("send")))

    decided = [record for record in records if isinstance(record, r.PolicyDecided)]

    assert [record.stage for record in decided] == [PolicyStage.PRE_TOOL] * 2
    assert [record.subject for record in decided] == [b.FIRST_CALL, b.SECOND_CALL]


def test_the_answer_to_a_held_call_takes_the_walk_on_and_asks_nothing_twice() -> None:
    state, _ = b.play(STRICT, b.started(STRICT), b.asks(b.tool_call("lookup", None, AWAY)))

    _, records = b.play(STRICT, b.awaited(attempt=0, give_up_at=state.calls[0].give_up_at), state=state)

    assert b.kinds(records) == ["TOOL_STARTED"]


@pytest.mark.parametrize(
    "other", [b.tool_call("send"), b.tool_call("lookup", INVALID), b.tool_call("lookup", None, AWAY)]
)
def test_a_call_that_is_turned_away_or_held_keeps_no_other_from_starting(other: i.RequestedCall) -> None:
    state, records = b.play(STRICT, b.started(STRICT), b.asks(other, b.tool_call("lookup"), other))

    [started] = [record for record in records if isinstance(record, r.ToolStarted)]

    assert started.call_id == b.SECOND_CALL
    assert [each.phase is CallPhase.RUNNING for each in state.calls] == [False, True, False]


def test_a_check_that_waits_for_an_answer_holds_its_call_alone_and_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    answered: set[EffectId] = set()

    def is_answered(_: Step, subject: EffectId, __: i.Findings) -> bool:
        return subject != b.FIRST_CALL or subject in answered

    row = GATES[PolicyStage.PRE_TOOL]
    longer = Gate(row.subject, row.is_at, (row.checks[0], is_answered, *row.checks[1:]))
    monkeypatch.setitem(GATES, PolicyStage.PRE_TOOL, longer)
    held, _ = b.play(STRICT, b.started(STRICT), b.asks(b.tool_call("lookup"), b.tool_call("lookup")))

    state, records = b.play(STRICT, b.returned(b.SECOND_CALL), b.awaited(attempt=0), state=held)

    assert [(call.passed, call.phase) for call in held.calls] == [
        (None, CallPhase.REQUESTED),
        (PolicyStage.PRE_TOOL, CallPhase.RUNNING),
    ]
    assert b.kinds(records) == ["TOOL_COMPLETED"], "the model waits for every call"
    assert decide(STRICT, state, i.Recovered(at=b.at(4), places=(b.FIRST_CALL,))) == []

    answered.add(b.FIRST_CALL)
    step = Step(STRICT, state, b.at(5))
    assert walk(step, b.FIRST_CALL, i.Findings(availability=i.Availability.HELD))
    assert b.kinds(step.records) == ["POLICY_DECIDED"], "the walk goes on from the answer"


@pytest.mark.parametrize("passed", [None, PolicyStage.RUN_START])
def test_a_call_that_has_not_passed_pre_tool_is_never_started(passed: PolicyStage | None) -> None:
    calls = (b.call_in(CallPhase.REQUESTED, passed=passed), call(2, CallPhase.RUNNING))
    state = RunState(key=b.KEY, phase=RunPhase.RUNNING, round=1, calls=calls, budget=Budget(9, 9, 9))
    place = i.Recovered(at=b.at(4), places=(b.FIRST_CALL,))

    for input_ in (
        b.awaited(attempt=0),
        place,
        b.returned(b.SECOND_CALL),
        b.not_sent(b.SECOND_CALL),
        b.lost(b.SECOND_CALL),
    ):
        new = decide(STRICT, state, input_)

        assert not [record for record in new if getattr(record, "call_id", "") == b.FIRST_CALL]
        assert not [record for record in new if isinstance(record, r.ModelAttemptStarted)]
    assert not [effect for effect in pending(state).values() if isinstance(effect, e.AwaitExecutor)]


WAITS, RUNS, UNKNOWN = call(1, CallPhase.REQUESTED), call(2, CallPhase.RUNNING), call(3, CallPhase.UNKNOWN)


@pytest.mark.parametrize(
    ("phase", "calls", "expected"),
    [
        (RunPhase.CANCELLING, (RUNS, UNKNOWN), RunStatus.CANCELLING),
        (RunPhase.CANCELLING, (UNKNOWN,), RunStatus.CANCELLING),
        (RunPhase.RUNNING, (WAITS, RUNS, UNKNOWN), RunStatus.REPAIR_NEEDED),
        (RunPhase.RUNNING, (WAITS, UNKNOWN), RunStatus.REPAIR_NEEDED),
        (RunPhase.RUNNING, (UNKNOWN,), RunStatus.REPAIR_NEEDED),
        (RunPhase.RUNNING, (WAITS, RUNS), RunStatus.RUNNING),
        (RunPhase.RUNNING, (WAITS,), RunStatus.WAITING),
        (RunPhase.RUNNING, (), RunStatus.RUNNING),
        (RunPhase.CANCELLED, (UNKNOWN,), RunStatus.CANCELLED),
        (RunPhase.FAILED, (UNKNOWN,), RunStatus.FAILED),
    ],
)
def test_what_weighs_more_is_the_status(phase: RunPhase, calls: tuple[CallState, ...], expected: RunStatus) -> None:
    state = RunState(key=b.KEY, phase=phase, round=1, calls=calls, budget=Budget(9, 9, 9))

    assert status(state) is expected


def test_a_run_that_waits_for_its_provider_is_held_itself_until_the_retry_is_due() -> None:
    planned = ModelState(2, retry_at=b.at(7), since=b.at(5))
    state = RunState(
        key=b.KEY, phase=RunPhase.RUNNING, round=1, model_request=planned, provider="vendor", model="large"
    )

    [hold] = holds(state)

    assert (hold.kind, hold.subject, hold.waits_for) == (WaitKind.PROVIDER, "m1", "vendor/large")
    assert (hold.since, hold.due, hold.effect) == (b.at(5), b.at(7), e.AwaitRetry(1, 2, b.at(7)))
    assert status(state) is RunStatus.WAITING


def test_an_executor_is_looked_for_only_while_the_call_could_be_started() -> None:
    away = call(1, CallPhase.REQUESTED, give_up_at=b.at(600), since=b.at(1))
    alone = RunState(key=b.KEY, phase=RunPhase.RUNNING, round=1, calls=(away,), budget=Budget(9, 9, 1))
    beside = RunState(key=b.KEY, phase=RunPhase.RUNNING, round=1, calls=(away, RUNS), budget=Budget(9, 9, 1))
    in_repair = RunState(key=b.KEY, phase=RunPhase.RUNNING, round=1, calls=(away, UNKNOWN), budget=Budget(9, 9, 9))

    wanted: list[Hold] = [next(holds(state)) for state in (alone, beside, in_repair)]

    assert [(hold.kind, hold.since, hold.due) for hold in wanted] == [(WaitKind.EXECUTOR, b.at(1), b.at(600))] * 3
    assert [hold.effect is not None for hold in wanted] == [True, False, False]
    assert [wait.kind for wait in waiting_on(in_repair)] == [WaitKind.EXECUTOR, WaitKind.REPAIR]
    assert [kind for _, kind, _ in pending(beside)] == ["call"]


def test_the_subjects_of_the_rows_are_those_whose_stages_they_are() -> None:
    assert {stage: gate.subject for stage, gate in GATES.items()} == {
        PolicyStage.RUN_START: Subject.RUN,
        PolicyStage.INPUT: Subject.RUN,
        PolicyStage.PRE_TOOL: Subject.CALL,
        PolicyStage.POST_TOOL: Subject.CALL,
        PolicyStage.OUTPUT: Subject.RUN,
    }

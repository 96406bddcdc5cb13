"""Ending early: one way for every reason. What is open is closed first, and no intent is left without a result."""

from __future__ import annotations

import pytest
from runwright.core import records as r
from runwright.core.errors import ErrorReason, Failure
from runwright.core.machine import abandon, pending
from runwright.core.machine.endings import Ending, close, end
from runwright.core.machine.step import Step
from runwright.core.outcomes import CallPhase, RunPhase, StopReason
from runwright.core.state import RunState

from tests.core import builders as b

PACKAGE = b.package(b.tool("lookup"), b.tool("send", effect="write"), budget={"parallel_calls": 2})
FAULT = Failure(ErrorReason.INTERNAL, "The run met a fault of the server.", (("incident_id", "i-1"),))
CANCELLED = Ending.cancelled("not needed")
FAILED = Ending.failed(StopReason.INTERNAL, FAULT)


def in_a_round() -> RunState:
    """One call that may be repeated runs, one that may not does, and a third waits for its turn."""
    state, _ = b.play(
        PACKAGE,
        b.started(PACKAGE),
        b.asks(b.tool_call("lookup"), b.tool_call("send"), b.tool_call("send")),
    )
    return state


def asking() -> RunState:
    """The model is asked."""
    state, _ = b.play(PACKAGE, b.started(PACKAGE))
    return state


def test_a_run_that_the_server_cannot_go_on_with_leaves_no_intent_without_a_result() -> None:
    records = abandon(PACKAGE, in_a_round(), b.at(9), FAULT)

    assert b.kinds(records) == ["TOOL_FAILED", "TOOL_RECOVERY_REQUIRED", "TOOL_FAILED", "TURN_FAILED", "RUN_FAILED"]
    assert {record.reason for record in records[:3]} == {ErrorReason.INTERNAL}
    assert isinstance(records[-1], r.RunFailed)
    assert (records[-1].stop, records[-1].error) == (StopReason.INTERNAL, FAULT)


@pytest.mark.parametrize(
    ("ending", "closed"),
    [(CANCELLED, ["TOOL_CANCELLED", "TOOL_CANCELLED"]), (FAILED, ["TOOL_FAILED", "TOOL_FAILED"])],
    ids=["cancelled", "failed"],
)
def test_only_a_call_that_must_not_be_repeated_is_awaited(ending: Ending, closed: list[str]) -> None:
    step = Step(PACKAGE, in_a_round(), b.at(9))
    step.add(r.RunCancelRequested(at=step.at, reason="", requested_by="local", deadline=b.at(20)))

    close(step, ending, awaits_answers=True)

    assert b.kinds(step.records[1:]) == closed
    assert [call.phase for call in step.calls(CallPhase.RUNNING, CallPhase.REQUESTED)] == [CallPhase.RUNNING]


@pytest.mark.parametrize("ending", [FAILED, Ending.failed(StopReason.MAX_ROUNDS, FAULT)])
@pytest.mark.parametrize("state", [asking(), in_a_round()], ids=["model", "calls"])
def test_whatever_ends_a_run_leaves_nothing_wanted(state: RunState, ending: Ending) -> None:
    step = Step(PACKAGE, state, b.at(9))

    end(step, ending)

    assert step.state.phase is RunPhase.FAILED
    assert (step.state.stop, step.state.error) == (ending.stop, FAULT)
    assert pending(step.state) == {}
    assert step.state.model_attempt == 0 and not step.calls(CallPhase.REQUESTED, CallPhase.RUNNING)


def test_a_model_request_that_is_open_is_closed_before_the_run_ends() -> None:
    records = abandon(PACKAGE, asking(), b.at(9), FAULT)

    assert b.kinds(records) == ["MODEL_ATTEMPT_FAILED", "TURN_FAILED", "RUN_FAILED"]

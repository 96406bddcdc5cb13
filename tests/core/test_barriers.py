"""Times told too early and attempts that are over change nothing: the machine trusts neither clock nor edge."""

from __future__ import annotations

import pytest
from runwright.core import records as r
from runwright.core.inputs import CancelDeadlinePassed
from runwright.core.machine import decide
from runwright.core.outcomes import RunPhase

from tests.core import builders as b

PACKAGE = b.package(b.tool("lookup"), b.tool("send", effect="write", executor="mail", timeout_ms=5000))


@pytest.mark.parametrize(("early_by", "closes"), [(1, False), (5_000_000, False), (0, True), (-1, True)])
def test_a_cancel_waits_for_a_call_that_must_not_be_repeated_until_its_deadline(early_by: int, closes: bool) -> None:
    """Closing it before would call the outcome unknown of a call that may still answer."""
    state, _ = b.play(PACKAGE, b.started(PACKAGE), b.asks(b.tool_call("send")), b.cancelled(seconds=2, grace=5))

    records = decide(PACKAGE, state, CancelDeadlinePassed(at=state.cancel_deadline - early_by))

    assert state.phase is RunPhase.CANCELLING
    assert any(isinstance(record, r.ToolRecoveryRequired) for record in records) is closes
    assert bool(records) is closes


@pytest.mark.parametrize("attempt", [0, 1, 3])
def test_only_the_attempt_under_way_is_heard(attempt: int) -> None:
    second = [b.not_sent(b.FIRST_CALL), b.awaited(b.FIRST_CALL)]
    state, _ = b.play(PACKAGE, b.started(PACKAGE), b.asks(b.tool_call("lookup")), *second)
    inputs = [b.returned(attempt=attempt), b.lost(attempt=attempt), b.not_sent(b.FIRST_CALL, attempt=attempt)]

    assert [call.attempt for call in state.calls] == [2]
    assert [decide(PACKAGE, state, input_) for input_ in inputs] == [[], [], []]
    assert decide(PACKAGE, state, b.returned(attempt=2)) != []

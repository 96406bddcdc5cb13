"""Metrics of approvals: each is counted once by what became of it, with the time that is on record."""

from __future__ import annotations

import pytest
from msgspec import structs
from runwright.adapters.telemetry.prometheus import Metrics
from runwright.core import records as r
from runwright.core.approval_dispatches import DispatchResult
from runwright.core.approvals import ApprovalVerdict
from runwright.core.kinds import EventKind
from runwright.core.record import Record
from runwright.core.state import RunState

from tests.core import builders as b

EXAMPLES = b.examples()
STATE = RunState(key=b.KEY, agent_id="helper")
DAY_S = 24 * 3600
WAITED = "runwright_approval_wait_seconds"


def after(kind: EventKind, seconds: int, **fields: object) -> Record:
    """The example of a kind, of an approval that was asked for so long ago."""
    return structs.replace(EXAMPLES[kind], at=b.at(0) + seconds * 1_000_000, requested_at=b.at(0), **fields)


def counted(*records: Record) -> Metrics:
    """Metrics that were told of these records."""
    metrics = Metrics()
    metrics.appended(b.KEY, records, STATE, 0.001)
    return metrics


@pytest.mark.parametrize("verdict", ApprovalVerdict)
def test_a_decision_is_counted_by_its_outcome_with_the_time_it_took(verdict: ApprovalVerdict) -> None:
    metrics = counted(after(EventKind.APPROVAL_DECIDED, 2 * DAY_S, verdict=verdict))

    labels = {"outcome": verdict.state.name.lower()}
    assert metrics.registry.get_sample_value(WAITED + "_count", labels) == 1
    assert metrics.registry.get_sample_value(WAITED + "_sum", labels) == 2 * DAY_S
    assert metrics.registry.get_sample_value(WAITED + "_bucket", {**labels, "le": f"{DAY_S}.0"}) == 0
    assert metrics.registry.get_sample_value(WAITED + "_bucket", {**labels, "le": f"{3 * DAY_S}.0"}) == 1


@pytest.mark.parametrize("kind", [EventKind.APPROVAL_EXPIRED, EventKind.APPROVAL_WITHDRAWN])
def test_what_nobody_decided_is_counted_apart(kind: EventKind) -> None:
    metrics = counted(after(kind, 60))

    outcome = {"outcome": kind.name.removeprefix("APPROVAL_").lower()}
    assert metrics.registry.get_sample_value(WAITED + "_sum", outcome) == 60
    decided = metrics.registry.get_sample_value(WAITED + "_count", {"outcome": "approved"})
    assert decided == 0, "the series is there from the start"


def test_asks_turns_and_approvals_that_count_no_more_have_counters() -> None:
    metrics = counted(
        EXAMPLES[EventKind.APPROVAL_REQUESTED],
        EXAMPLES[EventKind.APPROVAL_REQUESTED],
        after(EventKind.APPROVAL_ESCALATED, 1),
        after(EventKind.APPROVAL_SUPERSEDED, 1),
    )

    names = ("requested", "escalated", "superseded")
    found = [metrics.registry.get_sample_value(f"runwright_approvals_{name}_total") for name in names]
    assert found == [2, 1, 1]


def test_attempts_at_telling_a_dispatcher_are_counted_by_their_result() -> None:
    told = EXAMPLES[EventKind.APPROVAL_DISPATCHED]
    assert isinstance(told, r.ApprovalDispatched)

    metrics = counted(told, structs.replace(told, result=DispatchResult.LOST))

    name = "runwright_approval_dispatches_total"
    found = [metrics.registry.get_sample_value(name, {"result": each}) for each in (told.result.name.lower(), "lost")]
    assert all(found)


def test_a_clock_that_was_set_back_makes_no_time_negative() -> None:
    decided = EXAMPLES[EventKind.APPROVAL_DECIDED]
    assert isinstance(decided, r.ApprovalDecided)

    metrics = counted(after(EventKind.APPROVAL_DECIDED, -5))

    outcome = {"outcome": decided.verdict.state.name.lower()}
    assert metrics.registry.get_sample_value(WAITED + "_sum", outcome) == 0


def test_grants_and_what_they_permit_are_counted_by_scope() -> None:
    metrics = counted(EXAMPLES[EventKind.GRANT_ISSUED], EXAMPLES[EventKind.GRANT_USED], EXAMPLES[EventKind.GRANT_USED])

    scopes = [{"scope": "session"}, {"scope": "run"}]
    issued = [metrics.registry.get_sample_value("runwright_grants_issued_total", scope) for scope in scopes]
    used = [metrics.registry.get_sample_value("runwright_grants_used_total", scope) for scope in scopes]
    assert (issued, used) == ([1, 0], [2, 0])

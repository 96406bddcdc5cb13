"""The two tables: every pair in them is exercised, every pair outside them is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import pytest
from msgspec import structs
from runwright.core import records as r
from runwright.core.apply import apply, fold
from runwright.core.ids import CALL_EFFECT, POLICY_EFFECT, parse_effect_id, question_subject
from runwright.core.kinds import ROWS, TERMINAL, EventKind, Family, about, kind_of
from runwright.core.machine import decide, pending, waiting_on
from runwright.core.outcomes import CallPhase, RunPhase
from runwright.core.policy import PolicyStage
from runwright.core.state import RunState
from runwright.core.transitions import CALL_TRANSITIONS, RUN_TRANSITIONS, IllegalTransition

from tests.core import builders as b
from tests.core import grant_builders, policy_builders
from tests.core.test_scenarios import SCENARIOS, Scenario

RunPair: TypeAlias = tuple[RunPhase, EventKind]
CallPair: TypeAlias = tuple[CallPhase, EventKind]

EXAMPLES = b.examples()
CALL_KINDS = [row.kind for row in ROWS if row.family in (Family.CALL, Family.EFFECT)]
# A run phase in which the run's own table lets a record about a call pass.
RUN_PHASE_FOR = {kind: phase for phase, kind in reversed(RUN_TRANSITIONS) if kind in CALL_KINDS}

_PACKAGE = b.package(b.tool("lookup"), b.tool("send", effect="write"))


def _incidents() -> Iterator[list[r.Record]]:
    """Histories that end in a fault of the server: two records appended without a decision."""
    asks_to_send = [b.started(_PACKAGE), b.asks(b.tool_call("send"))]
    for input_ in ([b.started(_PACKAGE)], [*asks_to_send, b.lost()], [*asks_to_send, b.cancelled()]):
        _, records = b.play(_PACKAGE, *input_)
        yield records + b.incident()


def _of_older_versions() -> Iterator[list[r.Record]]:
    """What is on disk of versions that sent a call again as soon as they were back, in a run that needs repair, too."""
    input_ = [b.started(_PACKAGE), b.asks(b.tool_call("lookup"), b.tool_call("send")), b.lost(b.SECOND_CALL)]
    state, records = b.play(_PACKAGE, *input_)
    [first] = [record for record in records if isinstance(record, r.ToolStarted) and record.call_id == b.FIRST_CALL]
    again = structs.replace(first, at=state.updated_at, attempt=2)
    yield [*records, again]


def _histories() -> Iterator[list[r.Record]]:
    for path in SCENARIOS:
        scenario = Scenario(path.read_text())
        scenario.play()
        yield scenario.records
    yield from _incidents()
    yield from _of_older_versions()
    yield from policy_builders.histories()
    yield from grant_builders.histories()


def _taken(histories: Sequence[list[r.Record]]) -> tuple[dict[RunPair, RunPhase], dict[CallPair, CallPhase]]:
    """The pairs that histories go through, with the phase each leads to."""
    runs: dict[RunPair, RunPhase] = {}
    calls: dict[CallPair, CallPhase] = {}
    for records in histories:
        state = b.NEW
        for record in records:
            before, state = state, apply(state, record)
            runs[before.phase, kind_of(record)] = state.phase
            _, effect, _ = about(record)
            if effect and parse_effect_id(effect).kind == POLICY_EFFECT:
                effect = None if isinstance(record, r.RetryScheduled) else question_subject(effect)
            if effect and parse_effect_id(effect).kind == CALL_EFFECT:
                known, now = before.call(effect), state.call(effect)
                assert now is not None
                calls[known.phase if known else CallPhase.NONE, kind_of(record)] = now.phase
    return runs, calls


def _names(pairs: set[RunPair] | set[CallPair]) -> list[str]:
    return sorted(f"{phase.name} + {kind.name}" for phase, kind in pairs)


def test_every_run_transition_is_exercised() -> None:
    histories = list(_histories())

    runs, _ = _taken(histories)

    assert _names(RUN_TRANSITIONS.keys() - runs.keys()) == []
    assert runs == dict(RUN_TRANSITIONS)


def test_every_call_transition_is_exercised() -> None:
    histories = list(_histories())

    _, calls = _taken(histories)

    assert _names(CALL_TRANSITIONS.keys() - calls.keys()) == []
    assert calls == dict(CALL_TRANSITIONS)


@pytest.mark.parametrize("phase", RunPhase, ids=lambda phase: phase.name)
def test_a_run_refuses_every_record_its_table_lacks(phase: RunPhase) -> None:
    missing = [kind for kind in EventKind if (phase, kind) not in RUN_TRANSITIONS]

    for kind in missing:
        state = RunState(key=b.KEY, phase=phase, round=1, calls=(b.call_in(CallPhase.RUNNING),))

        with pytest.raises(IllegalTransition, match=f"^{kind.name} in {phase.name}$"):
            apply(state, EXAMPLES[kind])


@pytest.mark.parametrize("phase", CallPhase, ids=lambda phase: phase.name)
def test_a_call_refuses_every_record_its_table_lacks(phase: CallPhase) -> None:
    missing = [kind for kind in CALL_KINDS if (phase, kind) not in CALL_TRANSITIONS]

    for kind in missing:
        calls = () if phase is CallPhase.NONE else (b.call_in(phase),)
        state = RunState(key=b.KEY, phase=RUN_PHASE_FOR[kind], round=1, calls=calls)

        with pytest.raises(IllegalTransition, match=f"^{kind.name} for c1.1 in {phase.name}$"):
            apply(state, EXAMPLES[kind])


def test_a_table_names_no_way_out_of_an_end() -> None:
    ends = {phase for phase in RunPhase if phase.is_terminal}

    ways_out = [pair for pair in RUN_TRANSITIONS if pair[0] in ends]
    ways_in = {kind for (_, kind), phase in RUN_TRANSITIONS.items() if phase in ends}

    assert ways_out == []
    assert ways_in == set(TERMINAL)


@pytest.mark.parametrize("kind", [kind for kind in EventKind if kind not in TERMINAL], ids=lambda kind: kind.name)
@pytest.mark.parametrize("end", [EventKind.TURN_COMPLETED, EventKind.TURN_FAILED], ids=lambda kind: kind.name)
def test_after_the_turn_only_the_end_of_the_run_follows(end: EventKind, kind: EventKind) -> None:
    state, _ = b.play(_PACKAGE, b.started(_PACKAGE))
    ended = apply(state, EXAMPLES[end])

    with pytest.raises(IllegalTransition):
        apply(ended, EXAMPLES[kind])


@pytest.mark.parametrize("records", list(_incidents()), ids=["running", "repair needed", "cancelling"])
def test_a_fault_of_the_server_ends_a_run_in_any_phase(records: list[r.Record]) -> None:
    state = fold(b.NEW, records)

    assert state.is_terminal
    assert (pending(state), waiting_on(state)) == ({}, [])
    assert state.error == b.incident()[1].error
    assert decide(_PACKAGE, state, b.cancelled()) == []


@pytest.mark.parametrize(
    "record",
    [
        r.ModelAttemptStarted(at=b.at(1), round=1, attempt=1),
        r.ModelAttemptStarted(at=b.at(1), round=1, attempt=3),
        r.ModelAttemptStarted(at=b.at(1), round=2, attempt=2),
        r.ModelAttemptStarted(at=b.at(1), round=3, attempt=1),
    ],
    ids=["the same again", "an attempt left out", "a round begun in mid-attempt", "a round left out"],
)
def test_rounds_and_attempts_of_the_model_are_counted_without_a_gap(record: r.Record) -> None:
    state, _ = b.play(_PACKAGE, b.started(_PACKAGE))

    with pytest.raises(IllegalTransition):
        apply(state, record)


@pytest.mark.parametrize("kind", [EventKind.MODEL_MESSAGE_COMPLETED, EventKind.MODEL_ATTEMPT_FAILED])
def test_a_model_result_fits_the_open_attempt_only(kind: EventKind) -> None:
    state, _ = b.play(_PACKAGE, b.started(_PACKAGE))
    later = apply(state, r.ModelAttemptStarted(at=b.at(1), round=1, attempt=2))

    with pytest.raises(IllegalTransition):
        apply(later, EXAMPLES[kind])


@pytest.mark.parametrize("phase", [CallPhase.REQUESTED, CallPhase.RUNNING, CallPhase.UNKNOWN])
def test_no_round_begins_while_a_call_has_no_result(phase: CallPhase) -> None:
    state = RunState(key=b.KEY, phase=RunPhase.RUNNING, round=1, calls=(b.call_in(phase),))

    with pytest.raises(IllegalTransition):
        apply(state, r.ModelAttemptStarted(at=b.at(1), round=2, attempt=1))


@pytest.mark.parametrize("kind", [EventKind.TURN_COMPLETED, EventKind.RUN_COMPLETED], ids=lambda kind: kind.name)
@pytest.mark.parametrize("phase", [CallPhase.REQUESTED, CallPhase.RUNNING, CallPhase.UNKNOWN])
def test_no_run_completes_while_a_call_has_no_result(phase: CallPhase, kind: EventKind) -> None:
    state = RunState(key=b.KEY, phase=RunPhase.RUNNING, round=1, calls=(b.call_in(phase),))

    with pytest.raises(IllegalTransition):
        apply(state, EXAMPLES[kind])


@pytest.mark.parametrize(("passed", "tried"), [(None, 0), (PolicyStage.PRE_TOOL, 1), (PolicyStage.PRE_TOOL, 2)])
def test_a_call_starts_only_past_its_gate_and_with_the_next_attempt(passed: PolicyStage | None, tried: int) -> None:
    call = b.call_in(CallPhase.REQUESTED, attempt=tried, passed=passed)
    state = RunState(key=b.KEY, phase=RunPhase.RUNNING, round=1, calls=(call,))

    with pytest.raises(IllegalTransition):
        apply(state, EXAMPLES[EventKind.TOOL_STARTED])


def test_a_closed_call_keeps_only_its_id_tool_and_phase() -> None:
    pinned = _PACKAGE
    state, _ = b.play(pinned, b.started(pinned), b.asks(b.tool_call(), b.tool_call()), b.returned())

    closed, open_call = state.calls

    assert closed == type(closed)(b.FIRST_CALL, "lookup", CallPhase.COMPLETED)
    assert open_call.arguments == b.json_text("{}")

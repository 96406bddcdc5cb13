"""What is true of a run now: counters and open effects, no conversation; and how records change it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import assert_never

from runwright.core import records as r
from runwright.core.content import ContentRef
from runwright.core.errors import ErrorReason, Failure
from runwright.core.events import TERMINAL, kind_of
from runwright.core.ids import EffectId, RunKey
from runwright.core.outcomes import CallPhase, RunPhase, StopReason, Usage
from runwright.core.request import Budget
from runwright.core.transitions import CALL_TRANSITIONS, RUN_TRANSITIONS, IllegalTransition


@dataclass(frozen=True, slots=True)
class CallState:
    """One tool call of the current round. A closed call keeps only its id, tool and phase."""

    call_id: EffectId
    tool: str
    phase: CallPhase
    attempt: int = 0
    allowed: bool = False
    arguments: ContentRef | None = None
    executor: str = ""
    idempotent: bool = False
    idempotency_key: str = ""
    deadline: int = 0
    not_before: int = 0
    give_up_at: int = 0
    losses: int = 0  # attempts that reached the executor and were never answered
    since: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """A run, folded. Bounded: the calls of one round at most, whatever the history."""

    key: RunKey
    phase: RunPhase = RunPhase.NEW
    seq: int = 0
    session_id: str = ""
    turn_id: str = ""
    agent_id: str = ""
    principal: str = ""
    request: ContentRef | None = None
    request_digest: str = ""
    package_id: str = ""
    package: ContentRef | None = None
    package_fingerprint: str = ""
    provider: str = ""
    model: str = ""
    budget: Budget = Budget()
    labels: dict[str, str] = field(default_factory=dict)
    round: int = 0
    model_attempt: int = 0  # the open model request's attempt; 0 when none is open
    calls: tuple[CallState, ...] = ()
    stop: StopReason | None = None  # decided, or already on the way once open calls have settled
    turn_ended: bool = False
    usage: Usage = Usage()
    cancel_barrier: int = 0
    cancel_deadline: int = 0
    cancel_reason: str = ""
    result: ContentRef | None = None
    error: Failure | None = None
    started_at: int = 0
    updated_at: int = 0
    ended_at: int = 0
    removed_at: int = 0  # when the run's events were removed; only an outline is left then

    @property
    def is_terminal(self) -> bool:
        """True when nothing can follow."""
        return self.phase.is_terminal

    def call(self, call_id: EffectId) -> CallState | None:
        """The call of that id in the current round."""
        return next((call for call in self.calls if call.call_id == call_id), None)


def has_room_for_call(state: RunState) -> bool:
    """True when another tool call may run beside those that do."""
    running = sum(call.phase is CallPhase.RUNNING for call in state.calls)
    return running < state.budget.parallel_calls


def apply(state: RunState, record: r.Record) -> RunState:
    """The state after one more record. Raises IllegalTransition for a pair the tables lack."""
    kind = kind_of(record)
    phase = RUN_TRANSITIONS.get((state.phase, kind))
    if phase is None or (state.turn_ended and kind not in TERMINAL):
        raise IllegalTransition(f"{kind.name} in {state.phase.name}")
    state = replace(state, phase=phase, seq=state.seq + 1, updated_at=record.at)
    match record:
        case r.ModelAttemptStarted() | r.ModelMessageCompleted() | r.ModelAttemptFailed():
            return _apply_model(state, record)
        case (
            r.RunStarted()
            | r.TurnStarted()
            | r.RunCancelRequested()
            | r.TurnCompleted()
            | r.TurnFailed()
            | r.RunCompleted()
            | r.RunFailed()
            | r.RunCancelled()
        ):
            return _apply_run(state, record)
        case _:
            return _apply_call(state, record)


def fold(state: RunState, records: Iterable[r.Record]) -> RunState:
    """The state after all of them."""
    for record in records:
        state = apply(state, record)
    return state


def _apply_run(state: RunState, record: r.RunRecord) -> RunState:
    match record:
        case r.RunStarted():
            return replace(
                state,
                session_id=record.session_id,
                turn_id=record.turn_id,
                agent_id=record.agent_id,
                principal=record.principal,
                request=record.request,
                request_digest=record.request_digest,
                package_id=record.package_id,
                package=record.package,
                package_fingerprint=record.package_fingerprint,
                provider=record.provider,
                model=record.model,
                budget=record.budget,
                labels=dict(record.labels),
                started_at=record.at,
            )
        case r.TurnStarted():
            return state
        case r.RunCancelRequested():
            return replace(
                state, cancel_barrier=state.seq, cancel_deadline=record.deadline, cancel_reason=record.reason
            )
        case r.TurnCompleted() | r.TurnFailed():
            return replace(state, turn_ended=True)
        case r.RunCompleted():
            return replace(state, stop=record.stop, result=record.result, ended_at=record.at)
        case r.RunFailed():
            return replace(state, stop=record.stop, error=record.error, ended_at=record.at, model_attempt=0)
        case r.RunCancelled():
            return replace(state, stop=StopReason.CANCELLED, error=record.error, ended_at=record.at)
        case _:
            assert_never(record)


def _apply_model(state: RunState, record: r.ModelRecord) -> RunState:
    match record:
        case r.ModelAttemptStarted():
            if record.round == state.round and state.model_attempt:
                _require(record.attempt == state.model_attempt + 1, record, state)
                return replace(state, model_attempt=record.attempt)
            _require(record.round == state.round + 1 and record.attempt == 1 and not _open(state), record, state)
            usage = replace(state.usage, rounds=state.usage.rounds + 1)
            return replace(state, round=record.round, model_attempt=1, calls=(), usage=usage)
        case r.ModelMessageCompleted():
            _require_open_model(state, record)
            usage = replace(
                state.usage,
                input_tokens=state.usage.input_tokens + record.input_tokens,
                output_tokens=state.usage.output_tokens + record.output_tokens,
            )
            return replace(state, model_attempt=0, usage=usage, result=record.text)
        case r.ModelAttemptFailed():
            _require_open_model(state, record)
            return replace(state, model_attempt=0)
        case _:
            assert_never(record)


def _apply_call(state: RunState, record: r.CallRecord) -> RunState:
    known = state.call(record.call_id)
    before = known or CallState(record.call_id, "", CallPhase.NONE)
    phase = CALL_TRANSITIONS.get((before.phase, kind_of(record)))
    if phase is None:
        raise IllegalTransition(f"{kind_of(record).name} for {record.call_id} in {before.phase.name}")
    usage = state.usage
    match record:
        case r.ToolRequested():
            after = CallState(record.call_id, record.tool, phase, arguments=record.arguments, since=record.at)
        case r.PolicyDecided():
            after = replace(before, allowed=record.decision.verdict.name == "ALLOW")
        case r.ToolStarted():
            _require(record.attempt == before.attempt + 1 and before.allowed, record, state)
            usage = usage if before.attempt else replace(usage, tool_calls=usage.tool_calls + 1)
            after = replace(
                before,
                phase=phase,
                attempt=record.attempt,
                executor=record.executor,
                idempotent=record.idempotent,
                idempotency_key=record.idempotency_key,
                deadline=record.deadline,
                since=record.at,
            )
        case r.RetryScheduled():
            after = replace(
                before,
                phase=phase,
                not_before=record.not_before,
                give_up_at=record.give_up_at,
                losses=before.losses + (record.reason is ErrorReason.EXECUTOR_LOST),
                since=record.at,
            )
        case r.ToolRecoveryRequired():
            after = replace(before, phase=phase, since=record.at)
        case r.ToolCompleted() | r.ToolFailed() | r.ToolDenied() | r.ToolCancelled():
            after = CallState(before.call_id, before.tool, phase)
        case _:
            assert_never(record)
    calls = tuple(after if call is known else call for call in state.calls) if known else (*state.calls, after)
    stop = state.stop
    if isinstance(record, r.ToolFailed) and record.reason is ErrorReason.BUDGET_EXHAUSTED:
        stop = StopReason.MAX_TOOL_CALLS
    return replace(state, calls=calls, usage=usage, stop=stop)


def _open(state: RunState) -> bool:
    return any(call.phase.is_open or call.phase is CallPhase.UNKNOWN for call in state.calls)


def _require_open_model(state: RunState, record: r.ModelMessageCompleted | r.ModelAttemptFailed) -> None:
    _require((record.round, record.attempt) == (state.round, state.model_attempt), record, state)


def _require(holds: bool, record: r.Record, state: RunState) -> None:
    if not holds:
        raise IllegalTransition(f"{record!r} does not fit {state.phase.name} at seq {state.seq}")

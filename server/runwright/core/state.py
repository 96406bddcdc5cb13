"""What is true of a run now: counters and open effects, no conversation; and how records change it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias, assert_never

from msgspec import Struct, field
from msgspec.structs import replace

from runwright.core import records as r
from runwright.core.content import ContentRef
from runwright.core.errors import ErrorReason, Failure
from runwright.core.events import TERMINAL, kind_of
from runwright.core.ids import EffectId, RunKey
from runwright.core.outcomes import CallPhase, ExecutorIdentity, RunPhase, StopReason, Usage
from runwright.core.request import Budget
from runwright.core.trace import trace_id
from runwright.core.transitions import CALL_TRANSITIONS, RUN_TRANSITIONS, IllegalTransition

Changes: TypeAlias = dict[str, Any]  # fields of the state with new values


class CallState(Struct, frozen=True):
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
    losses: int = 0  # attempts that reached the executor and were not answered, or not so that it can be read
    since: int = 0
    executor_identity: ExecutorIdentity | None = None  # who got the attempt whose outcome is unknown


class ModelState(Struct, frozen=True):
    """The model request of the current round, until it is answered."""

    attempt: int = 0  # the latest; 0 when nothing is to be answered
    is_open: bool = False
    failures: int = 0  # attempts that failed over the current route
    losses: int = 0  # attempts that were under way when the server ended
    retry_at: int = 0  # when the next attempt is due; 0 when none is planned
    since: int = 0  # when it was planned


class RunState(Struct, frozen=True, kw_only=True):
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
    trace_parent: str = ""  # W3C, as it came with the request; empty without a trace
    journal_id: str = ""  # what its idempotency keys begin with; empty in runs that older servers began
    round: int = 0
    route: int = 0  # which of the package's routes answers; 0 is its `provider`
    model_request: ModelState = field(default=ModelState(), name="asked")
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

    @property
    def model_attempt(self) -> int:
        """The attempt of the open model request; 0 when none is open."""
        return self.model_request.attempt if self.model_request.is_open else 0

    @property
    def trace_id(self) -> str:
        """The trace the run belongs to; empty without one."""
        return trace_id(self.trace_parent)

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
    return replace(state, **_changes(state, record), phase=phase, seq=state.seq + 1, updated_at=record.at)


def _changes(state: RunState, record: r.Record) -> Changes:
    match record:
        case r.ModelAttemptStarted() | r.ModelMessageCompleted() | r.ModelAttemptFailed() | r.ModelRetryScheduled():
            return _of_model(state, record)
        case (
            r.RunStarted()
            | r.ContextAssembled()
            | r.TurnStarted()
            | r.RunCancelRequested()
            | r.TurnCompleted()
            | r.TurnFailed()
            | r.RunCompleted()
            | r.RunFailed()
            | r.RunCancelled()
        ):
            return _of_run(state, record)
        case _:
            return _of_call(state, record)


def fold(state: RunState, records: Iterable[r.Record]) -> RunState:
    """The state after all of them."""
    for record in records:
        state = apply(state, record)
    return state


def _of_run(state: RunState, record: r.RunRecord) -> Changes:
    match record:
        case r.RunStarted():
            return Changes(
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
                trace_parent=record.trace_parent,
                journal_id=record.journal_id,
                started_at=record.at,
            )
        case r.ContextAssembled():
            # Before the turn and once, so that it stands where its messages belong.
            _require(state.seq == 1, record, state)
            return Changes()
        case r.TurnStarted():
            return Changes()
        case r.RunCancelRequested():
            return Changes(
                cancel_barrier=state.seq + 1,
                cancel_deadline=record.deadline,
                cancel_reason=record.reason,
                model_request=replace(state.model_request, retry_at=0),
            )
        case r.TurnCompleted() | r.TurnFailed():
            return Changes(turn_ended=True)
        case r.RunCompleted():
            return Changes(stop=record.stop, result=record.result, ended_at=record.at)
        case r.RunFailed():
            return Changes(stop=record.stop, error=record.error, ended_at=record.at, model_request=ModelState())
        case r.RunCancelled():
            return Changes(
                stop=StopReason.CANCELLED, error=record.error, ended_at=record.at, model_request=ModelState()
            )
        case _:
            assert_never(record)


def _of_model(state: RunState, record: r.ModelRecord) -> Changes:
    match record:
        case r.ModelAttemptStarted():
            return _of_attempt(state, record)
        case r.ModelMessageCompleted():
            _require_open_model(state, record)
            usage = replace(
                state.usage,
                input_tokens=state.usage.input_tokens + record.input_tokens,
                output_tokens=state.usage.output_tokens + record.output_tokens,
            )
            return Changes(model_request=ModelState(), usage=usage, result=record.text)
        case r.ModelAttemptFailed():
            _require_open_model(state, record)
            return Changes(
                model_request=replace(state.model_request, is_open=False, failures=state.model_request.failures + 1)
            )
        case r.ModelRetryScheduled():
            failed = (
                state.model_request.attempt and not state.model_request.is_open and not state.model_request.retry_at
            )
            fits = (record.round, record.attempt) == (state.round, state.model_request.attempt)
            _require(bool(failed) and fits and state.phase is RunPhase.RUNNING, record, state)
            return Changes(model_request=replace(state.model_request, retry_at=record.not_before, since=record.at))
        case _:
            assert_never(record)


def _of_attempt(state: RunState, record: r.ModelAttemptStarted) -> Changes:
    _require(record.route in (state.route, state.route + 1), record, state)
    before = state.model_request
    # Events of older versions do not name the route: it was the package's only one.
    changes = Changes(route=record.route, provider=record.provider or state.provider, model=record.model or state.model)
    if record.round == state.round and before.attempt:
        _require(record.attempt == before.attempt + 1, record, state)
        model_request = ModelState(
            record.attempt,
            is_open=True,
            failures=before.failures if record.route == state.route else 0,
            losses=before.losses + before.is_open,
        )
        return changes | Changes(model_request=model_request)
    _require(record.round == state.round + 1 and record.attempt == 1, record, state)
    _require(not before.attempt and not _open(state), record, state)
    usage = replace(state.usage, rounds=state.usage.rounds + 1)
    return changes | Changes(round=record.round, model_request=ModelState(1, is_open=True), calls=(), usage=usage)


def _of_call(state: RunState, record: r.CallRecord) -> Changes:
    known = state.call(record.call_id)
    before = known or CallState(record.call_id, "", CallPhase.NONE)
    phase = CALL_TRANSITIONS.get((before.phase, kind_of(record)))
    if phase is None:
        raise IllegalTransition(f"{kind_of(record).name} for {record.call_id} in {before.phase.name}")
    usage = state.usage
    match record:
        case r.ToolRequested():
            after = CallState(
                record.call_id,
                record.tool,
                phase,
                arguments=record.arguments,
                executor=record.executor,
                since=record.at,
            )
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
                # An executor that was away when the call was requested is back.
                give_up_at=before.give_up_at if before.attempt else 0,
                losses=before.losses + (before.phase is CallPhase.RUNNING),  # a restart found it without an answer
                since=record.at,
            )
        case r.RetryScheduled():
            # Of a call that waits only its first wait is written down: it has made no attempt that could fail.
            _require(before.phase is CallPhase.RUNNING or not (before.attempt or before.give_up_at), record, state)
            _require(record.attempt == before.attempt and before.allowed, record, state)
            after = replace(
                before,
                phase=phase,
                not_before=record.not_before,
                give_up_at=record.give_up_at,
                losses=before.losses + (record.reason is not ErrorReason.EXECUTOR_UNAVAILABLE),
                since=record.at,
            )
        case r.ToolRecoveryRequired():
            after = replace(before, phase=phase, since=record.at, executor_identity=record.executor_identity)
        case r.ToolCompleted() | r.ToolFailed() | r.ToolDenied() | r.ToolCancelled():
            after = CallState(before.call_id, before.tool, phase)
        case _:
            assert_never(record)
    calls = tuple(after if call is known else call for call in state.calls) if known else (*state.calls, after)
    stop = state.stop
    if isinstance(record, r.ToolFailed) and record.reason is ErrorReason.BUDGET_EXHAUSTED:
        stop = StopReason.MAX_TOOL_CALLS
    return Changes(calls=calls, usage=usage, stop=stop)


def _open(state: RunState) -> bool:
    return any(call.phase.is_open or call.phase is CallPhase.UNKNOWN for call in state.calls)


def _require_open_model(state: RunState, record: r.ModelMessageCompleted | r.ModelAttemptFailed) -> None:
    _require((record.round, record.attempt) == (state.round, state.model_attempt), record, state)


def _require(holds: bool, record: r.Record, state: RunState) -> None:
    if not holds:
        raise IllegalTransition(f"{record!r} does not fit {state.phase.name} at seq {state.seq}")

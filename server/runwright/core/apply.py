"""apply: what a record makes true. One function for each kind, from the state before it to the state after.

States are changed by `__replace__`, whose arguments mypy checks by the rules of Python 3.13 (`make check` asks it to).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypeVar

from runwright.core import apply_policies as policies
from runwright.core import records as r
from runwright.core.apply_dispatches import APPLY_APPROVALS_AND_DISPATCHES
from runwright.core.apply_grants import APPLY_GRANTS
from runwright.core.apply_run_approvals import require_published
from runwright.core.approvals import ApprovalPhase, CallApproval
from runwright.core.call_changes import call_of as _call
from runwright.core.call_changes import require as _require
from runwright.core.call_changes import with_call
from runwright.core.content import ContentRef
from runwright.core.errors import ErrorReason
from runwright.core.ids import MODEL_EFFECT, POLICY_EFFECT, EffectId, effect_kind, model_effect_id
from runwright.core.kinds import ROWS, TERMINAL, kind_of
from runwright.core.outcomes import CallPhase, FinishReason, Resolution, ResultRelease, RunPhase, StopReason
from runwright.core.policy import PolicyStage
from runwright.core.state import NO_POLICY, CallPolicy, CallState, ModelState, Reconciling, RunState
from runwright.core.taint import RunTaint, TaintingCall, begun_with
from runwright.core.transitions import RUN_TRANSITIONS, IllegalTransition

_R = TypeVar("_R", bound=r.Record)
_Apply: TypeAlias = Callable[[RunState, _R], RunState]
_NOTHING_GIVEN = CallApproval(ApprovalPhase.ASKED)
_APPLY: dict[type[r.Record], _Apply[Any]] = {}


def apply(state: RunState, record: r.Record) -> RunState:
    """The state after one more record. Raises IllegalTransition for a pair the tables lack."""
    kind = kind_of(record)
    phase = RUN_TRANSITIONS.get((state.phase, kind))
    if phase is None or (state.turn_ended and kind not in TERMINAL):
        raise IllegalTransition(f"{kind.name} in {state.phase.name}")
    after = _APPLY[type(record)](state, record)
    return after.__replace__(phase=phase, seq=state.seq + 1, updated_at=record.at)


def fold(state: RunState, records: Iterable[r.Record]) -> RunState:
    """The state after all of them."""
    for record in records:
        state = apply(state, record)
    return state


def _applies(kind: type[_R]) -> Callable[[_Apply[_R]], _Apply[_R]]:
    """Makes a function the one that applies records of a kind; phase, number and time are `apply`'s."""

    def register(function: _Apply[_R]) -> _Apply[_R]:
        _APPLY[kind] = function
        return function

    return register


@_applies(r.RunStarted)
def _run_started(state: RunState, record: r.RunStarted) -> RunState:
    return state.__replace__(
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
        principal_roles=record.principal_roles,
        started_at=record.at,
    )


@_applies(r.ContextAssembled)
def _context_assembled(state: RunState, record: r.ContextAssembled) -> RunState:
    # Before the turn and once, so that it stands where its messages belong.
    _require(state.seq == 1, record, state)
    return state.__replace__(tainted=record.context.is_tainted, taint=begun_with(record.context.taint))


@_applies(r.TurnStarted)
def _turn_started(state: RunState, record: r.TurnStarted) -> RunState:
    return state


@_applies(r.RunCancelRequested)
def _run_cancel_requested(state: RunState, record: r.RunCancelRequested) -> RunState:
    return state.__replace__(
        cancel_barrier=state.seq + 1,
        cancel_deadline=record.deadline,
        cancel_reason=record.reason,
        model_request=state.model_request.__replace__(retry_at=0),
    )


@_applies(r.TurnCompleted)
def _turn_completed(state: RunState, record: r.TurnCompleted) -> RunState:
    _require(not _has_open_call(state), record, state)
    return state.__replace__(turn_ended=True)


@_applies(r.TurnFailed)
def _turn_failed(state: RunState, record: r.TurnFailed) -> RunState:
    return state.__replace__(turn_ended=True)


@_applies(r.RunCompleted)
def _run_completed(state: RunState, record: r.RunCompleted) -> RunState:
    _require(not _has_open_call(state), record, state)
    require_published(state, record)
    return state.__replace__(stop=record.stop, result=record.result, ended_at=record.at)


@_applies(r.RunFailed)
def _run_failed(state: RunState, record: r.RunFailed) -> RunState:
    return state.__replace__(stop=record.stop, error=record.error, ended_at=record.at, model_request=ModelState())


@_applies(r.RunCancelled)
def _run_cancelled(state: RunState, record: r.RunCancelled) -> RunState:
    return state.__replace__(
        stop=StopReason.CANCELLED, error=record.error, ended_at=record.at, model_request=ModelState()
    )


@_applies(r.ModelAttemptStarted)
def _model_attempt_started(state: RunState, record: r.ModelAttemptStarted) -> RunState:
    _require(record.route in (state.route, state.route + 1), record, state)
    _require(state.approval is None or state.approval.is_given, record, state)
    before = state.model_request
    # Events of older versions do not name the route: it was the package's only one.
    over = state.__replace__(
        route=record.route, provider=record.provider or state.provider, model=record.model or state.model
    )
    if record.round == state.round and before.attempt:
        _require(record.attempt == before.attempt + 1, record, state)
        again = ModelState(
            record.attempt,
            is_open=True,
            failures=before.failures if record.route == state.route else 0,
            losses=before.losses + before.is_open,
        )
        return over.__replace__(model_request=again)
    _require(record.round == state.round + 1 and record.attempt == 1, record, state)
    _require(not before.attempt and not _has_open_call(state), record, state)
    usage = state.usage.__replace__(rounds=state.usage.rounds + 1)
    taint = state.taint.all_seen() if state.taint is not None else None
    return over.__replace__(
        round=record.round, model_request=ModelState(1, is_open=True), calls=(), usage=usage, taint=taint
    )


@_applies(r.ModelMessageCompleted)
def _model_message_completed(state: RunState, record: r.ModelMessageCompleted) -> RunState:
    _require((record.round, record.attempt) == (state.round, state.model_attempt), record, state)
    usage = state.usage.__replace__(
        input_tokens=state.usage.input_tokens + record.input_tokens,
        output_tokens=state.usage.output_tokens + record.output_tokens,
    )
    # Of an answer that was cut off nobody says any more whether it may be published.
    is_cut_off = record.is_held and record.finish in (FinishReason.LENGTH, FinishReason.CONTENT_FILTER)
    result = None if is_cut_off else record.text
    return state.__replace__(model_request=ModelState(), usage=usage, result=result)


@_applies(r.ModelAttemptFailed)
def _model_attempt_failed(state: RunState, record: r.ModelAttemptFailed) -> RunState:
    _require((record.round, record.attempt) == (state.round, state.model_attempt), record, state)
    return state.__replace__(
        model_request=state.model_request.__replace__(is_open=False, failures=state.model_request.failures + 1)
    )


@_applies(r.RetryScheduled)
def _retry_scheduled(state: RunState, record: r.RetryScheduled) -> RunState:
    if effect_kind(record.effect_id) == MODEL_EFFECT:
        failed = state.model_request.attempt and not state.model_request.is_open and not state.model_request.retry_at
        fits = (record.effect_id, record.attempt) == (model_effect_id(state.round), state.model_request.attempt)
        _require(bool(failed) and fits and state.phase is RunPhase.RUNNING, record, state)
        return state.__replace__(
            model_request=state.model_request.__replace__(retry_at=record.not_before, since=record.at)
        )
    if effect_kind(record.effect_id) == POLICY_EFFECT:
        return policies.wait_for_policy(state, record)
    before, phase = _call(state, record, record.effect_id)
    # Of a call that waits only its first wait is written down: it has made no attempt that could fail.
    _require(before.phase is not CallPhase.REQUESTED or not (before.attempt or before.give_up_at), record, state)
    _require(record.attempt == before.attempt and before.passed is PolicyStage.PRE_TOOL, record, state)
    after = before.__replace__(
        phase=phase,
        not_before=record.not_before,
        give_up_at=record.give_up_at or 0,
        losses=before.losses + (record.reason is not ErrorReason.EXECUTOR_UNAVAILABLE),
        since=record.at,
        executor_identity=None,
        reconciling=None,
    )
    return with_call(state, after)


@_applies(r.ToolRequested)
def _tool_requested(state: RunState, record: r.ToolRequested) -> RunState:
    _, phase = _call(state, record, record.call_id)
    requested = CallState(
        record.call_id,
        record.tool,
        phase,
        arguments=record.arguments,
        executor=record.executor,
        since=record.at,
        policy=CallPolicy(record.tainted, record.untrusted) if record.tainted or record.untrusted else None,
    )
    return state.__replace__(calls=(*state.calls, requested))


@_applies(r.ToolStarted)
def _tool_started(state: RunState, record: r.ToolStarted) -> RunState:
    before, phase = _call(state, record, record.call_id)
    _require(record.attempt == before.attempt + 1 and before.passed is PolicyStage.PRE_TOOL, record, state)
    # What was asked for is sent with what was given for it alone, and nothing else is sent with it.
    given = before.approval or _NOTHING_GIVEN
    _require((record.approval_digest, record.grant_id) == (given.digest, given.grant_id), record, state)
    is_approved = before.approval is None or before.approval.is_given_for(record.arguments_digest)
    _require(is_approved, record, state)
    after = before.__replace__(
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
    usage = state.usage if before.attempt else state.usage.__replace__(tool_calls=state.usage.tool_calls + 1)
    return with_call(state, after).__replace__(usage=usage)


@_applies(r.ToolCompleted)
def _tool_completed(state: RunState, record: r.ToolCompleted) -> RunState:
    before, _ = _call(state, record, record.call_id)
    _require(record.attempt == before.attempt, record, state)
    return _closed(state, record, record.call_id)


@_applies(r.ToolDenied)
def _tool_denied(state: RunState, record: r.ToolDenied) -> RunState:
    return _closed(state, record, record.call_id)


@_applies(r.ToolResultReleased)
def _tool_result_released(state: RunState, record: r.ToolResultReleased) -> RunState:
    before, phase = _call(state, record, record.call_id)
    _require(before.awaits_release, record, state)
    after = with_call(state, CallState(before.call_id, before.tool, phase))
    is_replaced = record.release is ResultRelease.REPLACED
    _require(record.replacement == (before.outcome if is_replaced else None), record, state)
    # What was put in its place may hold what a stranger said.
    return after if record.release is ResultRelease.WITHHELD else _told(after, before)


@_applies(r.ToolCancelled)
def _tool_cancelled(state: RunState, record: r.ToolCancelled) -> RunState:
    return _closed(state, record, record.call_id)


@_applies(r.ToolFailed)
def _tool_failed(state: RunState, record: r.ToolFailed) -> RunState:
    after = _closed(state, record, record.call_id)
    if record.reason is ErrorReason.BUDGET_EXHAUSTED and after.policy_failure is None:
        after = after.__replace__(stop=StopReason.MAX_TOOL_CALLS)
    return after


@_applies(r.ToolRecoveryRequired)
def _tool_recovery_required(state: RunState, record: r.ToolRecoveryRequired) -> RunState:
    before, phase = _call(state, record, record.call_id)
    after = before.__replace__(
        phase=phase, since=record.at, executor_identity=record.executor_identity, reconciling=None
    )
    return with_call(state, after)


@_applies(r.ReconcileStarted)
def _reconcile_started(state: RunState, record: r.ReconcileStarted) -> RunState:
    before, phase = _call(state, record, record.call_id)
    asking = before.reconciling
    fits = asking is not None and not asking.is_asked and record.ask == asking.asks + 1
    _require(fits and record.attempt == before.attempt, record, state)
    assert asking is not None, "it fits"
    return with_call(
        state, before.__replace__(phase=phase, reconciling=asking.__replace__(asks=record.ask, is_asked=True))
    )


@_applies(r.ReconcileEnded)
def _reconcile_ended(state: RunState, record: r.ReconcileEnded) -> RunState:
    before, phase = _call(state, record, record.call_id)
    asking = before.reconciling
    # Ask 0 is the beginning, and no ask has more than one result.
    fits = record.ask == 0 if asking is None else (asking.is_asked and record.ask == asking.asks)
    _require(fits and record.attempt == before.attempt, record, state)
    begins = asking is None
    after = before.__replace__(
        phase=phase,
        since=record.at if begins else before.since,
        executor_identity=record.executor_identity if begins else before.executor_identity,
        reconciling=Reconciling(record.reason, record.give_up_at, record.next_ask_at or 0, record.ask),
    )
    return with_call(state, after)


@_applies(r.EffectResolved)
def _effect_resolved(state: RunState, record: r.EffectResolved) -> RunState:
    before, _ = _call(state, record, record.call_id)
    _require(record.attempt == before.attempt, record, state)
    ends = record.resolution is Resolution.END_RUN
    return state.__replace__(stop=StopReason.EFFECT_UNKNOWN) if ends else state


def _closed(state: RunState, record: r.Record, call_id: EffectId) -> RunState:
    before, phase = _call(state, record, call_id)
    outcome = _awaiting_release(record)
    if outcome is not None:
        # Without an attempt somebody who was asked has answered in place of the tool.
        _require(before.attempt > 0 or isinstance(record, r.ToolCompleted), record, state)
        policy = (before.policy or NO_POLICY).__replace__(outcome=outcome)
        return with_call(state, before.__replace__(phase=phase, passed=None, policy=policy, since=record.at))
    after = with_call(state, CallState(before.call_id, before.tool, phase))
    return after if isinstance(record, r.ToolDenied | r.ToolCancelled) else _told(after, before)


def _awaiting_release(record: r.Record) -> ContentRef | None:
    """What came of a call, if the model is not to see it yet."""
    if not isinstance(record, r.ToolCompleted | r.ToolFailed) or not record.awaits_release:
        return None
    return record.result if isinstance(record, r.ToolCompleted) else record.message


def _told(state: RunState, call: CallState) -> RunState:
    """The model is told what a tool said. Of one that failed that is as foreign as what it says otherwise."""
    if not (call.attempt > 0 and call.policy is not None and call.policy.untrusted):
        return state
    told = TaintingCall(call.call_id, call.tool, state.seq + 1)  # this record is the next one
    return state.__replace__(tainted=True, taint=(state.taint or RunTaint()).with_call(told))


def _has_open_call(state: RunState) -> bool:
    return any(call.phase.is_open or call.phase is CallPhase.UNKNOWN or call.awaits_release for call in state.calls)


_APPLY.update(policies.APPLY_POLICIES)
_APPLY.update(APPLY_APPROVALS_AND_DISPATCHES)
_APPLY.update(APPLY_GRANTS)
_missing = [row.record.__name__ for row in ROWS if row.record not in _APPLY]
assert not _missing, f"no function applies {_missing}"

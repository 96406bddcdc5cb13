"""What records of approvals and of dispatches make true of who is to be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from runwright.core import records as r
from runwright.core.apply_approvals import APPLY_APPROVALS
from runwright.core.approval_dispatches import ApprovalNotice, Dispatch, DispatchResult, dispatch_effect_id
from runwright.core.approvals import ApprovalPhase, approval_effect_id
from runwright.core.call_changes import require
from runwright.core.outcomes import CallPhase
from runwright.core.state import RunState

# The records that close an approval, and what dispatchers are told then.
_CLOSING: Mapping[type[r.Record], ApprovalNotice] = {
    r.ApprovalDecided: ApprovalNotice.UPDATE,
    r.ApprovalExpired: ApprovalNotice.WITHDRAW,
    r.ApprovalWithdrawn: ApprovalNotice.WITHDRAW,
    r.ApprovalSuperseded: ApprovalNotice.WITHDRAW,
}


def with_news(state: RunState, record: Any) -> RunState:
    """The state after a record about an approval, with what its dispatchers are to be told of that."""
    if isinstance(record, r.ApprovalRequested):
        begun = tuple(
            Dispatch(dispatch_effect_id(record.approval_id, number), record.approval_id, name)
            for number, name in enumerate(record.dispatchers, start=1)
        )
        return state.__replace__(dispatches=(*state.dispatches, *begun)) if begun else state
    if not state.dispatches:
        return state
    closing, left = _CLOSING.get(type(record)), list[Dispatch]()
    for each in state.dispatches:
        after = each.changed(closing) if each.approval_id == record.approval_id else each
        if after is not None and not _is_gone(state, after):
            left.append(after)
    return state.__replace__(dispatches=tuple(left))


def _started(state: RunState, record: r.ApprovalDispatchStarted) -> RunState:
    before = _of(state, record)
    fits = record.attempt == before.attempt + 1 and record.revision == before.revision > before.told
    require(fits and record.notice is before.next_notice, record, state)
    after = before.__replace__(
        attempt=record.attempt, is_open=True, notice=record.notice, sent=record.revision, not_before=0, since=record.at
    )
    return _with(state, before, after)


def _dispatched(state: RunState, record: r.ApprovalDispatched) -> RunState:
    before = _of(state, record)
    fits = before.is_open and (record.attempt, record.revision) == (before.attempt, before.sent)
    require(fits and record.notice is before.notice, record, state)
    if record.result is DispatchResult.ACKNOWLEDGED:
        reference = record.reference or before.reference
        after = before.__replace__(is_open=False, told=record.revision, failures=0, may_know=True, reference=reference)
    else:
        is_failure = record.result is not DispatchResult.NOT_SENT
        after = before.__replace__(
            is_open=False,
            failures=before.failures + is_failure,
            may_know=before.may_know or is_failure,
            not_before=record.retry_at or 0,
            since=record.at,
        )
        if record.retry_at is None:
            after = after.__replace__(given_up=record.revision)
    return _with(state, before, after)


def _with(state: RunState, before: Dispatch, after: Dispatch) -> RunState:
    """One dispatch is another now."""
    left = (after if each is before else each for each in state.dispatches)
    return state.__replace__(dispatches=tuple(each for each in left if not _is_gone(state, each)))


def _is_gone(state: RunState, dispatch: Dispatch) -> bool:
    """True when nobody has to be told anything more, whatever happens."""
    return dispatch.is_over and not (dispatch.may_know and _may_be_superseded(state, dispatch.approval_id))


def _may_be_superseded(state: RunState, approval_id: str) -> bool:
    """True for what was approved, and not used yet: the policies may ask for another approval still."""
    return any(
        call.approval is not None
        and call.approval.phase is ApprovalPhase.APPROVED
        and not call.approval.grant_id
        and call.phase is CallPhase.REQUESTED
        and not call.attempt
        and approval_effect_id(call.call_id, call.approval.number) == approval_id
        for call in state.calls
    )


def _of(state: RunState, record: r.ApprovalDispatchStarted | r.ApprovalDispatched) -> Dispatch:
    found = state.dispatch(record.effect_id)
    fits = found is not None and (found.approval_id, found.dispatcher) == (record.approval_id, record.dispatcher)
    require(fits, record, state)
    assert found is not None, "required before"
    return found


_Apply: TypeAlias = Callable[[RunState, Any], RunState]


def _and_news(function: _Apply) -> _Apply:
    return lambda state, record: with_news(function(state, record), record)


APPLY_APPROVALS_AND_DISPATCHES: Mapping[type[r.Record], _Apply] = {
    **{kind: _and_news(function) for kind, function in APPLY_APPROVALS.items()},
    r.ApprovalDispatchStarted: _started,
    r.ApprovalDispatched: _dispatched,
}

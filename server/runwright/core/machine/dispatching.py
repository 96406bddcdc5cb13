"""Telling dispatchers of approvals: an intent when there is something to tell, a result, another attempt later.

What is to be told follows from the records of approvals (`core/apply_dispatches.py`), so whatever becomes of one is
told, also what is decided elsewhere. Nothing waits for a dispatcher but the very end of a run: until what is under way
is answered, or given up.
"""

from __future__ import annotations

from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.approval_dispatches import MAX_FAILURES, Dispatch, DispatchResult, retry_wait_us
from runwright.core.approvals import current_set, why_not_allowed
from runwright.core.machine import approvals, run_approvals
from runwright.core.machine.step import Step
from runwright.core.outcomes import RunPhase
from runwright.core.run_approvals import allowed_verdicts
from runwright.core.units import Micros


def begin(step: Step) -> None:
    """Intents for what is to be told now; they ride with what there is to tell."""
    for each in step.state.dispatches if _may_begin(step) else ():
        if each.is_wanted:
            _start(step, each)


def _may_begin(step: Step) -> bool:
    """A run that has ended tells nobody, nor one that had to have ended by now."""
    state = step.state
    return not state.is_terminal and (state.phase is not RunPhase.CANCELLING or step.at < state.cancel_deadline)


def reported(step: Step, input_: i.ApprovalDispatchReported) -> i.ApprovalDecisionRequested | None:
    """Records what came of an attempt. What the dispatcher decided is answered, if it counts."""
    found = step.state.dispatch(input_.effect_id)
    if found is None or not found.is_open or found.attempt != input_.attempt:
        return None
    refusal, decision = input_.refusal, input_.decision
    if decision is not None and not refusal:
        refusal = _why_refused(step, decision)
    step.add(
        r.ApprovalDispatched(
            at=step.at,
            effect_id=found.effect_id,
            attempt=found.attempt,
            approval_id=found.approval_id,
            dispatcher=found.dispatcher,
            notice=found.notice,
            revision=found.sent,
            result=input_.result,
            retry_at=_retry_at(step, found, input_.result),
            principal=input_.principal,
            callback_id=input_.callback_id,
            reference=input_.reference,
            decision=input_.decided,
            refusal=refusal,
        )
    )
    return None if refusal else decision


def awaited(step: Step, input_: i.DispatcherAwaited) -> None:
    """Makes the attempt that was planned, not before its time."""
    found = step.state.dispatch(input_.effect_id)
    if found is None or not found.waits or found.attempt != input_.attempt or step.at < found.not_before:
        return
    if step.state.phase is RunPhase.RUNNING:
        _start(step, found)


def recover(step: Step) -> None:
    """After a restart: what was under way may have been heard or not, and is told again, with the same key."""
    for each in step.state.dispatches:
        if each.is_open and not _may_begin(step):
            _abandon(step, each, retry_at=None)
        elif each.is_open:
            _abandon(step, each, retry_at=step.at)
            again = step.state.dispatch(each.effect_id)
            if again is not None:
                _start(step, again)


def close(step: Step) -> None:
    """The run ends now: no intent is left without a result."""
    for each in step.state.dispatches:
        if each.is_open:
            _abandon(step, each, retry_at=None)


def is_under_way(step: Step) -> bool:
    """True while a dispatcher is being told: the run ends when that is answered."""
    return any(each.is_open for each in step.state.dispatches)


def _why_refused(step: Step, decision: i.ApprovalDecisionRequested) -> str:
    """Why a decision does not count now, in a word; empty when it does."""
    if decision.call_id is not None:
        found = approvals.pending(step, decision.call_id, decision.approval_id)
        approval = found[1] if found is not None else None
    else:
        asked = run_approvals.pending(step, decision.approval_id)
        if asked is not None and decision.verdict not in allowed_verdicts(asked.kind):
            return "invalid"
        approval = asked.approval if asked is not None else None
    if approval is None or step.at >= approval.expires_at:
        return "closed"
    if decision.digest != approval.digest:
        return "digest"
    turn = approval.sets[current_set(approval.sets, step.at)]
    why = why_not_allowed(decision.decider, turn, step.state.principal, four_eyes=approval.four_eyes)
    return why.value if why is not None else ""


def _start(step: Step, dispatch: Dispatch) -> None:
    step.add(
        r.ApprovalDispatchStarted(
            at=step.at,
            effect_id=dispatch.effect_id,
            attempt=dispatch.attempt + 1,
            approval_id=dispatch.approval_id,
            dispatcher=dispatch.dispatcher,
            notice=dispatch.next_notice,
            revision=dispatch.revision,
        )
    )


def _abandon(step: Step, dispatch: Dispatch, retry_at: Micros | None) -> None:
    step.add(
        r.ApprovalDispatched(
            at=step.at,
            effect_id=dispatch.effect_id,
            attempt=dispatch.attempt,
            approval_id=dispatch.approval_id,
            dispatcher=dispatch.dispatcher,
            notice=dispatch.notice,
            revision=dispatch.sent,
            result=DispatchResult.ABANDONED,
            retry_at=retry_at,
            principal="",
            callback_id="",
            reference="",
            decision=None,
            refusal="",
        )
    )


def _retry_at(step: Step, dispatch: Dispatch, result: DispatchResult) -> Micros | None:
    """When it is tried again. A run that is ending does not wait for it, and what nobody hears is not told for ever."""
    if result is DispatchResult.ACKNOWLEDGED or step.state.phase is not RunPhase.RUNNING:
        return None
    if result is DispatchResult.NOT_SENT:
        return step.at + retry_wait_us(1)
    failures = dispatch.failures + 1
    return step.at + retry_wait_us(failures) if failures < MAX_FAILURES else None

"""Holds: what keeps the run or a call where it is; and how a run with such holds is seen from outside.

A hold is not stored beside the facts it follows from: it is read from the run's state, here and nowhere else.
What is wanted of the world meanwhile (`pending`), what a caller is shown (`waiting_on`) and whether a run waits
or needs repair (`status`) follow from it. A run that is held back from being driven at all is another matter: that
is the server's, in `core/condition.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from runwright.core import effects as e
from runwright.core.approval_dispatches import Dispatch
from runwright.core.approvals import CallApproval, approval_effect_id
from runwright.core.ids import EffectId, model_effect_id
from runwright.core.outcomes import CallPhase, RunPhase, RunStatus, WaitKind
from runwright.core.policy import PolicyStage
from runwright.core.policy_walk import PolicyQuestion, PolicyWalk, SettledAnswer
from runwright.core.run_approvals import approval_words, run_approval_id
from runwright.core.state import CallState, RunState, may_start_call, needs_repair
from runwright.core.units import Micros, time_text


class Hold(Struct, frozen=True):
    """What keeps one subject of a run where it is. Times are microseconds.

    `subject` is the effect that does not go on, `waits_for` who is waited for, `since` when that began. `due` is
    when it ends by itself; 0 when it does not. `effect` is what is wanted of the world meanwhile; its outcome is
    the input that frees the subject. None: nothing is wanted now, a person or another call of the run comes first.
    """

    kind: WaitKind
    subject: EffectId
    waits_for: str
    since: Micros
    due: Micros
    freed_by: str
    effect: e.HoldingEffect | None = None


class WaitingOn(Struct, frozen=True):
    """One thing a run waits for, as callers see it. `since` is microseconds."""

    kind: WaitKind
    effect_id: EffectId
    subject: str
    since: Micros
    unblocked_by: str


def hold_of_run(state: RunState) -> Hold | None:
    """What keeps the run itself: the provider, between a failed request and the next one."""
    request, name = state.model_request, model_effect_id(state.round)
    if not request.retry_at:
        return None
    seconds = round((request.retry_at - request.since) / 1_000_000, 3)
    return Hold(
        WaitKind.PROVIDER,
        name,
        f"{state.provider}/{state.model}",
        request.since,
        request.retry_at,
        f"provider {state.provider} answering when it is asked again, {seconds:g} s after it failed",
        e.AwaitRetry(state.round, request.attempt, request.retry_at),
    )


def hold_of_call(call: CallState, may_start: bool, dispatches: Sequence[Dispatch] = ()) -> Hold | None:
    """What keeps a call: who is asked to approve it, or its executor, once it has passed PRE_TOOL.

    Its executor is only looked for while the call could be started (`may_start`). A call that no executor has kept
    waiting yet is held by the other calls of its run alone until then, which is no hold. `dispatches` are the run's.
    """
    if (approval := open_approval(call)) is not None:
        return _hold_of_approval(call, approval, dispatches)
    if call.phase is not CallPhase.REQUESTED or call.passed is not PolicyStage.PRE_TOOL:
        return None
    has_waited = call.attempt > 0 or call.give_up_at > 0
    if not (has_waited or may_start):
        return None
    back = (
        "answering where it is configured or registered" if has_waited else "connected and with room for another call"
    )
    effect = e.AwaitExecutor(call.call_id, call.attempt, call.executor, call.not_before, call.give_up_at)
    return Hold(
        WaitKind.EXECUTOR,
        call.call_id,
        call.executor or call.tool,  # older versions did not write down who performs a call
        call.since,
        call.give_up_at,
        f"executor {call.executor} with tool {call.tool}, {back}{_but(call)}",
        effect if may_start else None,
    )


def _but(call: CallState) -> str:
    by = call.not_performed_by
    return f", served by somebody else than {by}, who approved the call" if by else ""


def _hold_of_approval(call: CallState, approval: CallApproval, dispatches: Sequence[Dispatch]) -> Hold:
    effect = await_approval(call, approval)
    name, due = effect.approval_id, approval.expires_at
    freed_by = f"a decision by {_approvers(approval)}{_told(name, dispatches)}"
    return Hold(WaitKind.APPROVAL, call.call_id, name, approval.requested_at, due, freed_by, effect)


def hold_of_run_approval(state: RunState) -> Hold | None:
    """What keeps the run as a whole: who is asked to approve its start or its answer."""
    asked = state.approval
    if asked is None or not asked.is_pending or state.phase is not RunPhase.RUNNING:
        return None
    approval, name = asked.approval, run_approval_id(state.round, asked.approval.number)
    effect = e.AwaitApproval(None, name, approval.current_set, approval.due, approval.requested_at)
    freed_by = f"a decision on {approval_words(asked.kind)} by {_approvers(approval)}{_told(name, state.dispatches)}"
    return Hold(WaitKind.APPROVAL, name, name, approval.requested_at, approval.expires_at, freed_by, effect)


def _told(approval_id: str, dispatches: Sequence[Dispatch]) -> str:
    """Which dispatchers know of an approval, and which do not yet."""
    mine, said = [each for each in dispatches if each.approval_id == approval_id], ""
    for words, is_told in (("dispatchers told", True), ("not told yet", False)):
        if named := [each.dispatcher for each in mine if bool(each.told) is is_told]:
            said += f"; {words}: {', '.join(named)}"
    return said


def _approvers(approval: CallApproval) -> str:
    by = f"{approval.approvers} before {time_text(approval.due)}"
    if approval.due < approval.expires_at:
        by += f", then by the next approvers; it expires at {time_text(approval.expires_at)}"
    return by


def open_approval(call: CallState) -> CallApproval | None:
    """The approval of the call that somebody may decide on; None while there is none."""
    return call.approval if call.is_pending and call.phase is CallPhase.REQUESTED else None


def await_approval(call: CallState, approval: CallApproval) -> e.AwaitApproval:
    """What is wanted while somebody may decide on the call: without the words of its hold, which only readers need."""
    name = approval_effect_id(call.call_id, approval.number)
    return e.AwaitApproval(call.call_id, name, approval.current_set, approval.due, approval.requested_at)


def walks_of(state: RunState) -> Iterator[tuple[EffectId, PolicyWalk]]:
    """Each subject that is held in its walk through the policies: the run, by an empty id, then its calls."""
    if state.walk is not None and state.walk.stage is not None:
        yield EffectId(""), state.walk
    for call in state.calls:
        walk = call.policy.walk if call.policy is not None else None
        if walk is not None and call.is_held_by_policy:
            yield call.call_id, walk


def await_policy(question: PolicyQuestion) -> e.AwaitPolicy:
    """The wait before another attempt at a question."""
    times = (question.not_before, question.give_up_at, question.since)
    return e.AwaitPolicy(question.effect_id, question.attempt, question.remote.policy, *times)


def await_deferral(held: SettledAnswer) -> e.AwaitDeferral:
    """The wait until what an answer has deferred goes on."""
    return e.AwaitDeferral(held.question, held.answer.defer_until or held.at, held.at)


def _hold_of_deferral(state: RunState, held: SettledAnswer) -> Hold:
    name, effect = held.remote.policy, await_deferral(held)
    freed_by = (
        f"{time_text(effect.due)}, until when policy {name} defers it;"
        f" or `runwright resume {state.key.run_id} {held.question}` (Resume), by whoever started the run"
    )
    return Hold(WaitKind.POLICY, held.question, name, held.at, effect.due, freed_by, effect)


def _hold_of_question(question: PolicyQuestion) -> Hold:
    name, is_open = question.remote.policy, question.is_open
    freed_by = f"policy {name} answering" if is_open else f"a host of policy {name}, registered and healthy"
    due = question.deadline if is_open else question.give_up_at
    effect = None if is_open else await_policy(question)
    return Hold(WaitKind.POLICY, question.effect_id, name, question.since, due, freed_by, effect)


def hold_of_reconciling(state: RunState, call: CallState) -> Hold | None:
    """What keeps a call that was lost: its executor, until it has said what became of it, or a person is needed."""
    asking = call.reconciling
    if asking is None or state.phase is not RunPhase.RUNNING:
        return None
    freed_by = (
        f"executor {call.executor} saying what became of {call.tool}, attempt {call.attempt}"
        f" (asks so far: {asking.asks}; until {time_text(asking.give_up_at)}, then a person is needed); or"
        f" {_resolve(state, call)}, once somebody knows"
    )
    wait = e.AwaitReconcile(call.call_id, call.attempt, asking.asks, asking.next_ask_at, asking.give_up_at)
    effect = None if asking.is_asked else wait
    return Hold(WaitKind.EXECUTOR, call.call_id, call.executor, call.since, asking.give_up_at, freed_by, effect)


def _resolve(state: RunState, call: CallState) -> str:
    # In the words of the command line, because whoever reads this has one; programs call it ResolveEffect.
    verb = f"`runwright effects resolve {state.key.run_id} {call.call_id} --attempt {call.attempt} --as …`"
    return f"{verb} (ResolveEffect)"


def _hold_of_unknown(state: RunState, call: CallState) -> Hold:
    freed_by = f"{_resolve(state, call)}, once somebody knows what became of the call; or cancelling the run"
    return Hold(WaitKind.REPAIR, call.call_id, call.executor, call.since, 0, freed_by)


def holds(state: RunState) -> Iterator[Hold]:
    """Every hold of the run: its own, then those of its calls, in the model's order. None of a run that has ended."""
    if state.is_terminal:
        return
    if (hold := hold_of_run(state)) is not None:
        yield hold
    if (hold := hold_of_run_approval(state)) is not None:
        yield hold
    if state.phase is RunPhase.RUNNING:
        for _, walk in walks_of(state):
            if walk.question is not None:
                yield _hold_of_question(walk.question)
            yield from (_hold_of_deferral(state, held) for held in walk.deferred)
    may_start = may_start_call(state)
    for call in state.calls:
        if call.phase is CallPhase.UNKNOWN and state.phase is RunPhase.RUNNING:  # a run that ends is held by none
            yield _hold_of_unknown(state, call)
        if (hold := hold_of_reconciling(state, call)) is not None:
            yield hold
        if (hold := hold_of_call(call, may_start, state.dispatches)) is not None:
            yield hold


def waiting_on(state: RunState) -> list[WaitingOn]:
    """What the run waits for, and what would unblock it."""
    return [WaitingOn(hold.kind, hold.subject, hold.waits_for, hold.since, hold.freed_by) for hold in holds(state)]


def is_done(state: RunState) -> bool:
    """True when the run goes no further by itself: it has ended, or needs repair."""
    return state.is_terminal or (state.phase is RunPhase.RUNNING and needs_repair(state))


def status(state: RunState) -> RunStatus:
    """The status of a started run: its phase; of one that is RUNNING, what its holds say of it.

    A call of unknown outcome comes before everything else that waits or runs. A run with nothing under way waits.
    """
    if state.phase is not RunPhase.RUNNING:
        return RunStatus(state.phase.value)
    if needs_repair(state):
        return RunStatus.REPAIR_NEEDED
    if state.model_attempt or any(_is_under_way(call) for call in state.calls):
        return RunStatus.RUNNING
    # Thousands of runs are looked at while the server starts: no words are made of what waits for a person.
    if any(map(open_approval, state.calls)) or next(holds(state), None) is not None:
        return RunStatus.WAITING
    return RunStatus.RUNNING


def _is_under_way(call: CallState) -> bool:
    return call.phase is CallPhase.RUNNING or (call.awaits_release and not call.is_held_by_policy)

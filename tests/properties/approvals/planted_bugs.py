"""Bugs to be planted in the server, each by a patch: the histories must find every one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace
from runwright.adapters.key_approvers import KeyApprovers
from runwright.core import (
    apply,
    apply_approvals,
    apply_policies,
    approval_rules,
    approvals,
    grants,
    kinds,
    policy,
    principal,
    taint,
)
from runwright.core import records as r
from runwright.core.approval_rows import PENDING
from runwright.core.grant_rows import rows_of_revocation
from runwright.core.machine import (
    approval_delegation,
    approval_edits,
    calls,
    dispatching,
    gates,
    policies,
    run_approvals,
    tools,
)
from runwright.core.machine import approvals as machine
from runwright.core.machine import grants as machine_grants
from runwright.core.policy import PolicyStage
from runwright.core.run_approvals import KINDS
from runwright.core.side_rows import SetCounter
from runwright.core.state import CallState, RunState
from runwright.core.units import span_us
from runwright.runtime import approvals as runtime
from runwright.runtime import grant_offers, start_input
from runwright.runtime import grants as runtime_grants
from runwright.runtime.runs import approval_notifications, grant_findings, looking_again, places, waits

Bug = Callable[[pytest.MonkeyPatch], None]
BUGS: dict[str, tuple[Bug, int]] = {}


def bug(first: int) -> Callable[[Bug], Bug]:
    """Lists it by its name. `first` is a history that has found it: it is tried before all others."""

    def listed(plant: Bug) -> Bug:
        BUGS[plant.__name__.lstrip("_")] = (plant, first)
        return plant

    return listed


def _allowed_by(patch: pytest.MonkeyPatch, why_not: Callable[..., Any]) -> None:
    """The judge of who may decide is asked at two places."""
    patch.setattr(machine, "why_not_allowed", why_not)
    patch.setattr(runtime, "why_not_allowed", why_not)


@bug(4)
def _anybody_who_may_decide_at_all_decides_on_everything(patch: pytest.MonkeyPatch) -> None:
    _allowed_by(patch, lambda *_, **__: None)


@bug(4)
def _whoever_performs_a_call_approves_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(KeyApprovers, "may_perform", lambda *_: False)


@bug(111)
def _whoever_started_the_run_is_two_people(patch: pytest.MonkeyPatch) -> None:
    right = approvals.why_not_allowed
    _allowed_by(patch, lambda *given, **_: right(*given, four_eyes=False))


@bug(1)
def _a_role_is_not_needed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(principal.Principal, "has_any", lambda *_: True)


@bug(3)
def _everybody_is_of_one_namespace(patch: pytest.MonkeyPatch) -> None:
    right = runtime.Approvals.look_up
    patch.setattr(runtime.Approvals, "look_up", lambda self, _, name: right(self, "default", name))


@bug(27)
def _an_approver_performs_what_has_waited(patch: pytest.MonkeyPatch) -> None:
    right = waits.PlaceRequest
    patch.setattr(waits, "PlaceRequest", lambda *given, not_by="", first="": right(*given, first=first or not_by))
    begin = places.CallPlaces.begin
    patch.setattr(places.CallPlaces, "begin", lambda self, call_id, _="": begin(self, call_id))


@bug(0)
def _another_digest_is_as_good(patch: pytest.MonkeyPatch) -> None:
    right = machine.decided

    def wrong(step: Any, input_: Any) -> bool:
        found = machine.pending(step, input_.call_id, input_.approval_id)
        return right(step, replace(input_, digest=found[1].digest) if found else input_)

    patch.setattr(machine, "decided", wrong)
    mismatch = runtime.Approvals._refusal

    def wrong_at_the_edge(self: Any, who: Any, request: Any, standing: Any, now: int) -> Any:
        return mismatch(self, who, replace(request, digest=standing.asked.digest), standing, now)

    patch.setattr(runtime.Approvals, "_refusal", wrong_at_the_edge)


def _later(patch: pytest.MonkeyPatch, microseconds: int) -> None:
    right = machine.brought_up_to_date

    def wrong(step: Any, call: Any, approval: Any) -> Any:
        if 0 <= step.at - approval.expires_at < microseconds:
            return approval
        return right(step, call, approval)

    patch.setattr(machine, "brought_up_to_date", wrong)


@bug(1)
def _a_decision_at_the_very_end_counts(patch: pytest.MonkeyPatch) -> None:
    _later(patch, 1)


@bug(1)
def _a_decision_that_is_late_by_a_millisecond_counts(patch: pytest.MonkeyPatch) -> None:
    _later(patch, 1001)


@bug(1)
def _it_is_always_the_turn_of_the_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine, "current_set", lambda *_: 0)


@bug(3)
def _a_turn_is_over_too_early(patch: pytest.MonkeyPatch) -> None:
    right = approvals.current_set
    patch.setattr(machine, "current_set", lambda sets, at: right(sets, at + 1))


@bug(1)
def _nothing_expires_by_itself(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine, "is_due", lambda *_: None)


@bug(1)
def _what_expires_is_approved(patch: pytest.MonkeyPatch) -> None:
    def wrong(step: Any, call: Any, approval: Any) -> None:
        approver = approval.sets[-1]
        decided = r.ApprovalDecided(
            at=step.at,
            call_id=call.call_id,
            approval_id=approvals.approval_effect_id(call.call_id, approval.number),
            tool=call.tool,
            requested_at=approval.requested_at,
            digest=approval.digest,
            verdict=approvals.ApprovalVerdict.APPROVE,
            decided_by=(*approver.principals, "ann")[0],
            message="",
            note="",
            on_behalf_of="",
            request_id="",
            request_digest="",
            separation=approvals.ApprovalSeparation.ENFORCED,
        )
        step.add(decided)

    patch.setattr(machine, "_expire", wrong)


@bug(0)
def _a_response_is_cut(patch: pytest.MonkeyPatch) -> None:
    right = runtime.Content.text
    patch.setattr(runtime.Content, "text", lambda text: right(text[:-1]))


@bug(1)
def _an_abort_is_only_a_denial(patch: pytest.MonkeyPatch) -> None:
    right = apply_approvals._approval_decided

    def wrong(state: RunState, record: Any) -> RunState:
        return right(state, record).__replace__(stop=None, policy_failure=None)

    patch.setitem(apply._APPLY, r.ApprovalDecided, wrong)


@bug(33)
def _an_approval_covers_the_next_identical_call(patch: pytest.MonkeyPatch) -> None:
    right = gates._is_approved

    def wrong(step: Any, subject: Any, found: Any) -> bool:
        call = step.call(subject)
        for other in step.state.calls:
            given = other.approval
            if given is not None and given.covers("writes", call.arguments.digest) and other.call_id != subject:
                step.state = apply.with_call(step.state, replace(call, approval=given, passed=PolicyStage.PRE_TOOL))
                return True
        return right(step, subject, found)

    call_gate = gates.GATES[PolicyStage.PRE_TOOL]
    checks = tuple(wrong if check is right else check for check in call_gate.checks)
    patch.setitem(gates.GATES, PolicyStage.PRE_TOOL, replace(call_gate, checks=checks))  # type: ignore[arg-type]


@bug(20)
def _rules_that_change_are_not_looked_at_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(looking_again, "_is_heard", lambda *_: True)


@bug(2)
def _what_is_pending_is_left_when_the_run_ends(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine, "withdraw", lambda *_: None)


@bug(0)
def _whoever_comes_second_is_told_that_they_decided(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(runtime, "_repeated", lambda *_: False)


@bug(13)
def _another_decision_under_the_same_request_id_is_the_same(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(runtime.DecisionRequest, "request_digest", lambda _: "")


@bug(10)
def _what_was_decided_is_listed_still(patch: pytest.MonkeyPatch) -> None:
    right = kinds._SIDE_ROWS[r.ApprovalDecided]

    def wrong(state: RunState, record: Any) -> Any:
        return tuple(row for row in right(state, record) if row.index != PENDING)

    patch.setitem(kinds._SIDE_ROWS, r.ApprovalDecided, wrong)


@bug(0)
def _a_call_begins_before_anybody_has_decided(patch: pytest.MonkeyPatch) -> None:
    right = tools.start_with_places

    def wrong(step: Any) -> None:
        for call in step.calls(tools.CallPhase.REQUESTED):
            if call.is_pending:
                step.state = apply.with_call(step.state, replace(call, approval=None, passed=PolicyStage.PRE_TOOL))
                calls.start(step, step.call(call.call_id))
        right(step)

    patch.setattr(tools, "start_with_places", wrong)


@bug(24)
def _a_grant_is_used_once_more_than_it_may_be(patch: pytest.MonkeyPatch) -> None:
    right = kinds._SIDE_ROWS[r.GrantIssued]

    def wrong(state: RunState, record: Any) -> Any:
        rows = right(state, record)
        return tuple(replace(row, left=row.left + 1) if isinstance(row, SetCounter) else row for row in rows)

    patch.setitem(kinds._SIDE_ROWS, r.GrantIssued, wrong)


@bug(24)
def _no_use_of_a_grant_is_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(kinds._SIDE_ROWS, r.GrantUsed, lambda *_: ())


@bug(1364)
def _a_grant_that_was_taken_back_answers_still(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(runtime_grants, "rows_of_revocation", lambda grant, made: rows_of_revocation(grant, made)[:3])


@bug(13)
def _a_grant_that_comes_with_an_edit_is_for_what_was_asked(patch: pytest.MonkeyPatch) -> None:
    right = machine_grants.issue

    def wrong(step: Any, call: Any, approval: Any, request: Any, made: Any) -> None:
        right(step, call, approval, request, replace(made, edited_arguments=None))

    patch.setattr(machine_grants, "issue", wrong)


@bug(33)
def _a_grant_answers_for_other_arguments(patch: pytest.MonkeyPatch) -> None:
    right = grants.lookup_key

    def wrong(of: Any, scope: Any, matcher: Any) -> str:
        return right(of, scope, grants.GrantMatcher.ANY if matcher is grants.GrantMatcher.EXACT_ARGUMENTS else matcher)

    patch.setattr(grants, "lookup_key", wrong)


@bug(27)
def _a_condition_of_a_grant_need_not_hold(patch: pytest.MonkeyPatch) -> None:
    async def wrong(_: Any, known: Any, *__: Any) -> Any:
        return known

    patch.setattr(grant_findings, "_fulfilled", wrong)


@bug(19)
def _a_grant_answers_for_other_runs(patch: pytest.MonkeyPatch) -> None:
    right = grants.lookup_key
    patch.setattr(grants, "lookup_key", lambda of, scope, how: right(of, grants.GrantScope.NAMESPACE, how))


@bug(61)
def _a_grant_answers_for_a_tainted_call(patch: pytest.MonkeyPatch) -> None:
    right = machine_grants.may_answer
    patch.setattr(machine_grants, "may_answer", lambda grant, call, at: right(grant, replace(call, tainted=False), at))
    patch.setattr(grant_findings, "may_answer", lambda grant, call, at: right(grant, replace(call, tainted=False), at))


@bug(90)
def _what_comes_of_a_call_taints_those_that_were_asked_for_beside_it(patch: pytest.MonkeyPatch) -> None:
    right = taint.RunTaint.with_call
    patch.setattr(taint.RunTaint, "with_call", lambda told, call: right(told, call).all_seen())


@bug(7)
def _only_what_came_last_is_named(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(taint.RunTaint, "with_call", lambda _, call: taint.RunTaint((call,), 1))


@bug(93)
def _a_grant_of_somebody_who_may_approve_nothing_any_more_answers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(grant_findings, "_is_of_approver", lambda *_: True)


@bug(27)
def _whoever_gave_a_grant_performs_the_call(patch: pytest.MonkeyPatch) -> None:
    right = CallState.not_performed_by.fget  # type: ignore[attr-defined]

    def wrong(call: CallState) -> str:
        return "" if call.approval is not None and call.approval.grant_id else right(call)

    patch.setattr(CallState, "not_performed_by", property(wrong))


@bug(3)
def _a_grant_that_is_not_offered_is_given(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine_grants, "why_not_offered", lambda *_: None)
    patch.setattr(grant_offers, "why_not_offered", lambda *_: None)


@bug(3)
def _a_grant_lasts_longer_than_it_was_given_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine_grants, "span_us", lambda text: span_us(text) + 1)


@bug(24)
def _anybody_takes_a_grant_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(runtime_grants, "_REVOKES", frozenset(principal.Role))


@bug(129)
def _a_grant_answers_where_two_approvals_are_asked_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine_grants, "asks_for_one", lambda *_: True)
    patch.setattr(grant_findings, "asks_for_one", lambda *_: True)


@bug(24)
def _no_grant_ever_answers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine_grants, "use", lambda *_: False)


@bug(1)
def _a_run_begins_before_its_start_is_approved(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(policies, "_is_approved", lambda *_: True)


@bug(1)
def _a_denied_run_goes_on(patch: pytest.MonkeyPatch) -> None:
    right = run_approvals.decided

    def wrong(step: Any, input_: Any) -> Any:
        if input_.verdict is approvals.ApprovalVerdict.DENY:
            input_ = replace(input_, verdict=approvals.ApprovalVerdict.APPROVE)
        return right(step, input_)

    patch.setattr(run_approvals, "decided", wrong)


@bug(18)
def _edited_arguments_are_not_decided_on_by_the_policies(patch: pytest.MonkeyPatch) -> None:
    right = policies.allow_call
    allowed = policy.PolicyOpinion(policy.Verdict.ALLOW, "policies.0", "", "any", policy.PACKAGE)

    def wrong(step: Any, call: Any, found: Any) -> bool:
        if call.approval is None or call.approval.phase is not approvals.ApprovalPhase.APPROVED or call.passed:
            return right(step, call, found)
        step.add(policies._on_record(step, call, PolicyStage.PRE_TOOL, call.arguments.digest, allowed, found))
        return True

    patch.setattr(policies, "allow_call", wrong)


@bug(4)
def _what_was_asked_for_is_sent_in_the_place_of_what_was_edited(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(apply_policies, "_is_edit", lambda *_: False)


@bug(4)
def _an_edit_is_approved_by_the_old_digest(patch: pytest.MonkeyPatch) -> None:
    right = approval_edits.with_edits

    def wrong(step: Any, call: Any, made: Any, input_: Any) -> Any:
        return right(step, call, made, input_).__replace__(edited_digest=made.digest)

    patch.setattr(approval_edits, "with_edits", wrong)


@bug(63)
def _an_ask_for_another_approval_does_not_supersede_an_edit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(policy, "_is_stricter", lambda one, other, _: _strictness(one) > _strictness(other))


def _strictness(opinion: Any) -> int:
    return policy._STRICTNESS.index(opinion.verdict)


@bug(15)
def _what_is_superseded_stands(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine, "supersede_unless", lambda *_: None)


@bug(4)
def _an_approval_is_delegated_to_anybody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(approval_delegation, "why_not_delegated", lambda *_: None)
    patch.setattr(runtime, "why_not_delegated", lambda *_: None)


def _delegated_to_anybody(patch: pytest.MonkeyPatch, kind: approvals.ApprovalKind) -> None:
    """Only what is of that kind; it is judged at two places."""
    right, at_the_edge = approval_delegation.delegate, runtime.Approvals._refusal

    def wrong(step: Any, approval: Any, input_: Any, tool: str) -> None:
        with pytest.MonkeyPatch.context() as within:
            if not tool and KINDS[step.state.approval.stage] is kind:
                within.setattr(approval_delegation, "why_not_delegated", lambda *_: None)
            right(step, approval, input_, tool)

    def wrong_at_the_edge(self: Any, who: Any, request: Any, standing: Any, now: int) -> Any:
        with pytest.MonkeyPatch.context() as within:
            if standing.asked.kind is kind:
                within.setattr(runtime, "why_not_delegated", lambda *_: None)
            return at_the_edge(self, who, request, standing, now)

    patch.setattr(approval_delegation, "delegate", wrong)
    patch.setattr(runtime.Approvals, "_refusal", wrong_at_the_edge)


@bug(14)
def _the_start_of_a_run_is_delegated_to_anybody(patch: pytest.MonkeyPatch) -> None:
    _delegated_to_anybody(patch, approvals.ApprovalKind.RUN_START)


@bug(299)
def _an_answer_is_delegated_to_anybody(patch: pytest.MonkeyPatch) -> None:
    _delegated_to_anybody(patch, approvals.ApprovalKind.OUTPUT)


@bug(27)
def _a_delegation_gives_more_time(patch: pytest.MonkeyPatch) -> None:
    right = approval_delegation.delegated

    def wrong(approval: Any, by: str, to: str) -> Any:
        return replace(right(approval, by, to), until=approval.expires_at)

    patch.setattr(approval_delegation, "delegated", wrong)
    fits = apply_approvals.after_delegation

    def lenient(approval: Any, record: Any) -> Any:
        until = approval.approvers.until
        return fits(approval, record.__replace__(approvers=replace(record.approvers, until=until)))

    patch.setattr(apply_approvals, "after_delegation", lenient)


@bug(0)
def _what_escalates_expires_instead(patch: pytest.MonkeyPatch) -> None:
    right = approval_rules.ApprovalSpec.expires_at

    def wrong(self: Any, at: int) -> int:
        return (self.escalates_at(at) or right(self, at)) + 1

    patch.setattr(approval_rules.ApprovalSpec, "expires_at", wrong)


@bug(4)
def _a_dispatcher_decides_where_four_eyes_are_needed(patch: pytest.MonkeyPatch) -> None:
    right = approval_notifications.Decider
    patch.setattr(
        approval_notifications, "Decider", lambda *given, **named: right(*given, **{**named, "is_dispatcher": False})
    )


@bug(3)
def _a_dispatcher_speaks_for_somebody_else(patch: pytest.MonkeyPatch) -> None:
    right = KeyApprovers.principal
    patch.setattr(KeyApprovers, "principal", lambda self, namespace, *_: right(self, namespace, "ann", "ann"))


@bug(3)
def _what_a_dispatcher_may_not_decide_is_taken_for_decided(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(dispatching, "_why_refused", lambda *_: "")


@bug(15)
def _a_run_that_asks_nobody_is_started(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(start_input, "require_approvers", lambda *_: None)

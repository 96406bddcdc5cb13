"""Bugs to be planted in the server, each by a patch: the histories must find every one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace
from runwright.adapters.key_approvers import KeyApprovers
from runwright.core import apply, apply_approvals, approvals, kinds, principal
from runwright.core import records as r
from runwright.core.approval_rows import PENDING
from runwright.core.machine import approvals as machine
from runwright.core.machine import calls, gates, tools
from runwright.core.policy import PolicyStage
from runwright.core.state import RunState
from runwright.runtime import approvals as runtime
from runwright.runtime.runs import looking_again, waits

Bug = Callable[[pytest.MonkeyPatch], None]
BUGS: dict[str, Bug] = {}


def bug(plant: Bug) -> Bug:
    """Lists it by its name."""
    BUGS[plant.__name__.lstrip("_")] = plant
    return plant


def _allowed_by(patch: pytest.MonkeyPatch, why_not: Callable[..., Any]) -> None:
    """The judge of who may decide is asked at two places."""
    patch.setattr(machine, "why_not_allowed", why_not)
    patch.setattr(runtime, "why_not_allowed", why_not)


@bug
def _anybody_who_may_decide_at_all_decides_on_everything(patch: pytest.MonkeyPatch) -> None:
    _allowed_by(patch, lambda *_, **__: None)


@bug
def _whoever_performs_a_call_approves_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(KeyApprovers, "may_perform", lambda *_: False)


@bug
def _whoever_started_the_run_is_two_people(patch: pytest.MonkeyPatch) -> None:
    right = approvals.why_not_allowed
    _allowed_by(patch, lambda *given, **_: right(*given, four_eyes=False))


@bug
def _a_role_is_not_needed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(principal.Principal, "has_any", lambda *_: True)


@bug
def _everybody_is_of_one_namespace(patch: pytest.MonkeyPatch) -> None:
    right = runtime.Approvals.look_up
    patch.setattr(runtime.Approvals, "look_up", lambda self, _, name: right(self, "default", name))


@bug
def _an_approver_performs_what_has_waited(patch: pytest.MonkeyPatch) -> None:
    right = waits.PlaceRequest
    patch.setattr(waits, "PlaceRequest", lambda *given, not_by="", first="": right(*given, first=first or not_by))


@bug
def _another_digest_is_as_good(patch: pytest.MonkeyPatch) -> None:
    right = machine.decided

    def wrong(step: Any, input_: Any) -> bool:
        found = machine.pending(step, input_.call_id, input_.approval_id)
        return right(step, replace(input_, digest=found[1].digest) if found else input_)

    patch.setattr(machine, "decided", wrong)
    mismatch = runtime._refusal

    def wrong_at_the_edge(who: Any, request: Any, asked: Any, now: int) -> Any:
        return mismatch(who, replace(request, digest=asked.digest), asked, now)

    patch.setattr(runtime, "_refusal", wrong_at_the_edge)


def _later(patch: pytest.MonkeyPatch, microseconds: int) -> None:
    right = machine.brought_up_to_date

    def wrong(step: Any, call: Any, approval: Any) -> Any:
        if 0 <= step.at - approval.expires_at < microseconds:
            return approval
        return right(step, call, approval)

    patch.setattr(machine, "brought_up_to_date", wrong)


@bug
def _a_decision_at_the_very_end_counts(patch: pytest.MonkeyPatch) -> None:
    _later(patch, 1)


@bug
def _a_decision_that_is_late_by_a_millisecond_counts(patch: pytest.MonkeyPatch) -> None:
    _later(patch, 1001)


@bug
def _it_is_always_the_turn_of_the_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine, "current_set", lambda *_: 0)


@bug
def _a_turn_is_over_too_early(patch: pytest.MonkeyPatch) -> None:
    right = approvals.current_set
    patch.setattr(machine, "current_set", lambda sets, at: right(sets, at + 1))


@bug
def _nothing_expires_by_itself(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine, "is_due", lambda *_: None)


@bug
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


@bug
def _a_response_is_cut(patch: pytest.MonkeyPatch) -> None:
    right = runtime.Content.text
    patch.setattr(runtime.Content, "text", lambda text: right(text[:-1]))


@bug
def _an_abort_is_only_a_denial(patch: pytest.MonkeyPatch) -> None:
    right = apply_approvals._approval_decided

    def wrong(state: RunState, record: Any) -> RunState:
        return right(state, record).__replace__(stop=None, policy_failure=None)

    patch.setitem(apply._APPLY, r.ApprovalDecided, wrong)


@bug
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


@bug
def _rules_that_change_are_not_looked_at_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(looking_again, "_is_heard", lambda *_: True)


@bug
def _what_is_pending_is_left_when_the_run_ends(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine, "withdraw", lambda *_: None)


@bug
def _whoever_comes_second_is_told_that_they_decided(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(runtime, "_repeated", lambda *_: False)


@bug
def _another_decision_under_the_same_request_id_is_the_same(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(runtime.DecisionRequest, "request_digest", lambda _: "")


@bug
def _what_was_decided_is_listed_still(patch: pytest.MonkeyPatch) -> None:
    right = kinds._SIDE_ROWS[r.ApprovalDecided]

    def wrong(state: RunState, record: Any) -> Any:
        return tuple(row for row in right(state, record) if row.index != PENDING)

    patch.setitem(kinds._SIDE_ROWS, r.ApprovalDecided, wrong)


@bug
def _a_call_begins_before_anybody_has_decided(patch: pytest.MonkeyPatch) -> None:
    right = tools.start_with_places

    def wrong(step: Any) -> None:
        for call in step.calls(tools.CallPhase.REQUESTED):
            if call.is_pending:
                step.state = apply.with_call(step.state, replace(call, approval=None, passed=PolicyStage.PRE_TOOL))
                calls.start(step, step.call(call.call_id))
        right(step)

    patch.setattr(tools, "start_with_places", wrong)

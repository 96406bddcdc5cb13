"""Approvals of a run as a whole, at RUN_START and OUTPUT: asked for at the gate, decided by somebody or by time.

Until then the run is held: the model is not asked, or its answer is not published. The records are those of calls,
without a call.
"""

from __future__ import annotations

from collections.abc import Sequence

from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.approval_dispatches import all_dispatchers
from runwright.core.approval_rules import approval_spec
from runwright.core.approvals import ApprovalVerdict, current_set
from runwright.core.content import ContentRef
from runwright.core.ids import EffectId
from runwright.core.machine import approval_delegation, approvals
from runwright.core.machine.step import Step
from runwright.core.outcomes import RunPhase
from runwright.core.policy import PolicyOpinion, PolicyStage
from runwright.core.run_approvals import KINDS, RunApproval, allowed_verdicts, run_approval_digest, run_approval_id
from runwright.core.state import RunState


def request(step: Step, opinion: PolicyOpinion, dispatchers: Sequence[str]) -> None:
    """Asks for what the decision on record says is to be approved. `dispatchers` are the operator's."""
    asked = step.state.approval
    assert asked is not None, "asked for by a policy, which is on record"
    spec = approval_spec(step.package.approvals, opinion.approval)
    shown, package = _shown(step.state, asked.stage), step.state.package_fingerprint
    step.add(
        r.ApprovalRequested(
            at=step.at,
            call_id=None,
            approval_id=run_approval_id(step.state.round, asked.approval.number + 1),
            kind=asked.kind,
            tool="",
            executor="",
            risk="",
            arguments=shown,
            digest=run_approval_digest(asked.kind, package, asked.approval.arguments_digest, step.state.budget),
            schema_digest="",
            approval=opinion.approval,
            policy_ref=opinion.policy_ref,
            rule=opinion.rule,
            code=opinion.code,
            decider=opinion.decider,
            message=opinion.message,
            tainted=step.state.tainted,
            sets=spec.approvers(step.at),
            expires_at=spec.expires_at(step.at),
            on_expiry=spec.expiry,
            four_eyes=spec.four_eyes,
            delegates=spec.delegates,
            escalates_at=spec.escalates_at(step.at),
            dispatchers=all_dispatchers(spec.dispatchers, dispatchers),
            tainted_by=step.state.tainted_by,
        )
    )


def pending(step: Step, approval_id: str) -> RunApproval | None:
    """The pending approval of that id, while the run goes on; None when nothing is to be decided."""
    asked = step.state.approval
    if asked is None or not asked.is_pending or step.state.phase is not RunPhase.RUNNING:
        return None
    return asked if approval_id == own_id(step.state, asked) else None


def own_id(state: RunState, asked: RunApproval) -> EffectId:
    """The id of an approval that is, or was, asked for at the stage at which the run is."""
    return run_approval_id(state.round, asked.approval.number)


def brought_up_to_date(step: Step, asked: RunApproval) -> RunApproval | None:
    """The approval as it stands at the time of this step; None when it has expired, and the run is to end."""
    approval, name = asked.approval, own_id(step.state, asked)
    if step.at >= approval.expires_at:
        step.add(
            r.ApprovalExpired(
                at=step.at,
                call_id=None,
                approval_id=name,
                tool="",
                requested_at=approval.requested_at,
                expires_at=approval.expires_at,
                on_expiry=approval.on_expiry,
            )
        )
        return None
    now = current_set(approval.sets, step.at)
    if now > approval.current_set:
        step.add(
            r.ApprovalEscalated(
                at=step.at,
                call_id=None,
                approval_id=name,
                tool="",
                requested_at=approval.requested_at,
                current_set=now,
            )
        )
    return step.state.approval


def decided(step: Step, input_: i.ApprovalDecisionRequested) -> PolicyStage | None:
    """Records who decided what. The stage that the run has passed by it; None when it does not go on.

    Nothing is recorded of a decision on anything else than what is pending, by somebody who may not decide, or that
    cannot be made on a run.
    """
    found = pending(step, input_.approval_id)
    asked = brought_up_to_date(step, found) if found is not None else None
    if asked is None or input_.verdict not in allowed_verdicts(asked.kind) or input_.grant is not None:
        return None
    if not approvals.is_acceptable(step, input_, asked.approval):
        return None
    if input_.verdict is ApprovalVerdict.DELEGATE:
        approval_delegation.delegate(step, asked.approval, input_, tool="")
        return None
    step.add(approvals.decision(step, input_, asked.approval, tool=""))
    return asked.stage if input_.verdict is ApprovalVerdict.APPROVE else None


def is_due(step: Step, input_: i.ApprovalDue) -> None:
    """The turn of a set, or the whole time, is over, whatever the clock says now."""
    if (asked := pending(step, input_.approval_id)) is not None:
        brought_up_to_date(step, asked)


def withdraw(step: Step) -> None:
    """There is nothing to decide any more, if something was to be decided: the run ends right behind this."""
    asked = step.state.approval
    if asked is not None and asked.is_pending:
        withdrawn = r.ApprovalWithdrawn(
            at=step.at,
            call_id=None,
            approval_id=own_id(step.state, asked),
            tool="",
            requested_at=asked.approval.requested_at,
        )
        step.add(withdrawn)


def is_given(step: Step, stage: PolicyStage, name: str, digest: str) -> bool:
    """True when what is asked for at a stage was given already, for the same."""
    asked = step.state.approval
    return asked is not None and asked.stage is stage and asked.approval.covers(name, digest)


def supersede(step: Step, stage: PolicyStage) -> None:
    """What was given at the stage, if something was, counts no more: another approval is asked for."""
    asked = step.state.approval
    if asked is not None and asked.stage is stage and asked.is_given:
        superseded = r.ApprovalSuperseded(
            at=step.at,
            call_id=None,
            approval_id=own_id(step.state, asked),
            tool="",
            requested_at=asked.approval.requested_at,
        )
        step.add(superseded)


def _shown(state: RunState, stage: PolicyStage) -> ContentRef:
    """What is looked at: the request, or the answer."""
    shown = state.request if KINDS[stage] is KINDS[PolicyStage.RUN_START] else state.result
    assert shown is not None, "a run has a request, and at OUTPUT an answer"
    return shown

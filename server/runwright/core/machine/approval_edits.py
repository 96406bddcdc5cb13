"""Approvals with edits: a call is approved with other arguments than it was asked for, and is to go on with them.

What is approved is another subject, so it has another digest and walks through the policies again. The approval is
given for the edited arguments alone: where the policies ask for the same approval it is there, where they ask for
another one it is superseded, and what they deny is not made.
"""

from __future__ import annotations

from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.approvals import CallApproval, approval_digest
from runwright.core.content import ContentRef
from runwright.core.machine import calls
from runwright.core.machine.step import Step
from runwright.core.policy import PolicyStage
from runwright.core.state import CallState


def is_usable(call: CallState, approval: CallApproval, edited: ContentRef | None) -> bool:
    """True for arguments that the edge has found fit, and that are others than those pending.

    What was sent before is sent again as it was: under one idempotency key nothing else may stand.
    """
    return edited is not None and edited.digest != approval.arguments_digest and not call.attempt


def digest_of(step: Step, call: CallState, arguments: ContentRef | None) -> str:
    """What is approved of a call when it is approved with these arguments."""
    assert arguments is not None, "an open call keeps its arguments, and an edit was looked at before"
    tool, package = calls.spec_of(step, call), step.state.package_fingerprint
    return approval_digest(package, tool.name, tool.arguments_digest, tool.executor, arguments.digest)


def with_edits(
    step: Step, call: CallState, made: r.ApprovalDecided, input_: i.ApprovalDecisionRequested
) -> r.ApprovalDecided:
    """The decision, with what was edited and what is approved so."""
    return made.__replace__(edited_arguments=input_.edited, edited_digest=digest_of(step, call, input_.edited))


def replace(step: Step, call: CallState, input_: i.ApprovalDecisionRequested) -> None:
    """Puts what was approved in the place of what was asked for. The policies are walked right behind this."""
    assert call.approval is not None and call.arguments is not None, "it is pending"
    step.add(
        r.SubjectReplaced(
            at=step.at,
            subject=call.call_id,
            stage=PolicyStage.PRE_TOOL,
            policy_ref=call.approval.ref,
            decider=input_.decider.name,
            replaced_digest=call.arguments.digest,
            replacement=input_.edited,
        )
    )

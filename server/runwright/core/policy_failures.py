"""What a run, or the caller whose start is refused, is told of a policy that does not let it go on."""

from __future__ import annotations

from runwright.core.errors import ErrorReason, Failure
from runwright.core.policy import Decision, PolicyStage, Verdict

_OF = {
    PolicyStage.RUN_START: "the start of the run",
    PolicyStage.INPUT: "the run's input",
    PolicyStage.OUTPUT: "the run's answer",
    PolicyStage.PRE_TOOL: "a tool call",
    PolicyStage.POST_TOOL: "the result of a tool call",
}


def policy_failure(stage: PolicyStage, decision: Decision, policy_ref: str) -> Failure:
    """POLICY_INTERRUPT for an interrupt, else POLICY_DENIED; both name policy and code."""
    what = _OF.get(stage, "the run")
    metadata = (("code", decision.code), ("policy", policy_ref))
    if decision.verdict is Verdict.INTERRUPT:
        said = f"Policy {policy_ref} ended the run over {what} ({decision.code})."
        return Failure(ErrorReason.POLICY_INTERRUPT, said, metadata)
    return Failure(ErrorReason.POLICY_DENIED, f"Policy {policy_ref} denies {what} ({decision.code}).", metadata)

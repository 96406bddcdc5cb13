"""Approvals of what a run does as a whole, its start and its answer: the values. Those of calls: `approvals.py`."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from pydantic import JsonValue

from runwright.core.approvals import (
    APPROVAL_EFFECT,
    DIGEST_TAG,
    ApprovalKind,
    ApprovalPhase,
    ApprovalVerdict,
    CallApproval,
)
from runwright.core.fingerprint import canonical_plain_json, fingerprint
from runwright.core.ids import EffectId, effect_id
from runwright.core.policy import PolicyStage
from runwright.core.request import Budget

# Where a run asks as a whole, and for what; at the other stages of a run nobody can be asked.
KINDS: Mapping[PolicyStage, ApprovalKind] = {
    PolicyStage.RUN_START: ApprovalKind.RUN_START,
    PolicyStage.OUTPUT: ApprovalKind.OUTPUT,
}
_OF_CALL = tuple(ApprovalVerdict)
# There is no result that somebody could give in place of a start or an answer, and there are no arguments to edit.
_OF_RUN = (ApprovalVerdict.APPROVE, ApprovalVerdict.DENY, ApprovalVerdict.ABORT_RUN, ApprovalVerdict.DELEGATE)
_WORDS: Mapping[ApprovalKind, str] = {
    ApprovalKind.TOOL_CALL: "a call",
    ApprovalKind.RUN_START: "the start of the run",
    ApprovalKind.OUTPUT: "the answer of the run",
}


class RunApproval(Struct, frozen=True):
    """What a run knows of an approval of itself, at the stage at which it is, or was, asked for.

    Of `approval` the `arguments_digest` is that of what the policies decided on: request or answer.
    `operator_digest` is that of the operator's rules that were heard.
    """

    stage: PolicyStage
    approval: CallApproval
    operator_digest: str = ""

    @property
    def kind(self) -> ApprovalKind:
        """What is to be approved."""
        return KINDS[self.stage]

    @property
    def is_pending(self) -> bool:
        """True while somebody is asked to decide."""
        return self.approval.phase is ApprovalPhase.PENDING

    @property
    def is_given(self) -> bool:
        """True once it was approved."""
        return self.approval.phase is ApprovalPhase.APPROVED


def allowed_verdicts(kind: ApprovalKind) -> tuple[ApprovalVerdict, ...]:
    """What may be decided on an approval."""
    return _OF_CALL if kind is ApprovalKind.TOOL_CALL else _OF_RUN


def approval_words(kind: ApprovalKind) -> str:
    """What is to be approved, in words."""
    return _WORDS[kind]


def run_approval_id(round_number: int, number: int) -> EffectId:
    """The id of the `number`-th approval (from 1) of a run: `a0.1` of its start, `a3.1` of its answer in round 3."""
    return effect_id(APPROVAL_EFFECT, round_number, number)


def run_approval_digest(kind: ApprovalKind, package: str, subject: str, budget: Budget) -> str:
    """What is approved, as one digest: over the package's fingerprint and the digest of what is looked at.

    Of a start that is the request, with everything it says; and the limits in force, which a policy may have lowered.
    """
    form: dict[str, JsonValue] = {"kind": kind.name, "package": package, "subject": subject}
    if kind is ApprovalKind.RUN_START:
        form["budget"] = [budget.rounds, budget.tool_calls, budget.parallel_calls]
    return fingerprint(canonical_plain_json(form), DIGEST_TAG)

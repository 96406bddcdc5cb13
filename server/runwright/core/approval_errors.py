"""What the reasons of approvals mean."""

from __future__ import annotations

from collections.abc import Mapping

from runwright.core.error_kinds import AgentErrorKind, Meaning, RetryClass
from runwright.core.error_reasons import ErrorReason

_K = AgentErrorKind
_R = RetryClass

APPROVAL_MEANINGS: Mapping[ErrorReason, Meaning] = {
    ErrorReason.APPROVAL_NOT_FOUND: Meaning(
        _K.INVALID_REQUEST,
        _R.NOT_RETRYABLE,
        "`runwright approvals ls` shows the approvals that this key can see.",
        ("approval_id",),
    ),
    ErrorReason.APPROVAL_ALREADY_DECIDED: Meaning(
        _K.INVALID_STATE_TRANSITION,
        _R.NOT_RETRYABLE,
        "What was decided stands; `runwright approvals show ID` says what it was.",
        ("approval_id", "verdict", "decided_by", "decided_at", "request_id"),
    ),
    ErrorReason.APPROVAL_EXPIRED: Meaning(
        _K.APPROVAL_FAILURE,
        _R.NOT_RETRYABLE,
        "Nothing can be decided any more; the package says how long an approval waits, in `approvals`.",
        ("approval_id", "expires_at"),
    ),
    ErrorReason.APPROVAL_WITHDRAWN: Meaning(
        _K.INVALID_STATE_TRANSITION,
        _R.NOT_RETRYABLE,
        "There is nothing to decide any more; `runwright explain RUN` says what became of the run.",
        ("approval_id", "state"),
    ),
    ErrorReason.APPROVAL_DIGEST_MISMATCH: Meaning(
        _K.INVALID_REQUEST,
        _R.NOT_RETRYABLE,
        "Look at the approval again, and decide on what is pending now: `runwright approvals show ID`.",
        ("approval_id", "digest"),
    ),
    ErrorReason.APPROVER_NOT_ALLOWED: Meaning(
        _K.APPROVAL_FAILURE,
        _R.USER_ACTION_NEEDED,
        "Have somebody else decide: `runwright approvals show ID` says whose turn it is.",
        ("approval_id", "rule"),
    ),
    ErrorReason.APPROVAL_ABORTED: Meaning(
        _K.APPROVAL_FAILURE,
        _R.NOT_RETRYABLE,
        "The run was ended on purpose; the decision may say why.",
        ("approval_id", "decided_by"),
    ),
    ErrorReason.APPROVAL_DENIED: Meaning(
        _K.APPROVAL_FAILURE,
        _R.NOT_RETRYABLE,
        "What was denied is not done; `runwright approvals show ID` says who denied it, and why.",
        ("approval_id", "decided_by"),
    ),
    ErrorReason.APPROVER_MISSING: Meaning(
        _K.HOST_CONFIGURATION_NEEDED,
        _R.HOST_CONFIGURATION_NEEDED,
        "Give somebody a key with a role or a name that the package asks for: runwright keys add.",
        ("approval",),
    ),
    ErrorReason.APPROVAL_EDIT_INVALID: Meaning(
        _K.INVALID_REQUEST,
        _R.NOT_RETRYABLE,
        "Mend the arguments and decide again: `runwright approvals edit ID`. Nothing was decided.",
        ("approval_id", "rule"),
    ),
    ErrorReason.APPROVAL_DELEGATE_NOT_ALLOWED: Meaning(
        _K.INVALID_REQUEST,
        _R.NOT_RETRYABLE,
        "Delegate to somebody else of the approval's `delegates`, or decide: `runwright approvals show ID`.",
        ("approval_id", "delegate_to", "rule"),
    ),
    ErrorReason.GRANT_NOT_OFFERED: Meaning(
        _K.APPROVAL_FAILURE,
        _R.NOT_RETRYABLE,
        "Approve without it, or give one that is offered: `runwright approvals show ID` says which.",
        ("approval_id", "rule"),
    ),
    ErrorReason.GRANT_NOT_FOUND: Meaning(
        _K.INVALID_REQUEST,
        _R.NOT_RETRYABLE,
        "`runwright grants ls` shows the grants that this key can see.",
        ("grant_id",),
    ),
    ErrorReason.GRANT_NOT_YOURS: Meaning(
        _K.APPROVAL_FAILURE,
        _R.USER_ACTION_NEEDED,
        "Have whoever issued it take it back, or an admin.",
        ("grant_id", "issuer"),
    ),
}

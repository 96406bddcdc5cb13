"""The call that was approved last before another one, as far as it may be compared with."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from runwright.core.approval_requests import StandingApproval
from runwright.core.approval_rows import RequestedApproval
from runwright.core.argument_changes import ArgumentChanges


class ApprovalComparison(Enum):
    """What came of looking for an earlier call. The numbers are those of `runwright.v1.ApprovalComparison`."""

    COMPARED = 1
    FIRST = 2
    NOT_VISIBLE = 3
    UNAVAILABLE = 4


class PreviousApproval(Struct, frozen=True):
    """What was found: the earlier approval and how the arguments differ, where they are compared."""

    comparison: ApprovalComparison
    earlier: StandingApproval | None = None
    changes: ArgumentChanges | None = None


def is_comparable(found: StandingApproval, asked: RequestedApproval) -> bool:
    """False for an approval that counts no more, for another one of the same call, and for one of another tool."""
    one = found.asked
    is_same_run = one.run_id == asked.run_id
    is_same_call = is_same_run and one.effect_id == asked.effect_id
    is_alike = (one.tool, one.agent_id, one.session_id) == (asked.tool, asked.agent_id, asked.session_id)
    is_together = bool(asked.session_id) or is_same_run
    return is_alike and is_together and not is_same_call and not found.is_superseded

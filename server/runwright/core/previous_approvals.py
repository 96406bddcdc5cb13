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
    TOO_LARGE = 5


class PreviousApproval(Struct, frozen=True):
    """What was found: the earlier approval where one is named, and how the arguments differ where they are compared."""

    comparison: ApprovalComparison
    earlier: StandingApproval | None = None
    changes: ArgumentChanges | None = None


def is_comparable(found: StandingApproval, asked: RequestedApproval) -> bool:
    """False for an approval that counts no more, for another one of the same call, and for one of another tool."""
    one = found.asked
    is_same_call = (one.run_id, one.effect_id) == (asked.run_id, asked.effect_id)
    is_alike = (one.tool, one.agent_id, one.session_id) == (asked.tool, asked.agent_id, asked.session_id)
    return is_alike and not is_same_call and not found.is_superseded

"""How a call that is to be approved differs from the last one that was: found by index and compared when it is read."""

from __future__ import annotations

import asyncio

from runwright.core.approval_requests import StandingApproval
from runwright.core.approval_rows import ApprovalOutcome, RequestedApproval
from runwright.core.approvals import ApprovalKind
from runwright.core.approved_call_rows import APPROVED_CALLS, approval_of_key, approved_call_key, approved_calls_of
from runwright.core.argument_changes import ArgumentChanges, argument_changes
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import Namespace, RunId
from runwright.core.previous_approvals import ApprovalComparison, PreviousApproval, is_comparable
from runwright.core.principal import Principal
from runwright.core.selection import Scope, ScopeKind
from runwright.runtime.approvals import Approvals
from runwright.runtime.ports import Ports

LOOKED_AT = 32  # approvals that are passed over because they count no more, at most
_COMPARED_INLINE_BYTES = 8 * 1024  # of both arguments, in a millisecond on the loop; more of them on another thread


class PreviousApprovals:
    """Looks for the call of the same tool, agent and session (or run) that was approved last, and compares with it."""

    def __init__(self, ports: Ports, approvals: Approvals) -> None:
        self._ports = ports
        self._approvals = approvals
        self._large = asyncio.Semaphore(1)  # large arguments, one pair after the other

    async def of(self, who: Principal, standing: StandingApproval, arguments: bytes) -> PreviousApproval | None:
        """How `arguments`, those that an approval was asked for with, differ; None where no call is to be approved.

        Nothing is said of an approval that whoever reads does not see. Raises the journal's errors, but
        for what is damaged: that is UNAVAILABLE, as what is asked for can be decided on without it.
        """
        if standing.asked.kind is not ApprovalKind.TOOL_CALL:
            return None
        try:
            earlier = await self._earlier(who.namespace, standing)
            if isinstance(earlier, ApprovalComparison):
                return PreviousApproval(earlier)
            if not self._approvals.sees(who, earlier):
                return PreviousApproval(ApprovalComparison.NOT_VISIBLE)
            approved = await self._approved_arguments(who.namespace, earlier)
        except AgentError as error:
            if error.reason is not ErrorReason.JOURNAL_CORRUPT:
                raise
            self._ports.log.error("an approval cannot be compared with", error, namespace=who.namespace)
            return PreviousApproval(ApprovalComparison.UNAVAILABLE)
        if approved is None:
            return PreviousApproval(ApprovalComparison.UNAVAILABLE)
        changes = await self._changes(approved, arguments, standing.asked.highlight)
        if changes is None:
            return PreviousApproval(ApprovalComparison.UNAVAILABLE)
        return PreviousApproval(ApprovalComparison.COMPARED, earlier, changes)

    async def _earlier(self, namespace: Namespace, standing: StandingApproval) -> StandingApproval | ApprovalComparison:
        """The approval to compare with, whoever may see it; or why there is none. Raises JOURNAL_CORRUPT."""
        asked = standing.asked
        calls = approved_calls_of(asked.run_id, asked.session_id, asked.agent_id, asked.tool)
        entries = await self._ports.journal.entries(
            namespace, APPROVED_CALLS, prefix=calls, after=_place(calls, asked, standing.outcome), limit=LOOKED_AT
        )
        for entry in entries:
            if isinstance(entry, AgentError):
                raise entry
            found = await self._approvals.look_up(namespace, approval_of_key(entry.key))
            if found is None:  # it has just been removed
                return ApprovalComparison.UNAVAILABLE
            if is_comparable(found, asked):
                return found
        if len(entries) == LOOKED_AT or await self._has_removed(namespace, asked):
            return ApprovalComparison.UNAVAILABLE
        return ApprovalComparison.FIRST

    async def _has_removed(self, namespace: Namespace, asked: RequestedApproval) -> bool:
        """True when there were runs of the session that nobody can look into any more."""
        if not asked.session_id:
            return False
        return await self._ports.journal.horizon(Scope(namespace, ScopeKind.SESSION, asked.session_id)) > 0

    async def _approved_arguments(self, namespace: Namespace, earlier: StandingApproval) -> bytes | None:
        """What was approved, edited or not; None when it has been removed. Raises JOURNAL_CORRUPT."""
        outcome, ref = earlier.outcome, earlier.asked.arguments
        if outcome is not None and outcome.edited_arguments is not None:
            ref = outcome.edited_arguments
        found = await self._ports.journal.content(namespace, [ref.digest], run=RunId(earlier.asked.run_id))
        return found.get(ref.digest)

    async def _changes(self, before: bytes, after: bytes, highlight: tuple[str, ...]) -> ArgumentChanges | None:
        if len(before) + len(after) <= _COMPARED_INLINE_BYTES:
            return argument_changes(before, after, highlight)
        async with self._large:
            return await asyncio.to_thread(argument_changes, before, after, highlight)


def _place(calls: str, asked: RequestedApproval, outcome: ApprovalOutcome | None) -> str:
    """Behind which key there is what was approved before: at the beginning while it is pending."""
    return "" if outcome is None else approved_call_key(calls, outcome.at, asked.id)

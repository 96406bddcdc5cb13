"""The index of approvals that runs write, read: one approval as it stands, whoever looks at it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import DecodeError

from runwright.core.approval_delegation import MAX_DELEGATIONS
from runwright.core.approval_delegation_rows import DELEGATED, Delegation, delegations_of, read_delegation
from runwright.core.approval_requests import StandingApproval
from runwright.core.approval_rows import (
    BY_ID,
    OUTCOME,
    SUPERSEDED,
    ApprovalOutcome,
    RequestedApproval,
    read_outcome,
    read_requested,
)
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import Namespace
from runwright.runtime.ports import Ports


class ApprovalIndex:
    """What was asked for, how it was delegated, and what became of it. For people, and for dispatchers, alike."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def look_up(self, namespace: Namespace, approval_id: str) -> StandingApproval | None:
        """An approval as it stands, for whomever; None when there is none, or it went with its run."""
        return (await self.look_up_all(namespace, (approval_id,)))[0]

    async def look_up_all(self, namespace: Namespace, approval_ids: Sequence[str]) -> Sequence[StandingApproval | None]:
        """Approvals as they stand, for whomever, in that order: one question for all, and one for each delegable."""
        names = ((index, approval_id) for approval_id in approval_ids for index in (BY_ID, OUTCOME, SUPERSEDED))
        entries = await self._ports.journal.named(namespace, *names)
        found: list[StandingApproval | None] = []
        rows = iter(entries)
        for approval_id, entry, outcome, superseded in zip(approval_ids, rows, rows, rows, strict=True):
            if entry is None:
                found.append(None)
                continue
            asked = self.read(approval_id, entry.value)
            delegations = await self.delegations(namespace, asked)
            became = self._outcome(asked, outcome.value) if outcome else None
            found.append(self.as_of(asked, became, delegations, is_superseded=superseded is not None))
        return found

    async def delegations(self, namespace: Namespace, asked: RequestedApproval) -> tuple[Delegation, ...]:
        """How an approval was delegated, in that order. Nothing is looked for where it cannot be."""
        if not asked.delegates:
            return ()
        prefix = delegations_of(asked.id)
        entries = await self._ports.journal.entries(namespace, DELEGATED, prefix=prefix, limit=MAX_DELEGATIONS)
        found: list[Delegation] = []
        for entry in entries:
            if isinstance(entry, AgentError):
                raise entry
            try:
                found.append(read_delegation(entry.value))
            except DecodeError:
                raise unreadable(asked.id) from None
        return tuple(found)

    def as_of(
        self,
        asked: RequestedApproval,
        outcome: ApprovalOutcome | None,
        delegations: tuple[Delegation, ...] = (),
        *,
        is_superseded: bool = False,
    ) -> StandingApproval:
        """The approval with what became of it, as of now."""
        turn = asked.current_set(outcome.at if outcome else self._ports.clock.now())
        return StandingApproval(asked, outcome, is_superseded, turn, self._ports.approvers.separation, delegations)

    def read(self, approval_id: str, value: bytes) -> RequestedApproval:
        """The approval that an entry says. Raises JOURNAL_CORRUPT."""
        try:
            return read_requested(value)
        except DecodeError:
            raise unreadable(approval_id) from None

    def _outcome(self, asked: RequestedApproval, value: bytes) -> ApprovalOutcome:
        try:
            return read_outcome(value)
        except DecodeError:
            raise unreadable(asked.id) from None


def unreadable(approval_id: str) -> AgentError:
    """What is stored of an approval is damaged: JOURNAL_CORRUPT."""
    message = f"What is stored of approval {approval_id} cannot be read."
    run_id = approval_id.rpartition("/")[0]
    return AgentError(ErrorReason.JOURNAL_CORRUPT, message, metadata={"run_id": run_id, "first_bad": ""})

"""The part of a client that shows what people have permitted for later, and takes it back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass

from ._gen.runwright.v1 import (
    ApprovalServiceStub,
    GrantState,
    GrantStatus,
    ListGrantsRequest,
    RevokeGrantRequest,
)
from .connection import Connection


@dataclass(frozen=True, slots=True)
class Revoked:
    """What a revocation came to: the grant as it stands; `revoked` is False when it answered no more before."""

    grant: GrantStatus
    revoked: bool


class GrantCalls:
    """What `Client` can do with grants. They are named by their ids, `RUN/gN.N.N`."""

    deadline: float
    _connection: Connection
    _approvals: ApprovalServiceStub

    async def list_grants(
        self,
        *,
        states: Iterable[GrantState] = (),
        tool: str = "",
        agent_id: str = "",
        run_id: str = "",
        issuer: str = "",
        page_size: int = 0,
    ) -> AsyncGenerator[GrantStatus]:
        """Grants, page by page as they are asked for: those that answer, the one that lasts longest first, unless
        `states` says others, which come with the newest first."""
        request = ListGrantsRequest(
            states=list(states), tool=tool, agent_id=agent_id, run_id=run_id, issuer=issuer, page_size=page_size
        )
        while True:
            page = await self._connection.unary(self._approvals.list_grants, request, deadline=self.deadline, safe=True)
            for grant in page.grants:
                yield grant
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def revoke_grant(self, grant_id: str, *, note: str = "", deadline: float | None = None) -> Revoked:
        """Takes a grant back, for good: from then on somebody is asked again. A request that is sent again changes
        nothing."""
        request = RevokeGrantRequest(grant_id=grant_id, note=note)
        answer = await self._connection.unary(
            self._approvals.revoke_grant, request, deadline=deadline or self.deadline, safe=True
        )
        return Revoked(answer.grant or GrantStatus(), answer.revoked)

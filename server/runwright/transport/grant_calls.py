"""What ApprovalService does with grants: lists them and takes them back."""

from __future__ import annotations

from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.error_kinds import RetryClass
from runwright.core.errors import AgentError
from runwright.runtime import AgentRuntime
from runwright.runtime.grants import Grants
from runwright.transport.access import principal
from runwright.transport.usage import PAGE_BYTES
from runwright.wire.grants import grant_filter, put_grant
from runwright.wire.requests import page_size


class GrantCalls:
    """The part of ApprovalService that is about grants."""

    def __init__(self, runtime: AgentRuntime) -> None:
        self._audit = runtime.ports.audit
        self._grants = Grants(runtime.ports, runtime.approvals)

    async def list(self, request: pb.ListGrantsRequest) -> pb.ListGrantsResponse:
        """One page of grants."""
        wanted, size = grant_filter(request), page_size(request.page_size)
        page = await self._grants.page(principal(), wanted, request.page_token, size)
        response = pb.ListGrantsResponse(next_page_token=page.next_token)
        room = PAGE_BYTES
        for standing, token in zip(page.grants, ("", *page.tokens), strict=False):
            message = response.grants.add()
            put_grant(message, standing)
            room -= message.ByteSize()
            if room < 0 and len(response.grants) > 1:
                del response.grants[-1]
                response.next_page_token = token  # after the one before
                break
        return response

    async def revoke(self, request: pb.RevokeGrantRequest) -> pb.RevokeGrantResponse:
        """Takes a grant back; durable before the reply. Who was refused is noted, and why."""
        try:
            standing, is_first = await self._grants.revoke(principal(), request.grant_id, request.note)
        except AgentError as error:
            if error.meaning.retry is not RetryClass.RETRYABLE:
                self._refused(request.grant_id, error)
            raise
        response = pb.RevokeGrantResponse(revoked=is_first)
        put_grant(response.grant, standing)
        return response

    def _refused(self, grant_id: str, error: AgentError) -> None:
        who = principal()
        self._audit.note(
            AuditEntry(
                kind=AuditKind.GRANT_REVOCATION_REFUSED,
                principal=who.name,
                namespace=who.namespace,
                reason=error.reason.name,
                subjects=(grant_id,) if grant_id else (),
            )
        )

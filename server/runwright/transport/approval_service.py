"""The handlers of ApprovalService: a request is read, the runtime asked, its answer put into a response."""

from __future__ import annotations

from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright._gen.runwright.v1.content_pb2 import InlineContent
from runwright.core.approval_requests import MAX_BATCH, StandingApproval
from runwright.core.approval_rows import RequestedApproval
from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.content import ContentRef
from runwright.core.error_kinds import RetryClass
from runwright.core.errors import AgentError, invalid_request
from runwright.runtime import AgentRuntime
from runwright.runtime.previous_approvals import PreviousApprovals
from runwright.transport.access import principal
from runwright.transport.approval_watch import ApprovalWatch
from runwright.transport.grant_calls import GrantCalls
from runwright.transport.method import MessageSender
from runwright.transport.usage import PAGE_BYTES
from runwright.wire.approval_dispatches import put_dispatch
from runwright.wire.approvals import approval_filter, decision_request, put_approval
from runwright.wire.previous_approvals import put_previous
from runwright.wire.requests import page_size
from runwright.wire.snapshots import inline_content
from runwright.wire.values import agent_error


class ApprovalService:
    """`runwright.v1.ApprovalService` over an AgentRuntime."""

    def __init__(self, runtime: AgentRuntime) -> None:
        self._runtime = runtime
        self._watch = ApprovalWatch(runtime)
        self._grants = GrantCalls(runtime)
        self._previous = PreviousApprovals(runtime.ports, runtime.approvals)

    async def ListApprovals(self, request: pb.ListApprovalsRequest) -> pb.ListApprovalsResponse:
        """One page of approvals."""
        wanted, size = approval_filter(request), page_size(request.page_size)
        page = await self._runtime.approval_list.page(principal(), wanted, request.page_token, size)
        response, room = pb.ListApprovalsResponse(next_page_token=page.next_token), PAGE_BYTES
        for standing, token in zip(page.approvals, ("", *page.tokens), strict=False):
            message = response.approvals.add()
            put_approval(message, standing)
            room -= message.ByteSize()
            if room < 0 and len(response.approvals) > 1:
                del response.approvals[-1]
                response.next_page_token = token  # after the one before
                break
        return response

    async def GetApproval(self, request: pb.GetApprovalRequest) -> pb.GetApprovalResponse:
        """One approval as it stands."""
        standing = await self._runtime.approvals.get(principal(), request.approval_id)
        response = pb.GetApprovalResponse()
        put_approval(response.approval, standing)
        for dispatch in await self._runtime.approvals.dispatches(principal().namespace, standing):
            put_dispatch(response.approval.dispatches.add(), dispatch)
        if request.include_arguments:
            approval, asked, outcome = response.approval, standing.asked, standing.outcome
            arguments = await self._runtime.approvals.arguments(principal().namespace, asked, asked.arguments)
            approval.arguments_content.CopyFrom(inline_content(asked.arguments, arguments))
            previous = await self._previous.of(principal(), standing, arguments)
            if previous is not None:
                put_previous(approval.previous, previous)
            if outcome is not None and outcome.edited_arguments is not None:
                edited = await self._content(asked, outcome.edited_arguments)
                approval.decision.edited_arguments_content.CopyFrom(edited)
        return response

    async def _content(self, asked: RequestedApproval, ref: ContentRef) -> InlineContent:
        return inline_content(ref, await self._runtime.approvals.arguments(principal().namespace, asked, ref))

    async def WatchApprovals(self, request: pb.WatchApprovalsRequest, sender: MessageSender) -> None:
        """Streams approvals as they come and as they are decided."""
        await self._watch.watch(request, sender)

    async def DecideApproval(self, request: pb.DecideApprovalRequest) -> pb.DecideApprovalResponse:
        """Decides, once; durable before the reply."""
        response = pb.DecideApprovalResponse()
        await self._decide(request.decision, response)
        return response

    async def BatchDecide(self, request: pb.BatchDecideRequest) -> pb.BatchDecideResponse:
        """Each decision for itself, in their order."""
        if not 1 <= len(request.decisions) <= MAX_BATCH:
            raise invalid_request("decisions", f"1 to {MAX_BATCH} decisions", "Send the others with another call.")
        response = pb.BatchDecideResponse()
        for decision in request.decisions:
            result = response.results.add(approval_id=decision.approval_id)
            try:
                await self._decide(decision, result.decided)
            except AgentError as error:
                result.error.CopyFrom(agent_error(error))
        return response

    async def ListGrants(self, request: pb.ListGrantsRequest) -> pb.ListGrantsResponse:
        """One page of grants."""
        return await self._grants.list(request)

    async def RevokeGrant(self, request: pb.RevokeGrantRequest) -> pb.RevokeGrantResponse:
        """Takes a grant back; durable before the reply."""
        return await self._grants.revoke(request)

    async def _decide(self, decision: pb.DecisionRequest, response: pb.DecideApprovalResponse) -> None:
        try:
            wanted = decision_request(decision)
            standing, is_first = await self._runtime.approvals.decide(principal(), wanted)
        except AgentError as error:
            self._refused(decision.approval_id, error)
            raise
        _put(response, standing, is_first=is_first)

    def _refused(self, approval_id: str, error: AgentError) -> None:
        """Notes who was refused what, and why; not what the same request may get a moment later."""
        if error.meaning.retry is RetryClass.RETRYABLE:
            return
        who, rule = principal(), error.metadata.get("rule", "")
        self._runtime.ports.audit.note(
            AuditEntry(
                kind=AuditKind.APPROVAL_REFUSED,
                principal=who.name,
                namespace=who.namespace,
                reason=error.reason.name,
                subjects=tuple(subject for subject in (approval_id, rule) if subject),
            )
        )


def _put(response: pb.DecideApprovalResponse, standing: StandingApproval, *, is_first: bool) -> None:
    put_approval(response.approval, standing)
    response.decided = is_first

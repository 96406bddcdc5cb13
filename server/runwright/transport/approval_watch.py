"""WatchApprovals: what is pending, then each approval as it stands after something has become of it."""

from __future__ import annotations

import contextlib

from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright.core import records as r
from runwright.core.approval_requests import ApprovalFilter
from runwright.core.approval_rows import full_id
from runwright.core.kinds import KINDS, kind_of
from runwright.core.principal import Principal
from runwright.core.selection import EventFilter, Scope, ScopeKind, Selection
from runwright.ports.journal import StoredEvent
from runwright.runtime import AgentRuntime
from runwright.transport.access import principal
from runwright.transport.method import MessageSender
from runwright.wire.approvals import put_approval
from runwright.wire.records import decode_event

PAGE = 100
_RECORDS = (
    r.ApprovalRequested,
    r.ApprovalDecided,
    r.ApprovalExpired,
    r.ApprovalWithdrawn,
    r.ApprovalSuperseded,
    r.ApprovalEscalated,
    r.ApprovalDelegated,
)
# Not who was told of it: that changes no approval.
_KINDS = frozenset(KINDS[record] for record in _RECORDS)


class ApprovalWatch:
    """A stream of the namespace's events of approvals, each told as the approval it is about stands now."""

    def __init__(self, runtime: AgentRuntime) -> None:
        self._runtime = runtime

    async def watch(self, request: pb.WatchApprovalsRequest, sender: MessageSender) -> None:
        """Streams without end. Raises the errors of cursors, SUBSCRIBER_STALLED, DRAINING and the journal's errors.

        Without a cursor the stream is opened first and what is pending read then: what comes between is told twice,
        and nothing is missed.
        """
        who, after = principal(), request.after_cursor
        selection = Selection(Scope(who.namespace, ScopeKind.ALL), EventFilter(kinds=_KINDS))
        batches = await self._runtime.subscribe(selection, after_cursor=after, live_only=not after)
        async with contextlib.aclosing(batches):
            is_first = not after
            async for items in batches:
                if is_first:
                    is_first = False
                    await self._send_pending(who, items[0].cursor, request, sender)
                for item in items:
                    response = pb.WatchApprovalsResponse(cursor=item.cursor)
                    if item.event is not None:
                        await self._put(response, who, item.event, mine=request.mine)
                    await sender.write(response)

    async def _send_pending(
        self, who: Principal, cursor: str, request: pb.WatchApprovalsRequest, sender: MessageSender
    ) -> None:
        token = ""
        while True:
            page = await self._runtime.approval_list.page(who, ApprovalFilter(), token, PAGE)
            for standing in page.approvals:
                if not request.mine or self._runtime.approvals.is_asked(who, standing):
                    response = pb.WatchApprovalsResponse(cursor=cursor)
                    put_approval(response.approval, standing)
                    await sender.write(response)
            token = page.next_token
            if not token:
                return

    async def _put(
        self, response: pb.WatchApprovalsResponse, who: Principal, event: StoredEvent, *, mine: bool
    ) -> None:
        """Puts the approval that an event is about into the response, if it is to be seen."""
        record = decode_event(event.data)
        assert isinstance(record, _RECORDS), f"the selection has no {kind_of(record).name}"
        found = await self._runtime.approvals.look_up(who.namespace, full_id(event.run.run_id, record.approval_id))
        approvals = self._runtime.approvals
        if found is None or not approvals.sees(who, found):
            return
        if not mine or approvals.is_asked(who, found):
            put_approval(response.approval, found)

"""The part of a client that shows what waits for somebody to decide, and decides."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ._gen.runwright.v1 import (
    Approval,
    ApprovalServiceStub,
    ApprovalState,
    ApprovalVerdict,
    BatchDecideRequest,
    DecideApprovalRequest,
    DecisionRequest,
    DecisionResult,
    GetApprovalRequest,
    GrantRequest,
    ListApprovalsRequest,
    WatchApprovalsRequest,
)
from .connection import Connection
from .contact import Contact
from .errors import RunwrightError
from .grants import GrantCalls


@dataclass(frozen=True, slots=True)
class Decided:
    """What a decision came to: the approval as it stands; `decided` is False when this request had decided before."""

    approval: Approval
    decided: bool


@dataclass(frozen=True, slots=True)
class ApprovalUpdate:
    """An approval as it stands, and where to go on from behind it."""

    approval: Approval
    cursor: str


class ApprovalCalls(GrantCalls):
    """What `Client` can do with approvals. They are named by their ids, `RUN/aN.N.N`."""

    def _open_approvals(self, connection: Connection) -> None:
        self._approvals = ApprovalServiceStub(connection.channel)

    async def list_approvals(  # the filters, by name
        self,
        *,
        states: Iterable[ApprovalState] = (),
        mine: bool = False,
        agent_id: str = "",
        tool: str = "",
        risk: str = "",
        run_id: str = "",
        requested_before: datetime | None = None,
        page_size: int = 0,
    ) -> AsyncGenerator[Approval]:
        """Approvals, page by page as they are asked for: those that are pending, the oldest first, unless `states` says
        others, which come with the newest first. `mine` are those that this key may decide on now, `requested_before`
        a time with its zone.
        """
        request = ListApprovalsRequest(
            states=list(states),
            mine=mine,
            agent_id=agent_id,
            tool=tool,
            risk=risk,
            run_id=run_id,
            requested_before=requested_before,
            page_size=page_size,
        )
        while True:
            page = await self._connection.unary(
                self._approvals.list_approvals, request, deadline=self.deadline, safe=True
            )
            for approval in page.approvals:
                yield approval
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def get_approval(self, approval_id: str, *, deadline: float | None = None) -> Approval:
        """An approval as it stands, with the arguments that are to be approved, up to 64 KiB.

        `previous` is how they differ from those of the last call that was approved.
        """
        request = GetApprovalRequest(approval_id=approval_id, include_arguments=True)
        answer = await self._connection.unary(
            self._approvals.get_approval, request, deadline=deadline or self.deadline, safe=True
        )
        return answer.approval or Approval()

    async def decide_approval(  # noqa: PLR0913  # the fields of a decision, by name
        self,
        approval_id: str,
        digest: str,
        verdict: ApprovalVerdict,
        *,
        message: str = "",
        note: str = "",
        on_behalf_of: str = "",
        grant: GrantRequest | None = None,
        request_id: str = "",
        arguments: Mapping[str, Any] | None = None,
        delegate_to: str = "",
        deadline: float | None = None,
    ) -> Decided:
        """Decides, once, on what has this `digest`: `Approval.digest` of what was looked at.

        `message` is what the model is told of a DENY, and the result that a RESPOND is; `arguments` are those that the
        call is made with of APPROVE_WITH_EDITS; `delegate_to` says whom a DELEGATE has decide. An APPROVE, also one
        with edits, may come with a `grant`, which permits such calls from then on, within what `Approval.grants`
        offers. The request id is made here when there is none, so that a lost answer never decides twice.
        """
        request = DecideApprovalRequest(
            decision=DecisionRequest(
                approval_id=approval_id,
                digest=digest,
                verdict=verdict,
                message=message,
                note=note,
                on_behalf_of=on_behalf_of,
                grant=grant,
                request_id=request_id or str(uuid.uuid4()),
                arguments_json=b"" if arguments is None else json.dumps(dict(arguments), allow_nan=False).encode(),
                delegate_to=delegate_to,
            )
        )
        answer = await self._connection.unary(
            self._approvals.decide_approval, request, deadline=deadline or self.deadline, safe=True
        )
        return Decided(answer.approval or Approval(), answer.decided)

    async def batch_decide(
        self, decisions: Iterable[DecisionRequest], *, deadline: float | None = None
    ) -> list[DecisionResult]:
        """Takes up to 100 decisions, each for itself; the results stand in their order. Those without a request id get
        one."""
        named = [each if each.request_id else replace(each, request_id=str(uuid.uuid4())) for each in decisions]
        answer = await self._connection.unary(
            self._approvals.batch_decide,
            BatchDecideRequest(decisions=named),
            deadline=deadline or self.deadline,
            safe=True,
        )
        return list(answer.results)

    async def watch_approvals(self, *, after: str = "", mine: bool = False) -> AsyncGenerator[ApprovalUpdate]:
        """What is pending, then each approval as it stands after something has become of it, for ever.

        Comes back by itself over disconnects and restarts, from the last cursor. `after` is that of the last update
        that was seen: then what is pending does not come first. `mine`: those that this key may decide on.
        """
        updates: asyncio.Queue[ApprovalUpdate] = asyncio.Queue(1)
        request = WatchApprovalsRequest(after_cursor=after, mine=mine)
        # In a task of its own, as the transport cancels what reads a stream.
        reading = asyncio.create_task(self._read_approvals(request, updates))
        try:
            while True:
                getting = asyncio.ensure_future(updates.get())
                await asyncio.wait({getting, reading}, return_when=asyncio.FIRST_COMPLETED)
                if not getting.done():
                    getting.cancel()
                    await reading
                yield getting.result()
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    async def _read_approvals(self, request: WatchApprovalsRequest, updates: asyncio.Queue[ApprovalUpdate]) -> None:
        contact = Contact(self.deadline)
        while True:
            lost = RunwrightError("The stream ended.", reason="UNAVAILABLE", code="UNAVAILABLE")
            try:
                async with aclosing(self._connection.stream(self._approvals.watch_approvals, request)) as responses:
                    async for response in responses:
                        contact.made()
                        if response.approval is not None:
                            await updates.put(ApprovalUpdate(response.approval, response.cursor))
                        request = replace(request, after_cursor=response.cursor)
            except RunwrightError as error:
                lost = error
            is_cut_short = lost.reason == lost.code and lost.code in ("CANCELLED", "DEADLINE_EXCEEDED")
            passes = not self._connection.is_closed and (lost.retryable or is_cut_short)
            await asyncio.sleep(contact.lost(lost, passes=passes))

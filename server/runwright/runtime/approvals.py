"""Approvals as objects: looked up, listed, decided on. One decision each, whoever decides and however often."""

from __future__ import annotations

import asyncio

from msgspec import DecodeError

from runwright.core import inputs as i
from runwright.core.approval_dispatch_rows import DISPATCH, DispatchStanding, dispatch_prefix, read_dispatch
from runwright.core.approval_dispatches import MAX_DISPATCHERS
from runwright.core.approval_failures import already_closed, approver_not_allowed, digest_mismatch, no_approval
from runwright.core.approval_requests import (
    ApprovalName,
    DecisionRequest,
    StandingApproval,
    require_allowed_verdict,
)
from runwright.core.approval_rows import (
    BY_ID,
    OUTCOME,
    SUPERSEDED,
    ApprovalOutcome,
    RequestedApproval,
    read_outcome,
    read_requested,
)
from runwright.core.approvals import ApprovalSeparation, ApprovalState, ApprovalVerdict, Decider, why_not_allowed
from runwright.core.content import Content
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.principal import Principal, Role
from runwright.core.records import ApprovalDecided
from runwright.core.units import Micros
from runwright.runtime.grant_offers import require_offered
from runwright.runtime.ports import Ports
from runwright.runtime.runs.supervisor import Supervisor

SEES_ALL = frozenset({Role.OBSERVER})
ATTEMPTS = 3  # of one decision whose time passes from one approver set to the next


def roles_of(who: Principal) -> tuple[str, ...]:
    """The roles of a principal, as approver sets name them."""
    return tuple(sorted(role.value for role in who.roles))


class Approvals:
    """Reads the index that runs write; decides by way of the run. A restart changes no answer."""

    def __init__(self, ports: Ports, supervisor: Supervisor) -> None:
        self._ports = ports
        self._supervisor = supervisor

    def sees(self, who: Principal, asked: RequestedApproval) -> bool:
        """True for observers and admins, and for whoever is in one of its approver sets."""
        return who.has_any(SEES_ALL) or self.is_asked(who, asked)

    def is_asked(self, who: Principal, asked: RequestedApproval) -> bool:
        """True for whoever is in one of its approver sets; for everybody where nobody is told from others."""
        if self._ports.approvers.separation is ApprovalSeparation.NOT_ENFORCED:
            return True
        return asked.is_of(who.name, roles_of(who))

    async def get(self, who: Principal, approval_id: str) -> StandingApproval:
        """An approval as it stands. Raises INVALID_REQUEST, APPROVAL_NOT_FOUND and the journal's errors."""
        ApprovalName.parse(approval_id)
        found = await self.look_up(who.namespace, approval_id)
        if found is None or not self.sees(who, found.asked):
            raise no_approval(approval_id)
        return found

    async def arguments(self, namespace: Namespace, asked: RequestedApproval) -> bytes:
        """The arguments that are to be approved. Raises JOURNAL_CORRUPT."""
        digest = asked.arguments.digest
        found = await self._ports.journal.content(namespace, [digest], run=RunId(asked.run_id), required=True)
        return found[digest]

    async def dispatches(self, namespace: Namespace, asked: RequestedApproval) -> list[DispatchStanding]:
        """How far each of its dispatchers has been told, by name. Raises JOURNAL_CORRUPT."""
        prefix = dispatch_prefix(asked.id)
        found = await self._ports.journal.entries(namespace, DISPATCH, prefix=prefix, limit=MAX_DISPATCHERS)
        standing = []
        for entry in found:
            if isinstance(entry, AgentError):
                raise entry
            try:
                standing.append(read_dispatch(entry.value))
            except DecodeError:
                raise _unreadable(asked.id) from None
        return standing

    async def decide(self, who: Principal, request: DecisionRequest) -> tuple[StandingApproval, bool]:
        """Decides on an approval; on return the decision is durable. False: this very request had decided before.

        Raises INVALID_REQUEST, APPROVAL_NOT_FOUND, APPROVAL_ALREADY_DECIDED, APPROVAL_EXPIRED, APPROVAL_WITHDRAWN,
        APPROVAL_DIGEST_MISMATCH, APPROVER_NOT_ALLOWED, GRANT_NOT_OFFERED, REQUEST_ID_CONFLICT, RUN_HELD, DRAINING and
        the journal's.
        """
        is_first = await self._decided(who, request, request.check())
        return await self._required(who.namespace, request.approval_id), is_first

    async def _decided(self, who: Principal, request: DecisionRequest, name: ApprovalName) -> bool:
        """True when this request decided."""
        for _ in range(ATTEMPTS):
            before = await self._required(who.namespace, request.approval_id)
            if before.outcome is not None:
                return _repeated(who, request, before.asked, before.outcome)
            require_allowed_verdict(before.asked, request.verdict)
            decider, now = self._decider(who, before.asked), self._ports.clock.now()
            if _refusal(decider, request, before.asked, now) is not None:
                await self._require_allowed(who, request, before.asked)
            if request.grant is not None and now < before.asked.expires_at:
                await require_offered(self._ports, who.namespace, before.asked, request.grant)
            response = Content.text(request.message) if request.verdict is ApprovalVerdict.RESPOND else None
            requested = i.ApprovalDecisionRequested(
                at=now,
                call_id=name.call_id,
                approval_id=name.approval_id,
                digest=request.digest,
                verdict=request.verdict,
                decider=decider,
                request_id=request.request_id,
                request_digest=request.request_digest(),
                message="" if response else request.message,
                note=request.note,
                on_behalf_of=request.on_behalf_of,
                response=response.ref if response else None,
                is_gated=self._ports.policies.are_heard_of_results(who.namespace),
                grant=request.grant,
                contents=(response,) if response else (),
            )
            records, _ = await self._supervisor.submit(RunKey(who.namespace, name.run_id), requested)
            if any(isinstance(record, ApprovalDecided) for record in records):
                return True
        # It expired, or the run has ended meanwhile; or its time went from set to set under each attempt.
        last = await self._required(who.namespace, request.approval_id)
        if last.outcome is not None:
            return _repeated(who, request, last.asked, last.outcome)
        await self._require_allowed(who, request, last.asked)
        raise already_closed(last.asked, ApprovalOutcome(ApprovalState.WITHDRAWN, self._ports.clock.now()))

    async def _require_allowed(self, who: Principal, request: DecisionRequest, asked: RequestedApproval) -> None:
        """Raises APPROVAL_DIGEST_MISMATCH or APPROVER_NOT_ALLOWED, by the time that the run has.

        The clock may have been set back. The time on record never is, and nobody's turn comes back.
        """
        found = await self._supervisor.state(RunKey(who.namespace, RunId(asked.run_id)))
        now = max(self._ports.clock.now(), found[0].updated_at if found else 0)
        if (refusal := _refusal(self._decider(who, asked), request, asked, now)) is not None:
            raise refusal

    def _decider(self, who: Principal, asked: RequestedApproval) -> Decider:
        # What is done as a whole nobody performs but the server.
        may_perform = bool(asked.executor) and self._ports.approvers.may_perform(who, asked.executor)
        is_dispatcher = Role.DISPATCHER in who.roles
        return Decider(who.name, roles_of(who), may_perform, self._ports.approvers.separation, is_dispatcher)

    def may_decide(self, who: Principal, asked: RequestedApproval) -> bool:
        """True when a principal may decide now."""
        now, decider = self._ports.clock.now(), self._decider(who, asked)
        current = asked.sets[asked.current_set(now)]
        is_allowed = why_not_allowed(decider, current, asked.started_by, four_eyes=asked.four_eyes) is None
        return is_allowed and now < asked.expires_at

    async def _required(self, namespace: Namespace, approval_id: str) -> StandingApproval:
        found = await self.look_up(namespace, approval_id)
        if found is None:
            raise no_approval(approval_id)
        return found

    async def look_up(self, namespace: Namespace, approval_id: str) -> StandingApproval | None:
        """An approval as it stands, for whomever; None when there is none, or it went with its run."""
        entry = await self._ports.journal.entry(namespace, BY_ID, approval_id)
        if entry is None:
            return None
        return await self.standing(namespace, self.read(approval_id, entry.value))

    async def standing(self, namespace: Namespace, asked: RequestedApproval) -> StandingApproval:
        """What became of an approval."""
        outcome, superseded = await asyncio.gather(
            self._ports.journal.entry(namespace, OUTCOME, asked.id),
            self._ports.journal.entry(namespace, SUPERSEDED, asked.id),
        )
        found = self._outcome(asked, outcome.value) if outcome else None
        return self.as_of(asked, found, is_superseded=superseded is not None)

    def as_of(
        self, asked: RequestedApproval, outcome: ApprovalOutcome | None, *, is_superseded: bool = False
    ) -> StandingApproval:
        """The approval with what became of it, as of now."""
        turn = asked.current_set(outcome.at if outcome else self._ports.clock.now())
        return StandingApproval(asked, outcome, is_superseded, turn, self._ports.approvers.separation)

    def read(self, approval_id: str, value: bytes) -> RequestedApproval:
        """The approval that an entry says. Raises JOURNAL_CORRUPT."""
        try:
            return read_requested(value)
        except DecodeError:
            raise _unreadable(approval_id) from None

    def _outcome(self, asked: RequestedApproval, value: bytes) -> ApprovalOutcome:
        try:
            return read_outcome(value)
        except DecodeError:
            raise _unreadable(asked.id) from None


def _refusal(decider: Decider, request: DecisionRequest, asked: RequestedApproval, now: Micros) -> AgentError | None:
    """Why somebody may not decide so at that time; None when they may, or when it is too late for anybody."""
    if now >= asked.expires_at:
        return None
    current = asked.sets[asked.current_set(now)]
    why = why_not_allowed(decider, current, asked.started_by, four_eyes=asked.four_eyes)
    if why is not None:
        return approver_not_allowed(asked, why, current)
    return digest_mismatch(asked) if request.digest != asked.digest else None


def _repeated(who: Principal, request: DecisionRequest, asked: RequestedApproval, outcome: ApprovalOutcome) -> bool:
    """False: the very same request had decided. Raises what any other is refused with."""
    if outcome.request_id != request.request_id or outcome.decided_by != who.name:
        raise already_closed(asked, outcome)
    if outcome.request_digest != request.request_digest():
        message = f"Request id {request.request_id} was used for another decision on {asked.id}."
        raise AgentError(ErrorReason.REQUEST_ID_CONFLICT, message, metadata={"request_id": request.request_id})
    return False


def _unreadable(approval_id: str) -> AgentError:
    message = f"What is stored of approval {approval_id} cannot be read."
    run_id = approval_id.rpartition("/")[0]
    return AgentError(ErrorReason.JOURNAL_CORRUPT, message, metadata={"run_id": run_id, "first_bad": ""})

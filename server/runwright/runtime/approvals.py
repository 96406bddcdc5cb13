"""Approvals as objects: looked up, listed, decided on. One decision each, whoever decides and however often."""

from __future__ import annotations

from msgspec import DecodeError

from runwright.core import inputs as i
from runwright.core.approval_delegation import Delegate, why_not_delegated
from runwright.core.approval_dispatch_rows import DISPATCH, DispatchStanding, dispatch_prefix, read_dispatch
from runwright.core.approval_dispatches import MAX_DISPATCHERS
from runwright.core.approval_failures import (
    already_closed,
    approver_not_allowed,
    digest_mismatch,
    no_approval,
    not_delegated,
)
from runwright.core.approval_requests import (
    ApprovalName,
    DecisionRequest,
    StandingApproval,
    require_allowed_verdict,
)
from runwright.core.approval_rows import (
    ApprovalOutcome,
    RequestedApproval,
)
from runwright.core.approvals import ApprovalSeparation, ApprovalState, ApprovalVerdict, Decider, why_not_allowed
from runwright.core.content import Content, ContentRef
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.principal import Principal, Role
from runwright.core.records import ApprovalDecided, ApprovalDelegated
from runwright.core.units import Micros
from runwright.runtime.approval_edits import ApprovalEdits
from runwright.runtime.approval_index import ApprovalIndex, unreadable
from runwright.runtime.grant_offers import require_offered
from runwright.runtime.ports import Ports
from runwright.runtime.runs.supervisor import Supervisor

SEES_ALL = frozenset({Role.OBSERVER})
ATTEMPTS = 3  # of one decision whose time passes from one approver set to the next


def roles_of(who: Principal) -> tuple[str, ...]:
    """The roles of a principal, as approver sets name them."""
    return tuple(sorted(role.value for role in who.roles))


class Approvals(ApprovalIndex):
    """Reads the index that runs write; decides by way of the run. A restart changes no answer."""

    def __init__(self, ports: Ports, supervisor: Supervisor) -> None:
        super().__init__(ports)
        self._supervisor = supervisor
        self._edits = ApprovalEdits(ports, supervisor)

    def sees(self, who: Principal, standing: StandingApproval) -> bool:
        """True for observers and admins, for whoever is in one of its approver sets, and for its delegates."""
        return who.has_any(SEES_ALL) or self.is_asked(who, standing)

    def may_see(self, who: Principal, asked: RequestedApproval) -> bool:
        """False for whoever does not see it, however it was delegated: nothing has to be looked for then."""
        return who.name in asked.delegates or self.sees(who, self.as_of(asked, None))

    def is_asked(self, who: Principal, standing: StandingApproval) -> bool:
        """True for whoever is in one of its approver sets, or has it delegated to them; for everybody where nobody is
        told from others."""
        if self._ports.approvers.separation is ApprovalSeparation.NOT_ENFORCED:
            return True
        return standing.is_of(who.name, roles_of(who))

    async def get(self, who: Principal, approval_id: str) -> StandingApproval:
        """An approval as it stands. Raises INVALID_REQUEST, APPROVAL_NOT_FOUND and the journal's errors."""
        ApprovalName.parse(approval_id)
        found = await self.look_up(who.namespace, approval_id)
        if found is None or not self.sees(who, found):
            raise no_approval(approval_id)
        return found

    async def arguments(self, namespace: Namespace, asked: RequestedApproval, ref: ContentRef) -> bytes:
        """The arguments that are to be approved, or those that were instead of them. Raises JOURNAL_CORRUPT."""
        digest = ref.digest
        found = await self._ports.journal.content(namespace, [digest], run=RunId(asked.run_id), required=True)
        return found[digest]

    async def dispatches(self, namespace: Namespace, approval: StandingApproval) -> list[DispatchStanding]:
        """How far each of its dispatchers has been told, by name. Raises JOURNAL_CORRUPT."""
        asked, prefix = approval.asked, dispatch_prefix(approval.asked.id)
        found = await self._ports.journal.entries(namespace, DISPATCH, prefix=prefix, limit=MAX_DISPATCHERS)
        standing = []
        for entry in found:
            if isinstance(entry, AgentError):
                raise entry
            try:
                standing.append(read_dispatch(entry.value))
            except DecodeError:
                raise unreadable(asked.id) from None
        if approval.outcome is None or all(each.retry_at is None for each in standing):
            return standing
        # A dispatcher that never knew of it is told no more once it is closed, and nobody is after the run's end.
        run = await self._supervisor.state(RunKey(namespace, RunId(asked.run_id)))
        name = ApprovalName.parse(asked.id).approval_id
        open_ones = run[0].dispatches if run is not None and not run[0].is_terminal else ()
        planned = {each.dispatcher for each in open_ones if each.approval_id == name and each.waits}
        return [each if each.dispatcher in planned else each.__replace__(retry_at=None) for each in standing]

    async def decide(self, who: Principal, request: DecisionRequest) -> tuple[StandingApproval, bool]:
        """Decides on an approval; on return the decision is durable. False: this very request had decided before.

        Raises INVALID_REQUEST, APPROVAL_NOT_FOUND, APPROVAL_ALREADY_DECIDED, APPROVAL_EXPIRED, APPROVAL_WITHDRAWN,
        APPROVAL_DIGEST_MISMATCH, APPROVER_NOT_ALLOWED, APPROVAL_EDIT_INVALID, APPROVAL_DELEGATE_NOT_ALLOWED,
        GRANT_NOT_OFFERED, REQUEST_ID_CONFLICT, RUN_HELD, DRAINING and the journal's.
        """
        is_first = await self._decided(who, request, request.check())
        return await self.get(who, request.approval_id), is_first

    async def _decided(self, who: Principal, request: DecisionRequest, name: ApprovalName) -> bool:
        """True when this request decided."""
        for _ in range(ATTEMPTS):
            before = await self.get(who, request.approval_id)
            if _has_delegated(who.name, request, before):
                return False
            if before.outcome is not None:
                return _repeated(who, request, before.asked, before.outcome)
            require_allowed_verdict(before.asked, request.verdict)
            decider, now = self._decider(who, before.asked), self._ports.clock.now()
            delegate, edited = self._delegate(who.namespace, before.asked, request), None
            if self._refusal(who, request, before, now) is not None:
                await self._require_allowed(who, request, before)
            if now < before.asked.expires_at:
                edited = await self._edits.checked(who.namespace, before.asked, request)
                if request.grant is not None:
                    approved = (edited.ref if edited else before.asked.arguments).digest
                    await require_offered(self._ports, who.namespace, before.asked, request.grant, approved)
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
                edited=edited.ref if edited else None,
                delegate=delegate,
                is_gated=self._ports.policies.are_heard_of_results(who.namespace),
                grant=request.grant,
                contents=tuple(content for content in (response, edited) if content),
            )
            records, _ = await self._supervisor.submit(RunKey(who.namespace, name.run_id), requested)
            if any(isinstance(record, ApprovalDecided | ApprovalDelegated) for record in records):
                return True
        # It expired, or the run has ended meanwhile; or its time went from set to set under each attempt.
        last = await self.get(who, request.approval_id)
        if last.outcome is not None:
            return _repeated(who, request, last.asked, last.outcome)
        await self._require_allowed(who, request, last)
        raise already_closed(last.asked, ApprovalOutcome(ApprovalState.WITHDRAWN, self._ports.clock.now()))

    async def _require_allowed(self, who: Principal, request: DecisionRequest, standing: StandingApproval) -> None:
        """Raises APPROVAL_DIGEST_MISMATCH, APPROVER_NOT_ALLOWED, APPROVAL_DELEGATE_NOT_ALLOWED, by the run's time.

        The clock may have been set back. The time on record never is, and nobody's turn comes back.
        """
        found = await self._supervisor.state(RunKey(who.namespace, RunId(standing.asked.run_id)))
        now = max(self._ports.clock.now(), found[0].updated_at if found else 0)
        if (refusal := self._refusal(who, request, standing, now)) is not None:
            raise refusal

    def _refusal(
        self, who: Principal, request: DecisionRequest, standing: StandingApproval, now: Micros
    ) -> AgentError | None:
        """Why somebody may not decide so at that time; None when they may, or when it is too late for anybody."""
        asked, decider = standing.asked, self._decider(who, standing.asked)
        if now >= asked.expires_at:
            return None
        current = standing.sets[asked.current_set(now)]
        why = why_not_allowed(decider, current, asked.started_by, four_eyes=asked.four_eyes)
        if why is not None:
            has_owner = self._ports.approvers.has_owner(who.namespace, asked.executor)
            return approver_not_allowed(asked, why, current, has_owner=has_owner)
        if request.digest != asked.digest:
            return digest_mismatch(asked)
        delegate = self._delegate(who.namespace, asked, request)
        refused = why_not_delegated(delegate, decider, standing.delegation_terms(now)) if delegate else None
        return not_delegated(asked, request.delegate_to, refused) if refused else None

    def _decider(self, who: Principal, asked: RequestedApproval) -> Decider:
        # What is done as a whole nobody performs but the server.
        may_perform = bool(asked.executor) and self._ports.approvers.may_perform(who, asked.executor)
        is_dispatcher = Role.DISPATCHER in who.roles
        return Decider(who.name, roles_of(who), may_perform, self._ports.approvers.separation, is_dispatcher)

    def _delegate(self, namespace: Namespace, asked: RequestedApproval, request: DecisionRequest) -> Delegate | None:
        if request.verdict is not ApprovalVerdict.DELEGATE:
            return None
        return self._ports.approvers.as_delegate(namespace, request.delegate_to, asked.executor)

    def may_decide(self, who: Principal, standing: StandingApproval) -> bool:
        """True when a principal may decide now."""
        asked = standing.asked
        now, decider = self._ports.clock.now(), self._decider(who, asked)
        current = standing.sets[asked.current_set(now)]
        is_allowed = why_not_allowed(decider, current, asked.started_by, four_eyes=asked.four_eyes) is None
        return is_allowed and now < asked.expires_at


def _has_delegated(name: str, request: DecisionRequest, standing: StandingApproval) -> bool:
    """True when the very same request has delegated it. Raises REQUEST_ID_CONFLICT for its id with anything else."""
    for each in standing.delegations:
        if (each.request_id, each.delegated_by) == (request.request_id, name):
            if each.request_digest == request.request_digest():
                return True
            raise _conflict(request, standing.asked)
    return False


def _conflict(request: DecisionRequest, asked: RequestedApproval) -> AgentError:
    message = f"Request id {request.request_id} was used for another decision on {asked.id}."
    return AgentError(ErrorReason.REQUEST_ID_CONFLICT, message, metadata={"request_id": request.request_id})


def _repeated(who: Principal, request: DecisionRequest, asked: RequestedApproval, outcome: ApprovalOutcome) -> bool:
    """False: the very same request had decided. Raises what any other is refused with."""
    if outcome.request_id != request.request_id or outcome.decided_by != who.name:
        raise already_closed(asked, outcome)
    if outcome.request_digest != request.request_digest():
        raise _conflict(request, asked)
    return False

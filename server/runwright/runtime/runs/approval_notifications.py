"""How dispatchers are told of approvals: what they get, and what of their answers can be used."""

from __future__ import annotations

from runwright.core import inputs as i
from runwright.core.approval_dispatches import MAX_REFERENCE_BYTES, Dispatch, DispatchResult
from runwright.core.approval_requests import ApprovalName, DecisionRequest, StandingApproval
from runwright.core.approval_rows import (
    RequestedApproval,
    full_id,
)
from runwright.core.approvals import ApprovalVerdict, Decider
from runwright.core.content import INLINE_LIMIT_BYTES, Content
from runwright.core.effects import DispatchApproval
from runwright.core.errors import AgentError
from runwright.core.ids import idempotency_key
from runwright.core.principal import Role
from runwright.core.records import DispatchedDecision
from runwright.core.state import RunState
from runwright.ports.approval_dispatchers import ApprovalNotification, DispatcherDecision, DispatcherReply
from runwright.runtime.approval_index import ApprovalIndex, unreadable
from runwright.runtime.conversations.conversation import Conversation
from runwright.runtime.ports import Ports
from runwright.runtime.runs.guarded import guarded

_DECIDES = frozenset({Role.APPROVER})
ROLE, DIGEST, INVALID = "role", "digest", "invalid"


class ApprovalNotifications:
    """Tells dispatchers on behalf of one run. An approval is shown as its rows say that it stands now."""

    def __init__(self, ports: Ports, conversation: Conversation) -> None:
        self._ports = ports
        self._conversation = conversation
        self._index = ApprovalIndex(ports)

    async def tell(self, state: RunState, effect: DispatchApproval) -> i.ApprovalDispatchReported:
        """Tells one dispatcher, once, and says what came of it. Raises what the journal says."""
        dispatch = state.dispatch(effect.effect_id)
        assert dispatch is not None, "an effect is that of a dispatch"
        standing = await self._standing(state, dispatch)
        notification = ApprovalNotification(
            namespace=state.key.namespace,
            dispatcher=dispatch.dispatcher,
            notice=dispatch.notice,
            effect_id=dispatch.effect_id,
            attempt=dispatch.attempt,
            key=f"{idempotency_key(state.key, dispatch.effect_id, state.journal_id)}/{dispatch.sent}",
            revision=dispatch.sent,
            reference=dispatch.reference,
            approval=standing,
            arguments=await self._arguments(standing.asked),
            trace_parent=state.trace_parent,
        )
        try:
            reply = await guarded(self._ports.dispatchers.tell(notification))
        except Exception as error:  # noqa: BLE001 - an adapter's own failure must not end the run
            self._ports.log.error("approval dispatcher raised", error, run_id=state.key.run_id)
            reply = DispatcherReply(result=DispatchResult.LOST)
        return self._reported(state, dispatch, standing.asked, reply)

    async def _standing(self, state: RunState, dispatch: Dispatch) -> StandingApproval:
        name = full_id(state.key.run_id, dispatch.approval_id)
        found = await self._index.look_up(state.key.namespace, name)
        if found is None:
            raise unreadable(name)
        return found

    async def _arguments(self, asked: RequestedApproval) -> bytes | None:
        return await self._conversation.data(asked.arguments) if asked.arguments.size <= INLINE_LIMIT_BYTES else None

    def _reported(
        self, state: RunState, dispatch: Dispatch, asked: RequestedApproval, reply: DispatcherReply
    ) -> i.ApprovalDispatchReported:
        at, result, reference = self._ports.clock.now(), reply.result, reply.reference
        if len(reference.encode("utf-8", "replace")) > MAX_REFERENCE_BYTES:
            result, reference = DispatchResult.UNREADABLE, ""
        said = reply.decision if result is DispatchResult.ACKNOWLEDGED else None
        decided = refusal = decision = None
        if said is not None:
            if said.verdict is not None:
                decided = DispatchedDecision(said.verdict, _cut(said.on_behalf_of))
            decision, refusal = self._decision(state, dispatch, asked, reply, said)
        return i.ApprovalDispatchReported(
            at=at,
            effect_id=dispatch.effect_id,
            attempt=dispatch.attempt,
            result=result,
            principal=reply.principal,
            callback_id=reply.callback_id,
            reference=reference,
            decided=decided,
            refusal=refusal or "",
            decision=decision,
            contents=decision.contents if decision else (),
        )

    def _decision(
        self,
        state: RunState,
        dispatch: Dispatch,
        asked: RequestedApproval,
        reply: DispatcherReply,
        said: DispatcherDecision,
    ) -> tuple[i.ApprovalDecisionRequested | None, str]:
        """What it decided, as a decision of the principal that registered it, and nobody else; or why that is none."""
        if said.verdict is None:
            return None, INVALID
        request = DecisionRequest(
            approval_id=asked.id,
            digest=said.digest,
            verdict=said.verdict,
            request_id=f"dispatch:{dispatch.effect_id}:{dispatch.attempt}",
            message=said.message,
            note=said.note,
            on_behalf_of=said.on_behalf_of,
        )
        if said.digest != asked.digest:
            return None, DIGEST
        try:
            name: ApprovalName = request.check()
        except (AgentError, UnicodeEncodeError):
            return None, INVALID
        who = self._ports.approvers.principal(state.key.namespace, reply.principal, reply.credential)
        if who is None or not who.has_any(_DECIDES):
            return None, ROLE
        roles = tuple(sorted(role.value for role in who.roles))
        approvers = self._ports.approvers
        may_perform = bool(asked.executor) and approvers.may_perform(who, asked.executor)
        decider = Decider(who.name, roles, may_perform, approvers.separation, is_dispatcher=True)
        response = Content.text(said.message) if said.verdict is ApprovalVerdict.RESPOND else None
        requested = i.ApprovalDecisionRequested(
            at=self._ports.clock.now(),
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
            is_gated=self._ports.policies.are_heard_of_results(state.key.namespace),
            contents=(response,) if response else (),
        )
        return requested, ""


def _cut(text: str) -> str:
    """As much as goes on record of what may be no decision."""
    return text.encode("utf-8", "replace")[:256].decode("utf-8", "ignore")

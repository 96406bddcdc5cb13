"""What is about to be decided on, as of now: under the rules that hold now, a decision on an approval at its time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from msgspec.structs import replace

from runwright.core import inputs as i
from runwright.core.approvals import APPROVING, ApprovalSeparation, ApprovalVerdict
from runwright.core.package import RuntimePackage
from runwright.core.policy import PolicyFindings
from runwright.core.state import NO_POLICY, CallState, RunState, needs_repair
from runwright.runtime.conversations.conversation import Conversation
from runwright.runtime.ports import Ports
from runwright.runtime.runs import policy_findings

# Takes a place for a call, at somebody else than that principal.
TakePlace: TypeAlias = Callable[[RunState, CallState, str], i.Availability]
# What is said of the run as a whole, at the stages at which it is.
HearRun: TypeAlias = Callable[[RunState], Awaitable[tuple[PolicyFindings, ...]]]


async def looked_at_again(
    ports: Ports,
    package: RuntimePackage,
    conversation: Conversation,
    state: RunState,
    input: i.Input,
    place: TakePlace,
) -> i.Input:
    """What is about to be decided on; a call that may be sent with what the operator's rules say now.

    Nothing is found out where they are those on record for the call. A decision on an approval carries a place for a
    call that it lets go on.
    """
    if isinstance(input, i.ApprovalDecisionRequested):
        return await _decided_now(ports, package, conversation, state, input, place)
    call = state.call(input.call_id) if isinstance(input, i.ExecutorAwaited) and input.has_place else None
    if call is None or not isinstance(input, i.ExecutorAwaited) or call.arguments is None:
        return input
    if _is_heard(ports, state, call):
        return input
    data = await conversation.data(call.arguments)
    return replace(input, policies=await policy_findings.of_call_again(ports, package, state, call, data))


def _is_heard(ports: Ports, state: RunState, call: CallState) -> bool:
    """True when the operator's rules are those on record for the call."""
    rules = ports.policies.operator_rules(state.key.namespace)
    return rules.digest == (call.policy or NO_POLICY).operator_digest


async def _decided_now(
    ports: Ports,
    package: RuntimePackage,
    conversation: Conversation,
    state: RunState,
    asked: i.ApprovalDecisionRequested,
    place: TakePlace,
) -> i.ApprovalDecisionRequested:
    assert asked.call_id is not None, "a decision on a call"
    call, policies = state.call(asked.call_id), tuple[PolicyFindings, ...]()
    goes_on = asked.verdict in APPROVING and call is not None and call.is_pending
    edited = next((content for content in asked.contents if content.ref == asked.edited), None)
    if call is None or call.arguments is None or not goes_on or (needs_repair(state) and edited is None):
        return replace(asked, at=ports.clock.now())
    # What cannot be read cannot be sent.
    data = edited.data if edited else await conversation.data(call.arguments)
    if edited is not None:
        call = replace(call, arguments=edited.ref)  # what the policies are to be heard about anew
    if edited is not None or not _is_heard(ports, state, call):
        policies = await policy_findings.of_call_again(ports, package, state, call, data)
    if needs_repair(state):
        return replace(asked, at=ports.clock.now(), policies=policies)
    is_told_apart = asked.decider.separation is ApprovalSeparation.ENFORCED
    availability = place(state, call, asked.decider.name if is_told_apart else "")
    return replace(asked, at=ports.clock.now(), availability=availability, policies=policies)


async def run_looked_at_again(
    ports: Ports, state: RunState, asked: i.ApprovalDecisionRequested, hear_run: HearRun
) -> i.ApprovalDecisionRequested:
    """A decision on the run as a whole, with what is said at the stages that follow.

    At its own stage only where the operator's rules are others now.
    """
    approval, policies = state.approval, tuple[PolicyFindings, ...]()
    if asked.verdict is ApprovalVerdict.APPROVE and approval is not None and approval.is_pending:
        is_heard = ports.policies.operator_rules(state.key.namespace).digest == approval.operator_digest
        said = await hear_run(state)
        policies = tuple(found for found in said if not (is_heard and found.stage is approval.stage))
    return replace(asked, at=ports.clock.now(), policies=policies)

"""Grants that may answer for a call, found by index where its bytes are, to ride on the input that asks.

Each is looked at once more by `decide`, and stands or falls with the append that spends a use of it. What cannot be
read answers for nothing: somebody is asked then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec import DecodeError
from msgspec.structs import replace
from pydantic import JsonValue

from runwright.core.approval_rules import approval_spec
from runwright.core.approvals import ApprovalSeparation, ApproverSet
from runwright.core.errors import AgentError
from runwright.core.grant_rows import ANSWERING, counter_of, read_grant
from runwright.core.grants import AnsweringGrant, CalledTool, Grant, GrantableCall, GrantMatcher, GrantOffer, may_answer
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.kinds import EventKind
from runwright.core.machine.grants import asks_for_one, grantable_call
from runwright.core.package import RuntimePackage
from runwright.core.policy import PolicyFindings, PolicyStage, Verdict, decided
from runwright.core.policy_chain import Outcome
from runwright.core.state import RunState
from runwright.ports.conditions import ConditionQuestion
from runwright.ports.journal import Entry
from runwright.runtime.ports import Ports

LOOKED_AT = 16  # grants of one scope for calls of one kind, those that last longest; no more can be given


async def with_grants(
    ports: Ports,
    package: RuntimePackage,
    state: RunState,
    called: Sequence[tuple[CalledTool, JsonValue, int]],
    found: Sequence[PolicyFindings],
) -> list[PolicyFindings]:
    """What is said of calls, each of those that somebody would be asked about with the grants that may answer for it.

    `called` has the arguments of each beside it, and their size in bytes.
    """
    return [
        await _with_grants(ports, package, state, call, said) if said.stage is PolicyStage.PRE_TOOL else said
        for call, said in zip(called, found, strict=True)
    ]


async def _with_grants(
    ports: Ports,
    package: RuntimePackage,
    state: RunState,
    called: tuple[CalledTool, JsonValue, int],
    said: PolicyFindings,
) -> PolicyFindings:
    call, arguments, size = called
    asked = decided(said.stage, said.opinions)
    if asked.verdict is not Verdict.ASK or not asks_for_one(said, asked.approval):
        return said
    grants = approval_spec(package.approvals, asked.approval).grants
    if grants is None:
        return said
    wanted = grantable_call(package, state, call, asked.approval)
    known = await _known(ports, state.key.namespace, wanted, grants.offer)
    holding = await _fulfilled(ports, known, arguments, size)
    answering = [await _answering(ports, state.key.namespace, grant) for grant in holding]
    return replace(said, grants=tuple(each for each in answering if each is not None))


async def _known(ports: Ports, namespace: Namespace, wanted: GrantableCall, offer: GrantOffer) -> list[Grant]:
    """Those that are for such a call, and whose issuer may still approve anything."""
    keys, now = list(wanted.lookup_keys(offer)), ports.clock.now()
    pages = await asyncio.gather(
        *(ports.journal.entries(namespace, ANSWERING, prefix=f"{key}/", limit=LOOKED_AT) for key in keys)
    )
    read = [_read(ports, namespace, entry) for page in pages for entry in page]
    return [
        grant
        for grant in read
        if grant is not None and may_answer(grant, wanted, now) and _is_of_approver(ports, namespace, grant)
    ]


def _read(ports: Ports, namespace: Namespace, entry: Entry | AgentError) -> Grant | None:
    try:
        if isinstance(entry, AgentError):
            raise entry
        return read_grant(entry.value)
    except (AgentError, DecodeError) as error:
        ports.log.error("a grant cannot be read, and answers for nothing", error, namespace=namespace)
        return None


def _is_of_approver(ports: Ports, namespace: Namespace, grant: Grant) -> bool:
    return ports.approvers.is_somebody(namespace, [ApproverSet(principals=(grant.issuer,))])


async def _fulfilled(ports: Ports, known: Sequence[Grant], arguments: JsonValue, size: int) -> list[Grant]:
    """Those whose condition, if they have one, the arguments fulfil."""
    conditions = tuple(dict.fromkeys(grant.condition for grant in known if grant.matcher is GrantMatcher.CONSTRAINTS))
    holding: set[str] = set()
    if conditions:
        question = ConditionQuestion(conditions, {"args": arguments}, size)
        [outcomes] = await ports.policies.conditions.evaluate([question])
        holding = {each for each, outcome in zip(conditions, outcomes, strict=True) if outcome is Outcome.HOLDS}
    return [grant for grant in known if grant.matcher is not GrantMatcher.CONSTRAINTS or grant.condition in holding]


async def _answering(ports: Ports, namespace: Namespace, grant: Grant) -> AnsweringGrant | None:
    """The grant with what is left of it, and the hash of the event that issued it."""
    try:
        left = await ports.journal.counter(namespace, counter_of(grant.grant_id))
        issued = await ports.journal.event(RunKey(namespace, RunId(grant.run_id)), grant.issued_seq)
    except AgentError as error:
        ports.log.error("a grant cannot be read, and answers for nothing", error, grant_id=grant.grant_id)
        return None
    if not left or issued is None or issued.kind is not EventKind.GRANT_ISSUED:
        return None
    separation: ApprovalSeparation = ports.approvers.separation
    return AnsweringGrant(grant, issued.hash, left, separation)

"""Whether a grant may be given with an approval: what is offered, whether its condition can be read, and room."""

from __future__ import annotations

import asyncio

from runwright.core.approval_rows import RequestedApproval
from runwright.core.errors import AgentError, invalid_request
from runwright.core.grant_failures import grant_not_offered
from runwright.core.grant_rows import ANSWERING
from runwright.core.grants import GrantableCall, GrantMatcher, GrantRequest, NotOffered, lookup_key, why_not_offered
from runwright.core.ids import Namespace
from runwright.runtime.ports import Ports
from runwright.runtime.runs.grant_findings import LOOKED_AT


async def require_offered(
    ports: Ports, namespace: Namespace, asked: RequestedApproval, grant: GrantRequest, arguments_digest: str
) -> None:
    """`arguments_digest`: of those that are approved.

    Raises GRANT_NOT_OFFERED, INVALID_REQUEST for a condition that cannot be used, and the journal's errors."""
    why = why_not_offered(asked.grants, grant)
    if why is not None:
        raise grant_not_offered(asked, why)
    if grant.matcher is GrantMatcher.CONSTRAINTS:
        # To read it may load the library.
        problem = await asyncio.to_thread(ports.policies.conditions.problem, grant.condition, ("args",))
        if problem is not None:
            expected = f"a condition in CEL over `args`: {problem}"
            raise invalid_request("grant.condition", expected, 'Write one such as args.to == "ann".')
    if await _alike(ports, namespace, asked, grant, arguments_digest) >= LOOKED_AT:
        raise grant_not_offered(asked, NotOffered.ROOM)


async def _alike(
    ports: Ports, namespace: Namespace, asked: RequestedApproval, grant: GrantRequest, arguments_digest: str
) -> int:
    """How many grants stand where it would, up to as many as a call looks at."""
    call = GrantableCall(
        run_id=asked.run_id,
        session_id=asked.session_id,
        agent_id=asked.agent_id,
        principal=asked.started_by,
        package_fingerprint=asked.package_fingerprint,
        tool=asked.tool,
        executor=asked.executor,
        schema_digest=asked.schema_digest,
        approval=asked.approval,
        arguments_digest=arguments_digest,
        tainted=asked.tainted,
        four_eyes=asked.four_eyes,
    )
    prefix, now = f"{lookup_key(call, grant.scope, grant.matcher)}/", ports.clock.now()
    found = await ports.journal.entries(namespace, ANSWERING, prefix=prefix, limit=LOOKED_AT)
    return sum(isinstance(entry, AgentError) or entry.expires_at > now for entry in found)

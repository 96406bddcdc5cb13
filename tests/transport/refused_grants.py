"""Calls about grants that are refused, each for its reason."""

from __future__ import annotations

from runwright._gen.runwright.v1 import approval_service_pb2 as approval_pb
from runwright._gen.runwright.v1 import grant_pb2

from tests.transport.pending_approvals import People, asking_bench, decide, stub, waiting
from tests.transport.refused_calls import Stage
from tests.transport.serving import CALL_SECONDS, Refusal, refused

WANTED = grant_pb2.GrantRequest(
    scope=grant_pb2.GRANT_SCOPE_NAMESPACE,
    matcher=grant_pb2.GRANT_MATCHER_EXACT_ARGUMENTS,
    uses=1,
    valid_for="1h",
)
OFFERED = {"scopes": ["namespace"], "max_uses": 1, "max_time": "1h"}
REVOKE = approval_pb.RevokeGrantRequest(grant_id="run-1/g1.1.1")


async def grant_not_offered(stage: Stage) -> Refusal:
    """One is given with an approval that offers none."""
    served = await stage.serve(asking_bench())
    await waiting(served)
    return await refused(decide(served, grant=WANTED))


async def grant_not_found(stage: Stage) -> Refusal:
    """One is taken back that nobody gave."""
    served = await stage.serve(asking_bench())
    return await refused(stub(served).RevokeGrant(REVOKE, timeout=CALL_SECONDS))


async def grant_not_yours(stage: Stage) -> Refusal:
    """One is taken back by another approver."""
    people = People(stage.directory)
    served = await stage.serve(asking_bench(people.known, grants=OFFERED), authenticator=people.known)
    await waiting(served, people.caller)
    await decide(served, people.bob, grant=WANTED)
    return await refused(stub(served).RevokeGrant(REVOKE, timeout=CALL_SECONDS, metadata=people.ann))

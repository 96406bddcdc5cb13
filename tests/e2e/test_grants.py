"""Grants over a real socket and over kill -9: uses are counted exactly, and nobody is asked who need not be."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from runwright._gen.runwright.v1 import approval_pb2, event_pb2, grant_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright._gen.runwright.v1.approval_service_pb2_grpc import ApprovalServiceStub

from tests.e2e.client import SECONDS, Caller, answer, error_info
from tests.e2e.conftest import SOAK, MakeServer
from tests.e2e.executor import Executor
from tests.e2e.packages import Spec, asks, package, says, tool
from tests.e2e.test_approval_kills import kill_and_start, pending

SEND = tool("send", "write", idempotent=True)
DELAYS = range(0, 60, 2 if SOAK else 15)
OFFERS = {
    "scopes": ["run", "session", "agent_and_principal", "namespace"],
    "matchers": ["exact_arguments", "constraints", "any"],
    "max_uses": 100,
    "max_time": "2h",
}


def granting(sends: int = 2) -> Spec:
    """Sends so many times, one after the other, if somebody approves or a grant answers."""
    rounds = [asks(("send", {"to": "ann", "number": number})) for number in range(sends)]
    spec = package("granting", [*rounds, says("done: {results}")], SEND)
    del spec["policy"]
    rules = [{"rules": [{"then": "ask", "approval": "writes", "code": "writes"}]}]
    writes = {"expires": "1h", "sets": [{"roles": ["approver"]}], "grants": OFFERS}
    return {**spec, "policies": rules, "approvals": {"writes": writes}}


async def give(call: Caller, run_id: str = "run-1", uses: int = 5, **fields: object) -> pb.DecideApprovalResponse:
    """Approves what the run asks for, with a grant."""
    [found] = await pending(call, run_id)
    grant = grant_pb2.GrantRequest(
        scope=grant_pb2.GRANT_SCOPE_NAMESPACE,
        matcher=grant_pb2.GRANT_MATCHER_CONSTRAINTS,
        condition='args.to == "ann"',
        uses=uses,
        valid_for="1h",
    )
    for name, value in fields.items():
        setattr(grant, name, value)
    decision = pb.DecisionRequest(
        approval_id=found.approval_id,
        digest=found.digest,
        verdict=approval_pb2.APPROVAL_VERDICT_APPROVE,
        request_id="decision-1",
        grant=grant,
    )
    return await ApprovalServiceStub(call.channel).DecideApproval(
        pb.DecideApprovalRequest(decision=decision), timeout=SECONDS
    )


async def grants(call: Caller, *states: grant_pb2.GrantState.ValueType) -> list[grant_pb2.GrantStatus]:
    """What is listed."""
    request = pb.ListGrantsRequest(states=states)
    return list((await ApprovalServiceStub(call.channel).ListGrants(request, timeout=SECONDS)).grants)


async def count(call: Caller, run_id: str, kind: event_pb2.EventKind.ValueType) -> int:
    """How many events of a kind are on record of a run."""
    return sum(frame.event.kind == kind for frame in await call.frames(run_id))


USED, REQUESTED = event_pb2.EVENT_KIND_GRANT_USED, event_pb2.EVENT_KIND_APPROVAL_REQUESTED


async def test_what_was_permitted_once_runs_without_asking_and_is_listed_and_taken_back(
    make_server: MakeServer, executor: Executor
) -> None:
    server = make_server(granting())
    await server.start()
    await server.call.start("run-1")

    given = await give(server.call, uses=3)
    first = await server.call.settled("run-1")
    await server.call.start("run-2")
    second = await server.call.settled("run-2")

    assert answer(first)
    assert answer(second)
    assert len(executor.requested) == 4
    assert given.approval.decision.grant_id == "run-1/g1.1.1"
    assert await count(server.call, "run-2", REQUESTED) == 0
    assert await count(server.call, "run-2", USED) == 2
    assert await grants(server.call) == []
    [used_up] = await grants(server.call, grant_pb2.GRANT_STATE_USED_UP)
    assert (used_up.uses_left, used_up.grant.issuer) == (0, "local")

    await server.call.start("run-3")
    await give(server.call, "run-3", uses=9)
    await server.call.settled("run-3")
    [standing] = await grants(server.call)
    assert standing.uses_left == 8
    revoke = pb.RevokeGrantRequest(grant_id="run-3/g1.1.1", note="no more")
    revoked = await ApprovalServiceStub(server.call.channel).RevokeGrant(revoke, timeout=SECONDS)
    again = await ApprovalServiceStub(server.call.channel).RevokeGrant(revoke, timeout=SECONDS)
    assert (revoked.revoked, again.revoked, again.grant.note) == (True, False, "no more")
    await server.call.start("run-4")
    assert await pending(server.call, "run-4")


async def test_a_grant_that_exceeds_what_is_offered_is_refused_and_nothing_decided(
    make_server: MakeServer, executor: Executor
) -> None:
    server = make_server(granting())
    await server.start()
    await server.call.start("run-1")

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await give(server.call, uses=101)
    with pytest.raises(grpc.aio.AioRpcError) as unreadable:
        await give(server.call, condition="args.to ==")

    info = error_info(refused.value)
    assert (info.reason, info.metadata["rule"]) == ("GRANT_NOT_OFFERED", "uses")
    assert error_info(unreadable.value).reason == "INVALID_REQUEST"
    assert await pending(server.call)
    assert executor.requested == []


@pytest.mark.parametrize("milliseconds", DELAYS)
async def test_uses_are_counted_exactly_over_kills(
    make_server: MakeServer, executor: Executor, milliseconds: int
) -> None:
    server = make_server(granting(sends=6))
    await server.start()
    await server.call.start("run-1")

    sent = asyncio.create_task(give(server.call, uses=4))
    await asyncio.sleep(milliseconds / 1000)
    await kill_and_start(server)
    await asyncio.gather(sent, return_exceptions=True)
    await _given_for_certain(server.call)
    await asyncio.sleep(milliseconds / 1000)
    await kill_and_start(server)

    [asked] = await _pending_of(server.call, "a6.1.1")
    used = [frame.event for frame in await server.call.frames("run-1") if frame.event.kind == USED]
    assert [event.effect_id for event in used] == ["c2.1", "c3.1", "c4.1", "c5.1"]
    assert asked.approval_id == "run-1/a6.1.1", "the uses are spent, none twice and none lost"
    assert len({requested.key for requested in executor.requested}) == 5
    [status] = await grants(server.call, grant_pb2.GRANT_STATE_USED_UP)
    assert status.uses_left == 0


async def _given_for_certain(call: Caller) -> None:
    if not await grants(call) and not await grants(call, grant_pb2.GRANT_STATE_USED_UP):
        await give(call, uses=4)


async def _pending_of(call: Caller, approval: str) -> list[approval_pb2.Approval]:
    async with asyncio.timeout(SECONDS):
        while True:
            found = [each for each in await pending(call) if each.approval_id.endswith(approval)]
            if found:
                return found
            await asyncio.sleep(0.02)

"""Approvals over kill -9: what is pending stays so, what was decided stands, and it is spent once."""

from __future__ import annotations

import asyncio
import signal

import grpc
import pytest
from runwright._gen.runwright.v1 import approval_pb2, event_pb2, run_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright._gen.runwright.v1.approval_service_pb2_grpc import ApprovalServiceStub

from tests.e2e.client import SECONDS, Caller, answer, error_info
from tests.e2e.conftest import SOAK, MakeServer
from tests.e2e.executor import Executor, Gate, StartCaller, pass_by
from tests.e2e.packages import Spec, asks, package, says, tool
from tests.e2e.server_process import Server
from tests.e2e.test_approval_edit_kills import Killed

APPROVE, DENY = approval_pb2.APPROVAL_VERDICT_APPROVE, approval_pb2.APPROVAL_VERDICT_DENY
SEND = tool("send", "write", idempotent=True)  # a lost call is made again, with the same key
DELAYS = range(0, 60, 2 if SOAK else 12)
APPROVALS, DECIDERS = (200, 50) if SOAK else (10, 50)


def asking(expires: str = "1h") -> Spec:
    """Sends once, if somebody approves."""
    spec = package("asking", [asks(("send", {"to": "ann"})), says("done: {results}")], SEND)
    del spec["policy"]
    rules = [{"rules": [{"then": "ask", "approval": "writes", "code": "writes"}]}]
    return {**spec, "policies": rules, "approvals": {"writes": {"expires": expires, "sets": [{"roles": ["approver"]}]}}}


async def pending(call: Caller, run_id: str = "run-1") -> list[approval_pb2.Approval]:
    """What is listed of a run, once something is."""
    request = pb.ListApprovalsRequest(run_id=run_id)
    async with asyncio.timeout(SECONDS):
        while True:
            listed = await ApprovalServiceStub(call.channel).ListApprovals(request, timeout=SECONDS)
            if listed.approvals:
                return list(listed.approvals)
            await asyncio.sleep(0.02)


async def decide(
    call: Caller,
    approval: approval_pb2.Approval,
    verdict: approval_pb2.ApprovalVerdict.ValueType = APPROVE,
    request_id: str = "decision-1",
) -> pb.DecideApprovalResponse:
    """Decides."""
    decision = pb.DecisionRequest(
        approval_id=approval.approval_id, digest=approval.digest, verdict=verdict, request_id=request_id
    )
    request = pb.DecideApprovalRequest(decision=decision)
    return await ApprovalServiceStub(call.channel).DecideApproval(request, timeout=SECONDS)


async def kill_and_start(server: Server) -> None:
    """A kill -9, and a start on the same journal."""
    server.kill()
    assert await server.ended() == -signal.SIGKILL
    await server.start()


async def decisions(call: Caller, run_id: str) -> int:
    """How many decisions are on record."""
    kind = event_pb2.EVENT_KIND_APPROVAL_DECIDED
    return sum(frame.event.kind == kind for frame in await call.frames(run_id))


async def test_an_approval_outlives_kills_and_is_spent_once(make_server: MakeServer, executor: Executor) -> None:
    server = make_server(asking())
    await server.start()
    await server.call.start("run-1")
    [before] = await pending(server.call)

    await kill_and_start(server)
    assert await pending(server.call) == [before], "the same one, until the same time"
    assert executor.requested == []

    executor.before = Gate()
    first = await decide(server.call, before)
    await executor.until_asked(1)
    await kill_and_start(server)
    executor.before = pass_by
    again = await decide(server.call, before)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await decide(server.call, before, DENY, "decision-2")
    ended = await server.call.settled("run-1")
    after = await decide(server.call, before)

    assert (first.decided, again.decided, after.decided) == (True, False, False)
    info = error_info(refused.value)
    assert (info.reason, info.metadata["decided_by"]) == ("APPROVAL_ALREADY_DECIDED", "local")
    assert answer(ended)
    assert len({requested.key for requested in executor.requested}) == 1
    assert await decisions(server.call, "run-1") == 1


def asked_as_a_whole() -> Spec:
    """Answers at once, if somebody approves its start and its answer."""
    spec = package("asking", [says("all is sold")])
    del spec["policy"]
    rules = [{"stage": stage, "then": "ask", "approval": "board"} for stage in ("run_start", "output")]
    return {**spec, "policies": [{"rules": rules}], "approvals": {"board": {"sets": [{"roles": ["approver"]}]}}}


async def test_a_start_and_an_answer_outlive_a_kill_at_every_record(make_server: MakeServer) -> None:
    server = make_server(asked_as_a_whole())
    await server.start()
    await server.call.start("run-1")

    for request_id in ("decision-1", "decision-2"):
        [before] = await pending(server.call)
        await kill_and_start(server)
        assert await pending(server.call) == [before], "the same one, until the same time"
        first = await decide(server.call, before, request_id=request_id)
        await kill_and_start(server)
        again = await decide(server.call, before, request_id=request_id)
        assert (first.decided, again.decided) == (True, False)
    ended = await server.call.settled("run-1")

    assert answer(ended) == "all is sold"
    kinds = [frame.event.kind for frame in await server.call.frames("run-1")]
    assert kinds.count(event_pb2.EVENT_KIND_APPROVAL_REQUESTED) == 2
    assert kinds.count(event_pb2.EVENT_KIND_APPROVAL_DECIDED) == 2
    assert kinds.count(event_pb2.EVENT_KIND_RUN_COMPLETED) == 1


def reading() -> Spec:
    """Reads two pages of strangers side by side, and then sends if somebody approves."""
    fetch = tool("fetch", "network", untrusted=True, idempotent=True)
    script = [asks(("fetch", {"page": 1}), ("fetch", {"page": 2})), asks(("send", {"to": "ann"})), says("done")]
    spec = package("reading", script, SEND, fetch)
    del spec["policy"]
    rules = [{"when": 'tool.name == "fetch"', "then": "allow"}, {"when": 'tool.name == "send"', "then": "ask"}]
    return {**spec, "policies": [{"rules": rules}]}


async def test_what_taints_an_approval_is_named_over_a_kill_between_two_results(
    make_server: MakeServer, executor: Executor
) -> None:
    gate = Gate()

    async def hold_second(requested: StartCaller) -> None:
        if requested.call_id == "c1.2":
            await gate(requested)

    executor.before = hold_second
    server = make_server(reading())
    await server.start()
    await server.call.start("run-1")
    await Killed(server, ()).at("run-1", lambda event: event.HasField("tool_completed"))
    gate.open()

    [asked] = await pending(server.call)
    await decide(server.call, asked)
    await server.call.settled("run-1")

    events = [frame.event for frame in await server.call.frames("run-1")]
    results = {event.effect_id: event.seq for event in events if event.HasField("tool_completed")}
    named = {call.effect_id: (call.tool, call.seq) for call in asked.tainted_by.calls}
    assert named == {call_id: ("fetch", results[call_id]) for call_id in ("c1.1", "c1.2")}
    assert events[-1].run_completed.tainted_by == asked.tainted_by


async def test_an_approval_whose_time_ends_while_no_server_is_there_has_expired(
    make_server: MakeServer, executor: Executor
) -> None:
    server = make_server(asking("2s"))
    await server.start()
    await server.call.start("run-1")
    [before] = await pending(server.call)
    server.kill()
    await server.ended()
    await asyncio.sleep(2.1)

    await server.start()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await decide(server.call, before)

    assert error_info(refused.value).reason == "APPROVAL_EXPIRED"
    assert answer(await server.call.settled("run-1"))
    assert executor.requested == []
    assert await decisions(server.call, "run-1") == 0


@pytest.mark.parametrize("milliseconds", DELAYS)
async def test_a_decision_that_a_kill_cuts_off_is_made_once_when_it_is_sent_again(
    make_server: MakeServer, executor: Executor, milliseconds: int
) -> None:
    server = make_server(asking())
    await server.start()
    await server.call.start("run-1")
    [before] = await pending(server.call)

    sent = asyncio.create_task(decide(server.call, before))
    await asyncio.sleep(milliseconds / 1000)
    await kill_and_start(server)
    [said] = await asyncio.gather(sent, return_exceptions=True)
    again = await decide(server.call, before)
    ended = await server.call.settled("run-1")

    if isinstance(said, pb.DecideApprovalResponse):
        assert not again.decided, "what was acknowledged stands"
    assert answer(ended)
    assert len({requested.key for requested in executor.requested}) == 1
    assert await decisions(server.call, "run-1") == 1


async def test_of_many_contradicting_decisions_one_counts_and_all_others_hear_which(
    make_server: MakeServer, executor: Executor
) -> None:
    server = make_server(asking())
    await server.start()
    callers = [Caller(server.address) for _ in range(4)]

    async def contested(number: int) -> bool:
        run_id = f"run-{number}"
        await server.call.start(run_id)
        [found] = await pending(server.call, run_id)
        said = await asyncio.gather(
            *(decide(callers[n % 4], found, DENY if (n + number) % 2 else APPROVE, f"d-{n}") for n in range(DECIDERS)),
            return_exceptions=True,
        )
        won = [one for one in said if isinstance(one, pb.DecideApprovalResponse)]
        lost = [error_info(one) for one in said if isinstance(one, grpc.aio.AioRpcError)]
        assert [one.decided for one in won] == [True]
        assert len(lost) == DECIDERS - 1
        verdict = approval_pb2.ApprovalVerdict.Name(won[0].approval.decision.verdict)
        assert {(one.reason, one.metadata["verdict"]) for one in lost} == {
            ("APPROVAL_ALREADY_DECIDED", verdict.removeprefix("APPROVAL_VERDICT_"))
        }
        ended = await server.call.settled(run_id)
        assert ended.status == run_pb2.RUN_STATUS_COMPLETED
        assert await decisions(server.call, run_id) == 1
        return won[0].approval.decision.verdict == APPROVE

    try:
        approved = sum([await contested(number) for number in range(APPROVALS)])
    finally:
        for caller in callers:
            await caller.channel.close()
    assert len(executor.requested) == approved

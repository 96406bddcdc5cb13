"""A run whose approval is delegated and then given with edits, over a kill -9 at each of its records."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import grpc
from runwright._gen.runwright.v1 import approval_pb2, event_pb2, run_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright._gen.runwright.v1 import runtime_service_pb2 as runtime_pb
from runwright._gen.runwright.v1.approval_service_pb2_grpc import ApprovalServiceStub

from tests.e2e.client import SECONDS, Caller, run_request
from tests.e2e.conftest import SOAK, MakeServer
from tests.e2e.executor import Executor
from tests.e2e.packages import Spec, asks, package, says, tool
from tests.e2e.server_process import Server
from tests.transport.known import Metadata, add_key, bearer

T = TypeVar("T")
KINDS = [
    *("RUN_STARTED", "TURN_STARTED", "MODEL_ATTEMPT_STARTED"),
    *("MODEL_MESSAGE_COMPLETED", "TOOL_REQUESTED", "POLICY_DECIDED", "APPROVAL_REQUESTED"),
    "APPROVAL_DELEGATED",
    *("APPROVAL_DECIDED", "SUBJECT_REPLACED", "POLICY_DECIDED", "TOOL_STARTED"),
    *("TOOL_COMPLETED", "MODEL_ATTEMPT_STARTED"),
    *("MODEL_MESSAGE_COMPLETED", "TURN_COMPLETED", "RUN_COMPLETED"),
]
# 0 kills nothing. Without SOAK those that end an append: what stands before them there is never there without them.
KILLS = range(len(KINDS) + 1) if SOAK else (0, 3, 7, 8, 12, 14)


def asking() -> Spec:
    """Sends once, if somebody approves; it may be delegated to Dan."""
    send = tool("send", "write", idempotent=True)  # a lost call is made again, with the same key
    spec = package("asking", [asks(("send", {"to": "ann"})), says("done: {results}")], send)
    del spec["policy"]
    writes = {"expires": "1h", "sets": [{"principals": ["ann"]}], "delegates": ["dan"]}
    rules = [{"rules": [{"then": "ask", "approval": "writes", "code": "writes"}]}]
    return {**spec, "policies": rules, "approvals": {"writes": writes}}


class Killed:
    """A server that is killed once, when a run has come to a record, and started again. Calls go on over that."""

    def __init__(self, server: Server, observer: Metadata) -> None:
        self._server = server
        self._observer = observer
        self._killer: asyncio.Task[None] | None = None

    def at(self, run_id: str, is_it: Callable[[event_pb2.Event], bool]) -> asyncio.Task[None]:
        """Kills it as soon as that record of the run is read, or the run has ended without it."""
        self._killer = asyncio.create_task(self._kill(run_id, is_it))
        return self._killer

    async def _kill(self, run_id: str, is_it: Callable[[event_pb2.Event], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while True:
                if await self._read(run_id, is_it):
                    break
                await asyncio.sleep(0.002)
        self._server.kill()
        assert await self._server.ended() == -signal.SIGKILL
        await self._server.start()

    async def _read(self, run_id: str, is_it: Callable[[event_pb2.Event], bool]) -> bool:
        """True once the record is there, or the run has ended; False when there is no run yet."""
        request = runtime_pb.SubscribeRequest(scope=runtime_pb.StreamScope(run_id=run_id))
        stream = self._server.call.stub.Subscribe(request, timeout=SECONDS, metadata=self._observer)
        try:
            async for response in stream:
                if any(frame.HasField("event") and is_it(frame.event) for frame in response.frames):
                    return True
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.NOT_FOUND, error
            return False
        finally:
            stream.cancel()
        return True

    async def events(self, run_id: str) -> list[event_pb2.Event]:
        """What is on record of the run."""
        request = runtime_pb.ListEventsRequest(scope=runtime_pb.StreamScope(run_id=run_id))
        listing = self._server.call.stub.ListEvents(request, timeout=SECONDS, metadata=self._observer)
        try:
            return [frame.event for frame in (await listing).frames]
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.NOT_FOUND, error
            return []

    async def call(self, make: Callable[[Caller], Awaitable[T]]) -> T:
        """Makes a call, again when the server is killed meanwhile."""
        while True:
            try:
                return await make(self._server.call)
            except grpc.aio.AioRpcError as error:
                assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED), error
                assert self._killer is not None
                await self._killer


def numbered(seq: int) -> Callable[[event_pb2.Event], bool]:
    """True of the record of that number."""
    return lambda event: event.seq == seq


async def until_listed(killed: Killed, run_id: str, key: Metadata, name: str = "") -> approval_pb2.Approval:
    """The approval of the run, or the one whose id ends so, once it is pending for whoever has the key."""
    request = pb.ListApprovalsRequest(run_id=run_id, mine=True)

    async def listed(caller: Caller) -> pb.ListApprovalsResponse:
        return await ApprovalServiceStub(caller.channel).ListApprovals(request, timeout=SECONDS, metadata=key)

    async with asyncio.timeout(SECONDS):
        while True:
            for found in (await killed.call(listed)).approvals:
                if found.approval_id.endswith(name):
                    return found
            await asyncio.sleep(0.01)


async def decide(killed: Killed, key: Metadata, decision: pb.DecisionRequest) -> approval_pb2.Approval:
    """Decides; whatever the kill cut off, the same request goes out again."""
    request = pb.DecideApprovalRequest(decision=decision)

    async def decided(caller: Caller) -> pb.DecideApprovalResponse:
        return await ApprovalServiceStub(caller.channel).DecideApproval(request, timeout=SECONDS, metadata=key)

    return (await killed.call(decided)).approval


async def test_an_edit_and_a_delegation_outlive_a_kill_at_every_record(
    make_server: MakeServer, executor: Executor, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.json"
    caller = bearer(add_key(keys, "caller", name="cal"))
    observer = bearer(add_key(keys, "observer", name="olga"))
    ann, dan = (bearer(add_key(keys, "approver", name=name)) for name in ("ann", "dan"))
    server = make_server(asking(), options=("--keys", str(keys)))
    await server.start()
    killed = Killed(server, observer)

    for seq in KILLS:
        run_id = f"run-{seq}"
        start = runtime_pb.StartRunRequest(run=run_request(run_id))
        killing = killed.at(run_id, numbered(seq)) if seq else None
        await killed.call(lambda call, start=start: call.stub.StartRun(start, timeout=SECONDS, metadata=caller))  # type: ignore[misc]
        asked = await until_listed(killed, run_id, ann)
        which = {"approval_id": asked.approval_id, "digest": asked.digest}
        delegating = pb.DecisionRequest(
            **which, request_id="d-1", verdict=approval_pb2.APPROVAL_VERDICT_DELEGATE, delegate_to="dan"
        )
        await decide(killed, ann, delegating)
        theirs = await until_listed(killed, run_id, dan)
        editing = pb.DecisionRequest(
            **which,
            request_id="d-2",
            verdict=approval_pb2.APPROVAL_VERDICT_APPROVE_WITH_EDITS,
            arguments_json=b'{"to": "eve"}',
        )
        await decide(killed, dan, editing)
        wait = runtime_pb.WaitRequest(run_id=run_id)
        ended = await killed.call(lambda call, wait=wait: call.stub.Wait(wait, timeout=SECONDS, metadata=caller))  # type: ignore[misc]
        if killing is not None:
            await killing

        assert ended.run.status == run_pb2.RUN_STATUS_COMPLETED, (seq, ended.run)
        assert (theirs.expires_at, theirs.sets[0].until) == (asked.expires_at, asked.sets[0].until)
        again = await decide(killed, dan, editing), await decide(killed, ann, delegating)
        assert again[0] == again[1], "the same request is answered alike, also after the end"
        assert again[0].decision.decided_by == "dan"
        events = await killed.events(run_id)
        found = [event_pb2.EventKind.Name(event.kind).removeprefix("EVENT_KIND_") for event in events]
        assert seq or found == KINDS, "what it is killed at is what there is"
        once = [kind for kind in KINDS if kind.startswith("APPROVAL_") or kind == "SUBJECT_REPLACED"]
        assert [kind for kind in found if kind in once] == once, (seq, found)
        starts = [event.tool_started for event in events if event.HasField("tool_started")]
        assert {each.approval_digest for each in starts} == {again[0].decision.edited_digest}
        calls = executor.calls_of(run_id)
        assert {call.key for call in calls} == {calls[0].key}
        assert [json.loads(call.arguments) for call in calls] == [{"to": "eve"}] * len(calls)

"""A lost call is settled by its executor, over kills of server and executor; its ledger agrees with the journal."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as registry_pb
from runwright._gen.runwright.callback.v1.callback_registry_service_pb2_grpc import CallbackRegistryServiceStub
from runwright._gen.runwright.v1 import event_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from tests.e2e.conftest import MakeServer
from tests.e2e.executor import EXECUTOR
from tests.e2e.ledger_executor import ExecutorProcess
from tests.e2e.packages import Spec, one_call, tool
from tests.e2e.server_process import Server

FOUND, ANSWERED = 'done: "found in the ledger"', 'done: "answered"'


def booking(reconcile_for: str = "10m") -> Spec:
    """A package whose model books once."""
    return one_call("one", tool("book", "write", reconcilable=True, reconcile_for=reconcile_for))


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[ExecutorProcess]:
    """The executor, not started; killed at the end."""
    process = ExecutorProcess(tmp_path)
    yield process
    await process.kill()


async def kill_and_start(server: Server) -> None:
    """A kill -9, and a start on the same journal."""
    server.kill()
    assert await server.ended() == -signal.SIGKILL
    await server.start()


async def agrees(server: Server, desk: ExecutorProcess, *, writes: int) -> list[event_pb2.Event]:
    """The run's events, once it is sure that nothing was written twice and that the record is true."""
    events = [frame.event for frame in await server.call.frames("run-1")]
    kinds = [event_pb2.EventKind.Name(event.kind).removeprefix("EVENT_KIND_") for event in events]
    assert len(desk.ledger.lines("write")) == writes <= 1
    assert kinds.count("TOOL_COMPLETED") == writes or "TOOL_RECOVERY_REQUIRED" in kinds
    # Each ask has its result, and each attempt that was lost one record that says so.
    lost = [event for event in events if event.HasField("reconcile_ended") and event.reconcile_ended.ask == 0]
    assert kinds.count("RECONCILE_ENDED") == kinds.count("RECONCILE_STARTED") + len(lost)
    return events


async def done(server: Server) -> str:
    """The answer of the run."""
    run = await server.call.settled("run-1")
    assert run.status == run_pb2.RUN_STATUS_COMPLETED, run
    return run.result.text


@pytest.mark.parametrize("performs", ["yes", "no"])
async def test_a_call_whose_executor_died_is_settled_when_it_is_back(
    make_server: MakeServer, desk: ExecutorProcess, performs: str
) -> None:
    await desk.start(performs=performs, then="die")
    server = make_server(booking(), executors={EXECUTOR: desk.address})
    await server.start()
    await server.call.start("run-1")
    await desk.ended()
    await desk.start(says="die")
    await desk.ended()  # of having been asked
    await desk.start()

    answer = await done(server)

    assert answer == (FOUND if performs == "yes" else ANSWERED)
    await agrees(server, desk, writes=1)
    assert [number for what, number in desk.happened if what == "call"] == ([1] if performs == "yes" else [1, 2])


@pytest.mark.parametrize("performs", ["yes", "no"])
async def test_kills_of_both_at_every_step_lose_nothing_and_repeat_nothing(
    make_server: MakeServer, desk: ExecutorProcess, performs: str
) -> None:
    await desk.start(performs=performs, then="hang")
    server = make_server(booking(), executors={EXECUTOR: desk.address})
    await server.start()
    await server.call.start("run-1")
    await desk.until("written" if performs == "yes" else "call")
    await kill_and_start(server)  # in the call
    await desk.kill()
    await kill_and_start(server)  # while there is nobody to ask
    waiting = await server.call.snapshot("run-1")
    await desk.start(says="hang")
    await desk.until("ask")
    await kill_and_start(server)  # in the ask
    await desk.until("ask", 2)
    await desk.kill()
    await desk.start()

    answer = await done(server)
    await kill_and_start(server)

    assert waiting.status == run_pb2.RUN_STATUS_WAITING
    [effect] = waiting.open_effects
    assert (effect.effect_id, effect.attempt, effect.state) == ("c1.1", 1, run_pb2.EFFECT_STATE_RECONCILING)
    assert answer == await done(server) == (FOUND if performs == "yes" else ANSWERED)
    await agrees(server, desk, writes=1)


@pytest.mark.parametrize("says", ["nothing", "dead"])
async def test_a_person_settles_what_no_executor_could_say_in_time(
    make_server: MakeServer, desk: ExecutorProcess, says: str
) -> None:
    await desk.start(then="die")
    server = make_server(booking("2s"), executors={EXECUTOR: desk.address})
    await server.start()
    await server.call.start("run-1")
    await desk.ended()
    if says == "nothing":
        await desk.start(says="nothing")
    await kill_and_start(server)

    unknown = await server.call.settled("run-1")
    request = pb.ResolveEffectRequest(
        run_id="run-1",
        effect_id="c1.1",
        attempt=1,
        request_id="decision-1",
        resolution=run_pb2.RESOLUTION_HAPPENED,
        result=pb.ResolvedResult(data=b'"seen"'),
    )
    await server.call.stub.ResolveEffect(request, timeout=20)

    assert unknown.status == run_pb2.RUN_STATUS_REPAIR_NEEDED
    assert await done(server) == 'done: "seen"'
    events = await agrees(server, desk, writes=1)
    asked = {event.reconcile_ended.answer for event in events if event.HasField("reconcile_ended")}
    cannot = {event_pb2.RECONCILE_ANSWER_CANNOT_SAY} if says == "nothing" else set()
    assert asked == {event_pb2.RECONCILE_ANSWER_NOT_ASKED, *cannot}


async def test_an_executor_that_registered_itself_is_asked_like_one_that_is_configured(
    make_server: MakeServer, desk: ExecutorProcess
) -> None:
    await desk.start(then="die")
    server = make_server(booking(), executors={}, options=("--callback-allow", "127.0.0.0/8"))
    await server.start()
    spec = registry_pb.CallbackSpec(callback_id="desk-1", executor=EXECUTOR, address=desk.address)
    await CallbackRegistryServiceStub(server.call.channel).RegisterCallback(
        registry_pb.RegisterCallbackRequest(spec=spec), timeout=20
    )
    await server.call.start("run-1")
    await desk.ended()
    await kill_and_start(server)
    await desk.start()

    assert await done(server) == FOUND
    events = await agrees(server, desk, writes=1)
    [said] = [event for event in events if event.HasField("tool_completed")]
    assert said.tool_completed.executor_identity.callback_id == "desk-1"

"""By which calls an approval is tainted, over a socket: who reads it sees what led there and finds it in the stream."""

from __future__ import annotations

from typing import Any

from runwright._gen.runwright.v1 import approval_service_pb2 as approval_pb
from runwright._gen.runwright.v1 import event_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.core.kinds import EventKind
from runwright.core.package import RuntimePackage

from tests import builders as b
from tests.runtime.approving import WRITES
from tests.runtime.tainting import SEND, reading_and_sending, reading_tools
from tests.runtime.watching import reached
from tests.transport.conftest import Serve
from tests.transport.dispatcher_hosts import NAME, DispatcherHost, acknowledges, register
from tests.transport.pending_approvals import decide, pending, stub
from tests.transport.serving import CALL_SECONDS, Served, run_request

SECOND_ROUND = "run-1/a2.1.1"


async def served_with(serve: Serve, package: RuntimePackage) -> Served:
    """A server of the package."""
    return await serve(b.real_time_bench(packages=(package,), tools=reading_tools()))


async def waits(served: Served, run_id: str = "run-1", **fields: Any) -> None:
    """Starts a run, and returns once it asks."""
    request = pb.StartRunRequest(run=run_request(run_id, **fields))
    await served.stub.StartRun(request, timeout=CALL_SECONDS)
    await reached(served.runtime, EventKind.APPROVAL_REQUESTED, run_id)


async def told(served: Served, run_id: str = "run-1") -> dict[str, int]:
    """The numbers of the events of a run that ended with which the model was told of its calls."""
    bodies = ("tool_completed", "tool_failed", "tool_result_released")
    events = [frame.event for frame in await served.frames(run_id)]
    return {each.effect_id: each.seq for each in events if each.WhichOneof("body") in bodies}


async def test_an_approval_names_the_untrusted_calls_that_led_to_it_wherever_it_is_read(serve: Serve) -> None:
    script = (b.asks("page", "note", "page"), b.asks(SEND), b.says("done"))
    served = await served_with(serve, reading_and_sending(*script))
    await waits(served)

    shown = await pending(served, approval_id=SECOND_ROUND)
    watching = stub(served).WatchApprovals(approval_pb.WatchApprovalsRequest(), timeout=CALL_SECONDS)
    first = [await watching.read() for _ in range(2)]
    watching.cancel()
    listed = await stub(served).ListApprovals(approval_pb.ListApprovalsRequest(), timeout=CALL_SECONDS)
    await decide(served, approval_id=SECOND_ROUND)

    results = await told(served)
    assert shown.tainted
    assert [(call.run_id, call.effect_id, call.tool, call.seq) for call in shown.tainted_by.calls] == [
        ("", "c1.1", "page", results["c1.1"]),
        ("", "c1.3", "page", results["c1.3"]),
    ]
    assert shown.tainted_by.more == 0
    [update] = [each.approval for each in first if each.HasField("approval")]
    assert update.tainted_by == listed.approvals[0].tainted_by == shown.tainted_by
    asked = await body(served, "approval_requested")
    assert asked.tainted_by == shown.tainted_by
    assert (await body(served, "run_completed")).tainted_by == shown.tainted_by


async def body(served: Served, name: str) -> Any:
    """What the only event of that kind says."""
    [event] = [frame.event for frame in await served.frames() if frame.event.WhichOneof("body") == name]
    assert isinstance(event, event_pb2.Event)
    return getattr(event, name)


async def test_a_later_turn_names_the_call_of_the_earlier_one_as_such(serve: Serve) -> None:
    served = await served_with(serve, reading_and_sending(b.asks("page"), b.asks("send"), b.says("done")))
    for run_id in ("run-1", "run-2"):
        await waits(served, run_id, session_id="s")
        await decide(served, approval_id=f"{run_id}/a2.1.1", request_id=run_id)
        await served.frames(run_id)
    await waits(served, "run-3", session_id="s")

    shown = await pending(served, approval_id="run-3/a2.1.1")

    assert [(call.run_id, call.effect_id, call.tool) for call in shown.tainted_by.calls] == [
        ("run-1", "c1.1", "page"),
        ("run-2", "c1.1", "page"),
        ("", "c1.1", "page"),
    ]
    assert [call.seq for call in shown.tainted_by.calls[:2]] == [
        (await told(served, run_id))["c1.1"] for run_id in ("run-1", "run-2")
    ]


async def test_a_dispatcher_is_told_by_which_calls_it_is_tainted(serve: Serve) -> None:
    told_of = {**WRITES, "dispatchers": [NAME]}
    script = (b.asks("page"), b.asks(SEND), b.says("done"))
    served = await served_with(serve, reading_and_sending(*script, approval=told_of))
    host = DispatcherHost(acknowledges)
    await host.start()
    try:
        await register(served, host)
        await waits(served)
        await reached(served.runtime, EventKind.APPROVAL_DISPATCHED)
    finally:
        await host.stop()

    [(_, notification)] = host.told
    assert [call.effect_id for call in notification.approval.tainted_by.calls] == ["c1.1"]
    assert notification.approval.tainted_by == (await pending(served, approval_id=SECOND_ROUND)).tainted_by

"""Cancel over the wire: a barrier, an executor that is told, one end, and honesty about what stays unknown."""

from __future__ import annotations

import pytest
from runwright._gen.runwright.v1 import event_pb2, run_pb2

from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, Gate
from tests.e2e.packages import BOOK, LOOK, one_call
from tests.e2e.reader import TERMINAL
from tests.e2e.server_process import Server

INTENTS = (event_pb2.EVENT_KIND_TOOL_STARTED, event_pb2.EVENT_KIND_MODEL_ATTEMPT_STARTED)


async def ended_by_cancel(server: Server, run_id: str, barrier: int) -> event_pb2.Event:
    """The terminal event of a run that has been cancelled, after the checks every cancelled run must pass."""
    run = await server.call.settled(run_id)
    assert run.status == run_pb2.RUN_STATUS_CANCELLED
    assert run.cancellation_requested
    events = [frame.event for frame in await server.call.frames(run_id)]
    assert events[barrier - 1].kind == event_pb2.EVENT_KIND_RUN_CANCEL_REQUESTED
    assert not [event.seq for event in events[barrier:] if event.kind in INTENTS], "nothing begins after the barrier"
    assert [event.kind for event in events if event.kind in TERMINAL] == [event_pb2.EVENT_KIND_RUN_CANCELLED]
    assert events[-1].kind == event_pb2.EVENT_KIND_RUN_CANCELLED
    return events[-1]


async def test_the_executor_of_a_call_that_may_be_repeated_is_told_at_once(
    make_server: MakeServer, executor: Executor
) -> None:
    executor.before = Gate()
    server = make_server(one_call("looking", LOOK))
    await server.start()
    await server.call.start("run-1")
    await executor.until_asked(1)

    cancelled = await server.call.cancel("run-1", reason="no longer needed", grace=600)
    await executor.news.until(lambda: bool(executor.given_up), 5)

    assert executor.given_up == executor.requested
    end = await ended_by_cancel(server, "run-1", cancelled.barrier_seq)
    assert list(end.run_cancelled.unknown_effects) == []
    assert "no longer needed" in end.run_cancelled.error.message
    assert sum(executor.effects.values()) == 0


async def test_a_call_that_answers_within_the_grace_is_on_record(make_server: MakeServer, executor: Executor) -> None:
    executor.after = gate = Gate()
    server = make_server(one_call("booking", BOOK, times=2))
    await server.start()
    await server.call.start("run-1")
    await executor.until_asked(1)

    cancelled = await server.call.cancel("run-1", grace=600)
    assert cancelled.run.status == run_pb2.RUN_STATUS_CANCELLING
    assert [effect.effect_id for effect in cancelled.run.open_effects] == ["c1.1"]
    assert not executor.given_up, "it is left alone until it answers"
    gate.open()

    end = await ended_by_cancel(server, "run-1", cancelled.barrier_seq)
    assert list(end.run_cancelled.unknown_effects) == []
    events = [frame.event for frame in await server.call.frames("run-1")]
    assert [event.effect_id for event in events if event.HasField("tool_completed")] == ["c1.1"]


@pytest.mark.parametrize("interrupted", [False, True], ids=["by-the-deadline", "by-a-kill"])
async def test_a_call_that_does_not_answer_is_left_unknown_and_named(
    make_server: MakeServer, executor: Executor, interrupted: bool
) -> None:
    executor.after = Gate()
    server = make_server(one_call("booking", BOOK))
    await server.start()
    await server.call.start("run-1")
    await executor.until_asked(1)

    cancelled = await server.call.cancel("run-1", grace=600 if interrupted else 0.3)
    if interrupted:
        await server.restart()

    end = await ended_by_cancel(server, "run-1", cancelled.barrier_seq)
    assert list(end.run_cancelled.unknown_effects) == ["c1.1"]
    (effect,) = (await server.call.snapshot("run-1")).open_effects
    assert (effect.effect_id, effect.state) == ("c1.1", run_pb2.EFFECT_STATE_UNKNOWN)
    assert effect.idempotency_key == executor.requested[0].key
    await executor.news.until(lambda: bool(executor.given_up), 5)
    assert list(executor.effects.values()) == [1]


async def test_a_repeated_cancel_changes_nothing(make_server: MakeServer, executor: Executor) -> None:
    executor.after = gate = Gate()
    server = make_server(one_call("booking", BOOK))
    await server.start()
    await server.call.start("run-1")
    await executor.until_asked(1)
    first = await server.call.cancel("run-1", reason="first", grace=600)
    second = await server.call.cancel("run-1", reason="second", grace=0)
    gate.open()
    end = await ended_by_cancel(server, "run-1", first.barrier_seq)
    third = await server.call.cancel("run-1", reason="third")

    assert second.barrier_seq == third.barrier_seq == first.barrier_seq
    assert "first" in end.run_cancelled.error.message
    assert third.run.last_seq == end.seq


async def test_cancelling_a_completed_run_returns_it_as_it_is(make_server: MakeServer) -> None:
    server = make_server(one_call("looking", LOOK))
    await server.start()
    await server.call.start("run-1")
    ended = await server.call.settled("run-1")
    late = await server.call.cancel("run-1")
    assert late.barrier_seq == 0
    assert late.run == ended

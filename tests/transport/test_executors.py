"""What executors answer, as readers of the run see it: performed once, told to the model, and by whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from runwright._gen.runwright.v1 import error_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.adapters.clock import SystemClock
from runwright.adapters.remote.executors import DialledExecutors
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind
from runwright.testing import FunctionTools

from tests import builders as b
from tests.adapters.raw_executor import ERROR, RESULT, RawExecutor
from tests.transport.conftest import Serve
from tests.transport.serving import CALL_SECONDS

LARGE = b"\x00" * (5 * 1024 * 1024)
TOLD_LARGE = "The call was made; its result of 5242880 bytes is above 1048576."
TOLD_GARBLED = "The executor answered, and its answer cannot be read; the call may have had its effect."


@pytest.fixture
async def executor() -> AsyncIterator[RawExecutor]:
    """One that is up."""
    served = RawExecutor()
    await served.server.start()
    yield served
    await served.server.stop(0)


async def played(serve: Serve, executor: RawExecutor, tool: Any) -> tuple[Any, list[Any]]:
    """A run of one call of the tool: as it ended, and the events of the call."""
    clock = SystemClock()
    tools = DialledExecutors({"tools": f"billing@127.0.0.1:{executor.port}"}, clock)
    package = b.package(b.asks(tool["name"]), b.says("{results}"), tools=(tool,), policy="builtin:allow-declared")
    served = await serve(b.Bench(clock=clock, tools=tools, packages=(package,)))
    await served.start()
    ended = (await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS)).run
    return ended, [frame.event for frame in await served.frames() if frame.event.effect_id == "c1.1"]


@pytest.mark.parametrize("tool", [b.tool(), b.writing_tool()], ids=["reading", "writing"])
async def test_a_result_too_large_is_performed_once_and_the_model_is_told(
    serve: Serve, executor: RawExecutor, tool: Any
) -> None:
    executor.answer = executor.says(LARGE)

    ended, events = await played(serve, executor, tool)

    assert (ended.status, ended.result.text) == (run_pb2.RUN_STATUS_COMPLETED, TOLD_LARGE)
    assert executor.calls == 1
    failed = events[-1].tool_failed
    assert failed.reason == error_pb2.ERROR_REASON_TOOL_RESULT_TOO_LARGE
    assert (failed.executor_identity.principal, failed.executor_identity.callback_id) == ("billing", "")
    assert failed.executor_identity.address == f"127.0.0.1:{executor.port}"


@pytest.mark.parametrize("answer", [b"", b"\xff\xff", RESULT + ERROR], ids=["nothing", "no message", "two outcomes"])
@pytest.mark.parametrize(("tool", "calls"), [(b.tool(max_attempts=2), 2), (b.writing_tool(), 1)])
async def test_an_answer_that_cannot_be_read_fails_its_attempt(
    serve: Serve, executor: RawExecutor, tool: Any, calls: int, answer: bytes
) -> None:
    executor.answer = executor.says(answer)

    ended, events = await played(serve, executor, tool)

    assert (ended.status, ended.result.text) == (run_pb2.RUN_STATUS_COMPLETED, TOLD_GARBLED)
    assert executor.calls == calls
    assert events[-1].tool_failed.reason == error_pb2.ERROR_REASON_TOOL_ANSWER_INVALID


async def test_a_result_says_who_gave_it(serve: Serve, executor: RawExecutor) -> None:
    _, events = await played(serve, executor, b.tool())

    assert events[-1].tool_completed.executor_identity.principal == "billing"


@pytest.mark.parametrize("kind", [ToolOutcomeKind.TIMED_OUT, ToolOutcomeKind.UNREADABLE, ToolOutcomeKind.LOST])
async def test_a_call_that_may_be_repeated_is_made_again_whatever_became_of_it(
    serve: Serve, kind: ToolOutcomeKind
) -> None:
    first = [ToolOutcome(kind)]

    async def look(arguments: object) -> object:
        return first.pop() if first else "seen"

    tools = FunctionTools({"look": look})
    served = await serve(b.Bench(clock=SystemClock(), tools=tools))
    await served.start()

    ended = (await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS)).run

    assert ended.status == run_pb2.RUN_STATUS_COMPLETED
    assert [entry.attempt for entry in tools.ledger] == [1, 2]
    assert len({entry.idempotency_key for entry in tools.ledger}) == 1

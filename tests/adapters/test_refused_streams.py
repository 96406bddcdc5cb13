"""A call that was not begun for certain is sent again by the connection, as if it had not been; nothing else is."""

from __future__ import annotations

import pytest
from runwright.adapters.clock import SystemClock
from runwright.adapters.remote.executors import DialledExecutors
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind

from tests.adapters.callback_hosts import NAME, executed
from tests.adapters.h2_executor import Answer, Http2Executor, answered, going_away, passed_on, refused, reset

Kind = ToolOutcomeKind


async def made(*answers: Answer) -> tuple[ToolOutcome, int]:
    """The outcome of one attempt, and how many requests reached the executor for it."""
    executor = Http2Executor(*answers)
    tools = DialledExecutors({NAME: f"127.0.0.1:{await executor.start()}"}, SystemClock())
    try:
        return await executed(tools), executor.calls
    finally:
        await tools.close()
        executor.stop()


async def test_a_call_that_a_leaving_host_has_not_begun_is_made_over_a_new_connection() -> None:
    outcome, requests = await made(going_away, answered)

    assert (outcome.kind, outcome.data, requests) == (Kind.RESULT, b"seen", 2)


async def test_a_call_that_hosts_leave_again_and_again_is_not_sent_without_end() -> None:
    outcome, requests = await made(going_away)

    assert (outcome.kind, requests) == (Kind.LOST, 2)


@pytest.mark.parametrize("answer", [refused, reset, passed_on])
async def test_a_call_that_may_have_begun_is_sent_once(answer: Answer) -> None:
    outcome, requests = await made(answer, answered)

    assert (outcome.kind, requests) == (Kind.LOST, 1)

"""What an approval shows of its dispatchers: when they are told again, if they are."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from runwright.core.approval_dispatch_rows import DispatchStanding
from runwright.core.approval_dispatches import ApprovalNotice, DispatchResult
from runwright.core.approvals import ApprovalVerdict
from runwright.core.ids import DEFAULT_NAMESPACE
from runwright.core.kinds import EventKind
from runwright.ports.approval_dispatchers import ApprovalNotification, DispatcherReply
from runwright.runtime import AgentRuntime
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.approving import WRITES, Sent, asking, decide, shown
from tests.runtime.told import Told
from tests.runtime.watching import eventually, quiet, reached, stood_still


def fails(_: ApprovalNotification) -> DispatcherReply:
    """What a dispatcher answers whose chat is down."""
    raise RuntimeError("the chat is down")


async def asked(bench: b.Bench, told: Told, send: Any = None) -> AgentRuntime:
    """A runtime with a run that has asked, whose first attempt at telling is over."""
    bench.packages = (asking(approval={**WRITES, "dispatchers": ["chat"]}),)
    bench.tools = FunctionTools({"send": send or Sent(), "look": b.look})
    bench.dispatchers = told
    runtime = bench.runtime()
    await runtime.start_run(b.request(), principal="local")
    await reached(runtime, EventKind.APPROVAL_DISPATCHED)
    await quiet()
    return runtime


async def shown_of(runtime: AgentRuntime) -> DispatchStanding:
    """How far the one dispatcher is said to have been told."""
    (dispatch,) = await runtime.approvals.dispatches(DEFAULT_NAMESPACE, await shown(runtime))
    return dispatch


@pytest.mark.parametrize("verdict", [ApprovalVerdict.APPROVE, ApprovalVerdict.DENY])
async def test_one_that_never_knew_of_an_approval_is_not_said_to_be_told_once_it_is_closed(
    bench: b.Bench, verdict: ApprovalVerdict
) -> None:
    runtime = await asked(bench, Told(is_away=True))
    before = await shown_of(runtime)

    await decide(runtime, verdict=verdict)
    await stood_still(runtime)

    after = await shown_of(runtime)
    assert before.retry_at is not None
    assert (after.result, after.retry_at) == (DispatchResult.NOT_SENT, None)


async def test_whoever_was_not_told_of_the_decision_is_said_to_be_told_again_until_the_run_ends(
    bench: b.Bench,
) -> None:
    told, answering = Told(), asyncio.Event()

    async def send(_: Any) -> str:
        await answering.wait()
        return "sent"

    runtime = await asked(bench, told, send)
    told.answer = fails
    await decide(runtime)
    await eventually(lambda: len(told.told) == 2)
    await quiet()

    under_way = await shown_of(runtime)
    answering.set()
    await stood_still(runtime)

    ended = await shown_of(runtime)
    assert (under_way.result, under_way.notice) == (DispatchResult.LOST, ApprovalNotice.UPDATE)
    assert under_way.retry_at is not None
    assert ended == under_way.__replace__(retry_at=None)

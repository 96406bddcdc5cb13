"""A driver that meets the same failure again: no hot loop, however it came to it, and nothing sent twice."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from runwright.core import records as r
from runwright.core.condition import HoldCause
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.core.outcomes import RunPhase, RunStatus
from runwright.ports.journal import Appended, Journal, LoadedRun
from runwright.runtime.runs.failures import FAILURES_PASS_US, MOST_FAILURES
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import JournalWrapper
from tests.runtime.parts import HeldTool
from tests.runtime.watching import abandoned, quiet, records_of

WRITING = b.package(b.asks("write"), b.says("{results}"), tools=(b.writing_tool(),))


class Contradicting(JournalWrapper):
    """Reads a run and then says, at every append, that it has moved on. Counts the appends."""

    def __init__(self, inner: Journal) -> None:
        super().__init__(inner)
        self.refused = 0

    async def written(self, run: RunKey, records: Any, **rest: Any) -> Appended:
        """See the class."""
        self.refused += 1
        raise AgentError(ErrorReason.JOURNAL_CONFLICT, "It has moved on.", metadata={"run_id": run.run_id})


class Flipped(JournalWrapper):
    """Changes the stored state of a run before it is read."""

    def __init__(self, inner: Journal, **changes: Any) -> None:
        super().__init__(inner)
        self._changes = changes

    async def load(self, run: RunKey) -> LoadedRun | None:
        """See the class."""
        loaded = await self.inner.load(run)
        assert loaded is not None
        return LoadedRun(replace(loaded.state, **self._changes), loaded.last_position)


async def left_in_a_call(bench: b.Bench) -> HeldTool:
    """A run in the middle of a call that must not be repeated, and the power gone."""
    tool = HeldTool()
    bench.packages, bench.tools = (WRITING,), FunctionTools({"write": tool})
    async with abandoned():
        runtime = bench.runtime()
        await runtime.start_run(b.request())
        await tool.begun.wait()
    return tool


async def test_a_run_that_cannot_be_appended_to_is_tried_a_few_times_and_then_held(bench: b.Bench) -> None:
    await left_in_a_call(bench)
    journal = Contradicting(bench.journal)
    runtime = bench.runtime(journal=journal)

    await runtime.recover()
    await quiet()
    at_once = journal.refused
    for _ in range(2 * MOST_FAILURES):
        bench.manual_clock.advance(b.SECOND * 5)
        await quiet()
    held = await runtime.run_snapshot("run-1")

    assert at_once == 2, "once more at once, then after a while"
    assert journal.refused == MOST_FAILURES + 1
    assert held.status is RunStatus.HELD
    assert held.condition.hold is not None
    assert held.condition.hold.cause is HoldCause.FAILING
    assert held.condition.hold.failure.reason is ErrorReason.JOURNAL_CONFLICT
    assert len(bench.function_tools.ledger) == 1, "what must not be repeated was sent once, before"


async def test_whoever_asks_for_such_a_run_does_not_make_it_loop(bench: b.Bench) -> None:
    await left_in_a_call(bench)
    journal = Contradicting(bench.journal)
    runtime = bench.runtime(journal=journal)
    await runtime.recover()
    reasons = set()

    for _ in range(50):
        with pytest.raises(AgentError) as caught:
            await runtime.cancel_run("run-1")
        reasons.add(caught.value.reason)
        await quiet()

    assert ErrorReason.INTERNAL not in reasons
    assert journal.refused < 60, "a caller costs an append at most"


async def test_failures_that_are_far_apart_do_not_add_up(bench: b.Bench) -> None:
    await left_in_a_call(bench)
    journal = Contradicting(bench.journal)
    runtime = bench.runtime(journal=journal)
    await runtime.recover()
    await quiet()

    for _ in range(MOST_FAILURES):
        bench.manual_clock.advance(FAILURES_PASS_US + b.SECOND)
        await quiet()

    assert (await runtime.run_snapshot("run-1")).status is not RunStatus.HELD


async def test_nothing_is_sent_for_a_state_that_wants_a_call_without_a_durable_recovery(bench: b.Bench) -> None:
    """One flipped bit in the phase of a snapshot row once sent a write 158 times a second."""
    await left_in_a_call(bench)
    runtime = bench.runtime(journal=Flipped(bench.journal, phase=RunPhase.NEW))

    await runtime.recover()
    await quiet()
    held = await runtime.run_snapshot("run-1")

    assert len(bench.function_tools.ledger) == 1
    assert held.status is RunStatus.HELD
    assert held.condition.hold is not None
    assert held.condition.hold.failure.reason is ErrorReason.JOURNAL_CORRUPT


@pytest.mark.parametrize("seq", [1, 3, 999])
async def test_a_state_at_another_event_than_the_runs_last_sends_nothing(bench: b.Bench, seq: int) -> None:
    await left_in_a_call(bench)
    runtime = bench.runtime(journal=Flipped(bench.journal, seq=seq))

    await runtime.recover()
    for _ in range(2 * MOST_FAILURES):
        await quiet()
        bench.manual_clock.advance(b.SECOND * 5)

    assert len(bench.function_tools.ledger) == 1
    assert (await runtime.run_snapshot("run-1")).status is RunStatus.HELD


async def test_a_start_that_the_journal_neither_has_nor_takes_is_not_tried_for_ever(bench: b.Bench) -> None:
    journal = Contradicting(bench.journal)
    runtime = bench.runtime(journal=journal)

    with pytest.raises(AgentError) as caught:
        await runtime.start_run(b.request())

    assert caught.value.reason is ErrorReason.JOURNAL_CONFLICT
    assert journal.refused < 5
    assert await records_of(bench.journal, r.RunStarted) == []

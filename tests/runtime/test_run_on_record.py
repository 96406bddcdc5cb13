"""Whether an append is durable is what it answers, whatever becomes of whoever waits for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.inputs import CancelRequested
from runwright.core.machine import advance
from runwright.runtime.runs.run_on_record import APPEND_RETRY_US, Change, RunOnRecord
from runwright.runtime.runs.stored_runs import StoredRuns
from runwright.runtime.runs.tail import RunTail
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import FailingJournal, GatedJournal, journal_broken, journal_full
from tests.runtime.watching import abandoned, key, kinds, quiet

PACKAGE = b.one_call_package()


async def left_waiting(bench: b.Bench, journal: Any) -> tuple[RunOnRecord, Change]:
    """A run that waits for an executor, as it is on record; and how a cancel would end it."""
    bench.tools = FunctionTools({"look": b.look}, unreachable={"tools"})
    async with abandoned():
        await bench.runtime().start_run(b.request())
        await quiet()
    loaded = await StoredRuns(bench.journal).load(key())
    cancel = CancelRequested(at=bench.clock.now(), reason="", requested_by="ann", grace_us=0)
    records, state = advance(PACKAGE, loaded.state, cancel)
    assert state.is_terminal
    return RunOnRecord(bench.runtime(journal=journal).ports, loaded, RunTail()), Change(records, state)


async def test_what_is_durable_is_so_although_its_caller_was_cancelled(bench: b.Bench) -> None:
    journal = GatedJournal(bench.journal)
    on_record, change = await left_waiting(bench, journal)
    journal.gate.clear()
    appending = asyncio.create_task(on_record.append(change))
    await quiet()

    appending.cancel()
    await quiet()
    early = appending.done()
    journal.gate.set()
    result = await appending

    assert not early, "what is being written cannot be taken back"
    assert result.is_durable
    assert isinstance(result.error, asyncio.CancelledError)
    assert on_record.state == change.state
    assert on_record.position == bench.journal.head
    with pytest.raises(asyncio.CancelledError):
        result.or_raise()


async def test_what_is_refused_as_its_caller_is_cancelled_is_not_durable(bench: b.Bench) -> None:
    class Refusing(GatedJournal):
        async def written(self, run: Any, records: Any, **rest: Any) -> Any:
            await self.gate.wait()
            raise journal_broken()

    journal = Refusing(bench.journal)
    on_record, change = await left_waiting(bench, journal)
    before = on_record.state
    journal.gate.clear()
    appending = asyncio.create_task(on_record.append(change))
    await quiet()

    appending.cancel()
    await quiet()
    journal.gate.set()
    result = await appending

    assert not result.is_durable
    assert isinstance(result.error, asyncio.CancelledError)
    assert on_record.state is before


async def test_a_run_holds_on_through_a_full_disk_and_says_so(bench: b.Bench) -> None:
    journal = FailingJournal(bench.journal, journal_full())
    on_record, change = await left_waiting(bench, journal)
    refusals: list[ErrorReason] = []
    appending = asyncio.create_task(on_record.append(change, held_up=refusals.append))
    await quiet()
    blocked_by = on_record.blocked_by

    bench.manual_clock.advance(APPEND_RETRY_US)
    await quiet()
    journal.error = None
    bench.manual_clock.advance(APPEND_RETRY_US)
    result = await appending

    assert blocked_by is ErrorReason.JOURNAL_FULL
    assert refusals == [ErrorReason.JOURNAL_FULL] * 2
    assert (result.is_durable, result.error, on_record.blocked_by) == (True, None, None)


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_one_that_holds_on_no_more_has_appended_nothing(bench: b.Bench, is_cancelled: bool) -> None:
    journal = FailingJournal(bench.journal, journal_full())
    on_record, change = await left_waiting(bench, journal)
    before = await kinds(bench.journal)
    appending = asyncio.create_task(on_record.append(change, holds_on=lambda: is_cancelled))
    await quiet()

    if is_cancelled:
        appending.cancel()
    result = await appending

    assert not result.is_durable
    assert isinstance(result.error, asyncio.CancelledError if is_cancelled else AgentError)
    assert await kinds(bench.journal) == before

"""After a restart nothing is sent before the record of recovery is durable, whatever the state that was loaded says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace
from runwright.core import records as r
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.core.kinds import TERMINAL
from runwright.core.machine import pending
from runwright.core.outcomes import CallPhase, RunPhase
from runwright.core.state import ModelState, RunState
from runwright.ports.journal import Appended, Journal, LoadedRun
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import JournalWrapper, journal_busy, journal_full
from tests.runtime.parts import HeldTool
from tests.runtime.watching import abandoned, eventually, key, kinds, quiet, records_of

WRITING = b.package(b.asks("write"), b.says("{results}"), tools=(b.writing_tool(),))
READING = b.package(b.asks("look"), b.says("{results}"), tools=(b.tool(),))


class Misread(JournalWrapper):
    """A journal whose states come out other than they are, as if no check had found the damage."""

    def __init__(self, inner: Journal, misread: Callable[[RunState], RunState]) -> None:
        super().__init__(inner)
        self._misread = misread

    async def load(self, run: RunKey) -> LoadedRun | None:
        """See the class."""
        loaded = await self.inner.load(run)
        assert loaded is not None
        return LoadedRun(self._misread(loaded.state), loaded.last_position)


class FailsFirst(JournalWrapper):
    """Refuses the first appends for a while."""

    def __init__(self, inner: Journal, error: AgentError, times: int) -> None:
        super().__init__(inner)
        self._error = error
        self.left = times

    async def written(self, run: RunKey, records: Any, **rest: Any) -> Appended:
        """See the class."""
        if self.left:
            self.left -= 1
            raise self._error
        return await self.inner.append(run, records, **rest)


async def left_in_a_call(bench: b.Bench, name: str) -> None:
    """A crash in the middle of the call of `write` or `look`; later calls are answered at once."""
    held = HeldTool()
    bench.packages = (WRITING if name == "write" else READING,)
    bench.tools = FunctionTools({name: held})
    async with abandoned():
        runtime = bench.runtime()
        await runtime.start_run(b.request())
        await held.begun.wait()
    bench.tools = FunctionTools({name: b.look})


def of_call(**changes: Any) -> Callable[[RunState], RunState]:
    """Another state of the run's one call."""
    return lambda state: replace(state, calls=tuple(replace(call, **changes) for call in state.calls))


@pytest.mark.parametrize(
    "misread",
    [
        lambda state: replace(state, phase=RunPhase.NEW),
        lambda state: replace(state, phase=RunPhase.CANCELLING),
        of_call(attempt=0),
        of_call(attempt=7),
        of_call(phase=CallPhase.NONE),
        of_call(phase=CallPhase.UNKNOWN),
        of_call(executor="other"),
        of_call(tool="writf"),
        of_call(deadline=0),
    ],
)
async def test_a_call_that_must_not_be_repeated_is_not_sent_again_whatever_its_state_is_taken_for(
    bench: b.Bench, misread: Callable[[RunState], RunState]
) -> None:
    await left_in_a_call(bench, "write")
    runtime = bench.runtime(journal=Misread(bench.journal, misread))

    await runtime.recover()
    await quiet()

    assert bench.function_tools.ledger == []
    await runtime.drain(0)


@pytest.mark.parametrize("phase", list(RunPhase))
async def test_what_is_wanted_of_a_run_without_its_record_of_recovery_is_refused(
    bench: b.Bench, phase: RunPhase
) -> None:
    await left_in_a_call(bench, "look")
    runtime = bench.runtime(journal=Misread(bench.journal, lambda state: replace(state, phase=phase)))

    await runtime.recover()
    await quiet()

    started = await records_of(bench.journal, r.ToolStarted)
    sent = [entry.attempt for entry in bench.function_tools.ledger]
    assert sent == [record.attempt for record in started if record.attempt > 1]
    await runtime.drain(0)


def test_a_run_that_has_not_begun_wants_nothing() -> None:
    requested = RunState(key=key(), phase=RunPhase.RUNNING, round=1, model_request=ModelState(1, is_open=True))

    assert pending(requested) != {}
    assert pending(replace(requested, phase=RunPhase.NEW)) == {}


@pytest.mark.parametrize("error", [journal_full(), journal_busy()], ids=lambda error: error.reason.name)
async def test_nothing_is_sent_while_the_journal_does_not_take_the_record_of_recovery(
    bench: b.Bench, error: AgentError
) -> None:
    await left_in_a_call(bench, "look")
    journal = FailsFirst(bench.journal, error, times=1_000_000)
    runtime = bench.runtime(journal=journal)

    await runtime.recover()
    await quiet()
    early = list(bench.function_tools.ledger)
    journal.left = 0
    bench.manual_clock.advance(10_000_000)
    await eventually(lambda: runtime.registered_run_count() == 0)

    assert early == []
    assert [entry.attempt for entry in bench.function_tools.ledger] == [2]
    assert (await kinds(bench.journal))[-1] in TERMINAL


async def test_a_conflict_with_the_record_of_recovery_sends_nothing_before_the_run_is_read_anew(bench: b.Bench) -> None:
    await left_in_a_call(bench, "look")
    conflict = AgentError(ErrorReason.JOURNAL_CONFLICT, "It moved on.", metadata={"run_id": "run-1"})
    journal = FailsFirst(bench.journal, conflict, times=1)
    runtime = bench.runtime(journal=journal)

    await runtime.recover()
    await eventually(lambda: journal.left == 0)
    early = list(bench.function_tools.ledger)
    bench.manual_clock.advance(60_000_000)
    await eventually(lambda: runtime.registered_run_count() == 0)

    assert early == []
    assert [entry.attempt for entry in bench.function_tools.ledger] == [2]
    assert [record.attempt for record in await records_of(bench.journal, r.ToolStarted)] == [1, 2]

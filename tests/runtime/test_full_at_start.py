"""A start on a full disk: what can be read is served, what has to be written is refused, and it passes by itself."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from runwright.adapters.memory.recovery import MemoryRecoveryLog
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.core.outcomes import RunStatus
from runwright.core.quarantine import Stage, Suspect
from runwright.runtime.runs.recovery import RETRY_US
from runwright.runtime.runs.supervisor import Supervisor
from runwright.runtime.write_watch import WriteWatch
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import FailingJournal, journal_broken, journal_full
from tests.runtime.parts import HeldTool
from tests.runtime.watching import abandoned, quiet, stood_still, streamed


class Full(FailingJournal):
    """Takes neither appends nor the count of starts nor a probe while there is an error."""

    def __init__(self, bench: b.Bench, error: AgentError | None) -> None:
        super().__init__(bench.journal, error)
        self.log = MemoryRecoveryLog(bench.journal)
        self.probes = 0

    async def probe(self) -> None:
        """See the class."""
        self.probes += 1
        if self.error is not None:
            raise self.error

    async def begin(self, now: int) -> list[Suspect]:
        """See the class."""
        await self.probe()
        return await self.log.begin(now)

    async def take_up(self, runs: Collection[RunKey], stage: Stage) -> None:
        """See the class."""
        await self.probe()
        await self.log.take_up(runs, stage)

    async def settled(self, runs: Collection[RunKey]) -> None:
        """See the class."""
        await self.log.settled(runs)

    async def end(self) -> None:
        """See the class."""
        await self.log.end()


async def left_open(bench: b.Bench) -> None:
    """An ended run, and one in the middle of a call."""
    tool = HeldTool()
    async with abandoned():
        runtime = bench.runtime()
        await runtime.run_text(b.request("ended"))
        bench.tools = FunctionTools({"look": tool})
        runtime = bench.runtime()
        await runtime.start_run(b.request("open"))
        await tool.begun.wait()
    bench.tools = FunctionTools({"look": b.look})


async def test_what_can_be_read_is_served_and_nothing_is_sent_until_there_is_room(bench: b.Bench) -> None:
    await left_open(bench)
    full = Full(bench, journal_full())
    bench.recovery = full
    runtime = bench.runtime(journal=full)

    recovered = await runtime.recover()
    with pytest.raises(AgentError) as refused:
        await runtime.start_run(b.request("new"))
    await quiet()
    meanwhile = (
        runtime.write_blockage(),
        (await runtime.run_snapshot("ended")).text,
        (await runtime.run_snapshot("open")).status,
        len(await streamed(runtime, "ended")) > 2,
        len(bench.function_tools.ledger),
        runtime.registered_run_count(),
    )
    full.error = None
    bench.manual_clock.advance(RETRY_US)
    ended = await stood_still(runtime, "open")

    assert recovered == 1
    assert refused.value.reason is ErrorReason.JOURNAL_FULL
    assert meanwhile == ("JOURNAL_FULL", 'found "a lamp"', RunStatus.RUNNING, True, 0, 1)
    assert ended.status is RunStatus.COMPLETED
    assert (await runtime.start_run(b.request("new")))[1]
    assert runtime.write_blockage() is None


async def test_a_refused_start_is_seen_by_health_until_a_probe_is_taken(bench: b.Bench) -> None:
    full = Full(bench, journal_full())
    runtime = bench.runtime(journal=full)
    watch = WriteWatch(runtime.ports, supervisor_of(runtime))
    with pytest.raises(AgentError):
        await runtime.start_run(b.request())

    await watch.look()
    refused = runtime.write_blockage(), runtime.report().takes_writes
    full.error = None
    await watch.look()
    taken = runtime.write_blockage(), full.probes
    await watch.look()

    assert refused == ("JOURNAL_FULL", False)
    assert taken == (None, 2)
    assert full.probes == 2, "a journal that takes writes is not probed"


async def test_a_journal_that_takes_nothing_any_more_is_not_probed(bench: b.Bench) -> None:
    full = Full(bench, journal_broken())
    runtime = bench.runtime(journal=full)
    with pytest.raises(AgentError):
        await runtime.start_run(b.request())

    await WriteWatch(runtime.ports, supervisor_of(runtime)).look()

    assert (runtime.write_blockage(), full.probes) == ("JOURNAL_CORRUPT", 0)


def supervisor_of(runtime: object) -> Supervisor:
    """The runtime's own."""
    found = vars(runtime)["_supervisor"]
    assert isinstance(found, Supervisor)
    return found

"""A way out of a hold that meets a journal that takes nothing between two of its steps: what stands is told, once."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from runwright.adapters.memory.audit import MemoryAudit
from runwright.adapters.memory.recovery import MemoryRecoveryLog
from runwright.core.audit import AuditKind
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.core.outcomes import RunStatus
from runwright.ports.journal import Journal
from runwright.runtime import AgentRuntime

from tests import builders as b
from tests.runtime.journals import journal_busy
from tests.runtime.test_held import HELD, Damaged, audited, left_open


class Busy(MemoryRecoveryLog):
    """Cannot be written while it is busy."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(journal)
        self.is_busy = False

    async def settled(self, runs: Collection[RunKey]) -> None:
        """See the class."""
        if self.is_busy:
            raise journal_busy()
        await super().settled(runs)


async def held(bench: b.Bench) -> tuple[AgentRuntime, Busy]:
    """A runtime that holds run-1 as unreadable."""
    await left_open(bench, "run-1", "run-2")
    bench.audit = MemoryAudit(bench.clock)
    bench.recovery = busy = Busy(bench.journal)
    runtime = bench.runtime(journal=Damaged(bench.journal))
    assert await runtime.recover() == 2
    busy.is_busy = True
    return runtime, busy


async def test_a_removal_that_stands_lets_the_run_go_whatever_the_journal_takes_then(bench: b.Bench) -> None:
    runtime, _ = await held(bench)

    left = await runtime.remove_run("run-1", reason="gone", principal="olga")

    assert (left.status, bool(left.state.removed_at)) == (RunStatus.CANCELLED, True)
    assert (await runtime.list_runs(HELD)).runs == []
    assert (AuditKind.HELD_RUN_REMOVED, "olga", "gone") in await audited(runtime)
    with pytest.raises(AgentError) as again:
        await runtime.remove_run("run-1")
    assert again.value.reason is ErrorReason.RUN_NOT_HELD


async def test_a_release_that_cannot_be_written_down_leaves_the_run_held(bench: b.Bench) -> None:
    runtime, busy = await held(bench)

    with pytest.raises(AgentError) as refused:
        await runtime.release_run("run-1")
    still = [run.state.key.run_id for run in (await runtime.list_runs(HELD)).runs]
    busy.is_busy = False
    _, was_held = await runtime.release_run("run-1")

    assert refused.value.reason is ErrorReason.JOURNAL_BUSY
    assert (still, was_held) == (["run-1"], True)

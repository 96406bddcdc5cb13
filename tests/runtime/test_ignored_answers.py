"""An answer that changes nothing any more is in the audit, with run and call."""

from __future__ import annotations

import asyncio

from runwright.adapters.memory.audit import MemoryAudit
from runwright.core.audit import AuditKind
from runwright.core.outcomes import ExecutorIdentity, RunStatus
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind
from runwright.testing import FunctionTools

from tests import builders as b
from tests.ports.stores import AnyJournal
from tests.runtime.parts import HeldTool
from tests.runtime.watching import eventually, stood_still


async def test_an_answer_that_comes_with_the_deadline_of_a_cancel_is_noted(
    any_journal: AnyJournal,
) -> None:
    who = ExecutorIdentity("desk-1", "desk-host", "127.0.0.1:7761")
    tool = HeldTool(ToolOutcome(ToolOutcomeKind.RESULT, b"late", executor_identity=who))
    bench = b.Bench(journal=any_journal, tools=FunctionTools({"write": tool}))
    bench.audit = audit = MemoryAudit(bench.clock)
    runtime = bench.runtime(b.package(b.asks("write"), b.says("done"), tools=(b.writing_tool(),)))
    await runtime.start_run(b.request())
    await tool.begun.wait()
    requested = asyncio.create_task(runtime.cancel_run("run-1", grace_us=b.SECOND))
    await eventually(lambda: bool(bench.manual_clock.waiting))
    await requested

    bench.manual_clock.advance(b.SECOND)
    tool.let_go.set()

    assert (await stood_still(runtime)).status is RunStatus.CANCELLED
    (entry,) = (await audit.page(["default"], before=None, limit=9)).entries
    assert (entry.kind, entry.subjects) == (AuditKind.ANSWER_IGNORED, ("run-1", "c1.1"))
    assert entry.principal == "desk-host"

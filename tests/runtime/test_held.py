"""A run that the server does not drive: what callers see of it, and the ways out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from runwright.adapters.memory.audit import MemoryAudit
from runwright.core import records as r
from runwright.core.apply import fold
from runwright.core.audit import AuditKind
from runwright.core.condition import HoldCause
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import DEFAULT_NAMESPACE, RunKey
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunStatus, WaitKind
from runwright.core.selection import RunFilter
from runwright.core.state import RunState
from runwright.ports.journal import Journal, StoredEvent
from runwright.runtime import AgentRuntime
from runwright.testing import FunctionTools
from runwright.wire.records import decode_event

from tests import builders as b
from tests.runtime.journals import FailingJournal, JournalWrapper, journal_broken, journal_busy, journal_full
from tests.runtime.parts import HeldTool
from tests.runtime.watching import abandoned, events, eventually, key, kinds, quiet, records_of, stood_still

FIRST_BAD = 4
HELD = RunFilter(statuses=frozenset({RunStatus.HELD}))
WRITING = b.package(b.asks("write", "look"), b.says("{results}"), tools=(b.writing_tool(), b.tool()))


class Damaged(JournalWrapper):
    """Cannot read one event of run-1, the fourth, while it is damaged."""

    def __init__(self, inner: Journal) -> None:
        super().__init__(inner)
        self.is_damaged = True

    def _check(self, run: RunKey) -> None:
        if self.is_damaged and run == key():
            metadata = {"run_id": "run-1", "first_bad": str(FIRST_BAD)}
            raise AgentError(ErrorReason.JOURNAL_CORRUPT, "An event does not decode.", metadata=metadata)

    async def load(self, run: RunKey) -> Any:
        """See the class."""
        self._check(run)
        return await self.inner.load(run)

    async def read(self, run: RunKey, *, after: int, limit: int) -> list[StoredEvent]:
        """See the class."""
        found = await self.inner.read(run, after=after, limit=limit)
        if any(event.seq >= FIRST_BAD for event in found):
            self._check(run)
        return found

    async def remove(self, run: RunKey, *, now: int) -> int:
        """See the port; an outline is whole."""
        self.is_damaged = False
        return await self.inner.remove(run, now=now)

    async def intact(self, run: RunKey) -> tuple[RunState, int] | None:
        """See the class."""
        found = await self.inner.read(run, after=0, limit=FIRST_BAD - 1)
        return fold(RunState(key=run), [decode_event(event.data) for event in found]), found[-1].position


async def left_open(bench: b.Bench, *run_ids: str) -> HeldTool:
    """Runs of WRITING in the middle of their calls, and the power gone. The tool of the writes is given back."""
    write = HeldTool()
    bench.packages = (WRITING,)
    bench.tools = FunctionTools({"look": b.look, "write": write})
    async with abandoned():
        runtime = bench.runtime()
        for run_id in run_ids:
            await runtime.start_run(b.request(run_id))
        await eventually(lambda: write.running == len(run_ids))
    return write


async def unreadable(bench: b.Bench) -> tuple[AgentRuntime, Damaged]:
    """A runtime that has found run-1 damaged and run-2 whole."""
    await left_open(bench, "run-1", "run-2")
    bench.audit = MemoryAudit(bench.clock)
    journal = Damaged(bench.journal)
    runtime = bench.runtime(journal=journal)
    assert await runtime.recover() == 2
    return runtime, journal


async def failing(bench: b.Bench) -> tuple[AgentRuntime, FailingJournal]:
    """A runtime with a run whose result the journal refused for good, and whose events are intact."""
    tool = HeldTool()
    bench.packages, bench.audit = (WRITING,), MemoryAudit(bench.clock)
    bench.tools = FunctionTools({"write": HeldTool(), "look": tool})
    journal = FailingJournal(bench.journal)
    runtime = bench.runtime(journal=journal)
    await runtime.start_run(b.request())
    await tool.begun.wait()
    journal.error = journal_broken()
    tool.let_go.set()
    await eventually(lambda: runtime.report().runs["held"] == 1)
    journal.error = None
    return runtime, journal


async def audited(runtime: AgentRuntime) -> list[tuple[AuditKind, str, str]]:
    """Kind, principal and reason of every entry, oldest first."""
    listed = await runtime.list_audit()
    return [(entry.kind, entry.principal, entry.reason) for entry in reversed(listed.entries)]


async def test_an_unreadable_run_is_shown_as_held_with_its_first_bad_event(bench: b.Bench) -> None:
    runtime, _ = await unreadable(bench)

    held = await runtime.run_snapshot("run-1")

    assert (held.status, held.is_done) == (RunStatus.HELD, True)
    assert (held.state.seq, held.state.package_id) == (FIRST_BAD - 1, WRITING.id)
    hold = held.condition.hold
    assert hold is not None
    assert (hold.cause, hold.first_bad) == (HoldCause.UNREADABLE, str(FIRST_BAD))
    assert [(wait.kind, wait.subject) for wait in held.waiting_on] == [(WaitKind.RELEASE, "UNREADABLE")]


async def test_an_unreadable_run_does_not_keep_the_server_from_serving(bench: b.Bench) -> None:
    runtime, _ = await unreadable(bench)

    assert runtime.write_blockage() is None
    assert (runtime.report().takes_writes, runtime.report().runs["held"]) == (True, 1)
    assert runtime.registered_run_count() == 2
    assert (await stood_still(runtime, "run-2")).status is RunStatus.REPAIR_NEEDED


async def test_held_runs_are_listed_by_their_status_and_by_no_other(bench: b.Bench) -> None:
    runtime, _ = await unreadable(bench)
    await stood_still(runtime, "run-2")

    held = await runtime.list_runs(HELD)
    others = await runtime.list_runs(RunFilter(statuses=frozenset(RunStatus) - {RunStatus.HELD}))
    everything = await runtime.list_runs()

    assert [(run.state.key.run_id, run.status) for run in held.runs] == [("run-1", RunStatus.HELD)]
    assert [run.state.key.run_id for run in others.runs] == ["run-2"]
    assert [run.status for run in everything.runs] == [RunStatus.REPAIR_NEEDED, RunStatus.HELD]


async def test_waiting_for_a_held_run_returns(bench: b.Bench) -> None:
    runtime, _ = await unreadable(bench)

    assert (await stood_still(runtime)).status is RunStatus.HELD


async def test_whoever_waits_already_is_told_that_the_run_is_held(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.tools = FunctionTools({"look": tool})
    journal = FailingJournal(bench.journal)
    runtime = bench.runtime(journal=journal)
    await runtime.start_run(b.request())
    waiting = asyncio.create_task(stood_still(runtime))
    await tool.begun.wait()

    journal.error = journal_broken()
    tool.let_go.set()

    assert (await waiting).status is RunStatus.HELD


async def test_a_stream_delivers_what_is_intact_and_then_names_the_damage(bench: b.Bench) -> None:
    runtime, _ = await unreadable(bench)
    seen: list[int] = []

    with pytest.raises(AgentError) as caught:
        async for batch in await runtime.subscribe_run("run-1"):
            seen += [item.event.seq for item in batch if item.event]

    assert seen == list(range(1, FIRST_BAD))
    assert caught.value.reason is ErrorReason.JOURNAL_CORRUPT
    assert caught.value.metadata == {"run_id": "run-1", "first_bad": str(FIRST_BAD)}


async def test_cancelling_an_unreadable_run_says_that_it_is_held(bench: b.Bench) -> None:
    runtime, _ = await unreadable(bench)

    with pytest.raises(AgentError) as caught:
        await runtime.cancel_run("run-1")

    assert caught.value.reason is ErrorReason.RUN_HELD
    assert caught.value.metadata == {"run_id": "run-1", "cause": "UNREADABLE", "first_bad": str(FIRST_BAD)}


async def test_starting_it_again_answers_as_for_any_repeated_call(bench: b.Bench) -> None:
    runtime, _ = await unreadable(bench)

    _, created = await runtime.start_run(b.request("run-1"))
    with pytest.raises(AgentError) as other:
        await runtime.start_run(b.request("run-1", "something else"))

    assert not created
    assert other.value.reason is ErrorReason.RUN_ID_CONFLICT


async def test_a_parked_run_that_turns_out_to_be_damaged_is_held_and_not_a_fault(bench: b.Bench) -> None:
    journal = Damaged(bench.journal)
    journal.is_damaged = False
    await left_open(bench, "run-1")
    runtime = bench.runtime(journal=journal)
    await runtime.recover()
    assert (await stood_still(runtime)).status is RunStatus.REPAIR_NEEDED
    await quiet()  # it parks

    journal.is_damaged = True
    with pytest.raises(AgentError) as caught:
        await runtime.cancel_run("run-1")

    assert caught.value.reason is ErrorReason.RUN_HELD
    assert (await runtime.run_snapshot("run-1")).status is RunStatus.HELD


async def test_a_released_run_is_read_anew_and_goes_on(bench: b.Bench) -> None:
    runtime, journal = await unreadable(bench)
    journal.is_damaged = False

    released, was_held = await runtime.release_run("run-1", reason="the disk was exchanged", principal="olga")

    assert was_held and released.status is not RunStatus.HELD
    assert (await stood_still(runtime)).status is RunStatus.REPAIR_NEEDED
    assert (AuditKind.HELD_RUN_RELEASED, "olga", "the disk was exchanged") in await audited(runtime)


async def test_a_released_run_that_is_still_damaged_is_held_again(bench: b.Bench) -> None:
    runtime, _ = await unreadable(bench)

    released, was_held = await runtime.release_run("run-1")
    again, _ = await runtime.release_run("run-1")

    assert was_held
    assert (released.status, again.status) == (RunStatus.HELD, RunStatus.HELD)


async def test_releasing_a_run_that_is_not_held_changes_nothing(bench: b.Bench) -> None:
    runtime, _ = await unreadable(bench)
    await stood_still(runtime, "run-2")
    before = await kinds(bench.journal, "run-2")

    released, was_held = await runtime.release_run("run-2")

    assert (released.status, was_held) == (RunStatus.REPAIR_NEEDED, False)
    assert await kinds(bench.journal, "run-2") == before


async def test_a_removed_run_leaves_an_outline_and_nothing_else(bench: b.Bench) -> None:
    runtime, _ = await unreadable(bench)

    left = await runtime.remove_run("run-1", reason="nobody needs it", principal="olga")

    assert left.state.removed_at and left.is_done
    assert left.status is RunStatus.CANCELLED
    assert await events(bench.journal) == []
    assert runtime.registered_run_count() == 1
    assert (await runtime.list_runs(HELD)).runs == []
    assert (AuditKind.HELD_RUN_REMOVED, "olga", "nobody needs it") in await audited(runtime)
    with pytest.raises(AgentError) as caught:
        await runtime.subscribe_run("run-1")
    assert caught.value.reason is ErrorReason.RUN_REMOVED
    second = bench.runtime()
    assert await second.recover() == 1


async def test_a_run_that_is_not_held_is_not_removed(bench: b.Bench) -> None:
    runtime, _ = await unreadable(bench)

    with pytest.raises(AgentError) as caught:
        await runtime.remove_run("run-2")

    assert caught.value.reason is ErrorReason.RUN_NOT_HELD
    assert await events(bench.journal, "run-2")


async def test_cancelling_a_held_run_whose_events_are_intact_ends_it_without_an_effect(bench: b.Bench) -> None:
    runtime, _ = await failing(bench)
    sent = len(bench.function_tools.ledger)

    cancelled = await runtime.cancel_run("run-1", reason="enough", principal="olga")

    assert cancelled.snapshot.status is RunStatus.CANCELLED
    assert cancelled.barrier_seq
    assert [call.call_id for call in await records_of(bench.journal, r.ToolRecoveryRequired)] == ["c1.1"]
    assert [call.call_id for call in await records_of(bench.journal, r.ToolCancelled)] == ["c1.2"]
    [requested] = await records_of(bench.journal, r.RunCancelRequested)
    assert (requested.requested_by, requested.reason) == ("olga", "enough")
    assert (await kinds(bench.journal))[-1] is EventKind.RUN_CANCELLED
    assert len(bench.function_tools.ledger) == sent
    assert (AuditKind.HELD_RUN_CANCELLED, "olga", "enough") in await audited(runtime)
    assert runtime.registered_run_count() == 0


async def test_two_who_cancel_a_held_run_at_once_end_it_once(bench: b.Bench) -> None:
    runtime, _ = await failing(bench)

    both = await asyncio.gather(runtime.cancel_run("run-1"), runtime.cancel_run("run-1"))

    assert [each.snapshot.status for each in both] == [RunStatus.CANCELLED] * 2
    assert len(await records_of(bench.journal, r.RunCancelled)) == 1


async def test_that_a_run_is_held_is_on_record(bench: b.Bench) -> None:
    runtime, _ = await unreadable(bench)

    assert (AuditKind.RUN_HELD, "", "JOURNAL_CORRUPT") in await audited(runtime)


async def test_another_namespace_knows_nothing_of_a_held_run(bench: b.Bench) -> None:
    runtime, _ = await unreadable(bench)
    other: Any = "team-b"
    assert key().namespace == DEFAULT_NAMESPACE

    for act in (runtime.release_run, runtime.remove_run, runtime.cancel_run):
        with pytest.raises(AgentError) as caught:
            await act("run-1", namespace=other)
        assert caught.value.reason is ErrorReason.RUN_NOT_FOUND
    assert (await runtime.list_runs(HELD, namespace=other)).runs == []


ACTIONS = {
    AuditKind.HELD_RUN_RELEASED: AgentRuntime.release_run,
    AuditKind.HELD_RUN_CANCELLED: AgentRuntime.cancel_run,
    AuditKind.HELD_RUN_REMOVED: AgentRuntime.remove_run,
}


@pytest.mark.parametrize("after", range(0, 24, 2))
@pytest.mark.parametrize("kind", ACTIONS, ids=lambda kind: kind.name)
async def test_a_caller_that_goes_away_leaves_no_action_half_done(bench: b.Bench, kind: AuditKind, after: int) -> None:
    runtime, _ = await failing(bench)
    action: Any = ACTIONS[kind]

    calling = asyncio.create_task(action(runtime, "run-1", reason="enough", principal="olga"))
    for _ in range(after):
        await asyncio.sleep(0)
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    await eventually(lambda: not runtime._held_actions._under_way)

    is_done = kind in [each for each, _, _ in await audited(runtime)]
    listed = [each.state.key.run_id for each in (await runtime.list_runs(HELD)).runs]
    assert listed == ([] if is_done else ["run-1"])
    if is_done and kind is AuditKind.HELD_RUN_RELEASED:
        assert sum(runtime.report().runs.values()) == 1, "it is taken up"


async def test_a_run_that_cannot_be_taken_up_after_its_release_is_held_again(bench: b.Bench) -> None:
    runtime, journal = await failing(bench)
    load = journal.load

    async def busy(run: RunKey) -> Any:
        journal.load = load  # type: ignore[method-assign]
        raise journal_busy()

    let_go = runtime._supervisor.let_go

    async def then_busy(run: RunKey) -> None:
        await let_go(run)
        journal.load = busy  # type: ignore[method-assign]

    runtime._supervisor.let_go = then_busy  # type: ignore[method-assign]
    with pytest.raises(AgentError) as refused:
        await runtime.release_run("run-1", reason="again", principal="olga")

    assert refused.value.reason is ErrorReason.JOURNAL_BUSY
    assert [each.state.key.run_id for each in (await runtime.list_runs(HELD)).runs] == ["run-1"]


async def test_a_held_run_that_is_cancelled_on_a_full_disk_says_so_and_keeps_nobody_waiting(bench: b.Bench) -> None:
    runtime, journal = await failing(bench)
    journal.error = journal_full()

    with pytest.raises(AgentError) as refused:
        await runtime.cancel_run("run-1", reason="enough", principal="olga")

    assert refused.value.reason is ErrorReason.JOURNAL_FULL
    journal.error = None
    await runtime.cancel_run("run-1", reason="enough", principal="olga")
    assert (await runtime.run_snapshot("run-1")).status is RunStatus.CANCELLED

"""The power goes after every commit of a run with three rounds of tools, and comes back."""

from __future__ import annotations

import asyncio
from typing import TypeAlias

import pytest
from runwright.adapters.memory.journal import MemoryJournal
from runwright.adapters.sqlite.journal import SqliteJournal
from runwright.core import records as r
from runwright.core.outcomes import RunStatus, WaitKind
from runwright.core.package import RuntimePackage
from runwright.ports.journal import Journal
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import PowerCut
from tests.runtime.watching import abandoned, records, records_of, stood_still

AnyJournal: TypeAlias = MemoryJournal | SqliteJournal
COMMITS = 8  # one for the start, two for each round of tools, one for the answer
CUTS = [(appends, answered) for appends in range(1, COMMITS + 1) for answered in (False, True)]
ANSWER = 'So: "a lamp" | "noted" | "noted" | "a lamp"'


async def note(arguments: object) -> str:
    return "noted"


def bench(journal: Journal) -> b.Bench:
    return b.Bench(journal=journal, tools=FunctionTools({"look": b.look, "note": note}))


def three_rounds(effect: str) -> RuntimePackage:
    """Three rounds of calls, those of `note` with the given effect."""
    script = b.asks("look"), b.asks("note"), b.asks("note", "look"), b.says("So: {results}")
    return b.package(*script, tools=(b.tool(), b.tool("note", effect=effect)))


async def play_until(cut: PowerCut, parts: b.Bench, package: RuntimePackage) -> None:
    """Starts or recovers the run and loses power on the way, unless the run ends before."""
    async with abandoned():
        runtime = parts.runtime(package, journal=cut)
        known = await runtime.recover()
        ending = asyncio.create_task(runtime.wait_run("run-1") if known else runtime.run_text(b.request()))
        dark = asyncio.create_task(cut.is_off.wait())
        await asyncio.wait({ending, dark}, return_when=asyncio.FIRST_COMPLETED)


async def unsettled(journal: Journal) -> set[str]:
    """Calls that were begun, have no result and must not be repeated."""
    begun = {call.call_id for call in await records_of(journal, r.ToolStarted) if not call.idempotent}
    return begun - await settled(journal)


async def settled(journal: Journal) -> set[str]:
    """Calls whose result is on record."""
    return {call.call_id for call in await records_of(journal, r.ToolCompleted)}


def performed(tools: FunctionTools) -> list[str]:
    """The calls that reached their function, one entry an attempt."""
    return [entry.idempotency_key.rpartition("/")[2] for entry in tools.ledger]


@pytest.mark.parametrize(("appends", "answered"), CUTS)
async def test_a_run_that_only_reads_completes_after_any_power_cut(
    any_journal: AnyJournal, appends: int, answered: bool
) -> None:
    parts = bench(any_journal)
    package = three_rounds("read")
    await play_until(PowerCut(any_journal, appends, last_is_answered=answered), parts, package)
    finished, before = await settled(any_journal), performed(parts.function_tools)

    second = parts.runtime(package)
    await second.recover()
    ended = await stood_still(second)

    assert (ended.status, ended.text) == (RunStatus.COMPLETED, ANSWER)
    again = performed(parts.function_tools)[len(before) :]
    assert finished.isdisjoint(again)


@pytest.mark.parametrize(("appends", "answered"), CUTS)
async def test_a_call_that_must_not_be_repeated_never_is(any_journal: AnyJournal, appends: int, answered: bool) -> None:
    parts = bench(any_journal)
    package = three_rounds("write")
    await play_until(PowerCut(any_journal, appends, last_is_answered=answered), parts, package)
    lost, finished = await unsettled(any_journal), await settled(any_journal)
    before = performed(parts.function_tools)

    second = parts.runtime(package)
    await second.recover()
    ended = await stood_still(second)

    if lost:
        assert ended.status is RunStatus.REPAIR_NEEDED
        assert {wait.effect_id for wait in ended.waiting_on if wait.kind is WaitKind.REPAIR} == lost
    else:
        assert (ended.status, ended.text) == (RunStatus.COMPLETED, ANSWER)
    writes = [entry.idempotency_key for entry in parts.function_tools.ledger if entry.tool == "note"]
    assert len(writes) == len(set(writes))
    assert finished.isdisjoint(performed(parts.function_tools)[len(before) :])


async def test_a_start_that_never_reached_the_disk_left_nothing(any_journal: AnyJournal) -> None:
    parts = bench(any_journal)
    package = three_rounds("read")
    await play_until(PowerCut(any_journal, 0, last_is_answered=True), parts, package)

    second = parts.runtime(package)
    recovered = await second.recover()
    handle, created = await second.start_run(b.request())

    assert (recovered, created) == (0, True)
    assert (await handle.wait()).text == ANSWER


async def test_a_server_that_dies_after_every_second_commit_finishes_the_run(any_journal: AnyJournal) -> None:
    parts = bench(any_journal)
    package = three_rounds("read")

    lives = 0
    while not any(isinstance(record, r.RunCompleted) for record in await records(any_journal)):
        lives += 1
        assert lives < 20
        await play_until(PowerCut(any_journal, 2, last_is_answered=True), parts, package)

    ended = await parts.runtime(package).run_snapshot("run-1")
    assert (ended.status, ended.text) == (RunStatus.COMPLETED, ANSWER)


async def test_a_run_in_need_of_repair_survives_further_restarts(any_journal: AnyJournal) -> None:
    parts = bench(any_journal)
    package = three_rounds("write")
    await play_until(PowerCut(any_journal, 4, last_is_answered=True), parts, package)
    second = parts.runtime(package)
    await second.recover()
    await stood_still(second)
    on_record = await records(any_journal)

    third = parts.runtime(package)
    recovered = await third.recover()
    statuses = await stood_still(third)

    assert (recovered, statuses.status) == (1, RunStatus.REPAIR_NEEDED)
    assert await records(any_journal) == on_record

"""A start may ask for an idle session: of those that come at once one wins, and a refusal names the run in the way."""

from __future__ import annotations

import asyncio

import pytest
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import Namespace
from runwright.core.outcomes import RunStatus
from runwright.core.request import OnBusy, RunRequest
from runwright.ports.journal import Journal
from runwright.runtime import AgentRuntime
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import FailingJournal, GatedJournal, journal_full
from tests.runtime.parts import HeldProvider, HeldTool
from tests.runtime.watching import eventually, stood_still


def alone(run_id: str, **fields: str) -> RunRequest:
    """A request for a run in an idle session."""
    return b.request(run_id, on_busy=OnBusy.REJECT, **{"session_id": "s", **fields})


async def refused(runtime: AgentRuntime, request: RunRequest) -> AgentError:
    """How the start is refused."""
    with pytest.raises(AgentError) as caught:
        await runtime.start_run(request)
    return caught.value


async def test_twenty_starts_at_once_are_one_run_and_nineteen_refusals(any_journal: Journal) -> None:
    provider = HeldProvider()
    runtime = b.Bench(journal=any_journal, providers={"scripted": provider}).runtime()

    requested = [runtime.start_run(alone(f"run-{number}")) for number in range(20)]
    outcomes = await asyncio.gather(*requested, return_exceptions=True)

    won = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    lost = [outcome for outcome in outcomes if isinstance(outcome, AgentError)]
    assert (len(won), len(lost)) == (1, 19)
    winner = won[0][0].run_id
    assert {error.reason for error in lost} == {ErrorReason.SESSION_BUSY}
    assert [error.metadata for error in lost] == [{"session_id": "s", "run_id": winner}] * 19
    assert [run.run_id for run in await any_journal.open_runs()] == [winner]
    provider.let_go.set()
    assert (await stood_still(runtime, winner)).status is RunStatus.COMPLETED
    await runtime.start_run(alone("later"))


async def test_a_session_is_busy_until_its_run_has_ended_also_after_a_restart(any_journal: Journal) -> None:
    tools = FunctionTools({"look": HeldTool()})
    bench = b.Bench(journal=any_journal, tools=tools)
    runtime = bench.runtime()
    await runtime.start_run(alone("one"))
    await runtime.drain(0)

    second = bench.runtime()
    await second.recover()
    error = await refused(second, alone("two"))
    await second.cancel_run("one")
    await stood_still(second, "one")
    _, created = await second.start_run(alone("two"))

    assert (error.reason, error.metadata["run_id"]) == (ErrorReason.SESSION_BUSY, "one")
    assert created


async def test_only_a_run_of_the_same_session_agent_and_namespace_is_in_the_way(bench: b.Bench) -> None:
    bench.providers = {"scripted": HeldProvider()}
    runtime = bench.runtime(b.one_call_package(), b.package(b.says("hi"), id="other", agent={"id": "clerk"}))
    await runtime.start_run(alone("one"))

    await runtime.start_run(alone("two", session_id="another"))
    await runtime.start_run(alone("three", package_id="other"))
    await runtime.start_run(alone("one"), namespace=Namespace("theirs"))

    assert (await refused(runtime, alone("four"))).metadata["run_id"] == "one"


async def test_who_does_not_ask_starts_beside_the_others(bench: b.Bench) -> None:
    bench.providers = {"scripted": HeldProvider()}
    runtime = bench.runtime()

    started = await asyncio.gather(*(runtime.start_run(b.request(f"run-{n}", session_id="s")) for n in range(5)))

    assert all(created for _, created in started)


async def test_a_repeated_start_finds_its_run_in_a_busy_session(bench: b.Bench) -> None:
    bench.providers = {"scripted": HeldProvider()}
    runtime = bench.runtime()

    started = await asyncio.gather(*(runtime.start_run(alone("one")) for _ in range(10)))

    assert sorted(created for _, created in started) == [False] * 9 + [True]


async def test_a_caller_that_goes_away_does_not_open_the_door_too_early(bench: b.Bench) -> None:
    """Its start goes on; the next one must wait until it is durable."""
    bench.providers = {"scripted": HeldProvider()}
    journal = GatedJournal(bench.journal)
    runtime = bench.runtime(journal=journal)
    journal.gate.clear()
    first = asyncio.create_task(runtime.start_run(alone("one")))
    await eventually(lambda: journal.held == 1)
    first.cancel()
    await asyncio.wait({first})

    second = asyncio.create_task(runtime.start_run(alone("two")))
    journal.gate.set()

    with pytest.raises(AgentError) as caught:
        await second
    assert caught.value.metadata["run_id"] == "one"


async def test_a_start_that_failed_leaves_the_session_idle(bench: b.Bench) -> None:
    journal = FailingJournal(bench.journal, journal_full())
    runtime = bench.runtime(journal=journal)

    error = await refused(runtime, alone("one"))
    journal.error = None
    _, created = await runtime.start_run(alone("two"))

    assert (error.reason, created) == (ErrorReason.JOURNAL_FULL, True)


async def test_no_lock_is_kept_for_a_session_that_nobody_starts_in(bench: b.Bench) -> None:
    runtime = bench.runtime()

    for number in range(50):
        await runtime.run_text(alone(f"run-{number}", session_id=f"s-{number}"))

    assert len(runtime._sessions._starting) == 0

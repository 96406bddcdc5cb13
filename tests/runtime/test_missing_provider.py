"""An open run whose provider this server does not have: it waits, says for what, and goes on when there is one."""

from __future__ import annotations

from typing import Any

import pytest
from runwright.adapters.providers.scripted import ScriptedProvider
from runwright.core import records as r
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.outcomes import RunStatus, WaitKind
from runwright.core.package import RuntimePackage
from runwright.core.selection import RunFilter
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.parts import HeldProvider, HeldTool
from tests.runtime.watching import abandoned, quiet, records_of, stood_still


def vendors(*script: b.Fields, **fields: Any) -> RuntimePackage:
    """A package whose model follows the script, over an adapter that a server may have or not."""
    route = {"adapter": "vendor", "model": "large", "parameters": {"script": list(script)}}
    return b.package(provider=route, **fields)


WAITING = RunFilter(statuses=frozenset({RunStatus.WAITING}))
RUNNING = RunFilter(statuses=frozenset({RunStatus.RUNNING}))


async def left_asking(bench: b.Bench) -> None:
    """A run that waits for its model, and the power gone."""
    provider = HeldProvider()
    bench.packages = (vendors(b.says("done")),)
    bench.providers = {"vendor": provider}
    async with abandoned():
        runtime = bench.runtime()
        await runtime.start_run(b.request())
        await provider.requested.wait()
    bench.providers = {"scripted": ScriptedProvider()}


async def test_it_waits_visibly_for_the_adapter(bench: b.Bench) -> None:
    await left_asking(bench)
    runtime = bench.runtime()

    await runtime.recover()
    await quiet()
    waits = await runtime.run_snapshot("run-1")

    assert (waits.status, waits.is_done) == (RunStatus.WAITING, False)
    [wait] = waits.waiting_on
    assert (wait.kind, wait.subject, wait.effect_id) == (WaitKind.PROVIDER, "vendor/large", "m1")
    assert "vendor" in wait.unblocked_by
    assert [run.state.key.run_id for run in (await runtime.list_runs(WAITING)).runs] == ["run-1"]
    assert (await runtime.list_runs(RUNNING)).runs == []
    assert runtime.registered_run_count() == 1


async def test_restarts_without_the_provider_cost_it_no_attempt(bench: b.Bench) -> None:
    await left_asking(bench)

    for _ in range(30):
        async with abandoned():
            runtime = bench.runtime()
            await runtime.recover()
            await quiet()
    bench.providers = {"vendor": ScriptedProvider()}
    runtime = bench.runtime()
    await runtime.recover()

    assert (await stood_still(runtime)).status is RunStatus.COMPLETED
    assert [attempt.attempt for attempt in await records_of(bench.journal, r.ModelAttemptStarted)] == [1, 2]


async def test_it_can_be_cancelled_meanwhile(bench: b.Bench) -> None:
    await left_asking(bench)
    runtime = bench.runtime()
    await runtime.recover()

    await runtime.cancel_run("run-1")

    assert (await stood_still(runtime)).status is RunStatus.CANCELLED


async def test_a_run_that_comes_to_need_it_after_a_call_waits_as_well(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.packages = (vendors(b.asks("look"), b.says("done"), tools=(b.tool(),)),)
    bench.providers, bench.tools = {"vendor": ScriptedProvider()}, FunctionTools({"look": tool})
    async with abandoned():
        runtime = bench.runtime()
        await runtime.start_run(b.request())
        await tool.begun.wait()
    tool.let_go.set()
    bench.providers = {"scripted": ScriptedProvider()}
    runtime = bench.runtime()
    await runtime.recover()
    await quiet()

    waits = await runtime.run_snapshot("run-1")
    listed = await runtime.list_runs(WAITING)
    await runtime.drain(0)

    assert waits.status is RunStatus.WAITING
    assert [wait.subject for wait in waits.waiting_on] == ["vendor/large"]
    assert [run.status for run in listed.runs] == [RunStatus.WAITING]
    bench.providers = {"vendor": ScriptedProvider()}
    again = bench.runtime()
    await again.recover()
    assert (await stood_still(again)).status is RunStatus.COMPLETED


async def test_a_fallback_that_is_configured_answers_instead(bench: b.Bench) -> None:
    provider = HeldProvider()
    fallback = {"adapter": "scripted", "model": "scripted", "parameters": {"script": [b.says("instead")]}}
    bench.packages = (vendors(b.says("done"), fallbacks=[fallback]),)
    bench.providers = {"vendor": provider, "scripted": ScriptedProvider()}
    async with abandoned():
        runtime = bench.runtime()
        await runtime.start_run(b.request())
        await provider.requested.wait()
    bench.providers = {"scripted": ScriptedProvider()}
    runtime = bench.runtime()
    await runtime.recover()

    assert (await stood_still(runtime)).text == "instead"


async def test_a_start_is_still_refused(bench: b.Bench) -> None:
    bench.packages = (vendors(b.says("done")),)
    runtime = bench.runtime()

    with pytest.raises(AgentError) as caught:
        await runtime.start_run(b.request())

    assert caught.value.reason is ErrorReason.PROVIDER_MISSING


async def test_what_a_provider_needs_is_loaded_before_anything_is_taken_up(bench: b.Bench) -> None:
    """Attempts that only waited for a library counted as lost when the server was killed again."""
    await left_asking(bench)
    before: list[int] = []

    class Preparing(ScriptedProvider):
        async def prepare(self) -> None:
            before.append(len(await records_of(bench.journal, r.ModelAttemptStarted)))

    class Broken(ScriptedProvider):
        async def prepare(self) -> None:
            raise ImportError("no such library")

    bench.providers = {"vendor": Preparing(), "other": Broken()}
    runtime = bench.runtime()
    await runtime.recover()

    assert before == [1], "the attempt of the run is the one from before"
    assert (await stood_still(runtime)).status is RunStatus.COMPLETED
    assert [line.event for line in bench.log.lines] == ["provider is ready", "provider is not ready"]

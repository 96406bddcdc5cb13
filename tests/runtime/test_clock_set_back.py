"""The clock is set back over a restart: waits are no longer than what was planned."""

from __future__ import annotations

from runwright.core import records as r
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.outcomes import RunStatus
from runwright.ports.provider import ModelReply
from runwright.testing import FunctionTools, ManualClock

from tests import builders as b
from tests.runtime.parts import PlayedProvider
from tests.runtime.watching import abandoned, quiet, records_of, stood_still

HOUR_US = 3600 * b.SECOND


def set_back(bench: b.Bench) -> None:
    """An hour."""
    bench.clock = ManualClock(bench.manual_clock.now() - HOUR_US)


async def test_a_model_is_asked_again_after_the_planned_wait(bench: b.Bench) -> None:
    limited = AgentError(ErrorReason.PROVIDER_RATE_LIMITED, "Later.", metadata={"adapter": "played"})
    route = {"adapter": "played", "model": "m"}
    bench.packages, bench.providers = (b.package(provider=route),), {"played": PlayedProvider(limited)}
    async with abandoned():
        runtime = bench.runtime()
        await runtime.start_run(b.request())
        await quiet()
    [planned] = await records_of(bench.journal, r.RetryScheduled)

    set_back(bench)
    bench.providers = {"played": PlayedProvider(ModelReply(text="done"))}
    runtime = bench.runtime()
    await runtime.recover()
    await quiet()
    waiting = (await runtime.run_snapshot("run-1")).status
    bench.manual_clock.advance(planned.not_before - planned.at)

    assert waiting is RunStatus.WAITING
    assert (await stood_still(runtime)).text == "done"
    again = (await records_of(bench.journal, r.ModelAttemptStarted))[-1]
    assert again.at == planned.not_before, "the time on record goes on from what was planned"


async def test_an_executor_is_waited_for_no_longer_than_planned(bench: b.Bench) -> None:
    tool = b.tool(unavailable_timeout_ms=30_000)
    bench.packages = (b.package(b.asks("look"), b.says("{results}"), tools=(tool,)),)
    bench.tools = FunctionTools({"look": b.look}, unreachable={"tools"})
    async with abandoned():
        runtime = bench.runtime()
        await runtime.start_run(b.request())
        await quiet()

    set_back(bench)
    runtime = bench.runtime()
    await runtime.recover()
    for _ in range(40):
        await quiet()
        bench.manual_clock.advance(b.SECOND)
    await quiet()

    assert (await runtime.run_snapshot("run-1")).status is RunStatus.COMPLETED
    [failed] = await records_of(bench.journal, r.ToolFailed)
    assert failed.reason is ErrorReason.EXECUTOR_UNAVAILABLE

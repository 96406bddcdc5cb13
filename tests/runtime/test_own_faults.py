"""A defect of ours, or of a port: it ends the run it hit, with an incident an operator can find, and no other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.core.kinds import TERMINAL, EventKind
from runwright.core.outcomes import RunStatus, StopReason
from runwright.core.package import RuntimePackage
from runwright.ports.journal import LoadedRun
from runwright.ports.schemas import Instance
from runwright.ports.tools import ToolOutcome
from runwright.runtime import AgentRuntime, RunSnapshot
from runwright.testing import FunctionTools
from runwright.wire.references import event_refs

from tests import builders as b
from tests.runtime.journals import FailingJournal, GatedJournal, JournalWrapper, journal_busy, journal_full
from tests.runtime.parts import HeldTool, LeakyTools, PlayedProvider
from tests.runtime.watching import kinds, quiet, stood_still

SECRET = "sk-hunter2"


class FaultyChecker(JsonSchemaChecker):
    """Fails for the arguments that say so."""

    async def problems(self, instances: Sequence[Instance]) -> list[str | None]:
        """See the class."""
        if any("fault" in instance.value for instance in instances):
            raise ZeroDivisionError(SECRET)
        return await super().problems(instances)


async def fault(arguments: object) -> ToolOutcome:
    raise ZeroDivisionError(SECRET)


async def gives_up(arguments: object) -> ToolOutcome:
    raise asyncio.CancelledError


def faulty(call: b.Fields) -> RuntimePackage:
    """A package that meets the fault in its first round."""
    return b.package(b.asks(call), b.says("done"), id="faulty", tools=(b.tool("fault"), b.tool()))


async def play(bench: b.Bench) -> RunSnapshot:
    """Runs the faulty package between two sound ones, which must not notice. Returns how it ended."""
    runtime = bench.runtime()
    for run_id, package_id in (("run-1", "helper-package"), ("run-2", "faulty"), ("run-3", "helper-package")):
        await runtime.start_run(b.request(run_id, package_id=package_id))
    for run_id in ("run-1", "run-3"):
        assert (await stood_still(runtime, run_id)).text == 'found "a lamp"'
    ended = await stood_still(runtime, "run-2")
    assert runtime.registered_run_count() == 0
    assert runtime.write_blockage() is None
    return ended


def check_incident(bench: b.Bench, ended: RunSnapshot) -> None:
    """The run failed by a fault whose incident is in the log."""
    assert (ended.status, ended.state.stop) == (RunStatus.FAILED, StopReason.INTERNAL)
    assert ended.state.error is not None
    assert ended.state.error.reason is ErrorReason.INTERNAL
    incident = dict(ended.state.error.metadata)["incident_id"]
    assert incident and incident in bench.log.incidents


async def check_secret_is_kept(bench: b.Bench, ended: RunSnapshot) -> None:
    """Nothing anybody can read holds the secret."""
    assert SECRET not in repr(ended)
    run = ended.state.key
    for event in await bench.journal.read(run, after=0, limit=1000):
        assert SECRET.encode() not in event.data
        stored = await bench.journal.content(run.namespace, [ref.digest for ref in event_refs(event.data)])
        assert all(SECRET.encode() not in data for data in stored.values())


async def test_a_fault_in_the_schema_checker_fails_the_run() -> None:
    bench = b.Bench(schemas=FaultyChecker())
    bench.packages = (faulty({"tool": "look", "arguments": {"fault": 1}}), b.one_call_package())

    ended = await play(bench)

    check_incident(bench, ended)
    await check_secret_is_kept(bench, ended)
    assert (await kinds(bench.journal, "run-2"))[-2:] == [EventKind.TURN_FAILED, EventKind.RUN_FAILED]


async def test_a_fault_in_the_tools_port_fails_the_run() -> None:
    bench = b.Bench(tools=LeakyTools({"look": b.look, "fault": fault}))
    bench.packages = (faulty({"tool": "fault"}), b.one_call_package())

    ended = await play(bench)

    check_incident(bench, ended)
    await check_secret_is_kept(bench, ended)


async def test_a_tools_port_that_cancels_itself_does_not_hang_the_run() -> None:
    bench = b.Bench(tools=LeakyTools({"look": b.look, "fault": gives_up}))
    bench.packages = (faulty({"tool": "fault"}), b.one_call_package())

    ended = await play(bench)

    assert ended.status is RunStatus.FAILED


async def test_a_foreign_exception_of_a_provider_fails_the_run_and_keeps_its_secret() -> None:
    bench = b.Bench(packages=(faulty({"tool": "fault"}), b.one_call_package()))
    sound = bench.providers["scripted"]
    bench.providers = {"scripted": sound, "played": PlayedProvider(RuntimeError(f"401 for {SECRET}"))}
    route = {"adapter": "played", "model": "m", "max_attempts": 1}
    bench.packages = (b.package(id="faulty", provider=route), b.one_call_package())

    ended = await play(bench)

    assert (ended.status, ended.state.stop) == (RunStatus.FAILED, StopReason.PROVIDER_FAILURE)
    assert ended.state.error is not None
    assert ended.state.error.reason is ErrorReason.PROVIDER_FAILED
    await check_secret_is_kept(bench, ended)
    assert [line.event for line in bench.log.lines] == ["provider raised", "model request failed"]


async def test_a_fault_beside_an_append_under_way_still_ends_the_run(bench: b.Bench) -> None:
    tool = HeldTool()

    async def fails_later(arguments: object) -> ToolOutcome:
        await tool(arguments)
        raise ZeroDivisionError

    script = b.asks("look", "fault"), b.says("done")
    bench.packages = (b.package(*script, tools=(b.tool(), b.tool("fault"))),)
    answer = HeldTool("a lamp")
    bench.tools = LeakyTools({"look": answer, "fault": fails_later})
    journal = GatedJournal(bench.journal)
    runtime = bench.runtime(journal=journal)
    await runtime.start_run(b.request())
    await asyncio.gather(tool.begun.wait(), answer.begun.wait())

    journal.gate.clear()
    answer.let_go.set()
    await quiet()
    tool.let_go.set()
    await quiet()
    journal.gate.set()
    ended = await stood_still(runtime)

    check_incident(bench, ended)
    assert runtime.write_blockage() is None


async def test_a_fault_at_the_start_is_told_with_an_incident_and_leaves_no_run(bench: b.Bench) -> None:
    journal = FailingJournal(bench.journal, ZeroDivisionError(SECRET))
    runtime = bench.runtime(journal=journal)

    with pytest.raises(AgentError) as caught:
        await runtime.start_run(b.request())
    journal.error = None

    assert caught.value.reason is ErrorReason.INTERNAL
    assert SECRET not in str(caught.value)
    assert caught.value.metadata["incident_id"] in bench.log.incidents
    assert await bench.journal.open_runs() == []
    assert (await runtime.start_run(b.request()))[1]


async def test_a_cancel_that_meets_a_fault_is_told_the_incident(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.tools = FunctionTools({"look": tool})
    journal = FailingJournal(bench.journal)
    runtime = bench.runtime(journal=journal)
    await runtime.start_run(b.request())
    await tool.begun.wait()

    journal.error = ZeroDivisionError(SECRET)
    cancelling = asyncio.create_task(runtime.cancel_run("run-1"))
    await quiet()
    journal.error = None

    with pytest.raises(AgentError) as caught:
        await cancelling
    assert caught.value.reason is ErrorReason.INTERNAL
    assert caught.value.metadata["incident_id"] in bench.log.incidents


class Poisoned(JournalWrapper):
    """Fails to read one run."""

    async def load(self, run: RunKey) -> Any:
        """See the class."""
        if run.run_id == "run-1":
            raise AgentError(ErrorReason.JOURNAL_CORRUPT, "Bad.", metadata={"run_id": run.run_id, "first_bad": "1"})
        return await self.inner.load(run)


async def test_a_run_that_cannot_be_read_does_not_keep_the_others_down(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.tools = FunctionTools({"look": tool})
    first: AgentRuntime = bench.runtime()
    for run_id in ("run-1", "run-2"):
        await first.start_run(b.request(run_id))
    await first.drain(0)
    tool.let_go.set()

    second = bench.runtime(journal=Poisoned(bench.journal))
    recovered = await second.recover()

    assert recovered == 2
    assert (await stood_still(second, "run-2")).status is RunStatus.COMPLETED
    assert second.write_blockage() is None, "one unreadable run does not keep the server from serving"
    assert second.report().runs["held"] == 1
    assert len(bench.log.incidents) == 1
    assert not TERMINAL & set(await kinds(bench.journal, "run-1"))


async def test_a_fault_on_a_full_disk_keeps_no_caller_and_no_drain_waiting() -> None:
    bench, begun, goes_on = b.Bench(), asyncio.Event(), asyncio.Event()

    async def fails(_: Any) -> ToolOutcome:
        begun.set()
        await goes_on.wait()
        raise ZeroDivisionError

    bench.tools = LeakyTools({"look": fails})
    journal = FailingJournal(bench.journal)
    runtime = bench.runtime(journal=journal)
    await runtime.start_run(b.request())
    await begun.wait()
    journal.error = journal_full()
    goes_on.set()
    await quiet()

    cancelling = asyncio.create_task(runtime.cancel_run("run-1"))
    for _ in range(20):
        bench.manual_clock.advance(1_000_000)
        await quiet()
    assert cancelling.done()
    assert isinstance(cancelling.exception(), AgentError)
    assert runtime.write_blockage() == "JOURNAL_FULL"

    draining = asyncio.create_task(runtime.drain(600_000_000))
    for _ in range(5):
        await quiet()
        bench.manual_clock.advance(1_000_000)
    await quiet()
    assert draining.done()


async def test_a_start_that_nobody_could_look_up_leaves_no_held_run() -> None:
    class Unread(FailingJournal):
        """Refuses reads, too, once it has refused an append."""

        async def load(self, run: RunKey) -> LoadedRun | None:
            """See the class."""
            if self.error is not None and self.refused:
                raise journal_busy()
            return await super().load(run)

    bench = b.Bench()
    journal = Unread(bench.journal, journal_full())
    runtime = bench.runtime(journal=journal)
    with pytest.raises(AgentError):
        await runtime.start_run(b.request())
    await quiet()
    assert runtime.registered_run_count() == 0

    journal.error = None
    await runtime.start_run(b.request())
    assert (await stood_still(runtime)).status is RunStatus.COMPLETED

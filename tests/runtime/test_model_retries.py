"""Model requests that fail: attempts, waits and routes, through cancels, stops and power cuts."""

from __future__ import annotations

import asyncio
from typing import TypeAlias

import pytest
from runwright.adapters.memory.journal import MemoryJournal
from runwright.adapters.sqlite.journal import SqliteJournal
from runwright.core import records as r
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.kinds import EventKind
from runwright.core.machine.rounds import MAX_LOSSES
from runwright.core.outcomes import RunStatus, StopReason, WaitKind
from runwright.core.package import RuntimePackage
from runwright.ports.journal import Journal
from runwright.ports.provider import EmitText, ModelReply, ModelRequest
from runwright.runtime import AgentRuntime
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import PowerCut
from tests.runtime.parts import RecordingProvider
from tests.runtime.watching import abandoned, kinds, pass_time, quiet, reached, records, records_of, stood_still

AnyJournal: TypeAlias = MemoryJournal | SqliteJournal
COMMITS = 7  # start, failure, second attempt, call, its result, failure, third attempt; the answer is one more
CUTS = [(appends, answered) for appends in range(1, COMMITS + 2) for answered in (False, True)]


def once_failing(**fields: object) -> RuntimePackage:
    """A round with a call and one with the answer; the first attempt of each fails."""
    script = {**b.asks("look"), "fail_attempts": 1}, {**b.says("So: {results}"), "fail_attempts": 1}
    return b.package(*script, tools=(b.tool(),), **fields)


def bench(journal: Journal) -> tuple[b.Bench, RecordingProvider]:
    """The parts of a runtime, with a provider that keeps what it is asked."""
    provider = RecordingProvider()
    parts = b.Bench(journal=journal, tools=FunctionTools({"look": b.look}), providers={"scripted": provider})
    return parts, provider


async def start_and_pass_time(parts: b.Bench, runtime: AgentRuntime) -> None:
    """Starts the run and plays it to its end."""
    await runtime.start_run(b.request())
    await pass_time(parts, runtime)


async def attempts(journal: Journal) -> list[tuple[int, int]]:
    """Round and attempt of every model request on record."""
    return [(begun.round, begun.attempt) for begun in await records_of(journal, r.ModelAttemptStarted)]


async def test_a_failed_request_waits_in_the_open_and_is_made_again_at_its_time(any_journal: AnyJournal) -> None:
    parts, provider = bench(any_journal)
    runtime = parts.runtime(once_failing())
    await runtime.start_run(b.request())
    await reached(runtime, EventKind.RETRY_SCHEDULED)
    [planned] = await records_of(any_journal, r.RetryScheduled)
    waits = await runtime.run_snapshot("run-1")
    asked_before = len(provider.requests)

    parts.manual_clock.advance(planned.not_before - parts.manual_clock.now() - 1)
    await quiet()
    asked_early = len(provider.requests)
    parts.manual_clock.advance(1)
    await reached(runtime, EventKind.TOOL_COMPLETED)
    await pass_time(parts, runtime)

    assert waits.status is RunStatus.WAITING
    assert [(wait.kind, wait.subject) for wait in waits.waiting_on] == [(WaitKind.PROVIDER, "scripted/model-1")]
    assert (asked_before, asked_early) == (1, 1)
    ended = await runtime.run_snapshot("run-1")
    assert (ended.status, ended.text) == (RunStatus.COMPLETED, 'So: "a lamp"')
    assert ended.state.usage.rounds == 2, "an attempt costs no round"
    assert await attempts(any_journal) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert [(requested.round, requested.attempt) for requested in provider.requests] == await attempts(any_journal)


async def test_the_due_time_stands_through_a_restart(any_journal: AnyJournal) -> None:
    parts, provider = bench(any_journal)
    async with abandoned():
        first = parts.runtime(once_failing())
        await first.start_run(b.request())
        await reached(first, EventKind.RETRY_SCHEDULED)
    [planned] = await records_of(any_journal, r.RetryScheduled)
    parts.manual_clock.advance(1000)

    second = parts.runtime(once_failing())
    await second.recover()
    await quiet()
    due = parts.manual_clock.waiting
    await pass_time(parts, second)

    assert due == [planned.not_before]
    assert (await second.run_snapshot("run-1")).status is RunStatus.COMPLETED
    assert await attempts(any_journal) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert len(provider.requests) == 4


async def test_a_wait_that_was_over_before_the_restart_is_over_at_once(any_journal: AnyJournal) -> None:
    parts, _ = bench(any_journal)
    async with abandoned():
        first = parts.runtime(once_failing())
        await first.start_run(b.request())
        await reached(first, EventKind.RETRY_SCHEDULED)
    parts.manual_clock.advance(3600 * b.SECOND)

    second = parts.runtime(once_failing())
    await second.recover()
    await reached(second, EventKind.TOOL_COMPLETED)
    await pass_time(parts, second)

    assert (await second.run_snapshot("run-1")).status is RunStatus.COMPLETED


async def test_a_cancel_ends_a_waiting_run_at_once(any_journal: AnyJournal) -> None:
    parts, provider = bench(any_journal)
    runtime = parts.runtime(once_failing())
    await runtime.start_run(b.request())
    await reached(runtime, EventKind.RETRY_SCHEDULED)

    cancelled = await runtime.cancel_run("run-1")

    assert cancelled.snapshot.status is RunStatus.CANCELLED
    parts.manual_clock.advance(3600 * b.SECOND)
    await quiet()
    assert len(provider.requests) == 1
    assert runtime.registered_run_count() == 0


async def test_a_drain_does_not_wait_for_a_retry_and_leaves_it_for_the_next_start(any_journal: AnyJournal) -> None:
    parts, provider = bench(any_journal)
    first = parts.runtime(once_failing())
    await first.start_run(b.request())
    await reached(first, EventKind.RETRY_SCHEDULED)
    on_record = await kinds(any_journal)

    settled = await first.drain(b.SECOND)

    assert settled
    assert await kinds(any_journal) == on_record
    second = parts.runtime(once_failing())
    await second.recover()
    await pass_time(parts, second)
    assert (await second.run_snapshot("run-1")).status is RunStatus.COMPLETED
    assert len(provider.requests) == 4


@pytest.mark.parametrize(("appends", "answered"), CUTS)
async def test_a_run_with_retries_completes_after_any_power_cut(
    any_journal: AnyJournal, appends: int, answered: bool
) -> None:
    parts, provider = bench(any_journal)
    async with abandoned():
        cut = PowerCut(any_journal, appends, last_is_answered=answered)
        first = parts.runtime(once_failing(), journal=cut)
        playing = asyncio.create_task(start_and_pass_time(parts, first))
        dark = asyncio.create_task(cut.is_off.wait())
        await asyncio.wait({playing, dark}, return_when=asyncio.FIRST_COMPLETED)

    second = parts.runtime(once_failing())
    await second.recover()
    await pass_time(parts, second)

    ended = await second.run_snapshot("run-1")
    assert (ended.status, ended.text) == (RunStatus.COMPLETED, 'So: "a lamp"')
    on_record = await attempts(any_journal)
    of_each = [[attempt for begun, attempt in on_record if begun == number] for number in (1, 2)]
    assert all(made == list(range(1, len(made) + 1)) for made in of_each), "attempts are counted without a gap"
    # Nobody is asked without an intent; an intent whose server died may not have been carried out.
    requested = [(request.round, request.attempt) for request in provider.requests]
    assert requested == sorted(set(requested))
    assert set(requested) <= set(on_record)


async def test_a_request_that_ends_the_server_every_time_is_given_up(any_journal: AnyJournal) -> None:
    lives = 0
    while not any(isinstance(record, r.RunFailed) for record in await records(any_journal)):
        lives += 1
        assert lives < 2 * MAX_LOSSES
        parts, deadly = bench(any_journal)[0], DeadlyProvider()
        parts.providers = {"scripted": deadly}
        async with abandoned():
            runtime = parts.runtime(once_failing())
            if not await runtime.recover():
                await runtime.start_run(b.request())
            ways_on = [asyncio.create_task(deadly.requested.wait()), asyncio.create_task(stood_still(runtime))]
            await asyncio.wait(ways_on, return_when=asyncio.FIRST_COMPLETED)

    ended = await parts.runtime(once_failing()).run_snapshot("run-1")
    assert lives == MAX_LOSSES + 1, "the start, and as many restarts, of which the last gives up"
    assert ended.state.stop is StopReason.PROVIDER_FAILURE
    assert ended.state.error is not None
    assert dict(ended.state.error.metadata) == {"adapter": "scripted", "class": "lost"}
    assert await attempts(any_journal) == [(1, attempt) for attempt in range(1, MAX_LOSSES + 1)]


class DeadlyProvider:
    """Stands for a request during which the process is killed: it never answers."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()

    async def complete(self, request: ModelRequest, emit: EmitText) -> ModelReply:
        """See the class."""
        self.requested.set()
        await asyncio.Event().wait()
        raise AssertionError


class RefusingProvider:
    """Refuses every request for good."""

    async def complete(self, request: ModelRequest, emit: EmitText) -> ModelReply:
        """See the class."""
        raise AgentError(ErrorReason.PROVIDER_KEY_REFUSED, "No.", metadata={"adapter": "refusing"})


async def test_a_run_goes_on_over_its_fallback_and_says_so(any_journal: AnyJournal) -> None:
    parts, provider = bench(any_journal)
    parts.providers = {"scripted": provider, "refusing": RefusingProvider()}
    spare = {"adapter": "scripted", "model": "spare", "parameters": {"script": [b.asks("look"), b.says("So.")]}}
    package = b.package(provider={"adapter": "refusing", "model": "m"}, fallbacks=[spare], tools=(b.tool(),))
    runtime = parts.runtime(package)

    await runtime.start_run(b.request())
    ended = await stood_still(runtime)

    assert (ended.status, ended.text) == (RunStatus.COMPLETED, "So.")
    assert (ended.state.provider, ended.state.model) == ("scripted", "spare")
    begun = await records_of(any_journal, r.ModelAttemptStarted)
    assert [(each.round, each.attempt, each.provider, each.model, each.route) for each in begun] == [
        (1, 1, "refusing", "m", 0),
        (1, 2, "scripted", "spare", 1),
        (2, 1, "scripted", "spare", 1),
    ]
    assert [(requested.model, requested.parameters) for requested in provider.requests] == [
        ("spare", spare["parameters"])
    ] * 2


async def test_a_run_does_not_start_if_an_adapter_of_a_fallback_is_missing(any_journal: AnyJournal) -> None:
    parts, _ = bench(any_journal)
    runtime = parts.runtime(once_failing(fallbacks=[{"adapter": "nobody", "model": "m"}]))

    with pytest.raises(AgentError, match="nobody") as refused:
        await runtime.start_run(b.request())

    assert refused.value.reason is ErrorReason.PROVIDER_MISSING
    assert await kinds(any_journal) == []


async def test_an_adapter_that_is_gone_after_a_restart_leaves_the_run_to_the_fallback(any_journal: AnyJournal) -> None:
    parts, provider = bench(any_journal)
    deadly = DeadlyProvider()
    parts.providers = {"scripted": provider, "deadly": deadly}
    spare = {"adapter": "scripted", "model": "spare", "parameters": {"script": [b.says("So.")]}}
    package = b.package(provider={"adapter": "deadly", "model": "m"}, fallbacks=[spare])
    async with abandoned():
        first = parts.runtime(package)
        await first.start_run(b.request())
        await deadly.requested.wait()
    parts.providers = {"scripted": provider}

    second = parts.runtime(package)
    await second.recover()
    ended = await stood_still(second)

    assert (ended.status, ended.text, ended.state.model) == (RunStatus.COMPLETED, "So.", "spare")

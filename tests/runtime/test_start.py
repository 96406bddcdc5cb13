"""The run id is the key: the same request finds the same run, another one is refused by name."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import structs
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.outcomes import RunStatus
from runwright.core.request import Budget, OnBusy, RunRequest
from runwright.ports.journal import Journal

from tests import builders as b
from tests.runtime.journals import FailingJournal, GatedJournal, journal_full
from tests.runtime.parts import HeldProvider
from tests.runtime.watching import eventually, kinds, quiet, stood_still

FULL = RunRequest(
    run_id="run-1",
    input=("first", "second"),
    session_id="session-1",
    turn_id="turn-1",
    agent_id="helper",
    package_id="helper-package",
    budget=Budget(2, 2, 2),
    labels={"team": "blue"},
)
# field of the request → another value, and what the conflict calls it
CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "input": ({"input": ("second", "first")}, "input"),
    "session_id": ({"session_id": "session-2"}, "session_id"),
    "turn_id": ({"turn_id": "turn-2"}, "turn_id"),
    "agent_id": ({"agent_id": ""}, "agent_id"),
    "package_id": ({"package_id": ""}, "package"),
    "package_fingerprint": ({"package_fingerprint": b.one_call_package().fingerprint()}, "package"),
    "package_tag": ({"package_tag": "prod"}, "package"),
    "budget": ({"budget": Budget(2, 2, 1)}, "budget"),
    "labels": ({"labels": {"team": "red"}}, "labels"),
    "on_busy": ({"on_busy": OnBusy.REJECT}, "on_busy"),
}


async def test_a_hundred_starts_at_once_are_one_run(any_journal: Journal) -> None:
    runtime = b.Bench(journal=any_journal).runtime()

    started = await asyncio.gather(*(runtime.start_run(FULL) for _ in range(100)))

    assert [created for _, created in started].count(True) == 1
    ended = [await handle.wait() for handle, _ in started]
    assert {snapshot.status for snapshot in ended} == {RunStatus.COMPLETED}
    assert len(await any_journal.open_runs()) == 0
    assert [kind.name for kind in await kinds(any_journal)].count("RUN_STARTED") == 1


async def test_a_repeated_start_waits_until_the_first_one_is_durable(bench: b.Bench) -> None:
    journal = GatedJournal(bench.journal)
    journal.gate.clear()
    runtime = bench.runtime(journal=journal)
    first = asyncio.create_task(runtime.start_run(FULL))
    second = asyncio.create_task(runtime.start_run(FULL))
    await quiet()
    answered_early = first.done() or second.done()

    journal.gate.set()

    assert not answered_early
    assert [(await first)[1], (await second)[1]] == [True, False]


async def test_a_start_whose_caller_leaves_before_it_is_durable_goes_on(bench: b.Bench) -> None:
    journal = GatedJournal(bench.journal)
    journal.gate.clear()
    runtime = bench.runtime(journal=journal)
    starting = asyncio.create_task(runtime.start_run(FULL))
    await eventually(lambda: journal.held == 1)

    starting.cancel()
    await quiet()
    journal.gate.set()

    assert (await stood_still(runtime, FULL.run_id)).status is RunStatus.COMPLETED
    assert starting.cancelled()


async def test_a_cancel_that_comes_before_the_start_is_durable_ends_the_run(bench: b.Bench) -> None:
    journal = GatedJournal(bench.journal)
    journal.gate.clear()
    runtime = bench.runtime(journal=journal)
    starting = asyncio.create_task(runtime.start_run(FULL))
    await eventually(lambda: journal.held == 1)

    cancelling = asyncio.create_task(runtime.cancel_run(FULL.run_id))
    await quiet()
    journal.gate.set()
    await asyncio.gather(starting, cancelling)

    assert (await stood_still(runtime, FULL.run_id)).status is RunStatus.CANCELLED


async def test_a_drain_that_meets_a_start_waits_for_its_append_and_begins_nothing(bench: b.Bench) -> None:
    journal = GatedJournal(bench.journal)
    journal.gate.clear()
    runtime = bench.runtime(journal=journal)
    starting = asyncio.create_task(runtime.start_run(FULL))
    await eventually(lambda: journal.held == 1)

    draining = asyncio.create_task(runtime.drain(b.SECOND))
    await quiet()
    is_over_early = draining.done()
    journal.gate.set()
    await asyncio.gather(starting, draining)

    assert not is_over_early
    assert [kind.name for kind in await kinds(bench.journal, FULL.run_id)][-1] == "MODEL_ATTEMPT_STARTED"
    assert len(await bench.journal.open_runs()) == 1


async def test_a_start_after_the_end_finds_the_ended_run(bench: b.Bench) -> None:
    runtime = bench.runtime()
    ended = await runtime.run_text(FULL)

    handle, created = await runtime.start_run(FULL)

    assert not created
    assert await handle.snapshot() == ended


async def test_a_start_after_a_restart_finds_the_run(any_journal: Journal) -> None:
    parts = b.Bench(journal=any_journal)
    ended = await parts.runtime().run_text(FULL)

    second = parts.runtime()
    await second.recover()
    handle, created = await second.start_run(FULL)

    assert not created
    assert await handle.snapshot() == ended


async def test_a_repeated_start_needs_neither_package_nor_provider_any_more(bench: b.Bench) -> None:
    ended = await bench.runtime().run_text(FULL)

    second = bench.runtime(b.package(b.says("hi"), id="other", provider={"adapter": "gone", "model": "m"}))
    handle, created = await second.start_run(FULL)

    assert not created
    assert (await handle.snapshot()).text == ended.text


def test_every_field_of_a_request_is_changed_below() -> None:
    fields = {field.name for field in structs.fields(RunRequest)}

    assert set(CHANGES) == fields - {"run_id"}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_start_that_differs_in_one_field_is_refused_naming_it(bench: b.Bench, name: str) -> None:
    change, called = CHANGES[name]
    runtime = bench.runtime()
    await runtime.run_text(FULL)
    on_record = await kinds(bench.journal)

    with pytest.raises(AgentError) as caught:
        await runtime.start_run(structs.replace(FULL, **change))

    assert caught.value.reason is ErrorReason.RUN_ID_CONFLICT
    assert caught.value.metadata == {"run_id": "run-1", "fields": called}
    assert await kinds(bench.journal) == on_record


async def test_a_conflict_names_all_the_fields_and_none_of_the_values(bench: b.Bench) -> None:
    runtime = bench.runtime()
    await runtime.run_text(FULL)
    other = structs.replace(FULL, input=("a secret",), labels={"team": "a secret"}, session_id="s2")

    with pytest.raises(AgentError) as caught:
        await runtime.start_run(other)

    assert caught.value.metadata["fields"] == "input, labels, session_id"
    assert "a secret" not in str(caught.value)


async def test_the_order_of_labels_is_no_difference(bench: b.Bench) -> None:
    runtime = bench.runtime()
    await runtime.run_text(structs.replace(FULL, labels={"a": "1", "b": "2"}))

    _, created = await runtime.start_run(structs.replace(FULL, labels={"b": "2", "a": "1"}))

    assert not created


async def test_starts_without_a_run_id_are_runs_of_their_own(bench: b.Bench) -> None:
    runtime = bench.runtime()

    (first, first_created), (second, second_created) = [await runtime.start_run(b.request("")) for _ in range(2)]

    assert first_created and second_created
    assert first.run_id != second.run_id
    assert (await first.wait()).status is (await second.wait()).status is RunStatus.COMPLETED


async def test_a_caller_that_goes_away_does_not_take_its_run_along(bench: b.Bench) -> None:
    journal = GatedJournal(bench.journal)
    journal.gate.clear()
    runtime = bench.runtime(journal=journal)
    starting = asyncio.create_task(runtime.start_run(FULL))
    await quiet()

    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    journal.gate.set()

    handle, created = await runtime.start_run(FULL)
    assert not created
    assert (await handle.wait()).status is RunStatus.COMPLETED


async def test_starts_that_fail_together_leave_nothing_and_may_be_repeated(bench: b.Bench) -> None:
    journal = FailingJournal(bench.journal, journal_full())
    runtime = bench.runtime(journal=journal)

    failed = await asyncio.gather(*(runtime.start_run(FULL) for _ in range(10)), return_exceptions=True)
    journal.error = None
    _, created = await runtime.start_run(FULL)

    assert {error.reason for error in failed if isinstance(error, AgentError)} == {ErrorReason.JOURNAL_FULL}
    assert len(failed) == 10
    assert created


async def test_the_answer_to_a_start_is_already_on_record(bench: b.Bench) -> None:
    bench.providers = {"scripted": HeldProvider()}
    runtime = bench.runtime()

    handle, _ = await runtime.start_run(FULL)

    seen = [kind.name for kind in await kinds(bench.journal)]
    assert seen == ["RUN_STARTED", "CONTEXT_ASSEMBLED", "TURN_STARTED", "MODEL_ATTEMPT_STARTED"]
    assert (await handle.snapshot()).state.request_digest == FULL.digest()

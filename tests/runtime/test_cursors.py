"""Cursors are what the server made, letter for letter, or they are refused for the right reason."""

from __future__ import annotations

import string

import pytest
from runwright.core.cursor import CursorMaker, run_scope
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import Namespace
from runwright.runtime import AgentRuntime

from tests import builders as b
from tests.runtime.watching import events, key, streamed

ALPHABET = string.ascii_letters + string.digits + "-_" + "+/=. \n\0é"


@pytest.fixture
async def runtime(bench: b.Bench) -> AgentRuntime:
    """A runtime with an ended run."""
    runtime = bench.runtime()
    await runtime.run_text(b.request())
    return runtime


async def refusal(runtime: AgentRuntime, cursor: str, run_id: str = "run-1") -> AgentError:
    """What the runtime says to the cursor."""
    with pytest.raises(AgentError) as caught:
        await runtime.subscribe_run(run_id, after_cursor=cursor)
    return caught.value


async def test_every_change_of_one_character_is_refused(runtime: AgentRuntime) -> None:
    cursor = (await runtime.run_snapshot("run-1")).last_cursor
    changed = [
        cursor[:index] + character + cursor[index + 1 :]
        for index in range(len(cursor))
        for character in ALPHABET
        if character != cursor[index]
    ]

    reasons = {(await refusal(runtime, other)).reason for other in changed}

    # Bytes that tell the journal apart are looked at before the seal.
    assert reasons <= {ErrorReason.CURSOR_MALFORMED, ErrorReason.JOURNAL_RESTORED}


async def test_a_cursor_cut_short_or_drawn_out_is_refused(runtime: AgentRuntime) -> None:
    cursor = (await runtime.run_snapshot("run-1")).last_cursor
    changed = [cursor[:length] for length in range(1, len(cursor))]
    changed += [cursor + "A", cursor + "=", cursor + cursor, " " + cursor, "x" * 100_000, "-"]

    reasons = {(await refusal(runtime, other)).reason for other in changed}

    assert reasons == {ErrorReason.CURSOR_MALFORMED}


async def test_another_runs_cursor_is_refused(runtime: AgentRuntime) -> None:
    other = await runtime.run_text(b.request("run-2"))

    error = await refusal(runtime, other.last_cursor)

    assert error.reason is ErrorReason.CURSOR_SCOPE_MISMATCH
    assert error.metadata["expected"]


async def test_a_cursor_of_the_same_run_id_in_another_namespace_is_refused(runtime: AgentRuntime) -> None:
    handle, _ = await runtime.start_run(b.request(), namespace=Namespace("theirs"))
    theirs = await handle.wait()

    error = await refusal(runtime, theirs.last_cursor)

    assert error.reason is ErrorReason.CURSOR_SCOPE_MISMATCH


async def test_another_journals_cursor_is_refused_with_the_head_of_this_one(
    bench: b.Bench, runtime: AgentRuntime
) -> None:
    foreign = await b.Bench().runtime().run_text(b.request())

    error = await refusal(runtime, foreign.last_cursor)

    assert error.reason is ErrorReason.JOURNAL_RESTORED
    head = await streamed(runtime, after_cursor=error.metadata["head"])
    assert [item.event for item in head] == [None]
    assert head[0].position == (await events(bench.journal))[-1].position


async def test_a_cursor_past_the_end_is_refused_with_the_head(bench: b.Bench, runtime: AgentRuntime) -> None:
    maker = CursorMaker(bench.journal.incarnation, bench.journal.cursor_key, bench.journal.epochs)
    ahead = maker.make(run_scope(key()), bench.journal.head + 1)

    error = await refusal(runtime, ahead)

    assert error.reason is ErrorReason.CURSOR_AHEAD
    assert error.metadata["head"] == maker.make(run_scope(key()), bench.journal.head)


async def test_cursors_outlive_the_process(bench: b.Bench, runtime: AgentRuntime) -> None:
    cursor = (await streamed(runtime))[4].cursor

    second = bench.runtime()
    rest = await streamed(second, after_cursor=cursor)

    assert [item.event for item in rest[1:]] == (await events(bench.journal))[4:]


async def test_a_list_refuses_what_a_stream_refuses(runtime: AgentRuntime) -> None:
    with pytest.raises(AgentError) as caught:
        await runtime.list_events("run-1", after_cursor="garbage")

    assert caught.value.reason is ErrorReason.CURSOR_MALFORMED

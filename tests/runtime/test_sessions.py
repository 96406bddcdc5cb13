"""A run of a session sees the earlier turns: chosen once, on record, the same after any restart."""

from __future__ import annotations

from typing import Any

import pytest
from runwright.adapters.memory.journal import MemoryJournal
from runwright.adapters.sqlite.journal import SqliteJournal
from runwright.core import records as r
from runwright.core.content import Content
from runwright.core.context import Omission
from runwright.core.ids import Namespace
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunStatus
from runwright.ports.journal import Journal
from runwright.ports.provider import AssistantMessage, ModelRequest, UserMessage
from runwright.runtime import AgentRuntime

from tests import builders as b
from tests.runtime.journals import PowerCut
from tests.runtime.parts import HeldProvider, RecordingProvider
from tests.runtime.watching import abandoned, key, kinds, records_of, stood_still

PLAIN = b.package(b.says("heard; before: {turns}"))


def recording(journal: Journal, **parts: Any) -> tuple[b.Bench, RecordingProvider]:
    """A bench whose model keeps what it was told."""
    provider = RecordingProvider()
    return b.Bench(journal=journal, providers={"scripted": provider}, **parts), provider


def message(request: ModelRequest) -> list[str]:
    """The conversation as the model saw it."""
    said = []
    for message in request.messages:
        match message:
            case UserMessage(parts=parts):
                said.append(f"user: {' + '.join(parts)}")
            case AssistantMessage(text=text, calls=calls):
                said.append(f"assistant: {text} {len(calls)}")
            case _:
                said.append("result")
    return said


async def turn(runtime: AgentRuntime, run_id: str, *words: str, **fields: Any) -> str:
    """One turn of the session; its answer."""
    ended = await runtime.run_text(b.request(run_id, *words, **{"session_id": "s", **fields}))
    assert ended.status is RunStatus.COMPLETED
    return ended.text or ""


async def context_of(journal: Journal, run_id: str) -> r.ContextAssembled:
    """What is on record of the run's context."""
    [assembled] = await records_of(journal, r.ContextAssembled, run_id)
    return assembled


async def test_a_turn_sees_the_earlier_ones_then_its_own_input(any_journal: Journal) -> None:
    bench, provider = recording(any_journal)
    runtime = bench.runtime(PLAIN)

    await turn(runtime, "one", "I am Ada.", "Hello!")
    await turn(runtime, "two", "Who am I?")
    await turn(runtime, "else", "Who are you?", session_id="another")
    await turn(runtime, "alone", "Who is there?", session_id="")

    second, other, alone = map(message, provider.requests[1:])
    assert second == ["user: I am Ada. + Hello!", "assistant: heard; before:  0", "user: Who am I?"]
    assert (other, alone) == (["user: Who are you?"], ["user: Who is there?"])
    assert EventKind.CONTEXT_ASSEMBLED not in await kinds(any_journal, "alone")


async def test_tool_calls_of_earlier_turns_are_not_shown_their_answers_are(any_journal: Journal) -> None:
    bench, provider = recording(any_journal)
    runtime = bench.runtime()

    await turn(runtime, "one", "What is there?")
    answer = await turn(runtime, "two", "And now?")

    assert message(provider.requests[-1]) == [
        "user: What is there?",
        'assistant: found "a lamp" 0',
        "user: And now?",
        "assistant: None 1",
        "result",
    ]
    assert answer == 'found "a lamp"', "each turn plays the whole script"


async def test_a_run_of_a_session_costs_no_commit_more(any_journal: MemoryJournal | SqliteJournal) -> None:
    runtime = b.Bench(journal=any_journal).runtime(b.one_call_package())
    await turn(runtime, "one")
    before = any_journal.commits

    await turn(runtime, "two")

    assert any_journal.commits - before == 4
    assert (await kinds(any_journal, "two"))[:3] == [
        EventKind.RUN_STARTED,
        EventKind.CONTEXT_ASSEMBLED,
        EventKind.TURN_STARTED,
    ]


async def test_what_is_left_out_is_on_record_with_the_reason(any_journal: Journal) -> None:
    talks = b.package(b.says("yes"), id="talks", context={"session_turns": 2})
    route = {"adapter": "scripted", "model": "s", "parameters": {"script": [{"fail": True}]}, "max_attempts": 1}
    fails = b.package(provider=route, id="fails")
    other = b.package(b.says("no"), id="other", agent={"id": "clerk"})
    held = b.package(b.says("late"), id="held", provider={"adapter": "held", "model": "m"})
    bench, _ = recording(any_journal)
    bench.providers = {**bench.providers, "held": HeldProvider()}
    runtime = bench.runtime(talks, fails, other, held)

    for run_id, package_id in [("1", "talks"), ("2", "fails"), ("3", "other"), ("4", "talks"), ("5", "talks")]:
        await runtime.run_text(b.request(run_id, session_id="s", package_id=package_id))
    await runtime.start_run(b.request("6", session_id="s", package_id="held"))
    await runtime.run_text(b.request("7", session_id="s", package_id="talks"))

    seen = (await context_of(any_journal, "7")).context
    assert [turn.run_id for turn in seen.included] == ["4", "5"]
    assert [(run.run_id, run.why) for run in seen.omitted] == [
        ("6", Omission.NOT_ENDED),
        ("3", Omission.OTHER_AGENT),
        ("2", Omission.FAILED),
        ("1", Omission.TURNS),
    ]
    assert (seen.omitted_count, seen.has_older) == (4, False)


async def test_bytes_are_bounded_too(bench: b.Bench) -> None:
    runtime = bench.runtime(b.package(b.says("y" * 50), context={"session_bytes": 120}))

    for number in range(4):
        await turn(runtime, f"run-{number}", "x" * 10)

    seen = (await context_of(bench.journal, "run-3")).context
    assert [(turn.run_id, turn.bytes) for turn in seen.included] == [("run-1", 60), ("run-2", 60)]
    assert [(run.run_id, run.why) for run in seen.omitted] == [("run-0", Omission.BYTES)]


async def test_a_session_of_another_namespace_is_another_session(any_journal: Journal) -> None:
    bench, provider = recording(any_journal)
    runtime = bench.runtime(PLAIN)
    await turn(runtime, "one", "I am Ada.")

    handle, _ = await runtime.start_run(b.request("two", "Who am I?", session_id="s"), namespace=Namespace("theirs"))
    await handle.wait()

    assert message(provider.requests[-1]) == ["user: Who am I?"]


async def test_after_a_restart_the_run_sees_what_it_saw_not_what_was_said_since(sqlite: SqliteJournal) -> None:
    """The model is asked again from the record; a turn that has ended in between changes nothing."""
    bench, _ = recording(sqlite)
    async with abandoned():
        await turn(bench.runtime(PLAIN), "one", "I am Ada.")
        cut = PowerCut(sqlite, 1, last_is_answered=True)
        await bench.runtime(PLAIN, journal=cut).start_run(b.request("two", "Who am I?", session_id="s"))
        await cut.is_off.wait()
    async with abandoned():
        await turn(bench.runtime(PLAIN), "between", "I am Bob.")

    after, provider = recording(sqlite)
    runtime = after.runtime(PLAIN)
    assert await runtime.recover() == 1
    ended = await stood_still(runtime, "two")

    assert [message(request) for request in provider.requests] == [
        ["user: I am Ada.", "assistant: heard; before:  0", "user: Who am I?"]
    ]
    assert ended.text == "heard; before: user: I am Ada. | assistant: heard; before: "
    assert [turn.run_id for turn in (await context_of(sqlite, "two")).context.included] == ["one"]


async def test_a_turn_whose_content_is_gone_is_left_out_and_the_session_goes_on(bench: b.Bench) -> None:
    assert isinstance(bench.journal, MemoryJournal)
    runtime = bench.runtime(PLAIN)
    await turn(runtime, "one", "I am Ada.")
    await turn(runtime, "two", "forget me")
    del bench.journal._contents[Namespace("default"), digest_of("forget me")]

    await turn(runtime, "three", "Who am I?")

    seen = (await context_of(bench.journal, "three")).context
    assert [turn.run_id for turn in seen.included] == ["one"]
    assert [(run.run_id, run.why) for run in seen.omitted] == [("two", Omission.UNREADABLE)]


async def test_what_a_run_sees_is_stored_with_the_run(bench: b.Bench) -> None:
    """Whatever becomes of the other runs' content meanwhile: the append brings what its records refer to."""
    assert isinstance(bench.journal, MemoryJournal)
    runtime = bench.runtime(PLAIN)
    await turn(runtime, "one", "I am Ada.")
    retained = bench.journal.append

    def append(*of: Any, **rest: Any) -> Any:
        assert isinstance(bench.journal, MemoryJournal)
        bench.journal._contents.clear()
        return retained(*of, **rest)

    bench.journal.append = append  # type: ignore[method-assign]
    await runtime.start_run(b.request("two", "Who am I?", session_id="s"))

    refs = [ref for turn in (await context_of(bench.journal, "two")).context.included for ref in turn.refs]
    assert len(refs) == 2
    assert len(await bench.journal.content(key("two").namespace, [ref.digest for ref in refs])) == 2


def digest_of(text: str) -> str:
    """Where a text is stored."""
    return Content.text(text).ref.digest


@pytest.mark.parametrize("requested", ["{results}", "{turns}"])
async def test_a_script_does_not_fill_in_what_somebody_said(bench: b.Bench, requested: str) -> None:
    runtime = bench.runtime(PLAIN)

    await turn(runtime, "one", requested)

    assert await turn(runtime, "two", "hm") == f"heard; before: user: {requested} | assistant: heard; before: "


async def test_every_turn_of_a_session_has_an_id_of_its_own() -> None:
    bench, _ = recording(MemoryJournal(), packages=(PLAIN,))
    runtime = bench.runtime()
    for run_id in ("one", "two", "three"):
        await turn(runtime, run_id, "Hello.")
    await turn(runtime, "named", "Hello.", turn_id="mine")
    _, created = await runtime.start_run(b.request("two", "Hello.", session_id="s"))

    ids = {run_id: (await runtime.run_snapshot(run_id)).state.turn_id for run_id in ("one", "two", "three", "named")}
    included = (await context_of(bench.journal, "named")).context.included

    assert len(set(ids.values())) == 4
    assert ids["named"] == "mine", "an id of the caller's is carried through"
    assert not created, "the same request is the same turn"
    assert {seen.run_id: seen.turn_id for seen in included} == {run: ids[run] for run in ("one", "two", "three")}

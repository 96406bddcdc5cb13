"""The text of models in streams of many runs, and what becomes of it: bounds, memory, filters, refusals."""

from __future__ import annotations

import asyncio

import pytest
from runwright.core.effects import CallModel
from runwright.core.errors import ErrorReason
from runwright.core.ids import Namespace
from runwright.core.kinds import EventKind as K
from runwright.core.selection import EventFilter, Scope, ScopeKind, Selection
from runwright.core.state import RunState
from runwright.ports.journal import Journal
from runwright.runtime import TextDelta
from runwright.runtime.conversations.model_reply import MAX_TEXT_BYTES
from runwright.runtime.runs.live_text import SHOWN_EVERY_US, LiveTexts
from runwright.runtime.streams.delta_reader import DeltaReader
from runwright.testing import ManualClock

from tests import builders as b
from tests.runtime.speaking import Emitting, Listener, scene
from tests.runtime.watching import eventually, key, quiet, reached, records, stood_still

SCOPES = {
    "session": Selection(Scope(key().namespace, ScopeKind.SESSION, "s1")),
    "agent": Selection(Scope(key().namespace, ScopeKind.AGENT, "helper")),
    "all": Selection(Scope(key().namespace, ScopeKind.ALL)),
    "all, only ends": Selection(Scope(key().namespace, ScopeKind.ALL), EventFilter(terminal_only=True)),
    "all, one kind": Selection(Scope(key().namespace, ScopeKind.ALL), EventFilter(kinds=frozenset({K.RUN_COMPLETED}))),
    "run, only ends": Selection.of_run(key(), EventFilter(terminal_only=True)),
}
NOT_MINE = {
    "another session": Selection(Scope(key().namespace, ScopeKind.SESSION, "s2")),
    "another agent": Selection(Scope(key().namespace, ScopeKind.AGENT, "other")),
    "another namespace": Selection(Scope(Namespace("other"), ScopeKind.ALL)),
    "another namespace's session": Selection(Scope(Namespace("other"), ScopeKind.SESSION, "s1")),
    "other runs": Selection(Scope(key().namespace, ScopeKind.ALL), EventFilter(run_ids=frozenset({"run-2"}))),
}


@pytest.mark.parametrize("selection", SCOPES.values(), ids=SCOPES.keys())
async def test_every_scope_has_its_deltas(any_journal: Journal, selection: Selection) -> None:
    play = await scene(any_journal, session_id="s1")
    listener = await play.listen(selection=selection)
    listener.start()
    play.pieces.next(2)
    await play.delta_text(2)
    await play.turn()
    play.pieces.next(2)
    await eventually(lambda: "RUN_COMPLETED" in listener.kinds)

    assert "".join(delta.text for delta in listener.deltas) == "A lamp."
    places = [index for index, kind in enumerate(listener.kinds) if kind == "d"]
    assert places[-1] < next(i for i, kind in enumerate(listener.kinds) if kind.endswith("_COMPLETED"))
    play.runtime.stop_streams()


@pytest.mark.parametrize("selection", NOT_MINE.values(), ids=NOT_MINE.keys())
async def test_nobody_gets_anothers(selection: Selection) -> None:
    play = await scene(session_id="s1")
    listener = await play.listen(selection=selection)
    listener.start()
    play.pieces.next(2)
    await play.delta_text(2)
    await play.turn()
    play.pieces.next(2)
    await stood_still(play.runtime)
    await quiet()

    assert listener.kinds == []
    play.runtime.stop_streams()


async def test_a_run_of_the_same_id_in_another_namespace_is_not_heard() -> None:
    play = await scene()
    other = Namespace("other")
    await play.runtime.start_run(b.request(), namespace=other)
    mine = await play.listen()
    theirs = await play.listen(selection=Selection(Scope(other, ScopeKind.ALL)))
    for listener in (mine, theirs):
        listener.start()
    play.pieces.next(8)
    await mine.end()
    await eventually(lambda: "RUN_COMPLETED" in theirs.kinds)

    assert {delta.state.key.namespace for delta in mine.deltas} <= {key().namespace}
    assert {delta.state.key.namespace for delta in theirs.deltas} <= {other}
    play.runtime.stop_streams()


async def test_nothing_of_it_is_on_record_or_listed(any_journal: Journal) -> None:
    play = await scene(any_journal)
    listener = await play.listen()
    listener.start()
    play.pieces.next(4)
    await listener.end()

    listed = await play.runtime.list_events("run-1")
    assert [item.event for item in listed] == [item.event for item in listener.items if item.event]
    assert all(item.ephemeral is None for item in listed)
    assert len(await records(any_journal)) == len(listed)


async def test_nothing_is_kept_of_a_text_that_has_ended() -> None:
    play = await scene()
    texts = play.runtime._subscriptions._texts
    listener = await play.listen(selection=SCOPES["all"])
    listener.start()
    play.pieces.next(1)
    await play.delta_text(1)
    assert len(texts) == 1
    await play.turn()
    play.pieces.next(3)
    await stood_still(play.runtime)
    await quiet()

    assert len(texts) == 0
    assert listener.reading
    listener.reading.cancel()
    await asyncio.gather(listener.reading, return_exceptions=True)
    await listener.batches.aclose()
    assert texts._of_many == set()


@pytest.mark.parametrize(
    ("pieces", "rule"), [(["x" * MAX_TEXT_BYTES, "y"], "text above"), (["so", "\ud83d"], "text that is not Unicode")]
)
async def test_text_no_reply_may_hold_ends_the_attempt_at_once(pieces: list[str], rule: str) -> None:
    route = {"adapter": "emitting", "model": "m", "max_attempts": 1}
    runtime = b.Bench(providers={"emitting": Emitting(*pieces)}).runtime(b.package(provider=route))
    await runtime.start_run(b.request())
    snapshot = await stood_still(runtime)  # the answer itself is never let go

    assert snapshot.state.error is not None
    assert snapshot.state.error.reason is ErrorReason.MODEL_OUTPUT_INVALID
    assert rule in dict(snapshot.state.error.metadata)["rule"]


async def test_what_a_provider_emits_when_it_is_given_up_is_not_heard(any_journal: Journal) -> None:
    bench = b.Bench(journal=any_journal, providers={"scripted": Emitting("A ")})
    runtime = bench.runtime()
    handle, _ = await runtime.start_run(b.request())
    listener = Listener(await runtime.subscribe(SCOPES["all"], deltas=True))
    listener.start()
    await eventually(lambda: bool(listener.deltas))
    bench.manual_clock.advance(2 * SHOWN_EVERY_US)
    await handle.cancel()
    await eventually(lambda: "RUN_CANCELLED" in listener.kinds)
    for _ in range(30):
        await quiet()

    assert [delta.text for delta in listener.deltas] == ["A "]
    runtime.stop_streams()


async def test_a_piece_waits_until_the_reader_has_passed_the_beginning_of_its_attempt() -> None:
    texts = LiveTexts(ManualClock())
    text = texts.open(RunState(key=key()), CallModel(1, 1), position=7)
    with DeltaReader(texts, Selection.of_run(key())) as reader:
        message = reader.signal()
        text.add("so")
        assert message.done()
        assert reader.take(6) == []
        assert [found.text for found in reader.take(7) if isinstance(found, TextDelta)] == ["so"]
        assert reader.take(7) == []


def test_a_clock_that_is_set_back_holds_nothing_up() -> None:
    clock = ManualClock()
    texts = LiveTexts(clock)
    text = texts.open(RunState(key=key()), CallModel(1, 1), position=0)
    text.add("one")
    clock.advance(-3600 * b.SECOND)
    text.add(" two")

    assert text.shown == len("one two")


async def test_a_provider_that_answers_something_else_is_told_of(bench: b.Bench) -> None:
    provider = Emitting("A ", "lamp", answer="A cat.")
    provider.let_go.set()
    bench.providers = {"scripted": provider}
    snapshot = await bench.runtime().run_text(b.request())

    assert snapshot.text == "A cat.", "the answer counts"
    assert [line.event for line in bench.log.lines] == ["provider emitted other text than its answer"]


async def test_runs_do_not_wait_for_a_reader_that_does_not_read() -> None:
    play = await scene(None, {"chunks": ["word "] * 1000})
    listener = await play.listen()
    await listener.one()
    play.pieces.next(1001)

    await reached(play.runtime, K.RUN_COMPLETED)

    await listener.end()
    assert listener.kinds[-1] == "RUN_COMPLETED"

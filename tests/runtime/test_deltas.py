"""The text of a model while it answers: in order beside durable events, whole for who keeps up, held for nobody."""

from __future__ import annotations

import asyncio

import pytest
from runwright.core.effects import CallModel
from runwright.core.errors import ErrorReason
from runwright.core.events import EventKind as K
from runwright.core.ids import Namespace
from runwright.core.selection import EventFilter, Scope, ScopeKind, Selection
from runwright.core.state import RunState
from runwright.ports.journal import Journal
from runwright.runtime import RunHandle, TextDelta, TextGap
from runwright.runtime.delta_reader import DeltaReader
from runwright.runtime.live_text import PIECE_BYTES, SHOWN_EVERY_BYTES, SHOWN_EVERY_US, LiveTexts
from runwright.runtime.model_reply import MAX_TEXT_BYTES
from runwright.testing import ManualClock

from tests import builders as b
from tests.runtime.speaking import Emitting, Listener, Scene, scene
from tests.runtime.watching import CAP_SECONDS, eventually, key, quiet, reached, records, stood_still


async def test_pieces_come_between_the_beginning_and_the_end_of_their_attempt(any_journal: Journal) -> None:
    play = await scene(any_journal)
    listener = await play.listen()
    listener.start()
    for number in range(3):
        play.pieces.next()
        await play.spoken(number + 1)
        await play.turn()
    play.pieces.next()
    await listener.end()

    assert listener.kinds == [
        *("RUN_STARTED", "TURN_STARTED", "MODEL_ATTEMPT_STARTED"),
        *("d", "d", "d"),
        *("MODEL_MESSAGE_COMPLETED", "TURN_COMPLETED", "RUN_COMPLETED"),
    ]
    assert [(delta.offset, delta.text) for delta in listener.deltas] == [(0, "A "), (2, "lamp"), (6, ".")]
    assert [(delta.effect.round, delta.effect.attempt) for delta in listener.deltas] == [(1, 1)] * 3
    started = listener.items[3]
    ephemeral = [item for item in listener.items if item.ephemeral]
    assert [(item.cursor, item.position, item.sub_sequence) for item in ephemeral] == [
        (started.cursor, 0, number) for number in (1, 2, 3)
    ]


async def test_nobody_gets_deltas_who_did_not_ask(any_journal: Journal) -> None:
    play = await scene(any_journal)
    reading = asyncio.create_task(_kinds(play.run))
    play.pieces.next(4)
    async with asyncio.timeout(CAP_SECONDS):
        assert None not in (await reading)[1:]


async def _kinds(run: RunHandle) -> list[K | None]:
    return [item.event.kind if item.event else None async for item in run.stream()]


async def test_pieces_that_come_fast_are_put_together() -> None:
    play = await scene()
    listener = await play.listen()
    listener.start()
    play.pieces.next(3)
    await play.spoken(3)
    await quiet()
    assert [delta.text for delta in listener.deltas] == ["A "], "the first one comes at once"
    await play.turn()
    assert [delta.text for delta in listener.deltas] == ["A ", "lamp."], "the others after 20 ms, together"
    play.pieces.next()
    await listener.end()
    assert play.bench.manual_clock.waiting == []


async def test_a_kibibyte_does_not_wait_for_its_time() -> None:
    play = await scene(None, {"chunks": ["x", "y" * SHOWN_EVERY_BYTES, "z"]})
    listener = await play.listen()
    listener.start()
    play.pieces.next(3)
    await play.spoken(3)
    await quiet()
    assert [len(delta.text) for delta in listener.deltas] in ([1, SHOWN_EVERY_BYTES], [1 + SHOWN_EVERY_BYTES])
    play.pieces.next()
    await listener.end()
    assert "".join(delta.text for delta in listener.deltas) == "x" + "y" * SHOWN_EVERY_BYTES + "z"


async def test_the_last_piece_comes_before_the_message_although_its_time_has_not() -> None:
    play = await scene()
    listener = await play.listen()
    listener.start()
    play.pieces.next()
    await play.spoken(1)
    await quiet()
    play.pieces.next(3)
    await listener.end()

    assert "".join(delta.text for delta in listener.deltas) == "A lamp."
    assert listener.kinds.index("MODEL_MESSAGE_COMPLETED") > max(i for i, k in enumerate(listener.kinds) if k == "d")


async def test_who_comes_in_the_middle_gets_the_text_so_far_once(any_journal: Journal) -> None:
    play = await scene(any_journal)
    first = await play.listen()
    first.start()
    play.pieces.next(2)
    await play.spoken(2)
    await play.turn()
    cursor = first.items[-1].cursor
    assert first.reading
    first.reading.cancel()

    second, third = await play.listen(cursor), await play.listen(live_only=True)
    for listener in (second, third):
        listener.start()
    await quiet()
    play.pieces.next(2)
    for listener in (second, third):
        await listener.end()
        assert [(delta.offset, delta.text) for delta in listener.deltas] == [(0, "A lamp"), (6, ".")]
        assert [item.sub_sequence for item in listener.items if item.ephemeral] == [1, 2]


async def test_a_slow_reader_gets_longer_pieces(any_journal: Journal) -> None:
    words = [f"{number} " for number in range(500)]
    play = await scene(any_journal, {"chunks": words})
    listener = await play.listen()
    await listener.one()
    await listener.one()
    play.pieces.next()
    await play.spoken(1)
    await listener.one()
    for _ in range(400):
        play.pieces.next()
        await quiet_until(play)
    await play.turn()
    await listener.one()

    assert [delta.text for delta in listener.deltas] == ["0 ", "".join(words[1:401])]
    play.pieces.next(200)
    await listener.end()
    assert "".join(delta.text for delta in listener.deltas) == "".join(words)


async def quiet_until(play: Scene) -> None:
    """Lets the model say its piece."""
    for _ in range(4):
        await asyncio.sleep(0)


async def test_a_reader_too_slow_for_the_end_is_told_what_it_missed(any_journal: Journal) -> None:
    long = "ĝ" * PIECE_BYTES  # two bytes each
    play = await scene(any_journal, {"chunks": ["so ", long]})
    listener = await play.listen()
    await listener.one()
    await listener.one()
    play.pieces.next()
    await play.spoken(1)
    await listener.one()
    play.pieces.next(2)
    await stood_still(play.runtime)
    await listener.end()

    assert listener.kinds[3:6] == ["d", "gap", "MODEL_MESSAGE_COMPLETED"]
    gap = next(item for item in listener.items if isinstance(item.ephemeral, TextGap))
    assert isinstance(gap.ephemeral, TextGap)
    assert (gap.ephemeral.start, gap.ephemeral.end) == (3, 3 + 2 * PIECE_BYTES)
    assert gap.sub_sequence == 2


async def test_a_long_text_comes_in_pieces_of_whole_characters() -> None:
    long = "x" + "ĝ" * (2 * PIECE_BYTES)
    play = await scene(None, {"chunks": [long, "."]})
    play.pieces.next()
    await play.spoken(1)
    listener = await play.listen()
    listener.start()
    await quiet()

    assert "".join(delta.text for delta in listener.deltas) == long
    assert all(len(delta.text.encode()) <= PIECE_BYTES for delta in listener.deltas)
    offsets = [delta.offset for delta in listener.deltas]
    assert offsets == [sum(len(d.text.encode()) for d in listener.deltas[:n]) for n in range(len(offsets))]
    play.pieces.next(2)
    await listener.end()


async def test_a_failed_attempts_text_ends_with_its_failure_and_the_next_begins_anew() -> None:
    play = await scene(None, {"chunks": ["A ", "la"], "fail_attempts": 1})
    listener = await play.listen()
    listener.start()
    play.pieces.next(1)
    await play.spoken(1)
    await play.turn()
    play.pieces.next(2)
    await reached(play.runtime, K.RETRY_SCHEDULED)
    play.bench.manual_clock.advance(5 * 60 * 1_000_000)
    play.pieces.next(1)
    await play.spoken(1)
    await play.turn()
    play.pieces.next(2)
    await listener.end()

    assert listener.kinds[3:6] == ["d", "MODEL_ATTEMPT_FAILED", "RETRY_SCHEDULED"]
    assert [(delta.effect.attempt, delta.offset, delta.text) for delta in listener.deltas][:2] == [
        (1, 0, "A "),
        (2, 0, "A "),
    ]
    assert listener.kinds[-1] == "RUN_COMPLETED"


async def test_nothing_is_heard_after_a_cancel(any_journal: Journal) -> None:
    play = await scene(any_journal)
    listener = await play.listen()
    listener.start()
    play.pieces.next()
    await play.spoken(1)
    await play.turn()
    await play.run.cancel()
    play.pieces.next(3)
    await listener.end()

    ended = listener.kinds.index("RUN_CANCEL_REQUESTED")
    assert listener.kinds[:ended].count("d") == 1
    assert "d" not in listener.kinds[ended:]
    assert play.bench.log.lines == []


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
    await play.spoken(2)
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
    await play.spoken(2)
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
    await play.spoken(1)
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
        told = reader.signal()
        text.add("so")
        assert told.done()
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

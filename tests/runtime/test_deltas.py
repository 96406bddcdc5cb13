"""The text of a model while it answers: in order beside durable events, whole for who keeps up, held for nobody."""

from __future__ import annotations

import asyncio

from runwright.core.kinds import EventKind as K
from runwright.ports.journal import Journal
from runwright.runtime import RunHandle, TextGap
from runwright.runtime.runs.live_text import PIECE_BYTES, SHOWN_EVERY_BYTES

from tests.runtime.speaking import Scene, scene
from tests.runtime.watching import CAP_SECONDS, quiet, reached, stood_still


async def test_pieces_come_between_the_beginning_and_the_end_of_their_attempt(any_journal: Journal) -> None:
    play = await scene(any_journal)
    listener = await play.listen()
    listener.start()
    for number in range(3):
        play.pieces.next()
        await play.delta_text(number + 1)
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
    await play.delta_text(3)
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
    await play.delta_text(3)
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
    await play.delta_text(1)
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
    await play.delta_text(2)
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
    await play.delta_text(1)
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
    await play.delta_text(1)
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
    await play.delta_text(1)
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
    await play.delta_text(1)
    await play.turn()
    play.pieces.next(2)
    await reached(play.runtime, K.RETRY_SCHEDULED)
    play.bench.manual_clock.advance(5 * 60 * 1_000_000)
    play.pieces.next(1)
    await play.delta_text(1)
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
    await play.delta_text(1)
    await play.turn()
    await play.run.cancel()
    play.pieces.next(3)
    await listener.end()

    ended = listener.kinds.index("RUN_CANCEL_REQUESTED")
    assert listener.kinds[:ended].count("d") == 1
    assert "d" not in listener.kinds[ended:]
    assert play.bench.log.lines == []

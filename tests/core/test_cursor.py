"""Cursors hold a place in one past of one journal; epochs tell pasts apart."""

from __future__ import annotations

import base64
import hashlib
import struct

import pytest
from runwright.core.cursor import CursorMaker, CursorPosition
from runwright.core.epochs import NO_MARK, Epoch, Epochs
from runwright.core.errors import AgentError, ErrorReason

KEY = bytes(range(32))
A, B, C = b"AAAAAAAA", b"BBBBBBBB", b"CCCCCCCC"


def maker(*epochs: tuple[int, bytes]) -> CursorMaker:
    return CursorMaker("journal", KEY, Epochs([Epoch(*epoch) for epoch in epochs]))


def of_version(version: int, position: int, floor: int = 0) -> str:
    """A cursor as earlier servers made it."""
    numbers = (position,) if version == 1 else (position, floor)
    short = [hashlib.blake2s(text.encode(), digest_size=8).digest() for text in ("stream", "journal")]
    body = struct.pack(">B8s8s" + "Q" * version, version, *short, *numbers)
    mac = hashlib.blake2s(body, key=KEY, digest_size=12).digest()
    return base64.urlsafe_b64encode(body + mac).rstrip(b"=").decode()


def refusal(cursors: CursorMaker, cursor: str, head: int = 100) -> ErrorReason:
    with pytest.raises(AgentError) as refused:
        cursors.read("stream", cursor, head)
    return refused.value.reason


def test_a_position_has_the_mark_of_the_epoch_that_gave_it() -> None:
    epochs = Epochs([Epoch(5, A), Epoch(9, B)])

    assert [epochs.mark(position) for position in (0, 1, 5, 6, 9, 10, 99)] == [NO_MARK, NO_MARK, NO_MARK, A, A, B, B]
    assert epochs.unmarked == 5
    assert Epochs([]).mark(7) == NO_MARK


@pytest.mark.parametrize("position", [0, 1, 5, 6, 9, 10, 99])
def test_a_cursor_is_good_as_long_as_the_journal_only_grows(position: int) -> None:
    cursor = maker((5, A), (9, B)).make("stream", position)

    later = maker((5, A), (9, B), (99, C))

    assert later.read("stream", cursor, 200) == CursorPosition(position)


@pytest.mark.parametrize(("position", "accepted"), [(7, True), (8, False), (9, False), (12, False)])
def test_a_place_above_where_an_older_copy_was_put_back_is_refused(position: int, accepted: bool) -> None:
    cursor = maker((5, A)).make("stream", position)
    put_back_at_7 = maker((5, A), (7, B))

    if accepted:
        assert put_back_at_7.read("stream", cursor, 100) == CursorPosition(position)
    else:
        assert refusal(put_back_at_7, cursor) is ErrorReason.JOURNAL_RESTORED
        assert refusal(put_back_at_7, cursor, head=7) is ErrorReason.CURSOR_AHEAD  # it has not grown past it yet


def test_the_head_that_comes_with_a_refusal_is_a_cursor_of_this_past() -> None:
    cursors = maker((5, A), (7, B))
    with pytest.raises(AgentError) as refused:
        cursors.read("stream", maker((5, A)).make("stream", 9), 12)

    assert cursors.read("stream", refused.value.metadata["head"], 12) == CursorPosition(12)


@pytest.mark.parametrize("version", [1, 2])
def test_cursors_of_earlier_servers_stay_good_for_the_positions_of_their_time(version: int) -> None:
    upgraded_at_50 = maker((50, A), (70, B))

    assert upgraded_at_50.read("stream", of_version(version, 50), 100) == CursorPosition(50)
    assert refusal(upgraded_at_50, of_version(version, 51)) is ErrorReason.JOURNAL_RESTORED
    assert refusal(upgraded_at_50, of_version(version, 101)) is ErrorReason.CURSOR_AHEAD
    assert upgraded_at_50.read_token("stream", of_version(version, 60), 100) == 60


def test_a_token_of_a_list_is_bound_to_the_past_in_which_the_list_was_read() -> None:
    token = maker((0, A)).token("stream", 3, 20)

    assert maker((0, A), (20, B)).read_token("stream", token, 25) == 3
    with pytest.raises(AgentError) as refused:
        maker((0, A), (19, B)).read_token("stream", token, 25)
    assert refused.value.reason is ErrorReason.JOURNAL_RESTORED


def test_a_floor_below_the_position_is_not_said() -> None:
    cursors = maker((0, A))

    assert cursors.make("stream", 9, 4) == cursors.make("stream", 9)
    assert cursors.read("stream", cursors.make("stream", 4, 9), 10) == CursorPosition(4, 9)

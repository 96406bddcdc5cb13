"""How long somebody can still decide on an approval: in the turn of those whose turn it is, and at all. Pure."""

from __future__ import annotations

from runwright._gen.runwright.v1 import approval_pb2
from runwright.cli import names
from runwright.cli.decisions import PENDING


def left(one: approval_pb2.Approval, now: float) -> str:
    """For a column: `59m41s (7h58m)` is left to this turn and, for those who come after it, until the end."""
    turn, end = _seconds_left(one, now)
    if one.state != PENDING:
        return "-"
    return _words(end) if turn is None or end < 0 else f"{_words(turn)} ({_words(end)})"


def left_in_words(one: approval_pb2.Approval, now: float) -> str:
    """The same as a sentence; nothing of an approval that is not pending."""
    turn, end = _seconds_left(one, now)
    if one.state != PENDING:
        return ""
    if turn is None or end < 0:
        return _words(end)
    this = "this turn is over" if turn < 0 else f"{_words(turn)} in this turn"
    return f"{this}, {_words(end)} until the end"


def _seconds_left(one: approval_pb2.Approval, now: float) -> tuple[float | None, float]:
    """Until the turn ends, None where it is the last one, and until the approval does. Below zero: that is over."""
    end = names.seconds(one.expires_at) - now
    if one.current_set + 1 >= len(one.sets):
        return None, end
    return min(names.seconds(one.sets[one.current_set].until) - now, end), end


def _words(seconds: float) -> str:
    """To the second below an hour, whole ones alone."""
    if seconds < 0:
        return "over"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"

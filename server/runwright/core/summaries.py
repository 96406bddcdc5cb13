"""A call in one line, as the server writes it for whoever approves it. The words are the package's, the values are not.

What comes of the arguments, which a model or a stranger wrote, stands in quotes: nothing in a value can pass for
a word of the package.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from runwright.core.escapes import escaped, shown_characters

MAX_SUMMARY_CHARACTERS = 500
MAX_VALUE_CHARACTERS = 120  # of one value, so that a long one does not push out the others
_CUT = "\u2026"


class SummaryPart(Struct, frozen=True):
    """A piece of a summary; `is_value` unless it stands in the package so."""

    text: str
    is_value: bool


def rendered(parts: Sequence[SummaryPart]) -> str:
    """The summary. What is left out of a long value, or at the end, is marked by an ellipsis outside of quotes."""
    pieces = [_quoted(part.text) if part.is_value else escaped(part.text) for part in parts]
    if sum(map(len, pieces)) <= MAX_SUMMARY_CHARACTERS:
        return "".join(pieces)
    line = ""
    for part, piece in zip(parts, pieces, strict=True):
        room = MAX_SUMMARY_CHARACTERS - len(_CUT) - len(line)
        if len(piece) > room:
            return line + ("" if part.is_value else _beginning(part.text, room, "")) + _CUT
        line += piece
    return line


def _quoted(value: str) -> str:
    whole, shown = (_beginning(value, room, '"\\') for room in (2 * MAX_VALUE_CHARACTERS, MAX_VALUE_CHARACTERS))
    return f'"{shown}"' + (_CUT if len(whole) > len(shown) else "")


def _beginning(text: str, room: int, marked: str) -> str:
    """As many of its characters as there is room for, each as it shows; `marked` are those behind a backslash."""
    line = ""
    # No more than fit are looked at: a text may be as long as arguments are.
    for one, shown in zip(text, shown_characters(text[:room]), strict=False):
        mark = f"\\{one}" if one in marked else shown
        if len(line) + len(mark) > room:
            break
        line += mark
    return line

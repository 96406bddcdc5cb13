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
    line = "".join(_quoted(part.text) if part.is_value else escaped(part.text) for part in parts)
    return line if len(line) <= MAX_SUMMARY_CHARACTERS else line[: MAX_SUMMARY_CHARACTERS - 1] + _CUT


def _quoted(value: str) -> str:
    room, shown = MAX_VALUE_CHARACTERS, list[str]()
    # No more than fit are looked at: a value may be as long as arguments are.
    for one, seen in zip(value, shown_characters(value[: MAX_VALUE_CHARACTERS + 1]), strict=False):
        mark = f"\\{one}" if one in '"\\' else seen
        room -= len(mark)
        if room < 0:
            return f'"{"".join(shown)}"{_CUT}'
        shown.append(mark)
    return f'"{"".join(shown)}"'

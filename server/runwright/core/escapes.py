"""Text in which every character shows: what does not show by itself is written as an escape, never left out."""

from __future__ import annotations

import re
import unicodedata

# Control, format (bidi marks, zero width), surrogate, private use, unassigned; line and paragraph separators, spaces.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
# Letters, marks and symbols that have no ink: fillers, joiners, variation selectors, the empty Braille pattern.
_WITHOUT_INK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_PLAIN = re.compile(r"[ -~]*\Z")


def escaped(text: str) -> str:
    """One line in which every character shows: `\\u202e` for what has no ink or moves the cursor, line ends too.

    A combining mark shows on a letter; one after another mark, or with nothing before it, is written as an escape.
    """
    return text if _PLAIN.match(text) else "".join(shown_characters(text))


def shown_characters(text: str) -> list[str]:
    """How each character of a text shows."""
    return [_shown(one, before) for before, one in zip(" " + text, text, strict=False)]


def _shown(one: str, before: str) -> str:
    category = unicodedata.category(one)
    is_stacked = category in ("Mn", "Me") and unicodedata.category(before)[0] != "L"
    if one == " " or not (category in _UNSEEN or is_stacked or _WITHOUT_INK.match(one)):
        return one
    number = ord(one)
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"

"""Text that somebody decides on, shown whole: what does not show by itself is written as an escape, never left out.

`sanitize` takes out what harms a terminal, which is right for reading. Whoever approves has to see that it is there.
"""

from __future__ import annotations

import json
import re
import unicodedata

# Control, format (bidi marks, zero width), surrogate, private use, unassigned; line and paragraph separators, spaces.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
# Letters, marks and symbols that have no ink: fillers, joiners, variation selectors, the empty Braille pattern.
_WITHOUT_INK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_PLAIN = re.compile(r"[ -~]*\Z")
# Tokens of JSON: a string, a bracket, a comma, a colon, or a word such as a number.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_OPENING, _CLOSING, _INDENT = ("{", "["), ("}", "]"), "  "
_DEEPEST = 40  # levels of indentation; deeper members stand below one another


def escaped(text: str) -> str:
    """One line in which every character shows: `\\u202e` for what has no ink or moves the cursor, line ends too.

    A combining mark shows on a letter; one after another mark, or with nothing before it, is written as an escape.
    """
    if _PLAIN.match(text):
        return text
    return "".join(_shown(one, before) for before, one in zip(" " + text, text, strict=False))


def escaped_block(text: str) -> list[str]:
    """Lines, each as `escaped` writes it."""
    return [escaped(line) for line in text.split("\n")]


def json_lines(text: str) -> list[str]:
    """JSON with one member a line, as `escaped` writes it; no token is changed. What is no JSON keeps its lines."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return escaped_block(text)
    lines, depth, before = [""], 0, ""
    for token in _TOKEN.findall(text):
        if token in _CLOSING:
            depth -= 1
            if before not in _OPENING:
                lines.append(_INDENT * min(depth, _DEEPEST))
        elif before in _OPENING or before == ",":
            lines.append(_INDENT * min(depth, _DEEPEST))
        lines[-1] += ": " if token == ":" else token
        depth += token in _OPENING
        before = token
    return [escaped(line) for line in lines]


def _shown(one: str, before: str) -> str:
    category = unicodedata.category(one)
    is_stacked = category in ("Mn", "Me") and unicodedata.category(before)[0] != "L"
    if one == " " or not (category in _UNSEEN or is_stacked or _WITHOUT_INK.match(one)):
        return one
    number = ord(one)
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"

"""Text that somebody decides on, shown whole: what does not show by itself is written as an escape, never left out.

`sanitize` takes out what harms a terminal, which is right for reading. Whoever approves has to see that it is there.
"""

from __future__ import annotations

import json
import re

from runwright.core.escapes import escaped as escaped  # noqa: PLC0414  # the words of one line

# Tokens of JSON: a string, a bracket, a comma, a colon, or a word such as a number.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_OPENING, _CLOSING, _INDENT = ("{", "["), ("}", "]"), "  "
_DEEPEST = 40  # levels of indentation; deeper members stand below one another


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

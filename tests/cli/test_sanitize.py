"""Foreign text cannot do anything to a terminal."""

from __future__ import annotations

import pytest
from runwright.cli import sanitize


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain text", "plain text"),
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("\x1b]0;title\x07rest", "]0;titlerest"),
        ("c1 \x9b31m and del \x7f", "c1 31m and del"),
        ("left\u202eright\u2066x\u2069\u200f", "leftrightx"),
        ("two\nlines\tand\r\na return", "two lines and a return"),
        ("line\u2028separator", "line separator"),
        ("lone \ud800 surrogate", "lone  surrogate"),
        ("ünïcode and 漢字 stay", "ünïcode and 漢字 stay"),
    ],
)
def test_a_line_has_no_control_characters(text: str, cleaned: str) -> None:
    assert sanitize.line(text) == cleaned


def test_a_block_keeps_its_lines_and_nothing_else() -> None:
    assert sanitize.block("one\n\ttwo\x1b[2J\r\n\u202ethree\n") == "one\n    two[2J\nthree\n"


@pytest.mark.parametrize(("text", "width"), [("short", 80), ("x" * 200, 80), ("漢" * 100, 80), ("abcdef", 4)])
def test_a_fitted_line_is_never_wider_than_asked(text: str, width: int) -> None:
    fitted = sanitize.fit(text, width)

    assert sum(2 if letter == "漢" else 1 for letter in fitted) <= width
    assert fitted == text or fitted.endswith("...")


def test_no_line_looks_at_more_than_an_excerpt() -> None:
    assert len(sanitize.line("x" * 1_000_000)) == 2_000

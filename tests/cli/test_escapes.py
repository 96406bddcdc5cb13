"""What somebody decides on is seen whole: nothing of it moves the cursor, reorders the line, or has no ink."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from runwright.cli.escapes import escaped, escaped_block, json_lines


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain, with spaces", "plain, with spaces"),
        ("漢字 Ünïcödé e\u0301 \U0001f600", "漢字 Ünïcödé e\u0301 \U0001f600"),
        ("\x1b[2J\x07\x9b31m\x7f", "\\u001b[2J\\u0007\\u009b31m\\u007f"),
        ("a\tb\nc\rd", "a\\u0009b\\u000ac\\u000dd"),
        ("\u202egnp.exe\u2066\u200f\u061c", "\\u202egnp.exe\\u2066\\u200f\\u061c"),
        ("pay\u200bpal\ufeff\u00ad\u2060", "pay\\u200bpal\\ufeff\\u00ad\\u2060"),
        ("a\u00a0b\u2003c\u3000d", "a\\u00a0b\\u2003c\\u3000d"),
        ("\u3164\u115f\u2800\ufe0f\U000e0101\U000e0041", "\\u3164\\u115f\\u2800\\ufe0f\\U000e0101\\U000e0041"),
        ("o\u0301\u0302\u0303", "o\u0301\\u0302\\u0303"),
        ("\ud800", "\\ud800"),
    ],
)
def test_every_character_shows(text: str, seen: str) -> None:
    assert escaped(text) == seen


def test_no_character_of_unicode_that_is_not_seen_is_left() -> None:
    planes = (range(0x20000), range(0xE0000, 0xE1000), range(0x10FF00, sys.maxunicode + 1))
    everything = "".join(f"x{chr(number)}" for plane in planes for number in plane)

    left = set(escaped(everything))

    assert {unicodedata.category(one) for one in left} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} == set()
    assert [one for one in left if unicodedata.category(one) == "Zs"] == [" "]


@pytest.mark.parametrize(
    "value",
    [{}, [], "text", 1.5, {"a": [], "b": {}, "c": [1, {"d": None}], "e": '{[,:"\\'}, [[["deep"]]], {"": {"": ""}}],
)
def test_json_is_laid_out_and_no_token_of_it_changes(value: object) -> None:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)

    assert json_lines(text) == json.dumps(value, indent=2, ensure_ascii=False).split("\n")


def test_numbers_and_strings_stay_as_they_are_written() -> None:
    assert json_lines('{"n":1E400,"m":-0.0,"s":"\\u0041\\/"}') == [
        "{",
        '  "n": 1E400,',
        '  "m": -0.0,',
        '  "s": "\\u0041\\/"',
        "}",
    ]


def test_what_is_no_json_keeps_its_lines() -> None:
    assert json_lines("{no\njson\x1b") == escaped_block("{no\njson\x1b") == ["{no", "json\\u001b"]


def test_the_deepest_and_the_longest_arguments_are_laid_out_in_bounds() -> None:
    deep = json_lines("[" * 900 + "]" * 900)

    assert len(deep) == 1799
    assert max(map(len, deep)) <= 82
    assert len(json_lines("[" * 30_000 + "]" * 30_000)) >= 1
    assert len(json_lines("[" + ",".join(["1"] * 30_000) + "]")) == 30_002

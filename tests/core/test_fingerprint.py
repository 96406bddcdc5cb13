"""Canonical JSON: the short way and the library write the same bytes."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
import rfc8785
from runwright.core.fingerprint import canonical_json, has_canonical_form

RANDOM = Random(8785)
CHARACTERS = [*map(chr, range(0x80)), "ä", "\u2028", "\u2029", "€", "\ufeff", "😀", "\uffff"]


def text(*, ascii_only: bool = False) -> str:
    """Some characters, awkward ones among them."""
    return "".join(RANDOM.choices(CHARACTERS[:0x80] if ascii_only else CHARACTERS, k=RANDOM.randint(0, 8)))


def value(depth: int = 4) -> Any:
    """Any JSON value of texts, whole numbers, true, false and null; sometimes with other keys or fractions."""
    match RANDOM.randint(0, 9 if depth else 5):
        case 0 | 1:
            return text()
        case 2:
            return RANDOM.choice([0, -1, 2**53 - 1, -(2**53) + 1, RANDOM.randint(-1000, 1000)])
        case 3:
            return RANDOM.choice([True, False, None])
        case 4:
            return RANDOM.choice([1.0, 0.5, 1e21, -0.0, 5e-324])
        case 5 | 6:
            return [value(depth - 1) for _ in range(RANDOM.randint(0, 4))] if depth else []
        case _:
            return {text(ascii_only=RANDOM.random() < 0.9): value(depth - 1) for _ in range(RANDOM.randint(0, 5))}


def test_both_ways_write_the_same_bytes() -> None:
    for _ in range(3000):
        made = value()
        assert canonical_json(made) == rfc8785.dumps(made)


@pytest.mark.parametrize("made", [2**53, [-(2**53)], {"a": float("nan")}, [float("inf")], "\ud800", {"\ud800": 1}])
def test_what_has_no_canonical_form_is_refused(made: Any) -> None:
    with pytest.raises(ValueError):
        canonical_json(made)


def test_no_depth_of_a_value_ends_in_anything_but_an_error_that_is_caught() -> None:
    made: Any = []
    for _ in range(100_000):
        made = [made]

    with pytest.raises((ValueError, RecursionError)):
        canonical_json(made)


def reads_back(made: Any) -> bool:
    """The long way: its canonical form, read and made again."""
    try:
        return canonical_json(json.loads(canonical_json(made))) == canonical_json(made)
    except ValueError:
        return False


NUMBERS = [
    0.1,
    1e15,
    2.0**53,
    -(2.0**53),
    2.0**53 - 1,
    1e16,
    1e20,
    9.99e20,
    1e21,
    1e22,
    -1e300,
    5e-324,
    2**53,
    2**53 - 1,
]


@pytest.mark.parametrize("made", [*NUMBERS, float("nan"), float("-inf"), "\ud800", "ä\udfff", "ä", True, None])
def test_what_has_a_canonical_form_is_known_without_making_it(made: Any) -> None:
    for around in (made, [made], {"a": [{"b": made}]}, *([{made: 1}] if isinstance(made, str) else [])):
        assert has_canonical_form(around) == reads_back(around)

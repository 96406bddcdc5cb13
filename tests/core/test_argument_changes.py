"""What differs between the arguments of two calls: exactly that, bounded, whoever wrote them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from runwright.core import argument_changes as changes_module
from runwright.core.argument_changes import (
    MAX_CHANGES,
    MAX_TEXT_BYTES,
    ArgumentChange,
    ArgumentChangeKind,
    argument_changes,
)
from runwright.core.fingerprint import canonical_json

ADDED, REMOVED, CHANGED = ArgumentChangeKind.ADDED, ArgumentChangeKind.REMOVED, ArgumentChangeKind.CHANGED


def differences(before: Any, after: Any, *highlight: str) -> tuple[ArgumentChange, ...]:
    """What differs between two values, which are all of it."""
    found = argument_changes(canonical_json(before), canonical_json(after), highlight)
    assert found is not None
    assert not found.has_more
    return found.changes


def told(before: Any, after: Any, *highlight: str) -> list[tuple[str, ArgumentChangeKind, str, str]]:
    """The same, as whoever reads has it."""
    return [(each.pointer, each.kind, each.before, each.after) for each in differences(before, after, *highlight)]


def test_each_value_that_differs_is_at_its_pointer_in_the_order_of_names() -> None:
    before = {"z": 1, "deep": {"a": [1, {"b": "x"}]}, "gone": None, "same": [1, 2]}
    after = {"z": 2, "deep": {"a": [1, {"b": "y", "c": {}}]}, "new": {"k": [True]}, "same": [1, 2]}

    assert told(before, after) == [
        ("/deep/a/1/b", CHANGED, '"x"', '"y"'),
        ("/deep/a/1/c", ADDED, "", "{}"),
        ("/gone", REMOVED, "null", ""),
        ("/new", ADDED, "", '{"k":[true]}'),
        ("/z", CHANGED, "1", "2"),
    ]
    assert told(after, after) == []


@pytest.mark.parametrize(
    ("before", "after"), [(1, True), (0, False), (1, "1"), (None, False), ({}, []), ("", None), (1.5, 1.25), (0, "")]
)
def test_values_of_other_types_are_never_the_same(before: Any, after: Any) -> None:
    assert told({"a": before}, {"a": after}) == [
        ("/a", CHANGED, canonical_json(before).decode(), canonical_json(after).decode())
    ]


def test_numbers_are_compared_digit_by_digit_however_many_there_are() -> None:
    one, other = b'{"n":' + b"9" * 5000 + b"}", b'{"n":' + b"9" * 4999 + b"8}"

    found = argument_changes(one, other, ())
    tiny = argument_changes(b'{"n":1e999}', b'{"n":2e999}', ())

    assert found is not None and tiny is not None
    assert [(each.pointer, each.before_cut, each.after_cut) for each in found.changes] == [("/n", True, True)]
    assert [(each.before, each.after) for each in tiny.changes] == [("1e999", "2e999")]


def test_pointers_are_those_of_rfc_6901_also_for_names_with_slashes_and_tildes() -> None:
    before = {"a/b": 1, "~1": 1, "": {"": 1}, "to": 1, "to\u202e": 1}

    assert [each[0] for each in told(before, dict.fromkeys(before, 2))] == ["/", "/a~1b", "/to", "/to\u202e", "/~01"]
    assert [each[0] for each in told({"": {"": 1}}, {"": {"": 2}})] == ["//"]
    assert told({"a/b": {"~": 1}}, {"a/b": {"~": 2}}, "/a~1b/~0")[0][0] == "/a~1b/~0"


def test_of_arrays_what_came_or_went_is_told_and_not_all_that_stands_behind_it() -> None:
    assert told({"l": ["ann", "bob"]}, {"l": ["eve", "ann", "bob"]}) == [("/l/0", ADDED, "", '"eve"')]
    assert told({"l": ["ann", "eve", "bob"]}, {"l": ["ann", "bob"]}) == [("/l/1", REMOVED, '"eve"', "")]
    assert told({"l": [1, 2, 3]}, {"l": [1, 5, 6, 3]}) == [("/l/1", CHANGED, "2", "5"), ("/l/2", ADDED, "", "6")]
    assert told({"l": []}, {"l": [1, 1]}) == [("/l/0", ADDED, "", "1"), ("/l/1", ADDED, "", "1")]


def test_what_decides_comes_first_and_nothing_of_it_twice() -> None:
    before, after = {"a": 1, "to": {"x": 1, "y": 1}, "z": 1}, {"a": 2, "to": {"x": 2, "y": 2}, "z": 2}

    found = differences(before, after, "/z", "/to", "/to/x", "/nowhere")

    assert [(each.pointer, each.highlighted) for each in found] == [
        ("/z", True),
        ("/to/x", True),
        ("/to/y", True),
        ("/a", False),
    ]


def test_a_place_that_decides_hides_nothing_that_came_or_went_there() -> None:
    found = told({"l": ["ann"]}, {"l": ["eve", "ann"]}, "/l/0")

    assert found == [("/l/0", CHANGED, '"ann"', '"eve"'), ("/l/0", ADDED, "", '"eve"')]


def test_what_decides_is_shown_however_much_else_differs() -> None:
    noise = {f"a{number}": number for number in range(500)}
    after = {**dict.fromkeys(noise, "x"), "to": "eve"}

    found = argument_changes(canonical_json({**noise, "to": "bob"}), canonical_json(after), ["/to"])

    assert found is not None
    assert (found.changes[0].pointer, len(found.changes), found.has_more) == ("/to", MAX_CHANGES, True)


def test_exactly_as_many_as_are_listed_are_not_said_to_be_more() -> None:
    before, after = ({f"{number:03}": value for number in range(MAX_CHANGES)} for value in (1, 2))

    assert len(differences(before, after)) == MAX_CHANGES


def test_values_and_pointers_are_cut_and_it_says_so_never_inside_a_character() -> None:
    name = "é" * 400
    [found] = differences({name: {"k": "ü" * 400}}, {name: {"k": 1}})

    assert (found.pointer_cut, found.before_cut, found.after_cut) == (True, True, False)
    assert len(found.pointer.encode()) == MAX_TEXT_BYTES - 1
    assert found.before == '"' + "ü" * ((MAX_TEXT_BYTES - 1) // 2)


def test_of_long_texts_the_place_is_shown_where_they_begin_to_differ() -> None:
    [found] = differences({"text": "x" * 9000 + "bob"}, {"text": "x" * 9000 + "eve"})

    assert (found.before, found.after) == (f'"{"x" * 40}bob"', f'"{"x" * 40}eve"')
    assert (found.skipped, found.before_cut, found.after_cut) == (8960, False, False)
    [short] = differences({"text": "x" * 300 + "bob"}, {"text": "x" * 300 + "eve"})
    assert short.skipped == 0


def test_what_is_nested_too_deeply_is_one_value_or_not_compared_at_all() -> None:
    def nested(depth: int, leaf: str) -> bytes:
        return b'{"a":' * depth + leaf.encode() + b"}" * depth

    found = argument_changes(nested(100, "1"), nested(100, "2"), ())

    assert found is not None
    assert [(each.pointer, each.kind) for each in found.changes] == [("/a" * 64, CHANGED)]
    assert argument_changes(nested(20_000, "1"), nested(20_000, "2"), ()) is None


def test_what_is_larger_than_any_call_or_no_json_is_not_compared() -> None:
    large = json.dumps({"a": "x" * changes_module.MAX_ARGUMENTS_BYTES}).encode()

    assert argument_changes(large, b"{}", ()) is None
    assert argument_changes(b"{}", large, ()) is None
    assert argument_changes(b"{", b"{}", ()) is None


def test_wide_arguments_have_a_bounded_answer() -> None:
    before = {f"k{number}": number for number in range(15_000)}
    after = {f"k{number}": number + 1 for number in range(15_000)}

    found = argument_changes(canonical_json(before), canonical_json(after), ["/k9", "/k10"])

    assert found is not None
    assert (len(found.changes), found.has_more) == (MAX_CHANGES, True)
    assert [each.pointer for each in found.changes[:3]] == ["/k9", "/k10", "/k0"]

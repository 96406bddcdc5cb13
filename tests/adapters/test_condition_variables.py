"""What conditions can see of variables: never less than they speak of."""

from __future__ import annotations

from typing import Any

import pytest
from runwright.adapters.condition_variables import visible
from runwright.adapters.condition_worker import compiled, evaluated, seen_of

VARIABLES: dict[str, Any] = {
    "tool": {"name": "look", "effect": "read", "risk": ""},
    "args": {"path": "/srv/a", "tool": {"name": "other"}, "many": [1, 2, 3], "n": 3},
    "run": {"labels": {"team": "blue"}, "session_id": "s", "agent_id": "a"},
    "usage": {"rounds": 1, "tool_calls": 2},
}


def seen(*conditions: str) -> dict[str, Any]:
    """What is left of the variables."""
    return visible(VARIABLES, seen_of(conditions))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ('tool.name == "look"', {"tool": {"name"}}),
        ('tool . name == "look" && tool.risk == ""', {"tool": {"name", "risk"}}),
        ("has(args.missing)", {"args": set()}),
        ('args.tool.name == "other"', {"args": {"tool"}}),
        ('"usage.rounds" == tool.name', {"tool": {"name"}}),
        ("size(args.path) > usage.rounds", {"args": {"path"}, "usage": {"rounds"}}),
        ("args.many.all(n, n < args.n)", {"args": {"many", "n"}}),
        ("size(usage) == 2", {"usage": {"rounds", "tool_calls"}}),
        ("usage.size() == 2", {"usage": {"rounds", "tool_calls"}}),
        ('"path" in args', {"args": set(VARIABLES["args"])}),
        ('args["path"] == "/srv/a" && args.n == 3', {"args": set(VARIABLES["args"])}),
        ("args.exists(key, key == 'n')", {"args": set(VARIABLES["args"])}),
        ("[1].all(tool, tool > 0)", {"tool": set(VARIABLES["tool"])}),
        ("{'a': usage}.a.rounds == 1", {"usage": {"rounds", "tool_calls"}}),
        ("dyn(usage).rounds == 1", {"usage": {"rounds", "tool_calls"}}),
        ('run.labels.team == "blue"', {"run": {"labels"}}),
    ],
)
def test_only_what_is_named_is_left_and_where_that_is_in_doubt_everything(
    condition: str, expected: dict[str, set[str]]
) -> None:
    left = seen(condition)

    assert {name: set(fields) for name, fields in left.items()} == expected
    whole = compiled(condition).execute(VARIABLES) if "missing" not in condition else False
    assert evaluated([condition], VARIABLES) == ("H" if whole else "D"), "it says the same of less"


def test_of_several_conditions_all_are_heard() -> None:
    assert seen('tool.name == "look"', "args.n == 3", "size(args) == 4") == {
        "tool": {"name": "look"},
        "args": VARIABLES["args"],
    }
    assert evaluated(['tool.name == "look"', "args.n == 3", "size(args) == 4"], VARIABLES) == "HHH"


def test_a_variable_that_the_text_does_not_show_is_there_as_a_whole() -> None:
    assert visible(VARIABLES, {"usage": None, "nothing": None}) == {"usage": VARIABLES["usage"]}

"""Conditions: what they may be, what comes of them, and that none of them keeps the event loop."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from runwright.adapters import cel_conditions, condition_worker
from runwright.adapters.cel_conditions import CelConditions, condition_problem
from runwright.adapters.condition_cost import cost_of
from runwright.adapters.schema_process import Checked, CheckLimits, Verdict
from runwright.core.policy_chain import Outcome
from runwright.ports.conditions import ConditionQuestion

VARIABLES = ("tool", "args", "call", "run", "principal", "usage")
ARGUMENTS = {"path": "/srv/out/a", "n": 2**53 - 1, "many": list(range(100)), "none": None, "f": 1.5}
MANY = "args.many.exists(x, args.many.exists(y, x + y < 0))"
# Some seconds each where nothing stops them.
HOSTILE = [
    f'args.path.matches("{"w" * 10}") || ' + MANY.replace("x + y", "[0,1,2,3,4,5,6,7,8,9].map(z, x + y + z)[0]"),
    'args.path.matches("(\\\\w{50}){40}")',
    "args.many.map(x, args.many).map(y, y.map(z, args.many)).size() < 0",
    "args.path + args.path + args.path + args.path == args.many.map(x, args.many.map(y, args.path + args.path))[0][0]",
]


def question(*conditions: str, **arguments: Any) -> ConditionQuestion:
    """Conditions over arguments."""
    variables = {"args": {**ARGUMENTS, **arguments}, "tool": {"name": "write"}}
    return ConditionQuestion(conditions, variables, len(json.dumps(variables)))


@pytest.fixture
async def conditions() -> AsyncIterator[CelConditions]:
    """An evaluator with little time."""
    made = CelConditions(CheckLimits(100))
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [
        ('tool.name == "write"', Outcome.HOLDS),
        ('tool.name == "look"', Outcome.DOES_NOT_HOLD),
        ('args.path.startsWith("/srv/out/")', Outcome.HOLDS),
        ('args.path.matches("^/srv/[a-z]+/")', Outcome.HOLDS),
        ('args.path.matches("/etc")', Outcome.DOES_NOT_HOLD),
        ("args.n == 9007199254740991", Outcome.HOLDS),
        ("args.many.all(x, x < 100)", Outcome.HOLDS),
        (MANY, Outcome.DOES_NOT_HOLD),
        ("has(args.other)", Outcome.DOES_NOT_HOLD),
        ("args.other == 1", Outcome.FAILED),
        ("args.other == 1 || true", Outcome.HOLDS),
        ("args.path", Outcome.FAILED),
        ("args.n", Outcome.FAILED),
        ("1 / 0 == 1", Outcome.FAILED),
        ('args.path + 1 == "x"', Outcome.FAILED),
        ("args.many[100] == 1", Outcome.FAILED),
        ("no such thing", Outcome.FAILED),
    ],
)
async def test_what_is_not_true_or_false_has_failed(
    conditions: CelConditions, condition: str, outcome: Outcome
) -> None:
    assert await conditions.evaluate([question(condition)]) == [(outcome,)]


async def test_outcomes_are_those_of_their_questions_in_this_process_and_beside_it(
    conditions: CelConditions, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [question('args.path == "a"', "args.k == 1", path="a", k=1), question('args.path == "a"', "args.k == 1")]
    here = await conditions.evaluate(asked)

    monkeypatch.setattr(cel_conditions, "INLINE_UNITS", -1)
    beside = await conditions.evaluate(asked)

    assert here == beside == [(Outcome.HOLDS, Outcome.HOLDS), (Outcome.DOES_NOT_HOLD, Outcome.FAILED)]


@pytest.mark.parametrize("condition", HOSTILE, ids=range(len(HOSTILE)))
async def test_a_condition_without_an_end_is_stopped_and_the_next_one_is_answered(
    conditions: CelConditions, condition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inline: list[Any] = []
    monkeypatch.setattr(cel_conditions, "evaluated_of_seen", lambda *asked: inline.append(asked) or "F")

    stopped = await conditions.evaluate([question(condition, many=list(range(400)))])

    assert stopped == [(Outcome.FAILED,)]
    assert inline == [], "it is never begun where it cannot be stopped"
    monkeypatch.undo()
    assert await conditions.evaluate([question("true")]) == [(Outcome.HOLDS,)]


async def test_large_arguments_are_not_made_ready_on_the_loop(
    conditions: CelConditions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cel_conditions, "evaluated_of_seen", lambda *_: pytest.fail("evaluated on the loop"))

    found = await conditions.evaluate([question("args.text.size() > 200000", text="x" * 250_000)])

    assert found == [(Outcome.HOLDS,)]


@pytest.fixture
def not_loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The library as it is after a start: not there. The threads that load it, by name."""
    loading: list[str] = []
    library = condition_worker._library()

    @functools.cache
    def load() -> object:
        loading.append(threading.current_thread().name)
        return library

    monkeypatch.setattr(condition_worker, "_library", load)
    monkeypatch.setattr(condition_worker, "_PROGRAMS", {})
    condition_worker.seen_of.cache_clear()
    return loading


async def test_the_library_is_loaded_beside_the_loop_once_whoever_asks_first(
    conditions: CelConditions, not_loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditions._process, "check", lambda *_: pytest.fail("what is cheap needs no process"))

    assert conditions.evaluate_at_once([question("true")]) is None, "the loop does not load it"
    found = await asyncio.gather(*(conditions.evaluate([question("true", "false")]) for _ in range(200)))

    assert found == [[(Outcome.HOLDS, Outcome.DOES_NOT_HOLD)]] * 200
    assert len(not_loaded) == 1 and not_loaded[0].startswith("runwright-conditions")
    assert conditions.evaluate_at_once([question("true")]) == [(Outcome.HOLDS,)]


async def test_without_the_library_conditions_fail_and_nothing_is_raised(
    conditions: CelConditions, monkeypatch: pytest.MonkeyPatch
) -> None:
    @functools.cache
    def missing() -> object:
        raise ImportError

    monkeypatch.setattr(condition_worker, "_library", missing)
    monkeypatch.setattr(conditions._process, "check", lambda *_: Checked(Verdict.FAILED))

    assert await conditions.evaluate([question("true")]) == [(Outcome.FAILED,)]


async def test_values_that_are_equal_here_and_not_in_the_language_are_told_apart(conditions: CelConditions) -> None:
    """What was made ready for an earlier input is used again only where that cannot be seen."""
    condition = 'args.k == true && tool.name == "write"'
    asked = [question(condition, k=k) for k in (True, 1, 1.0, True, "x", True)]
    other_tool = ConditionQuestion((condition,), {"args": {"k": True}, "tool": {"name": "look"}}, 9)

    found = await conditions.evaluate([*asked, other_tool, asked[0]])

    expected = [evaluated_apart(each) for each in (*asked, other_tool, asked[0])]
    assert found == expected
    assert found[0] == found[3] == found[5] == found[7] == (Outcome.HOLDS,) != found[6]


def evaluated_apart(asked: ConditionQuestion) -> tuple[Outcome, ...]:
    """What comes of conditions where nothing was made ready before."""
    condition_worker._CONTEXTS.of.clear()
    found = CelConditions().evaluate_at_once([asked])
    assert found is not None
    return found[0]


async def test_a_value_that_cannot_be_made_ready_fails_its_own_question_alone(conditions: CelConditions) -> None:
    found = await conditions.evaluate([question("args.k == 1", k=k) for k in (1, "\ud800", 1)])

    assert found == [(Outcome.HOLDS,), (Outcome.FAILED,), (Outcome.HOLDS,)]


async def test_of_many_costly_questions_at_once_those_beyond_the_bound_are_denied_at_once(
    conditions: CelConditions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cel_conditions, "MAX_WAITING", 1)
    monkeypatch.setattr(cel_conditions, "INLINE_UNITS", -1)

    first, second = await asyncio.gather(*(conditions.evaluate([question("true")]) for _ in range(2)))

    assert (first, second) == ([(Outcome.HOLDS,)], [(Outcome.FAILED,)])


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ('args.path == "a"', None),
        ("args.many.all(x, args.many.all(y, x < y))", None),
        ('args.text == ".all(x, .all(y, .all(z, // "', None),
        ("args.many.all(x, args.many.all(y, args.many.all(z, true)))", "nested deeper than 2"),
        ("args.many . all (x, args.many.map(y, args.many.filter(z, true)).size() > 0)", "nested deeper than 2"),
        ("true || " * 200 + "true", "longer than 1024 bytes"),
        ("x" * 65_536, "longer than 1024 bytes"),
        ("(" * 500 + "true" + ")" * 500, "no CEL expression"),
        ("[" * 500 + "]" * 500, "no CEL expression"),
        ("tool.name ==", "no CEL expression"),
        ("toll.name == 'a'", "there is no variable toll"),
        ("output.text == 'a'", "there is no variable output"),
        ("args.path.lowerAscii() == 'a'", "there is no function lowerAscii"),
        ("now() > 1", "there is no function now"),
        ("true // really", "comment"),
    ],
)
def test_what_a_condition_may_not_be_is_said_when_it_is_examined(condition: str, problem: str | None) -> None:
    found = condition_problem(condition, VARIABLES)

    assert (found is None) if problem is None else (found is not None and problem in found)


@pytest.mark.parametrize(
    ("condition", "nested"),
    [
        ("a.all(x, true) && a.all(x, true)", 1),
        ("a.map(x, x).all(y, true)", 1),
        ("a.all(x, x.all(y, true))", 2),
        ("all(x, all(y, true))", 0),
        ("\"a.all(b, a.all(c, true))\" == '.map('", 0),
        ('r"\\" == a.all(x, a.all(y, true)) + "', 2),
        ('"""a "quoted" .all( """ == b.all(x, true)', 1),
    ],
)
def test_macros_are_counted_outside_of_texts(condition: str, nested: int) -> None:
    assert cost_of(condition).nested_macros == nested

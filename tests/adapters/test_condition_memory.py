"""What conditions said of facts that come again is looked up; of anything else they are evaluated."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping

import pytest
from pydantic import JsonValue
from runwright.adapters import cel_conditions, condition_memory
from runwright.adapters.cel_conditions import CelConditions
from runwright.adapters.condition_worker import compiled
from runwright.adapters.schema_process import Checked, CheckLimits, Verdict
from runwright.core.policy_chain import Outcome
from runwright.ports.conditions import ConditionQuestion

HOLDS, NOT, FAILED = Outcome.HOLDS, Outcome.DOES_NOT_HOLD, Outcome.FAILED
IS_WRITE, IS_ANN, IS_SHORT = 'tool.name == "write"', 'principal.name == "ann"', "size(args.text) < 4"
IS_LATE = "call.round > 2 && size(args.text) > 0"


def asked(*conditions: str, text: str = "abc", **facts: JsonValue) -> ConditionQuestion:
    """Conditions over facts of a call with a text."""
    variables: Mapping[str, JsonValue] = {
        **{"tool": {"name": "write"}, "principal": {"name": "ann"}, "call": {"round": 1}, "args": {"text": text}},
        **facts,
    }
    return ConditionQuestion(conditions, variables, len(json.dumps(variables)))


@pytest.fixture
async def conditions() -> AsyncIterator[CelConditions]:
    """An evaluator that has its library."""
    made = CelConditions(CheckLimits(100))
    await made.evaluate([asked("true")])
    yield made
    await made.close()


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What is evaluated, by conditions."""
    found: list[tuple[str, ...]] = []
    evaluated = cel_conditions.evaluated_of_seen

    def evaluate(conditions: tuple[str, ...], seen: dict[str, JsonValue]) -> str:
        found.append(conditions)
        return evaluated(conditions, seen)

    monkeypatch.setattr(cel_conditions, "evaluated_of_seen", evaluate)
    return found


async def test_outcomes_stand_in_the_order_of_the_conditions_however_they_were_found(
    conditions: CelConditions,
) -> None:
    wanted = (NOT, HOLDS, FAILED, HOLDS, NOT)
    of = asked(IS_LATE, IS_WRITE, "args.text", IS_ANN, 'size(args.text) > 9 || tool.name == "look"')
    assert await conditions.evaluate([of, of]) == [wanted, wanted]
    assert conditions.evaluate_at_once([of]) == [wanted]


async def test_conditions_over_facts_that_come_again_are_evaluated_once(
    conditions: CelConditions, evaluations: list[tuple[str, ...]]
) -> None:
    for text in ("a", "abcdef", "ab"):
        await conditions.evaluate([asked(IS_WRITE, IS_SHORT, IS_ANN, text=text)])
    assert evaluations == [(IS_WRITE, IS_ANN), (IS_SHORT,), (IS_SHORT,), (IS_SHORT,)]


@pytest.mark.parametrize(
    ("condition", "facts", "others", "outcomes"),
    [
        (IS_ANN, {"principal": {"name": "ann"}}, {"principal": {"name": "bob"}}, [HOLDS, NOT]),
        ("call.round > 2", {"call": {"round": 3}}, {"call": {"round": 2}}, [HOLDS, NOT]),
        ("call.x == 1", {"call": {"x": 1}}, {"call": {"x": True}}, [HOLDS, NOT]),
        ("type(call.x) == double", {"call": {"x": 1.0}}, {"call": {"x": 1}}, [HOLDS, NOT]),
        ("has(run.x)", {"run": {"x": None}}, {"run": {}}, [HOLDS, NOT]),
        ('run.x == "a"', {"run": {"x": "a"}}, {"run": {}}, [HOLDS, FAILED]),
    ],
)
async def test_what_was_said_of_other_facts_does_not_count(
    conditions: CelConditions,
    condition: str,
    facts: dict[str, JsonValue],
    others: dict[str, JsonValue],
    outcomes: list[Outcome],
) -> None:
    said = [await conditions.evaluate([asked(condition, **each)]) for each in (facts, others, facts, others)]
    assert said == [[(outcome,)] for outcome in outcomes * 2]


async def test_equal_facts_under_other_conditions_are_not_confused(conditions: CelConditions) -> None:
    for condition, outcome in ((IS_WRITE, HOLDS), ('tool.name == "look"', NOT), (IS_WRITE, HOLDS)):
        assert await conditions.evaluate([asked(condition)]) == [(outcome,)]


async def test_what_was_too_slow_is_tried_again(conditions: CelConditions, monkeypatch: pytest.MonkeyPatch) -> None:
    dear = 'tool.name.matches("(w{9}){9}x")'
    answers = [Checked(Verdict.TOO_COSTLY), Checked(Verdict.VALID, answer="D")]
    monkeypatch.setattr(conditions._process, "check", lambda _, __: answers.pop(0))
    assert await conditions.evaluate([asked(dear)]) == [(FAILED,)]
    assert await conditions.evaluate([asked(dear)]) == [(NOT,)]


async def test_facts_that_are_too_large_or_too_many_are_not_held(
    conditions: CelConditions, evaluations: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    large = {"principal": {"name": "a" * condition_memory.MAX_FACTS_BYTES}}
    for _ in range(2):
        assert await conditions.evaluate([asked(IS_ANN, **large)]) == [(NOT,)]
    assert len(evaluations) == 2
    monkeypatch.setattr(condition_memory, "MAX_REMEMBERED", 8)
    for number in range(20):
        await conditions.evaluate([asked(IS_ANN, principal={"name": f"p{number}"})])
        assert len(conditions._memory._letters) <= 8


async def test_conditions_that_would_take_long_to_compile_are_not_compiled_on_the_loop(
    conditions: CelConditions,
) -> None:
    dear = " && ".join(f'tool.name != "m{n}"' for n in range(40))
    assert conditions.evaluate_at_once([asked(dear)]) is None
    assert await conditions.evaluate([asked(dear)]) == [(HOLDS,)]
    compiled(dear)
    assert conditions.evaluate_at_once([asked(dear)]) == [(HOLDS,)]

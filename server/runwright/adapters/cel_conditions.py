"""Conditions of rules in CEL, by common-expression-language, with bounds in front.

What is known to be cheap is evaluated at once; everything else in a process that can be stopped.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache

from msgspec import Struct
from pydantic import JsonValue

from runwright.adapters.cel_summaries import CelSummaries
from runwright.adapters.condition_cost import MAX_NESTED_MACROS, ConditionCost, cost_of, count_values, fields_of
from runwright.adapters.condition_memory import ConditionMemory, Facts, Parts, parts_of
from runwright.adapters.condition_variables import visible
from runwright.adapters.condition_worker import (
    DOES_NOT_HOLD,
    EVALUATE,
    FAILED,
    HOLDS,
    can_load,
    compiled,
    evaluated_of_seen,
    is_loaded,
    load,
    not_compiled,
    seen_of,
)
from runwright.adapters.schema_process import Checked, CheckLimits, SchemaProcess, Verdict
from runwright.adapters.summary_worker import part_without_text
from runwright.core.near import nearest
from runwright.core.policy_chain import Outcome
from runwright.core.policy_rules import MAX_CONDITION_BYTES
from runwright.ports.conditions import FIELDS, SUMMARY_VARIABLES, ConditionQuestion, SummaryQuestion

DEFAULT_MILLISECONDS = 250  # of processor time, for all conditions of one input
INLINE_UNITS = 10_000  # about microseconds
INLINE_BYTES = 16 * 1024  # of variables: making them ready takes time, too
MAX_WAITING = 64
START_SECONDS = 20.0  # for a busy machine; it takes one
_COMPILE_UNITS = 50  # for each token: 1 KiB takes up to 20 ms
_OUTCOMES = {HOLDS: Outcome.HOLDS, DOES_NOT_HOLD: Outcome.DOES_NOT_HOLD, FAILED: Outcome.FAILED}
_PLACE = re.compile(r"<input>:1:(\d+):")  # of the library's parser: the first character that does not fit
# What the library has of CEL's own.
# fmt: off
_FUNCTIONS = frozenset({
    "all", "exists", "exists_one", "map", "filter", "has", "size", "contains", "startsWith", "endsWith",
    "matches", "type", "int", "uint", "double", "string", "bool", "bytes", "dyn", "duration", "timestamp",
    "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours", "getMilliseconds",
    "getMinutes", "getMonth", "getSeconds", "min", "max",
})
# fmt: on


def summary_problem(expression: str) -> str | None:
    """What is wrong with the summary of a tool. It blocks, and may load the library."""
    problem = condition_problem(expression, SUMMARY_VARIABLES, "in a summary")
    if problem is not None:
        return problem
    part = part_without_text(expression)
    return f"{part} is no text; string({part}) is" if part else None


def condition_problem(condition: str, variables: Sequence[str], where: str = "at this stage") -> str | None:
    """What is wrong with a condition that may use these variables. It blocks, and may load the library."""
    if len(condition.encode("utf-8", "surrogatepass")) > MAX_CONDITION_BYTES:
        return f"it is longer than {MAX_CONDITION_BYTES} bytes"
    cost = cost_of(condition)
    if cost.has_comment:
        return "it has a comment; write that beside the rule"
    if cost.nested_macros > MAX_NESTED_MACROS:
        return f"its macros are nested deeper than {MAX_NESTED_MACROS}"
    if not can_load():
        return "this machine cannot import common-expression-language, which would read it"
    try:
        program = compiled(condition)
    except Exception as error:  # noqa: BLE001 - the library's words are about its own grammar
        at = _PLACE.search(str(error))
        return "it is no CEL expression" + (f" from its character {at[1]} on" if at else "")
    for name in program.functions():
        if name.isidentifier() and name not in _FUNCTIONS:
            return f"there is no function {name}"
    bound = cost.bound_names
    for name in program.variables():
        if name not in variables and name not in bound and not name.startswith("@"):
            return f"there is no variable {name} {where}{_near(name, variables)}"
    for name, field in fields_of(condition):
        known = FIELDS.get(name)
        if known is not None and name not in bound and field not in known:
            return f"{name} has no field {field}{_near(field, known)}"
    return None


def _near(word: str, known: Sequence[str]) -> str:
    meant = nearest(word, known)
    return (f" (did you mean {meant}?)" if meant else "") + f"; there are: {', '.join(known)}"


class CelConditions:
    """ConditionEvaluator. Its process is not started before a condition needs it."""

    def __init__(self, limits: CheckLimits | None = None) -> None:
        self._process = SchemaProcess(
            limits or CheckLimits(DEFAULT_MILLISECONDS), "condition_worker", start_seconds=START_SECONDS
        )
        self._thread = ThreadPoolExecutor(1, "runwright-conditions")
        self._summaries = CelSummaries(limits)
        self._waiting = 0
        self._memory = ConditionMemory()
        self._loading: asyncio.Future[None] | None = None

    def problem(self, condition: str, variables: Sequence[str]) -> str | None:
        """See the port."""
        return condition_problem(condition, variables)

    def evaluate_at_once(self, questions: Sequence[ConditionQuestion]) -> list[tuple[Outcome, ...]] | None:
        """See the port."""
        if not is_loaded():
            return None
        units, asked = 0, list[_Asked]()
        for question in questions:
            if (own := self._asked_if_cheap(question, INLINE_UNITS - units)) is None:
                return None
            units += own.units
            asked.append(own)
        return [self._answered(each) for each in asked]

    def summary_problem(self, expression: str) -> str | None:
        """See the port."""
        return summary_problem(expression)

    async def summaries(self, questions: Sequence[SummaryQuestion]) -> list[str]:
        """See the port."""
        return await self._summaries.find(questions)

    async def evaluate(self, questions: Sequence[ConditionQuestion]) -> list[tuple[Outcome, ...]]:
        """See the port."""
        if not is_loaded():
            await self._loaded()
        outcomes = self.evaluate_at_once(questions)
        return _outcomes(await self._evaluated_outside(questions)) if outcomes is None else outcomes

    async def close(self) -> None:
        """Ends the process."""
        await self._summaries.close()
        await asyncio.to_thread(self._process.close)
        self._thread.shutdown(wait=False)

    async def _loaded(self) -> None:
        """Waits until the library is there; all who wait share the loading."""
        if self._loading is None:
            self._loading = asyncio.get_running_loop().run_in_executor(self._thread, load)
        await asyncio.shield(self._loading)

    def _asked_if_cheap(self, question: ConditionQuestion, units: int) -> _Asked | None:
        """What is left to be evaluated; None where that may take more units than these."""
        left = units - _cost_of_all(question.conditions).to_compile()
        if left < 0:
            return None
        parts, rest = parts_of(question.conditions), None
        facts = self._memory.facts(parts.of_facts, question.variables) if parts.of_facts else None
        known = "" if facts is None else self._memory.recall(facts)
        if facts is not None and known is None:
            left -= _units(parts.of_facts, facts.seen, question.size, left)
        if left >= 0 and parts.rest:
            rest = visible(question.variables, seen_of(parts.rest))
            left -= _units(parts.rest, rest, question.size, left)
        return None if left < 0 else _Asked(parts, facts, known, rest, units - left)

    def _answered(self, asked: _Asked) -> tuple[Outcome, ...]:
        """The outcomes of what is cheap."""
        letters = asked.known
        if letters is None and asked.facts is not None:
            letters = evaluated_of_seen(asked.parts.of_facts, asked.facts.seen)
            self._memory.remember(asked.facts, letters)
        letters = letters or ""
        if asked.rest is not None:
            letters += evaluated_of_seen(asked.parts.rest, asked.rest)
        return tuple([_OUTCOMES[letters[place]] for place in asked.parts.order])

    def _asked(self, questions: Sequence[ConditionQuestion]) -> Checked:
        seen = [visible(question.variables, seen_of(question.conditions)) for question in questions]
        text = json.dumps([[question.conditions, each] for question, each in zip(questions, seen, strict=True)])
        checked = self._process.check(EVALUATE, text)
        _make_ready(questions)
        return checked

    async def _evaluated_outside(self, questions: Sequence[ConditionQuestion]) -> list[str]:
        failed = [FAILED * len(question.conditions) for question in questions]
        if self._waiting >= MAX_WAITING:
            return failed
        self._waiting += 1
        try:
            checked = await asyncio.get_running_loop().run_in_executor(self._thread, self._asked, questions)
        finally:
            self._waiting -= 1
        if checked.verdict is not Verdict.VALID or len(checked.answer) != sum(map(len, failed)):
            return failed
        letters = iter(checked.answer)
        return ["".join(next(letters) for _ in question.conditions) for question in questions]


class _Asked(Struct, frozen=True):
    """A question that is cheap: `known` are the letters of its facts, `rest` what its other conditions can see."""

    parts: Parts
    facts: Facts | None
    known: str | None
    rest: dict[str, JsonValue] | None
    units: int


def _units(conditions: tuple[str, ...], seen: dict[str, JsonValue], size: int, left: int) -> int:
    """How much work it is to evaluate them; more than is `left` where no bound is known, or making ready takes long."""
    cost = _cost_of_all(conditions)
    # Only macros go through values; to count these takes longer than the rest.
    units = cost.units(count_values(seen) if cost.has_macros else 0, size) if size <= INLINE_BYTES else None
    return left + 1 if units is None else units


def _outcomes(letters: Sequence[str]) -> list[tuple[Outcome, ...]]:
    return [tuple([_OUTCOMES[letter] for letter in found]) for found in letters]


class _CostOfAll(Struct, frozen=True):
    """What several conditions may cost together. `plain` is that of those without macros, over variables of 1 KiB."""

    conditions: tuple[str, ...]
    plain: int
    others: tuple[ConditionCost, ...]
    has_no_bound: bool

    @property
    def has_macros(self) -> bool:
        return bool(self.others)

    def units(self, values: int, size: int) -> int | None:
        """As those of one."""
        if self.has_no_bound:
            return None
        units = self.plain * (1 + size // 1024)
        for cost in self.others:
            units += cost.units(values, size) or 0
        return units

    def to_compile(self) -> int:
        """About how many microseconds it takes to compile those that are not compiled yet."""
        return _COMPILE_UNITS * sum([cost_of(each).tokens for each in not_compiled(self.conditions)])


@lru_cache(maxsize=1024)
def _cost_of_all(conditions: tuple[str, ...]) -> _CostOfAll:
    costs = [cost_of(condition) for condition in conditions]
    plain = sum(cost.units(0, 0) or 0 for cost in costs if not cost.macros)
    has_no_bound = any(cost.units(0, 0) is None for cost in costs)
    return _CostOfAll(conditions, plain, tuple(cost for cost in costs if cost.macros), has_no_bound)


def _make_ready(questions: Sequence[ConditionQuestion]) -> None:
    """Compiles what was not examined here, of a run that an earlier server began, so that it is cheap the next time."""
    for condition in {condition for question in questions for condition in question.conditions}:
        with suppress(Exception):  # what is no CEL fails where it is evaluated
            compiled(condition)

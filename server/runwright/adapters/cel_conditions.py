"""Conditions of rules in CEL, by common-expression-language, with bounds in front.

What is known to be cheap is evaluated at once; everything else in a process that can be stopped.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache

from msgspec import Struct
from pydantic import JsonValue

from runwright.adapters.condition_cost import MAX_NESTED_MACROS, ConditionCost, cost_of
from runwright.adapters.condition_variables import visible
from runwright.adapters.condition_worker import (
    DOES_NOT_HOLD,
    EVALUATE,
    FAILED,
    HOLDS,
    compiled,
    evaluated_of_seen,
    is_compiled,
    is_loaded,
    load,
    seen_of,
)
from runwright.adapters.schema_process import Checked, CheckLimits, SchemaProcess, Verdict
from runwright.core.near import did_you_mean
from runwright.core.policy_chain import Outcome
from runwright.core.policy_rules import MAX_CONDITION_BYTES
from runwright.ports.conditions import ConditionQuestion

DEFAULT_MILLISECONDS = 250  # of processor time, for all conditions of one input
INLINE_UNITS = 10_000  # about microseconds
INLINE_BYTES = 16 * 1024  # of variables: making them ready takes time, too
MAX_WAITING = 64
START_SECONDS = 20.0  # for a busy machine; it takes one
_COMPILE_UNITS = 50  # for each token: 1 KiB takes up to 20 ms
_OUTCOMES = {HOLDS: Outcome.HOLDS, DOES_NOT_HOLD: Outcome.DOES_NOT_HOLD, FAILED: Outcome.FAILED}
# What the library has of CEL's own.
# fmt: off
_FUNCTIONS = frozenset({
    "all", "exists", "exists_one", "map", "filter", "has", "size", "contains", "startsWith", "endsWith",
    "matches", "type", "int", "uint", "double", "string", "bool", "bytes", "dyn", "duration", "timestamp",
    "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours", "getMilliseconds",
    "getMinutes", "getMonth", "getSeconds", "min", "max",
})
# fmt: on


def condition_problem(condition: str, variables: Sequence[str]) -> str | None:
    """What is wrong with a condition that may use these variables. It blocks, and may load the library."""
    if len(condition.encode("utf-8", "surrogatepass")) > MAX_CONDITION_BYTES:
        return f"it is longer than {MAX_CONDITION_BYTES} bytes"
    cost = cost_of(condition)
    if cost.has_comment:
        return "it has a comment; write that beside the rule"
    if cost.nested_macros > MAX_NESTED_MACROS:
        return f"its macros are nested deeper than {MAX_NESTED_MACROS}"
    try:
        program = compiled(condition)
    except Exception:  # noqa: BLE001 - the library's words are about its own grammar
        return "it is no CEL expression"
    for name in program.functions():
        if name.isidentifier() and name not in _FUNCTIONS:
            return f"there is no function {name}"
    bound = cost.bound_names
    for name in program.variables():
        if name not in variables and name not in bound and not name.startswith("@"):
            known = ", ".join(variables)
            hint = did_you_mean(name, variables).strip()
            return f"there is no variable {name} at this stage; there are: {known}" + (f". {hint}" if hint else "")
    return None


class CelConditions:
    """ConditionEvaluator. Its process is not started before a condition needs it."""

    def __init__(self, limits: CheckLimits | None = None) -> None:
        self._process = SchemaProcess(
            limits or CheckLimits(DEFAULT_MILLISECONDS), "condition_worker", start_seconds=START_SECONDS
        )
        self._thread = ThreadPoolExecutor(1, "runwright-conditions")
        self._waiting = 0
        self._loading: asyncio.Future[None] | None = None

    def problem(self, condition: str, variables: Sequence[str]) -> str | None:
        """See the port."""
        return condition_problem(condition, variables)

    def evaluate_at_once(self, questions: Sequence[ConditionQuestion]) -> list[tuple[Outcome, ...]] | None:
        """See the port."""
        seen = _seen_if_cheap(questions)
        if seen is None:
            return None
        return _outcomes(
            [evaluated_of_seen(question.conditions, own) for question, own in zip(questions, seen, strict=True)]
        )

    async def evaluate(self, questions: Sequence[ConditionQuestion]) -> list[tuple[Outcome, ...]]:
        """See the port."""
        if not is_loaded():
            await self._loaded()
        outcomes = self.evaluate_at_once(questions)
        return _outcomes(await self._evaluated_outside(questions)) if outcomes is None else outcomes

    async def close(self) -> None:
        """Ends the process."""
        await asyncio.to_thread(self._process.close)
        self._thread.shutdown(wait=False)

    async def _loaded(self) -> None:
        """Waits until the library is there; all who wait share the loading."""
        if self._loading is None:
            self._loading = asyncio.get_running_loop().run_in_executor(self._thread, load)
        await asyncio.shield(self._loading)

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


def _seen_if_cheap(questions: Sequence[ConditionQuestion]) -> list[dict[str, JsonValue]] | None:
    """What the conditions can see of their variables; None where to evaluate them may take long."""
    if not is_loaded():
        return None
    units, seen = 0, []
    for question in questions:
        if question.size > INLINE_BYTES:
            return None
        cost = _cost_of_all(question.conditions)
        units += cost.to_compile()
        if units > INLINE_UNITS:
            return None
        own = visible(question.variables, seen_of(question.conditions))
        # Only macros go through values; to count these takes longer than the rest.
        more = cost.units(_count(own) if cost.has_macros else 0, question.size)
        if more is None or (units := units + more) > INLINE_UNITS:
            return None
        seen.append(own)
    return seen


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
        return _COMPILE_UNITS * sum([cost_of(each).tokens for each in self.conditions if not is_compiled(each)])


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


def _count(value: JsonValue | Mapping[str, JsonValue]) -> int:
    """How many values there are, the containers counted."""
    count, level = 0, [dict(value) if isinstance(value, Mapping) else value]
    while level:
        part = level.pop()
        count += 1
        if isinstance(part, dict):
            level += part.values()
        elif isinstance(part, list):
            level += part
    return count

"""Summaries of calls for whoever approves them. What is not cheap, or not there in time, is done without."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from pydantic import JsonValue

from runwright.adapters.condition_cost import cost_of, count_values
from runwright.adapters.condition_variables import visible
from runwright.adapters.condition_worker import is_loaded, load, not_compiled, seen_of
from runwright.adapters.schema_process import CheckLimits, SchemaProcess, Verdict
from runwright.adapters.summary_worker import SUMMARIZE, compile_all, summary_of
from runwright.ports.conditions import SummaryQuestion

DEFAULT_MILLISECONDS = 100  # of processor time, for all summaries of one answer of the model
MAX_SECONDS = 1.0  # that anybody waits for them, whatever the machine does
INLINE_UNITS = 10_000  # about microseconds
INLINE_BYTES = 16 * 1024  # of arguments
MAX_WAITING = 64
START_SECONDS = 20.0


class CelSummaries:
    """Makes summaries. Its process is its own, so that no condition waits for them, and starts when it is needed."""

    def __init__(self, limits: CheckLimits | None = None, seconds: float = MAX_SECONDS) -> None:
        self._process = SchemaProcess(
            limits or CheckLimits(DEFAULT_MILLISECONDS), "summary_worker", start_seconds=START_SECONDS
        )
        self._thread = ThreadPoolExecutor(1, "runwright-summaries")
        self._seconds = seconds
        self._waiting = 0

    async def find(self, questions: Sequence[SummaryQuestion]) -> list[str]:
        """The summaries, in the order of the questions; empty where there is none."""
        found = [""] * len(questions)
        if self._waiting >= MAX_WAITING:
            return found
        self._waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await self._fill(found, questions)
        except TimeoutError:
            pass  # what has been found by then is there
        finally:
            self._waiting -= 1
        return found

    async def close(self) -> None:
        """Ends the process."""
        await asyncio.to_thread(self._process.close)
        self._thread.shutdown(wait=False)

    async def _fill(self, found: list[str], questions: Sequence[SummaryQuestion]) -> None:
        loop = asyncio.get_running_loop()
        if not is_loaded():
            await loop.run_in_executor(self._thread, load)
        new = {each.expression for each in questions if not_compiled((each.expression,))}
        if new:
            await loop.run_in_executor(self._thread, compile_all, new)
        units, dear = INLINE_UNITS, dict[int, tuple[str, dict[str, JsonValue]]]()
        for place, question in enumerate(questions):
            seen = visible(question.variables, seen_of((question.expression,)))
            cost = _units(question, seen)
            if cost is None or cost > units:
                dear[place] = (question.expression, seen)
                continue
            units -= cost
            found[place] = summary_of(question.expression, seen) or ""
        if dear:
            made = await loop.run_in_executor(self._thread, self._asked, list(dear.values()))
            for place, summary in zip(dear, made, strict=False):
                found[place] = summary or ""

    def _asked(self, questions: Sequence[tuple[str, Mapping[str, JsonValue]]]) -> list[str | None]:
        checked = self._process.check(SUMMARIZE, json.dumps(questions))
        made: list[str | None] = json.loads(checked.answer) if checked.verdict is Verdict.VALID else []
        return made


def _units(question: SummaryQuestion, seen: Mapping[str, JsonValue]) -> int | None:
    """About how many microseconds it takes here; None: no bound is known."""
    if question.size > INLINE_BYTES:
        return None
    cost = cost_of(question.expression)
    return cost.units(count_values(seen) if cost.macros else 0, question.size)

"""JSON Schema 2020-12 by jsonschema-rs, with bounds in front and everything dangerous off.

Its defaults fetch http and file references and use a backtracking regex engine;
both are refused here. It holds the interpreter lock while it validates, and a
schema that refers to itself can make it work and fill memory without an end:
only what is known to be small is checked in this process.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from pydantic import JsonValue

from runwright.adapters.schema_bounds import MAX_DEPTH, bounds_problem
from runwright.adapters.schema_cost import Cost, cost_of
from runwright.adapters.schema_process import Checked, CheckLimits, SchemaProcess, Verdict
from runwright.adapters.schema_worker import CHECK_INSTANCE, CHECK_SCHEMA, compile_problem, validator, where_problem
from runwright.ports.schemas import Instance

MAX_SCHEMA_BYTES = 64 * 1024
MAX_INSTANCE_BYTES = 256 * 1024
MAX_WAITING = 64  # checks by schemas that are known to be costly; the others wait as long as they must
MAX_SLOW = 4  # checks of one answer that come slowly; one that comes to no end is the last
_REMEMBERED = 1024  # schemas
_DECIDED = (Verdict.VALID, Verdict.INVALID)
_TOO_COSTLY = "checking them against the tool's schema takes too long; send simpler arguments, nested less deeply."
_NOT_ANY_MORE = "they were not checked: those of other calls of this answer took too long; send simpler arguments."
_NOT_NOW = "they could not be checked at the moment; ask again, or send simpler arguments."
_SOMEWHERE = "they do not fit the tool's schema; where, could not be found in time. Send simpler arguments."


class JsonSchemaChecker:
    """SchemaChecker over jsonschema-rs.

    What may be costly is checked in two processes: one for schemas that were
    checked quickly so far, one for those that were not, so that these wait for
    one another and for nobody else. Neither is started before it is needed.
    """

    def __init__(self, limits: CheckLimits | None = None) -> None:
        limits = limits or CheckLimits()
        self._quick, self._slow = _CheckQueue("quick", limits), _CheckQueue("slow", limits)
        self._costly: OrderedDict[str, None] = OrderedDict()

    def schema_problem(self, schema: Mapping[str, JsonValue]) -> str | None:
        """What is wrong with a schema. Blocks: for packages that are being loaded."""
        if schema.get("type") != "object":
            return 'the top level must say "type": "object"; arguments are named.'
        try:
            text = json.dumps(schema)
        except RecursionError:
            return f"it is nested deeper than {MAX_DEPTH}."
        if len(text) > MAX_SCHEMA_BYTES:
            return f"it is larger than {MAX_SCHEMA_BYTES} bytes."
        problem = bounds_problem(dict(schema))
        if problem:
            return problem
        if _cost(text).parts is not None:
            return compile_problem(text)
        checked = self._quick.process.check(CHECK_SCHEMA, text)
        match checked.verdict:
            case Verdict.VALID:
                return None
            case Verdict.INVALID:
                return checked.where
            case Verdict.TOO_COSTLY:
                return "it takes too long, or too much memory, to be made ready."
            case Verdict.FAILED:
                return "it could not be checked: the process that does so could not be started, or was lost."

    async def problems(self, instances: Sequence[Instance]) -> list[str | None]:
        """See the port."""
        found: list[str | None] = []
        left = MAX_SLOW
        for instance in instances:
            text = json.dumps(instance.schema)
            if len(instance.data) > MAX_INSTANCE_BYTES:
                found.append(f"they are larger than {MAX_INSTANCE_BYTES} bytes.")
            elif _cost(text).is_small(len(instance.data)):
                found.append(_checked_here(text, instance.value))
            elif left <= 0:
                found.append(_NOT_ANY_MORE)
            else:
                checked = await self._checked_outside(text, instance.data)
                left -= MAX_SLOW if checked.verdict not in _DECIDED else checked.is_slow
                found.append(_in_words(checked))
        return found

    async def close(self) -> None:
        """Ends the processes."""
        await asyncio.gather(self._quick.close(), self._slow.close())

    async def _checked_outside(self, text: str, data: bytes) -> Checked:
        if text not in self._costly:
            checked = await self._quick.check(text, data, self._costly)
            if checked is not None:
                if checked.is_slow or checked.verdict not in _DECIDED:
                    self._costly[text] = None
                    if len(self._costly) > _REMEMBERED:
                        self._costly.popitem(last=False)
                return checked
        if self._slow.waiting >= MAX_WAITING:
            return Checked(Verdict.TOO_COSTLY)
        return await self._slow.check(text, data) or Checked(Verdict.FAILED)


class _CheckQueue:
    """A process and the thread that waits for it; checks are made in the order in which they come."""

    def __init__(self, name: str, limits: CheckLimits) -> None:
        self.process = SchemaProcess(limits)
        self.waiting = 0
        self._thread = ThreadPoolExecutor(1, f"runwright-schemas-{name}")

    async def check(self, text: str, data: bytes, unless: Mapping[str, None] | None = None) -> Checked | None:
        """The verdict; None if by then the schema is one of those that it is not to be."""

        def check() -> Checked | None:
            return None if unless and text in unless else self.process.check(CHECK_INSTANCE, text, data)

        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, check)
        finally:
            self.waiting -= 1

    async def close(self) -> None:
        """Ends the process. Who still waits is told that the check failed."""
        await asyncio.to_thread(self.process.close)
        self._thread.shutdown(wait=False)


@lru_cache(maxsize=_REMEMBERED)
def _cost(text: str) -> Cost:
    return cost_of(json.loads(text))


def _checked_here(text: str, value: JsonValue) -> str | None:
    return None if validator(text).is_valid(value) else where_problem(text, value)


def _in_words(checked: Checked) -> str | None:
    match checked.verdict:
        case Verdict.VALID:
            return None
        case Verdict.INVALID:
            return checked.where or _SOMEWHERE
        case Verdict.TOO_COSTLY:
            return _TOO_COSTLY
        case Verdict.FAILED:
            return _NOT_NOW

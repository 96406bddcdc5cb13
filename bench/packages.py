"""Packages: how long the event loop stands while the worst of them are put and run, and dear conditions evaluated."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from runwright.adapters.cel_conditions import CelConditions
from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.adapters.package_reader import DocumentReader
from runwright.adapters.sqlite import SqliteJournal
from runwright.core.errors import AgentError
from runwright.core.principal import LOCAL
from runwright.ports.conditions import ConditionQuestion
from runwright.runtime.package_registry import PackageTag
from runwright.runtime.packages import Selector

from bench.figures import Figure, Goal
from bench.parts import package, tool
from bench.rounds import say
from tests.builders import Bench, request

CEILING = "none: the bounds are milliseconds"
ROUNDS = 3
EVERY_SECONDS = 0.001
LONGEST = Goal("H2", "the loop stood longest beside packages that are put", "ms", 50, 25)
EVALUATED = Goal("H3", "the loop stood longest beside conditions that take too long", "ms", 50, 25)
AT_ONCE = 8
_SCRIPT = ({"text": "hi"},)


def _rules() -> dict[str, Any]:
    made = package("rules", _SCRIPT)
    del made["policy"]
    long = " + ".join(["1"] * 230)
    rules = [{"when": f"args.all(x, args.all(y, x == y)) && {n} + {long} > 0", "then": "deny"} for n in range(250)]
    return {**made, "policies": [{"rules": rules}]}


def _values() -> dict[str, Any]:
    made = package("values", _SCRIPT)
    made["provider"]["parameters"]["more"] = list(range(49_000))
    return made


def _schemas() -> dict[str, Any]:
    wide = {"type": "object", "properties": {f"p{n}": {"type": "string", "description": "x" * 20} for n in range(200)}}
    return package("schemas", _SCRIPT, *[tool(f"t{n}") | {"parameters": wide} for n in range(35)])


TEXTS: Mapping[str, Callable[[], str]] = {
    "49,000 values": lambda: json.dumps(_values()),
    "35 schemas of 200 fields": lambda: json.dumps(_schemas()),
    "250 long rules": lambda: json.dumps(_rules()),
    "100,000 lists in lists": lambda: "a: " + "[" * 100_000,
    "40,000 aliases": lambda: "a: &a [1, 2, 3]\nb:\n" + "  - *a\n" * 40_000,
    "24,000 unknown keys": lambda: json.dumps({f"k{n}": n for n in range(24_000)}),
    "49,000 empty tools": lambda: json.dumps({"tools": [{}] * 49_000}),
    "one text of 1 MB": lambda: json.dumps({"id": "y" * 1_000_000}),
    "a condition of 64 KiB": lambda: json.dumps({"policies": [{"rules": [{"when": "1+" * 32_767 + "1"}]}]}),
}

_ARGUMENTS: dict[str, Any] = {"text": "w" * 4000, "many": list(range(1000)), "deep": [[[1] * 10] * 10] * 100}
# What a package may have, and what takes long: most of them have to be stopped.
CONDITIONS = {
    "10^6 turns": "args.many.exists(x, args.many.exists(y, x + y < 0))",
    "10^6 lists": "args.many.map(x, args.many).map(y, args.many).size() < 0",
    "10^6 texts": "args.many.all(x, args.many.all(y, (args.text + args.text).size() > 0))",
    "a large pattern": 'args.text.matches("((w{50}){50}){40}")',
    "a pattern a turn": 'args.many.all(x, args.text.matches("(w+w+)+$"))',
    "the same in 1 KiB": " || ".join(["args.many.exists(x, args.many.exists(y, x + y < 0))"] * 18),
}


class _Loop:
    """How long the running loop has stood at most since it was asked last.

    Only as far as this process was busy meanwhile, on whatever thread: a machine that gives it no turn is not counted.
    """

    def __init__(self) -> None:
        self._longest = 0.0
        self._task = asyncio.create_task(self._turn())

    async def _turn(self) -> None:
        while True:
            began, busy = time.perf_counter(), time.process_time()
            await asyncio.sleep(EVERY_SECONDS)
            stood = min(time.perf_counter() - began - EVERY_SECONDS, time.process_time() - busy)
            self._longest = max(self._longest, stood)

    def stood(self) -> float:
        """In milliseconds."""
        longest, self._longest = self._longest, 0.0
        return longest * 1000

    def close(self) -> None:
        """Looks no more."""
        self._task.cancel()


async def measure(directory: Path) -> Sequence[Figure]:
    """In this process, with the reader and the journal of a server: nothing but the loop is measured."""
    journal, reader = SqliteJournal.open(directory), DocumentReader()
    bench = Bench(journal=journal, package_store=journal.packages(), package_reader=reader, schemas=JsonSchemaChecker())
    runtime = bench.runtime()
    assert runtime.registry is not None
    loop = _Loop()
    worst: dict[str, float] = {}
    texts = {name: make() for name, make in TEXTS.items()}
    try:
        for number in range(ROUNDS):
            for name, text in texts.items():
                loop.stood()
                with suppress(AgentError):  # most of them are no package
                    await runtime.registry.put(LOCAL, text, PackageTag(tag="prod"))
                worst[name] = max(worst.get(name, 0.0), loop.stood())
            await runtime.registry.get(LOCAL.namespace, Selector(package_id="values"))
            await runtime.start_run(request(f"run-{number}", package_id="values"))
            worst["got and run"] = max(worst.get("got and run", 0.0), loop.stood())
    finally:
        loop.close()
        await reader.close()
        await journal.close()
    for name, longest in worst.items():
        say(f"  {name}: {longest:.1f} ms")
    return [Figure(LONGEST, [max(worst.values())], f"{len(texts)} texts, {ROUNDS} times each"), await _conditions()]


async def _conditions() -> Figure:
    """With the evaluator of a server: each is evaluated in time, or has failed."""
    evaluator, loop, worst = CelConditions(), _Loop(), 0.0
    try:
        for name, condition in CONDITIONS.items():
            assert evaluator.problem(condition, ("args",)) is None, f"{name} would be refused before"
            question = ConditionQuestion((condition,), {"args": _ARGUMENTS}, len(json.dumps(_ARGUMENTS)))
            loop.stood()
            found = await asyncio.gather(*[evaluator.evaluate([question]) for _ in range(AT_ONCE)])
            stood = loop.stood()
            outcomes = ", ".join(sorted({each[0][0].name for each in found}))
            say(f"  {name}: {stood:.1f} ms; {outcomes}")
            worst = max(worst, stood)
    finally:
        loop.close()
        await evaluator.close()
    return Figure(EVALUATED, [worst], f"{len(CONDITIONS)} conditions, {AT_ONCE} times at once")

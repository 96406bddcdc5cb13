"""Whatever schema and arguments are, a check comes to an end elsewhere while the loop goes on."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from runwright.adapters.json_schema import MAX_SLOW, JsonSchemaChecker
from runwright.adapters.schema_cost import cost_of
from runwright.adapters.schema_process import CheckLimits, SchemaProcess, Verdict
from runwright.adapters.schema_worker import CHECK_INSTANCE, LENGTHS
from runwright.ports.schemas import Instance

Json = dict[str, Any]
# A minute for an answer: when a process gets its turn, and starts, is the machine's.
SHORT = CheckLimits(milliseconds=100, wall_factor=600)
PLAIN: Json = {"type": "object", "properties": {"a": {"type": "string"}}}
TREE: Json = {"type": "object", "properties": {"child": {"$ref": "#"}}, "additionalProperties": False}
LIST = {"type": "array", "items": {"$ref": "#/$defs/f"}}
FILTER: Json = {
    "type": "object",
    "properties": {"f": {"$ref": "#/$defs/f"}},
    "$defs": {
        "f": {
            "anyOf": [
                {"type": "object", "properties": {"and": LIST}},
                {"type": "object", "properties": {"and": LIST, "or": LIST}},
            ]
        }
    },
}


def question(schema: Json, value: Json) -> Instance:
    """Arguments to check."""
    return Instance(schema, value, json.dumps(value).encode())


def nested(levels: int, leaf: Any = 3) -> Json:
    """Arguments of a filter, that many levels deep; wrong at the innermost unless the leaf says otherwise."""
    inner: Any = {"and": leaf}
    for _ in range(levels):
        inner = {"and": [inner]}
    return {"f": inner}


@pytest.fixture
async def checker() -> AsyncIterator[JsonSchemaChecker]:
    """A checker with little patience."""
    made = JsonSchemaChecker(SHORT)
    yield made
    await made.close()


def deep(levels: int, leaf: Json, keyword: str) -> Json:
    """A schema in a schema in a schema."""
    inner = leaf
    for _ in range(levels):
        inner = {keyword: inner}
    return inner


HOSTILE: dict[str, tuple[Json, Json]] = {
    "a filter of 14 levels": (FILTER, nested(14)),
    "a filter of 16 levels": (FILTER, nested(16)),
    "a filter of 50 levels": (FILTER, nested(50)),
    "a dynamic reference": (
        {
            "type": "object",
            "$dynamicAnchor": "n",
            "properties": {"f": {"anyOf": [{"$dynamicRef": "#n"}, {"$dynamicRef": "#n"}, {"type": "string"}]}},
        },
        {"f": {"f": {"f": {"f": {"f": {"f": {"f": {"f": 1}}}}}}}},
    ),
    "deep not": (
        {"type": "object", "properties": {"x": deep(26, {"type": "string"}, "not")}, "unevaluatedProperties": False},
        {"x": 1},
    ),
    "unevaluated properties at every level": (
        {"type": "object", "properties": {"x": deep(14, {"unevaluatedProperties": False}, "unevaluatedProperties")}},
        {"x": {"a": {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}}},
    ),
    "unique items": (
        {"type": "object", "properties": {"x": {"uniqueItems": True}}, "unevaluatedProperties": False},
        {"x": [{"a": [number]} for number in range(15_000)]},
    ),
    "fractions of huge numbers": (
        {"type": "object", "properties": {"x": {"items": {"multipleOf": 1e-9}}}},
        {"x": [1e300] * 30_000},
    ),
    "patterns for every name": (
        {"type": "object", "patternProperties": {rf"^\w{{1,60}}x{number}$": {} for number in range(60)}},
        {"ä" * 50 + str(number): 1 for number in range(1500)},
    ),
    "contains in contains": (
        {"type": "object", "properties": {"x": deep(12, {"const": 1}, "contains")}, "unevaluatedProperties": False},
        {"x": [[[[[[[2] * 5] * 5] * 5] * 5] * 5] * 5]},
    ),
    "a huge enum": (
        {"type": "object", "properties": {"x": {"items": {"enum": [{"a": number} for number in range(1000)]}}}},
        {"x": [{"a": -1}] * 10_000},
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_costly_check_ends_as_a_verdict_or_as_too_costly(checker: JsonSchemaChecker, name: str) -> None:
    schema, value = HOSTILE[name]

    assert not cost_of(schema).is_small(len(json.dumps(value))), "it is not checked on the loop"
    assert checker.schema_problem(schema) is None
    [problem] = await checker.problems([question(schema, value)])

    assert problem is None or problem.endswith(".")


async def test_a_hundred_thousand_branches_are_refused_at_once(
    checker: JsonSchemaChecker,
) -> None:
    branches = [{"const": number} for number in range(100_000)]

    assert checker.schema_problem({"type": "object", "anyOf": branches}) is not None
    assert checker.schema_problem({"type": "object", "properties": {str(n): {} for n in range(100_000)}}) is not None


@pytest.mark.parametrize("pattern", [r"\p{L}{60}", "(?i)" + "k" * 100, r"((\w{50}){50}){50}", "a{1000}"])
async def test_a_pattern_that_expands_is_made_ready_elsewhere(checker: JsonSchemaChecker, pattern: str) -> None:
    schema = {"type": "object", "properties": {"x": {"pattern": pattern}}}

    assert cost_of(schema).parts is None
    assert (checker.schema_problem(schema) or ".").endswith(".")


async def test_a_schema_that_takes_too_long_to_be_made_ready_is_refused() -> None:
    checker = JsonSchemaChecker(CheckLimits(milliseconds=20, wall_factor=3000))  # it takes a tenth of a second
    heavy = {f"p{number}": {"pattern": rf"[\p{{L}}\p{{N}}]{{400}}x{number}"} for number in range(400)}

    problem = checker.schema_problem({"type": "object", "properties": heavy})
    await checker.close()

    assert problem is not None and "too long" in problem


async def test_the_loop_goes_on_while_a_check_stands_still(checker: JsonSchemaChecker) -> None:
    await checker.problems([question(TREE, {})])
    worker = checker._quick.process.pid
    assert worker is not None
    os.kill(worker, signal.SIGSTOP)

    checking = asyncio.create_task(checker.problems([question(TREE, {"child": {}})]))
    for _ in range(100):
        await asyncio.sleep(0)
        assert await checker.problems([question(PLAIN, {"a": "here"})]) == [None]
    stood_still = not checking.done()
    os.kill(worker, signal.SIGCONT)

    assert stood_still
    assert await checking == [None]


async def test_a_worker_that_is_killed_in_a_check_is_replaced_and_asked_again(checker: JsonSchemaChecker) -> None:
    await checker.problems([question(TREE, {})])
    worker = checker._quick.process.pid
    assert worker is not None
    os.kill(worker, signal.SIGSTOP)
    checking = asyncio.create_task(checker.problems([question(TREE, {"child": {"child": 1}})]))
    await asyncio.sleep(0)

    os.kill(worker, signal.SIGKILL)

    [problem] = await checking
    assert problem is not None and problem.startswith("at child/child: the rule ")
    assert checker._quick.process.pid not in (worker, None)


async def test_a_worker_that_does_not_answer_is_given_up() -> None:
    process = SchemaProcess(SHORT)
    process.check(CHECK_INSTANCE, json.dumps(TREE), b"{}")
    assert process.pid is not None and process._socket is not None
    os.kill(process.pid, signal.SIGSTOP)
    process._socket.settimeout(0.01)

    checked = await asyncio.to_thread(process.check, CHECK_INSTANCE, json.dumps(TREE), b"{}")

    assert checked.verdict is Verdict.TOO_COSTLY
    assert process.check(CHECK_INSTANCE, json.dumps(TREE), b"{}").verdict is Verdict.VALID
    process.close()


async def test_arguments_that_are_wrong_are_so_also_if_nobody_can_say_where(checker: JsonSchemaChecker) -> None:
    [problem] = await checker.problems([question(FILTER, nested(50))])

    assert problem is not None and "do not fit" in problem
    assert await checker.problems([question(FILTER, nested(10, []))]) == [None]


async def test_memory_is_bounded() -> None:
    process = SchemaProcess(CheckLimits(milliseconds=60_000, memory=96 * 1024 * 1024))
    process.check(CHECK_INSTANCE, json.dumps(TREE), b"{}")
    limits = Path(f"/proc/{process.pid}/limits").read_text()

    checked = process.check(CHECK_INSTANCE, json.dumps(FILTER), json.dumps(nested(18)).encode())

    assert re.search(r"Max address space +100663296 +100663296 ", limits)
    assert (checked.verdict, checked.where) == (Verdict.INVALID, "")
    process.close()


async def test_a_costly_schema_waits_for_itself_only(checker: JsonSchemaChecker) -> None:
    await checker.problems([question(FILTER, nested(50)), question(FILTER, nested(2))])
    slow = checker._slow.process.pid
    assert slow is not None, "the second check by this schema was made in the other process"
    os.kill(slow, signal.SIGSTOP)
    waiting = asyncio.create_task(checker.problems([question(FILTER, nested(2))]))

    others = await checker.problems([question(TREE, {"child": {}})])
    waited = not waiting.done()
    os.kill(slow, signal.SIGCONT)

    assert waited
    assert others == [None]
    assert (await waiting)[0] is not None


async def test_of_an_answer_with_many_costly_calls_few_are_checked(checker: JsonSchemaChecker) -> None:
    problems = await checker.problems([question(FILTER, nested(50))] * 64)

    assert sum(problem is not None and "not checked" in problem for problem in problems) == 64 - MAX_SLOW


async def test_closing_ends_the_processes_and_whoever_waits_is_told() -> None:
    checker = JsonSchemaChecker(SHORT)
    await checker.problems([question(TREE, {})])
    worker = checker._quick.process.pid
    assert worker is not None
    os.kill(worker, signal.SIGSTOP)
    waiting = asyncio.create_task(checker.problems([question(TREE, {})]))
    await asyncio.sleep(0)

    await checker.close()

    assert (await waiting)[0] is not None
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


async def test_a_worker_ends_when_the_server_is_gone() -> None:
    process = SchemaProcess(SHORT)
    process.check(CHECK_INSTANCE, json.dumps(TREE), b"{}")
    started, connection = process._process, process._socket
    assert started is not None and connection is not None

    connection.close()

    assert started.wait(60) == 0


async def test_a_check_without_an_end_ends_its_process_also_if_nobody_else_does() -> None:
    process = SchemaProcess(SHORT)
    process.check(CHECK_INSTANCE, json.dumps(TREE), b"{}")
    started, connection = process._process, process._socket
    assert started is not None and connection is not None
    schema, value = json.dumps(FILTER).encode(), json.dumps(nested(50)).encode()

    connection.sendall(LENGTHS.pack(1, len(schema), len(value)) + CHECK_INSTANCE + schema + value)

    assert started.wait(60) == -signal.SIGPROF
    connection.close()


async def test_the_worker_has_no_environment(monkeypatch: pytest.MonkeyPatch, checker: JsonSchemaChecker) -> None:
    monkeypatch.setenv("VENDOR_KEY", "sk-hunter2")

    await checker.problems([question(TREE, {})])

    assert b"hunter2" not in Path(f"/proc/{checker._quick.process.pid}/environ").read_bytes()

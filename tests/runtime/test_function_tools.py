"""Tools that are functions of the program: whatever one of them does, it ends its own call and no run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from runwright.core.outcomes import RunStatus
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.watching import stood_still


async def told_of(bench: b.Bench, tool: Callable[[Any], Any]) -> str:
    """What the model is told of a call of this tool, in a run that goes on to its end."""
    bench.tools = FunctionTools({"look": tool})
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    ended = await stood_still(runtime)
    assert ended.status is RunStatus.COMPLETED
    assert ended.text is not None
    return ended.text


@pytest.mark.parametrize(
    "error",
    [StopIteration, StopAsyncIteration, GeneratorExit, SystemExit, KeyboardInterrupt, asyncio.CancelledError, KeyError],
)
async def test_whatever_a_function_raises_fails_its_call_alone(bench: b.Bench, error: type[BaseException]) -> None:
    def raises(arguments: object) -> object:
        raise error("sk-hunter2")

    async def raises_later(arguments: object) -> object:
        raise error("sk-hunter2")

    for tool in (raises, raises_later):
        assert "The tool failed." in await told_of(b.Bench(), tool)
    assert not bench.log.lines


@pytest.mark.parametrize("result", [{"ratio": float("nan")}, b"\xff", object(), {1: 1, "1": 2}], ids=repr)
async def test_a_result_that_cannot_be_encoded_is_of_a_call_that_was_made(bench: b.Bench, result: object) -> None:
    async def gives(arguments: object) -> object:
        return result

    assert "The call was made; its result cannot be encoded." in await told_of(bench, gives)


async def test_a_function_need_not_be_async(bench: b.Bench) -> None:
    class Looks:
        async def __call__(self, arguments: object) -> str:
            return "a lamp"

    assert "a lamp" in await told_of(bench, Looks())
    assert "a desk" in await told_of(b.Bench(), lambda arguments: "a desk")

"""Java programs made of nothing but the protos, against a real server: what the page says is held to its word."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from runwright.core.errors import MEANINGS, ErrorReason

from tests.clients.java_build import BUILD_SECONDS, OutOfReach, built, what_is_missing
from tests.clients.played import executors_of, has_line, printed_of, stay_at
from tests.clients.program import running
from tests.e2e.client import answer
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import EXECUTOR, Executor, StartCaller
from tests.e2e.packages import LOOK, asks, one_call, package, says, tool
from tests.e2e.server_process import Server

pytestmark = [
    pytest.mark.skipif(bool(what_is_missing()), reason=what_is_missing()),
    pytest.mark.timeout(BUILD_SECONDS + 120),
]
COMPLETED, NOT_COMPLETED, CALL_FAILED = 0, 1, 5


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built programs."""
    try:
        return built(tmp_path_factory.mktemp("java"))
    except OutOfReach as away:
        pytest.skip(str(away))


async def test_each_event_is_printed_once_over_a_kill_and_a_drain(
    make_server: MakeServer, executor: Executor, programs: Path
) -> None:
    async def hold_first_attempts(requested: StartCaller) -> None:
        if requested.attempt == 1:
            await asyncio.Event().wait()

    executor.before = hold_first_attempts
    server = make_server(one_call("looks", LOOK, times=2))
    await server.start()
    stay_at(server)

    async with running(programs / "Follow", server.address, "run-1", "hello") as follow:
        for step, end in enumerate((Server.kill, Server.terminate), start=1):
            await follow.until(lambda step=step: has_line(follow, f"TOOL_STARTED c{step}.1 attempt 1"))
            await executor.until_asked(2 * step - 1)
            end(server)
            await server.ended()
            await follow.until(lambda step=step: len(follow.message) == step)
            await server.start()
        assert await follow.ended() == COMPLETED, follow.message

    assert follow.out == await printed_of(server, "run-1")
    assert [line.partition(" (")[0] for line in follow.message] == ["cut off"] * 2
    assert [requested.attempt for requested in executor.calls_of("run-1")] == [1, 2] * 2


async def test_failed_runs_and_failed_calls_are_told_with_their_reasons(
    make_server: MakeServer, programs: Path
) -> None:
    server = make_server(package("endless", [asks(("look", {}))] * 2, LOOK, budget={"rounds": 1}))
    await server.start()

    async with (
        running(programs / "Follow", server.address, "run-1", "hello") as failing,
        running(programs / "Follow", server.address, "run-2", "hello", "unheard-of") as refused,
        running(programs / "Follow", "127.0.0.1:1", "run-3", "hello") as alone,
    ):
        ends = [await failing.ended(), await refused.ended(), await alone.ended()]

    assert ends == [NOT_COMPLETED, CALL_FAILED, CALL_FAILED]
    assert failing.out[-1].endswith(" RUN_FAILED")
    assert [line.partition(":")[0] for line in failing.message] == ["BUDGET_EXHAUSTED"]
    assert refused.message[-1].startswith("PACKAGE_NOT_FOUND: ")
    assert refused.message[-1].endswith(f" {MEANINGS[ErrorReason.PACKAGE_NOT_FOUND].remedy}")
    assert alone.message[-1].startswith("gRPC status 14: ")


async def test_a_tool_registers_answers_outlives_the_server_and_leaves(make_server: MakeServer, programs: Path) -> None:
    script = [asks(("word_count", {"text": "one two  three"}), ("word_count", {"text": 3})), says("{results}")]
    server = make_server(package("counting", script, tool("word_count", "read")), executors={})
    await server.start()
    stay_at(server)

    async with running(programs / "Tool", server.address, EXECUTOR, "java-1") as serving:
        await server.call.start("before")
        before = answer(await server.call.settled("before"))
        await server.restart()
        await server.call.start("after")
        after = answer(await server.call.settled("after"))
        registered = await executors_of(server)
        serving.process.terminate()
        assert await serving.ended() == 0, serving.message

    assert '{"words":3}' in before
    assert "word_count needs `text`, a string." in before
    assert after == before
    assert registered == [("java-1", serving.out[0].removeprefix("serving on "))]
    assert await executors_of(server) == []

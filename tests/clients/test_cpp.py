"""C++ programs made of nothing but the protos, against a real server: the page on other languages, held to its word."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from runwright.core.errors import MEANINGS, ErrorReason

from tests.clients.cpp_build import BUILD_SECONDS, built, what_is_missing
from tests.clients.played import executors_of, has_line, printed_of, stay_at
from tests.clients.program import running
from tests.e2e.client import answer
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import EXECUTOR, Executor, StartCaller
from tests.e2e.packages import LOOK, asks, one_call, package, says, tool
from tests.e2e.server_process import Server
from tests.e2e.test_keys_and_tls import runwright
from tests.transport.known import certificate

pytestmark = [
    pytest.mark.skipif(bool(what_is_missing()), reason=what_is_missing()),
    pytest.mark.timeout(BUILD_SECONDS + 120),
]
STEPS = 3
COMPLETED, NOT_COMPLETED, CALL_FAILED = 0, 1, 5


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built programs."""
    return built(tmp_path_factory.mktemp("cpp"))


async def test_a_run_is_started_and_printed_to_its_end(
    make_server: MakeServer,
    programs: Path,
) -> None:
    server = make_server(one_call("one", LOOK))
    await server.start()

    async with running(programs / "follow", server.address, "run-1", "hello") as follow:
        assert await follow.ended() == COMPLETED, follow.message

    assert follow.out == await printed_of(server, "run-1")
    assert follow.message == []


@pytest.mark.parametrize("end", [Server.kill, Server.terminate], ids=["kill", "drain"])
async def test_each_event_is_printed_once_over_restarts_in_the_middle(
    make_server: MakeServer,
    executor: Executor,
    programs: Path,
    end: Callable[[Server], None],
) -> None:
    async def hold_first_attempts(requested: StartCaller) -> None:
        if requested.attempt == 1:
            await asyncio.Event().wait()

    executor.before = hold_first_attempts
    server = make_server(one_call("looks", LOOK, times=STEPS))
    await server.start()
    stay_at(server)

    async with running(programs / "follow", server.address, "run-1", "hello") as follow:
        for step in range(1, STEPS + 1):
            await follow.until(lambda step=step: has_line(follow, f"TOOL_STARTED c{step}.1 attempt 1"))
            await executor.until_asked(2 * step - 1)
            end(server)
            await server.ended()
            await follow.until(lambda step=step: len(follow.message) == step)
            await server.start()
        assert await follow.ended() == COMPLETED, follow.message

    assert follow.out == await printed_of(server, "run-1")
    assert [line.partition(" (")[0] for line in follow.message] == ["cut off"] * STEPS
    assert [requested.attempt for requested in executor.calls_of("run-1")] == [1, 2] * STEPS


async def test_each_event_is_printed_once_when_the_server_dies_with_events_on_their_way(
    make_server: MakeServer,
    executor: Executor,
    programs: Path,
) -> None:
    server = make_server(one_call("looks", LOOK, times=STEPS))
    await server.start()
    stay_at(server)
    async with running(programs / "follow", server.address, "run-1", "hello") as follow:

        async def strike_in_the_second_round(requested: StartCaller) -> None:
            await follow.until(lambda: bool(follow.out))
            if (requested.call_id, requested.attempt) == ("c2.1", 1):
                server.kill()

        executor.before = strike_in_the_second_round
        assert await server.ended() == -signal.SIGKILL
        await server.start()
        assert await follow.ended() == COMPLETED, follow.message

    assert follow.out == await printed_of(server, "run-1")
    assert len(follow.message) == 1


async def test_called_again_it_starts_nothing_and_prints_the_same_run(
    make_server: MakeServer, executor: Executor, programs: Path
) -> None:
    server = make_server(one_call("one", LOOK))
    await server.start()
    words = (programs / "follow", server.address, "run-1", "hello")

    async with running(*words) as first, running(*words) as second:
        assert [await first.ended(), await second.ended()] == [COMPLETED, COMPLETED]

    assert first.out == second.out == await printed_of(server, "run-1")
    assert len(executor.requested) == 1


async def test_an_unknown_package_is_told_with_reason_and_remedy(make_server: MakeServer, programs: Path) -> None:
    server = make_server(one_call("one", LOOK))
    await server.start()

    async with running(programs / "follow", server.address, "run-1", "hello", "unheard-of") as follow:
        assert await follow.ended() == CALL_FAILED

    (message,) = follow.message
    assert message.startswith("PACKAGE_NOT_FOUND: ")
    assert message.endswith(f" {MEANINGS[ErrorReason.PACKAGE_NOT_FOUND].remedy}")
    assert follow.out == []


async def test_a_failed_run_is_told_with_its_reason_after_its_events(make_server: MakeServer, programs: Path) -> None:
    server = make_server(package("endless", [asks(("look", {}))] * 2, LOOK, budget={"rounds": 1}))
    await server.start()

    async with running(programs / "follow", server.address, "run-1", "hello") as follow:
        assert await follow.ended() == NOT_COMPLETED

    assert follow.out[-1].endswith(" RUN_FAILED")
    assert [line.partition(":")[0] for line in follow.message] == ["BUDGET_EXHAUSTED"]


async def test_nobody_there_is_told_and_not_asked_for_ever(programs: Path) -> None:
    async with running(programs / "follow", "127.0.0.1:1", "run-1", "hello") as follow:
        assert await follow.ended() == CALL_FAILED

    assert follow.message[-1].startswith("gRPC status 14: ")


async def test_a_key_and_tls_are_used(make_server: MakeServer, programs: Path, tmp_path: Path) -> None:
    keys = str(tmp_path / "keys.json")
    cert, key_file = certificate(tmp_path / "tls", "localhost")
    _, key, _ = await runwright("keys", "add", "billing", "--file", keys, "--role", "caller")
    options = ("--keys", keys, "--tls-cert", str(cert), "--tls-key", str(key_file))
    server = make_server(one_call("one", LOOK), options=options)
    await server.start()
    words = (programs / "follow", f"localhost:{server.address.rpartition(':')[2]}", "run-1", "hello")

    async with running(*words, RUNWRIGHT_TLS_CA=str(cert), RUNWRIGHT_KEY="") as stranger:
        assert await stranger.ended() == CALL_FAILED
    async with running(*words, RUNWRIGHT_TLS_CA=str(cert), RUNWRIGHT_KEY=key.strip()) as billing:
        assert await billing.ended() == COMPLETED

    assert stranger.message[-1].startswith("UNAUTHENTICATED: ")
    assert billing.out[-1].endswith(" RUN_COMPLETED")


async def test_a_tool_registers_answers_outlives_the_server_and_leaves(make_server: MakeServer, programs: Path) -> None:
    script = [asks(("word_count", {"text": "one two  three"}), ("word_count", {"text": 3})), says("{results}")]
    server = make_server(package("counting", script, tool("word_count", "read")), executors={})
    await server.start()
    stay_at(server)

    async with running(programs / "tool", server.address, EXECUTOR, "cpp-1") as serving:
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
    assert registered == [("cpp-1", serving.out[0].removeprefix("serving on "))]
    assert await executors_of(server) == []


async def test_a_tool_that_is_refused_says_why_and_ends(make_server: MakeServer, programs: Path) -> None:
    server = make_server(one_call("one", LOOK))
    await server.start()

    async with running(programs / "tool", server.address, EXECUTOR, "not an id") as serving:
        assert await serving.ended() == CALL_FAILED

    assert serving.message[0].startswith("INVALID_REQUEST: ")

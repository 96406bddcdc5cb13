"""A remote policy, its server and the runtime as processes of their own: whichever is killed, nothing goes unasked."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.callback.v1.callback_registry_service_pb2_grpc import CallbackRegistryServiceStub
from runwright._gen.runwright.v1 import event_pb2, run_pb2

from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor
from tests.e2e.packages import BOOK, Spec, one_call
from tests.e2e.server_process import ROOT, Server

NAME = "compliance"
SECONDS = 30.0


class PolicyProcess:
    """A host of the policy, life after life at one port."""

    def __init__(self) -> None:
        self.port = 0
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, mode: str) -> None:
        """Starts a life."""
        words = ("-m", "tests.e2e.policy_main", mode, str(self.port))
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdout=asyncio.subprocess.PIPE, cwd=ROOT
        )
        self.port = int(await self._line())

    async def asked(self) -> list[str]:
        """The next question it gets: its id and its attempt."""
        return (await self._line()).split()[1:]

    async def kill(self) -> None:
        """SIGKILL, if it lives."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _line(self) -> str:
        assert self._process is not None and self._process.stdout is not None
        async with asyncio.timeout(SECONDS):
            return (await self._process.stdout.readline()).decode().strip()


@pytest.fixture
async def policy() -> AsyncIterator[PolicyProcess]:
    """A host, not yet started."""
    process = PolicyProcess()
    yield process
    await process.kill()


def governed(**fields: Any) -> Spec:
    """A package whose one call a remote policy decides on."""
    remote = {"remote": NAME, **fields}
    return one_call("one", BOOK) | {"policy": "builtin:read-only", "policies": [remote]}


async def registered(server: Server, policy: PolicyProcess) -> None:
    """Registers the host for as long as the test lasts."""
    spec = callback_pb.CallbackSpec(
        callback_id="policy-1",
        executor=NAME,
        address=f"127.0.0.1:{policy.port}",
        kind=callback_pb.CALLBACK_KIND_POLICY,
    )
    request = callback_pb.RegisterCallbackRequest(spec=spec)
    request.lease.FromSeconds(600)
    await CallbackRegistryServiceStub(server.call.channel).RegisterCallback(request, timeout=SECONDS)


async def kinds(server: Server) -> list[str]:
    """The kinds of the run's events about questions and calls."""
    names = [event_pb2.EventKind.Name(frame.event.kind) for frame in await server.call.frames("run-1")]
    shown = ("POLICY", "TOOL_STARTED", "TOOL_DENIED", "TOOL_COMPLETED", "TOOL_RESULT_RELEASED")
    return [name.removeprefix("EVENT_KIND_") for name in names if any(part in name for part in shown)]


Kill = Callable[[Server, PolicyProcess], Awaitable[None]]


async def kill_server(server: Server, policy: PolicyProcess) -> None:
    """The server dies with the question out, and comes back; then the policy answers."""
    await server.restart()
    assert await policy.asked() == ["p1.1.1", "2"]
    await kill_policy(server, policy)


async def kill_policy(_: Server, policy: PolicyProcess) -> None:
    """The policy dies with the question out, and comes back as one that answers."""
    await policy.kill()
    await policy.start("allow")


async def kill_both(server: Server, policy: PolicyProcess) -> None:
    """Both die with the question out."""
    server.kill()
    await server.ended()
    await policy.kill()
    await server.start()
    await policy.start("allow")


@pytest.mark.parametrize("kill", [kill_server, kill_policy, kill_both], ids=lambda kill: kill.__name__)
async def test_a_kill_with_the_question_out_lets_nothing_pass_unasked(
    make_server: MakeServer, executor: Executor, policy: PolicyProcess, kill: Kill
) -> None:
    server = make_server(governed())
    await server.start()
    await policy.start("silent")
    await registered(server, policy)
    await server.call.start("run-1")
    assert await policy.asked() == ["p1.1.1", "1"]

    await kill(server, policy)
    ended = await server.call.settled("run-1")

    assert ended.status == run_pb2.RUN_STATUS_COMPLETED
    assert executor.effects_of("run-1", "c1.1") == 1
    written = await kinds(server)
    assert written[0] == "POLICY_ASKED"
    assert written[-4:] == ["POLICY_ANSWERED", "POLICY_DECIDED", "TOOL_STARTED", "TOOL_COMPLETED"]
    assert written.count("POLICY_DECIDED") == written.count("TOOL_STARTED") == 1


@pytest.mark.parametrize("kill", [kill_server, kill_both], ids=lambda kill: kill.__name__)
async def test_a_kill_between_a_result_and_its_release_performs_nothing_again_and_releases_nothing_unasked(
    make_server: MakeServer, executor: Executor, policy: PolicyProcess, kill: Kill
) -> None:
    of_results = {"remote": NAME, "stages": ["post_tool"]}
    server = make_server(governed() | {"policies": [{"builtin": "allow-declared"}, of_results]})
    await server.start()
    await policy.start("silent")
    await registered(server, policy)
    await server.call.start("run-1")
    assert await policy.asked() == ["p1.1.1", "1"]
    assert "TOOL_COMPLETED" in await kinds(server), "durable before anybody is asked"

    await kill(server, policy)
    ended = await server.call.settled("run-1")

    assert ended.status == run_pb2.RUN_STATUS_COMPLETED
    assert executor.effects_of("run-1", "c1.1") == 1
    written = await kinds(server)
    assert written[-3:] == ["POLICY_ANSWERED", "POLICY_DECIDED", "TOOL_RESULT_RELEASED"]
    assert [written.count(kind) for kind in ("TOOL_STARTED", "TOOL_COMPLETED", "TOOL_RESULT_RELEASED")] == [1, 1, 1]


async def test_a_policy_that_stays_dead_denies_also_after_a_restart_in_the_wait(
    make_server: MakeServer, executor: Executor, policy: PolicyProcess
) -> None:
    server = make_server(governed(unavailable_timeout_ms=3000))
    await server.start()
    await policy.start("silent")
    await registered(server, policy)
    await server.call.start("run-1")
    await policy.asked()

    await policy.kill()
    await server.restart()
    ended = await server.call.settled("run-1")

    assert ended.status == run_pb2.RUN_STATUS_COMPLETED
    assert executor.effects_of("run-1", "c1.1") == 0
    assert "policy.unavailable" in ended.result.text
    assert (await kinds(server))[-3:] == ["POLICY_ANSWERED", "POLICY_DECIDED", "TOOL_DENIED"]

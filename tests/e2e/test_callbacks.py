"""Executors that register: a run waits for one, goes on with it, and a killed server still knows it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as pb
from runwright._gen.runwright.callback.v1.callback_registry_service_pb2_grpc import CallbackRegistryServiceStub
from runwright._gen.runwright.v1 import content_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as runtime_pb
from runwright._gen.runwright.v1.runtime_service_pb2_grpc import RuntimeServiceStub
from runwright.adapters.keys import KeysFile, read_keys, write_keys
from runwright.core.principal import Role
from runwright.core.schema_digests import schema_digest

from tests.e2e.client import SECONDS, answer, error_info
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import EXECUTOR, Executor, Gate, StartCaller, running_executor
from tests.e2e.packages import BOOK, LOOK, one_call
from tests.e2e.reader import until_waiting
from tests.e2e.server_process import ROOT, Server
from tests.transport.known import add_key, bearer


async def register(server: Server, executor: Executor, callback_id: str = "desk-1", **fields: object) -> pb.Callback:
    """Registers the executor with the present life, for ten minutes."""
    spec = pb.CallbackSpec(callback_id=callback_id, executor=EXECUTOR, address=executor.address, **fields)
    request = pb.RegisterCallbackRequest(spec=spec, lease=Duration(seconds=600))
    stub = CallbackRegistryServiceStub(server.call.channel)
    return (await stub.RegisterCallback(request, timeout=SECONDS)).callback


async def listed(server: Server) -> list[pb.Callback]:
    """What the present life knows."""
    stub = CallbackRegistryServiceStub(server.call.channel)
    return list((await stub.ListCallbacks(pb.ListCallbacksRequest(), timeout=SECONDS)).callbacks)


async def test_a_run_waits_until_its_executor_registers(make_server: MakeServer, executor: Executor) -> None:
    server = make_server(one_call("one", BOOK), executors={})
    await server.start()
    await server.call.start("run-1")
    waits = await until_waiting(server, "run-1")

    registered = await register(server, executor)
    ended = await server.call.settled("run-1")

    assert waits.status == run_pb2.RUN_STATUS_WAITING
    assert [(wait.kind, wait.subject) for wait in waits.waiting_on] == [(run_pb2.WAIT_KIND_EXECUTOR, EXECUTOR)]
    assert registered.spec.address == executor.address
    assert "book" in answer(ended)
    assert [requested.attempt for requested in executor.requested] == [1]


async def test_an_executor_without_the_tool_is_waited_past(make_server: MakeServer, executor: Executor) -> None:
    server = make_server(one_call("one", BOOK), executors={})
    await server.start()
    await register(server, executor, tools=["something_else"])
    await server.call.start("run-1")
    waits = await until_waiting(server, "run-1")

    await register(server, executor, tools=["something_else", "book"])

    assert "tool book" in waits.waiting_on[0].unblocked_by
    assert "book" in answer(await server.call.settled("run-1"))


async def test_a_killed_server_still_knows_who_registered(make_server: MakeServer, executor: Executor) -> None:
    gate = Gate()
    held: list[StartCaller] = []

    async def hold_the_first(requested: StartCaller) -> None:
        if not held:
            held.append(requested)
            await gate(requested)

    executor.before = hold_the_first
    server = make_server(one_call("two", LOOK, times=2), executors={})
    await server.start()
    await register(server, executor)
    await server.call.start("run-1")
    await executor.until_asked(1)

    await server.restart()
    ended = await server.call.settled("run-1")
    gate.open()

    assert [found.spec.callback_id for found in await listed(server)] == ["desk-1"]
    assert "look" in answer(ended)
    assert len({requested.key for requested in executor.requested}) == 2
    assert [requested.attempt for requested in executor.calls_of("run-1")][:2] == [1, 2]


async def test_what_a_revoked_key_registered_gets_no_call_after_a_kill_either(
    make_server: MakeServer, executor: Executor, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.json"
    host, caller = add_key(keys, "executor"), bearer(add_key(keys, "caller"))
    server = make_server(one_call("one", LOOK), executors={}, options=("--keys", str(keys)))
    await server.start()
    spec = pb.CallbackSpec(callback_id="desk-1", executor=EXECUTOR, address=executor.address)
    request = pb.RegisterCallbackRequest(spec=spec, lease=Duration(seconds=600))
    stub = CallbackRegistryServiceStub(server.call.channel)
    await stub.RegisterCallback(request, timeout=SECONDS, metadata=bearer(host))

    server.kill()
    await server.ended()
    write_keys(keys, KeysFile(keys=tuple(entry for entry in read_keys(keys).keys if Role.EXECUTOR not in entry.roles)))
    await server.start()
    runtime = RuntimeServiceStub(server.call.channel)
    run = run_pb2.RunRequest(run_id="run-1", input=[content_pb2.InputPart(text="hello")])
    await runtime.StartRun(runtime_pb.StartRunRequest(run=run), timeout=SECONDS, metadata=caller)
    scope = runtime_pb.StreamScope(run_id="run-1")
    reading = runtime.Subscribe(runtime_pb.SubscribeRequest(scope=scope), timeout=SECONDS, metadata=caller)
    async for response in reading:
        if any(frame.event.HasField("retry_scheduled") for frame in response.frames):
            break
    reading.cancel()
    stub = CallbackRegistryServiceStub(server.call.channel)
    known = await stub.ListCallbacks(pb.ListCallbacksRequest(), timeout=SECONDS, metadata=caller)

    assert list(known.callbacks) == executor.requested == []
    assert "its key is not valid any more" in server.log.read_text()


@pytest.mark.parametrize("address", ["169.254.169.254:80", "10.1.2.3:80"])
async def test_what_the_operator_did_not_allow_is_not_dialled(make_server: MakeServer, address: str) -> None:
    server = make_server(one_call("one", LOOK), executors={})
    await server.start()
    stub = CallbackRegistryServiceStub(server.call.channel)
    spec = pb.CallbackSpec(callback_id="evil", executor=EXECUTOR, address=address)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.RegisterCallback(pb.RegisterCallbackRequest(spec=spec), timeout=SECONDS)

    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert '"message": "callback refused"' in server.log.read_text()
    assert await listed(server) == []


async def test_a_server_that_takes_no_registrations_refuses_what_cannot_run(make_server: MakeServer) -> None:
    server = make_server(one_call("one", LOOK), executors={}, options=("--callback-allow", "none"))
    await server.start()

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await server.call.start("run-1")

    assert error_info(refused.value).reason == "EXECUTOR_MISSING"
    assert "callback_allow" in (refused.value.details() or "")


async def test_the_program_explains_a_waiting_run_and_registers_what_it_waits_for(
    make_server: MakeServer, executor: Executor
) -> None:
    server = make_server(one_call("one", BOOK), executors={})
    await server.start()
    await server.call.start("run-1")
    await until_waiting(server, "run-1")

    waits = await program(server, "explain", "run-1")
    words = ("register", "desk-1", "--executor", EXECUTOR, "--address", executor.address)
    registered = await program(server, "callbacks", *words)
    ended = await server.call.settled("run-1")
    names = await program(server, "callbacks", "ls", "-o", "name")
    gone = await program(server, "callbacks", "unregister", "desk-1")
    done = await program(server, "explain", "run-1")

    assert "none is registered for executor desk" in waits
    assert "EXECUTOR_UNAVAILABLE" in waits
    assert executor.address in registered
    assert "book" in answer(ended)
    assert names == "desk-1\n"
    assert "no longer registered" in gone
    assert "COMPLETED" in done
    assert await listed(server) == []


async def program(server: Server, *words: str) -> str:
    """What the command line prints; it must end well."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "runwright", "--server", server.address, *words, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    async with asyncio.timeout(SECONDS):
        out, _ = await process.communicate()
    assert process.returncode == 0, out
    return out.decode()


async def test_a_call_that_is_lost_goes_to_the_other_executor(make_server: MakeServer, executor: Executor) -> None:
    async with running_executor() as second:
        struck: list[Executor] = []

        async def strike(requested: StartCaller) -> None:
            """The first that is asked is gone before it answers."""
            if not struck:
                struck.append(executor if requested in executor.requested else second)
                raise ConnectionAbortedError

        executor.before = second.before = strike
        server = make_server(one_call("one", LOOK), executors={})
        await server.start()
        for number, each in enumerate((executor, second)):
            await register(server, each, callback_id=f"desk-{number}")
        async with asyncio.timeout(SECONDS):
            while {found.health for found in await listed(server)} != {pb.CALLBACK_HEALTH_HEALTHY}:
                pass  # each look is a call
        await server.call.start("run-1")
        ended = await server.call.settled("run-1")

        other = second if struck == [executor] else executor
        assert "look" in answer(ended)
        assert [requested.attempt for requested in struck[0].requested] == [1]
        assert [requested.attempt for requested in other.requested] == [2]


async def test_a_killed_server_still_knows_that_a_host_has_another_schema(
    make_server: MakeServer, executor: Executor
) -> None:
    ours, theirs = schema_digest({"type": "object"}), schema_digest({"type": "object", "title": "other"})
    server = make_server(one_call("one", BOOK), executors={})
    await server.start()
    await register(server, executor, tool_digests=[pb.ToolDigest(tool="book", schema_digest=theirs)])
    await server.call.start("run-1")
    before = await until_waiting(server, "run-1")

    await server.restart()
    after = await until_waiting(server, "run-1")
    [unused] = (await listed(server))[0].unused_tools
    explained = await program(server, "explain", "run-1")
    await register(server, executor, "desk-2", tool_digests=[pb.ToolDigest(tool="book", schema_digest=ours)])
    ended = await server.call.settled("run-1")

    for waits in (before, after):
        assert f"callback desk-1 is not used: its schema of book is {theirs}, the package's {ours}" in (
            waits.waiting_on[0].unblocked_by
        )
    assert (unused.tool, unused.schema_digest, unused.package_schema_digest) == ("book", theirs, ours)
    assert f"  not used for book: its schema is {theirs}" in explained
    assert "to do      serve the tool with the package's schema" in explained
    assert "book" in answer(ended)
    assert [requested.attempt for requested in executor.requested] == [1]

"""Authority that ends, by revocation or by time, ends with everything that goes on under it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as approval_pb
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.adapters.keys import LOOK_EVERY_US, KeyFileAuthenticator, KeysFile, read_keys, write_keys
from runwright.core.principal import Role
from runwright.testing import FunctionTools, ManualClock
from runwright.transport import calls
from runwright.transport.methods import METHODS

from tests.builders import Bench, ListLog
from tests.runtime.parts import HeldTool
from tests.runtime.watching import eventually
from tests.transport.conftest import Serve
from tests.transport.known import add_key, bearer
from tests.transport.raw_http2 import message, raw_connection
from tests.transport.serving import CALL_SECONDS, Served, refusal_of, run_request, subscription

HOUR = 3_600_000_000
RUNTIME = "/runwright.v1.RuntimeService/"


async def subscribe(served: Served, key: str) -> Any:
    call = served.channel().unary_stream(RUNTIME + "Subscribe")(
        subscription().SerializeToString(), metadata=bearer(key)
    )
    await call.read()
    return call


async def watch_everything(served: Served, key: str) -> Any:
    request = pb.SubscribeRequest(scope=pb.StreamScope(all=pb.AllRuns()), live_only=True)
    call = served.channel().unary_stream(RUNTIME + "Subscribe")(request.SerializeToString(), metadata=bearer(key))
    await call.read()
    return call


async def watch_approvals(served: Served, key: str) -> Any:
    request = approval_pb.WatchApprovalsRequest()
    method = "/runwright.v1.ApprovalService/WatchApprovals"
    call = served.channel().unary_stream(method)(request.SerializeToString(), metadata=bearer(key))
    await call.read()
    return call


async def wait(served: Served, key: str) -> Any:
    before = len(served.bench.manual_clock.waiting)
    call = served.channel().unary_unary(RUNTIME + "Wait")(
        pb.WaitRequest(run_id="run-1").SerializeToString(), metadata=bearer(key)
    )
    await eventually(lambda: len(served.bench.manual_clock.waiting) > before)
    return call


def reflection(version: str) -> Callable[[Served, str], Any]:
    async def reflect(served: Served, key: str) -> Any:
        method = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        call = served.channel().stream_stream(method)(metadata=bearer(key))
        await call.write(reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString())
        await call.read()
        return call

    return reflect


GOING_ON = {
    "stream of a run": subscribe,
    "stream of all runs": watch_everything,
    "stream of approvals": watch_approvals,
    "wait": wait,
    "reflection v1": reflection("v1"),
    "reflection v1alpha": reflection("v1alpha"),
}


def test_every_method_that_lasts_is_tried() -> None:
    lasting = {method.name for method in METHODS if method.lasting and method.roles is not None}

    assert lasting == {"Subscribe", "WatchApprovals", "Wait", "ServerReflectionInfo"}, (
        "another one belongs into GOING_ON"
    )


async def ending(call: Any) -> tuple[grpc.StatusCode, str]:
    """How the server ends a call that its client leaves open."""
    try:
        async with asyncio.timeout(CALL_SECONDS):
            if hasattr(call, "read"):
                while await call.read() is not grpc.aio.EOF:
                    pass
                return await call.code(), ""
            await call
    except grpc.aio.AioRpcError as failed:
        return failed.code(), refusal_of(failed).info.reason
    return grpc.StatusCode.OK, ""


class Stage:
    """A server with a run under way, a keys file, and a clock that says when its keys expire."""

    def __init__(self, served: Served, file: Path, clock: ManualClock, tool: HeldTool) -> None:
        self.served, self.file, self.clock, self.tool = served, file, clock, tool


@pytest.fixture
async def stage(serve: Serve, tmp_path: Path) -> Stage:
    file, clock, tool = tmp_path / "keys.json", ManualClock(), HeldTool()
    starter = add_key(file, "caller", name="starter")
    known = KeyFileAuthenticator(file, clock, ListLog(), look_every_us=0)
    served = await serve(Bench(tools=FunctionTools({"look": tool})), authenticator=known)
    await served.stub.StartRun(pb.StartRunRequest(run=run_request()), metadata=bearer(starter), timeout=CALL_SECONDS)
    await tool.begun.wait()
    return Stage(served, file, clock, tool)


def without(file: Path, name: str) -> KeysFile:
    return KeysFile(keys=tuple(entry for entry in read_keys(file).keys if entry.name != name))


@pytest.mark.parametrize("kind", GOING_ON)
async def test_a_revoked_key_ends_what_goes_on_with_it_and_nothing_else(stage: Stage, kind: str) -> None:
    key, other = (add_key(stage.file, "observer", name=name) for name in ("gone", "other"))
    call, retained = [await GOING_ON[kind](stage.served, each) for each in (key, other)]

    write_keys(stage.file, without(stage.file, "gone"))

    assert await ending(call) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
    assert not retained.done()
    retained.cancel()


@pytest.mark.parametrize("kind", GOING_ON)
async def test_an_expired_key_ends_what_goes_on_with_it_and_nothing_else(stage: Stage, kind: str) -> None:
    key = add_key(stage.file, "observer", name="brief", expires_at=stage.clock.now() + HOUR)
    other = add_key(stage.file, "observer", name="other", expires_at=stage.clock.now() + HOUR + 1)
    call, retained = [await GOING_ON[kind](stage.served, each) for each in (key, other)]

    stage.clock.advance(HOUR)

    assert await ending(call) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
    assert not retained.done()
    retained.cancel()


@pytest.mark.parametrize("method", ["StartRun", "Subscribe"])
async def test_a_revoked_key_ends_a_request_that_is_not_complete(stage: Stage, method: str) -> None:
    key = add_key(stage.file, "caller", name="gone")
    async with raw_connection(stage.served.port) as connection:
        half = connection.call(RUNTIME + method, *bearer(key))
        connection.send(half, message(b"x", announced=100))
        await connection.sent()

        write_keys(stage.file, without(stage.file, "gone"))

        assert await connection.ended(half) == grpc.StatusCode.UNAUTHENTICATED.value[0]


async def test_a_role_that_is_taken_away_ends_what_goes_on_with_it(stage: Stage) -> None:
    key = add_key(stage.file, "observer", name="changed")
    call = await subscribe(stage.served, key)

    entries = [
        entry.model_copy(update={"roles": frozenset({Role.EXECUTOR})}) if entry.name == "changed" else entry
        for entry in read_keys(stage.file).keys
    ]
    write_keys(stage.file, KeysFile(keys=tuple(entries)))

    assert await ending(call) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")


def test_what_ends_ends_within_a_second() -> None:
    assert calls.SWEEP_SECONDS + LOOK_EVERY_US / 1_000_000 < 1

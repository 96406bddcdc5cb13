"""grpcurl and buf curl find their way by reflection alone: no proto file is given to them."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.rpc import error_details_pb2

from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor
from tests.e2e.packages import LOOK, one_call
from tests.e2e.server_process import Server
from tests.e2e.tools import BUF, GRPCURL, Ran, ran

SERVICE = "runwright.v1.RuntimeService"
CALLBACKS = "runwright.callback.v1.CallbackRegistryService"
METHODS = {
    "StartRun",
    "Cancel",
    "ResolveEffect",
    "ReleaseRun",
    "RemoveRun",
    "Snapshot",
    "Subscribe",
    "Wait",
    "ListEvents",
    "ListRuns",
    "ExportRun",
    "ListAuditEvents",
    "GetServerInfo",
}
START = {"run": {"run_id": "run-1", "input": [{"text": "hello"}]}}
BAD_START = {"run": {"run_id": "not an id", "input": [{"text": "hello"}]}}
REMEDY = "Use not-an-id instead."
SCOPE = {"scope": {"run_id": "run-1"}}


Call = Callable[[Server, str, dict[str, Any]], Awaitable[Ran]]


async def by_grpcurl(server: Server, method: str, request: dict[str, Any]) -> Ran:
    return await ran(GRPCURL, "-plaintext", "-d", json.dumps(request), server.address, method)


async def by_buf(server: Server, method: str, request: dict[str, Any]) -> Ran:
    return await by_buf_at(server, f"/{method}", "-d", json.dumps(request))


async def by_buf_at(server: Server, path: str, *words: str) -> Ran:
    """`buf curl` as it must be called for a gRPC server without TLS."""
    return await ran(
        BUF, "curl", "--http2-prior-knowledge", "--protocol", "grpc", *words, f"http://{server.address}{path}"
    )


@pytest.fixture
async def server(make_server: MakeServer, executor: Executor) -> Server:
    """A server that knows one package."""
    made = make_server(one_call("one", LOOK))
    await made.start()
    return made


async def test_grpcurl_lists_and_describes(server: Server) -> None:
    services = await ran(GRPCURL, "-plaintext", server.address, "list")
    assert {SERVICE, CALLBACKS, "grpc.health.v1.Health"} <= set(services.out.split())
    methods = await ran(GRPCURL, "-plaintext", server.address, "list", SERVICE)
    assert {line.rpartition(".")[2] for line in methods.out.split()} == METHODS
    request = await ran(GRPCURL, "-plaintext", server.address, "describe", "runwright.v1.RunRequest")
    assert "string run_id = 1;" in request.out


async def test_grpcurl_describes_a_method(server: Server) -> None:
    method = await ran(GRPCURL, "-plaintext", server.address, "describe", f"{SERVICE}.Subscribe")
    assert "returns ( stream .runwright.v1.SubscribeResponse )" in method.out, method.message


async def test_buf_curl_lists(server: Server) -> None:
    services = await by_buf_at(server, "", "--list-services")
    assert {SERVICE, CALLBACKS, "grpc.health.v1.Health"} <= set(services.out.split())
    methods = await by_buf_at(server, "", "--list-methods")
    assert {line.rpartition("/")[2] for line in methods.out.split() if line.startswith(SERVICE)} == METHODS


@pytest.mark.parametrize("call", [by_grpcurl, by_buf], ids=["grpcurl", "buf"])
async def test_a_run_is_started_and_followed(server: Server, call: Call) -> None:
    (started,) = (await call(server, f"{SERVICE}/StartRun", START)).messages()
    assert started["created"] is True
    frames = [f for m in (await call(server, f"{SERVICE}/Subscribe", SCOPE)).messages() for f in m["frames"]]
    kinds = [frame["event"]["kind"] for frame in frames if "event" in frame]
    assert (kinds[0], kinds[-1]) == ("EVENT_KIND_RUN_STARTED", "EVENT_KIND_RUN_COMPLETED")
    (found,) = (await call(server, f"{SERVICE}/Snapshot", {"run_id": "run-1"})).messages()
    assert found["run"]["status"] == "RUN_STATUS_COMPLETED"
    (page,) = (await call(server, f"{SERVICE}/ListEvents", SCOPE)).messages()
    assert [frame["event"]["seq"] for frame in page["frames"]] == [str(n) for n in range(1, len(kinds) + 1)]
    (health,) = (await call(server, "grpc.health.v1.Health/Check", {"service": SERVICE})).messages()
    assert health == {"status": "SERVING"}


@pytest.mark.parametrize("call", [by_grpcurl, by_buf], ids=["grpcurl", "buf"])
async def test_an_executor_is_registered_listed_and_unregistered(
    server: Server, executor: Executor, call: Call
) -> None:
    spec = {"callback_id": "desk-1", "executor": "desk", "address": executor.address}
    (made,) = (await call(server, f"{CALLBACKS}/RegisterCallback", {"spec": spec, "lease": "60s"})).messages()
    (found,) = (await call(server, f"{CALLBACKS}/ListCallbacks", {})).messages()
    (gone,) = (await call(server, f"{CALLBACKS}/UnregisterCallback", {"callback_id": "desk-1"})).messages()

    assert made["callback"]["spec"]["address"] == executor.address
    assert [callback["owner"] for callback in found["callbacks"]] == ["local"]
    assert gone == {}


async def test_grpcurl_shows_reason_field_and_remedy_of_a_bad_request(server: Server) -> None:
    refused = await by_grpcurl(server, f"{SERVICE}/StartRun", BAD_START)
    assert refused.code != 0
    assert '"reason": "INVALID_REQUEST"' in refused.message
    assert '"field": "run_id"' in refused.message
    assert REMEDY in refused.message


async def test_buf_curl_shows_reason_field_and_remedy_of_a_bad_request(server: Server) -> None:
    refused = await by_buf(server, f"{SERVICE}/StartRun", BAD_START)
    assert refused.code != 0
    error = json.loads(refused.message)
    details = {detail["type"]: base64.b64decode(detail["value"] + "==") for detail in error["details"]}
    info = error_details_pb2.ErrorInfo.FromString(details["google.rpc.ErrorInfo"])
    assert (info.reason, info.metadata["field"]) == ("INVALID_REQUEST", "run_id")
    assert "run_id" in error["message"]
    assert REMEDY in error["message"], "buf leaves the details encoded: what a person can read is the message"

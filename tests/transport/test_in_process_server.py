"""The server for tests of others: up inside the block, gone after it, and honest about what keeps it from starting."""

from __future__ import annotations

import threading

import grpc
import pytest
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright._gen.runwright.v1.runtime_service_pb2_grpc import RuntimeServiceStub
from runwright.core.errors import AgentError, ErrorReason
from runwright.runtime import AgentRuntime
from runwright.testing import InProcessServer

from tests import builders as b
from tests.transport.serving import CALL_SECONDS, run_request


def make() -> AgentRuntime:
    """A runtime by the system's clock."""
    return b.real_time_bench().runtime()


def started(server: InProcessServer) -> bool:
    """Starts a run from this thread."""
    with grpc.insecure_channel(server.address) as channel:
        request = pb.StartRunRequest(run=run_request())
        answer: pb.StartRunResponse = RuntimeServiceStub(channel).StartRun(request, timeout=CALL_SECONDS)
    return answer.created


def test_it_is_up_inside_the_block_and_gone_after_it() -> None:
    threads = set(threading.enumerate())

    with InProcessServer(make) as server:
        assert started(server)

    with pytest.raises(grpc.RpcError):
        started(server)
    assert {thread for thread in threading.enumerate() if thread.name == "runwright-server"} <= threads


def test_two_can_run_side_by_side() -> None:
    with InProcessServer(make) as first, InProcessServer(make) as second:
        assert first.port != second.port
        assert started(first) and started(second)


def test_what_keeps_it_from_starting_is_raised_in_the_block_s_thread() -> None:
    def broken() -> AgentRuntime:
        return b.real_time_bench().runtime(b.one_call_package(), b.one_call_package())

    with pytest.raises(AgentError) as caught, InProcessServer(broken):
        pass

    assert caught.value.reason is ErrorReason.PACKAGE_INVALID

"""What the runner does with calls of its own: it has as many open as the server allows everyone together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from tests.conformance.stage import Stage


async def occupy_calls(stage: Stage, _: Mapping[str, Any]) -> None:
    """Opens streams until no further call is taken from anybody without a key."""
    stub = stage.server.call.stub
    most = (await stub.GetServerInfo(pb.GetServerInfoRequest())).limits["principal_calls"]
    request = pb.SubscribeRequest(scope=pb.StreamScope(all=pb.AllRuns()))
    for _ in range(most):
        stream = stub.Subscribe(request)
        await stream.read()  # its opening bookmark: it is counted
        stage.calls.append(stream)


async def free_calls(stage: Stage, _: Mapping[str, Any]) -> None:
    """Ends them."""
    while stage.calls:
        stage.calls.pop().cancel()

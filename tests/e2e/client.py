"""The calls a test makes on one life of a server, each with a bound; and what an error says."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from runwright._gen.runwright.v1 import event_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright._gen.runwright.v1.content_pb2 import InputPart
from runwright._gen.runwright.v1.runtime_service_pb2_grpc import RuntimeServiceStub

SECONDS = 30.0
_OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
]


def run_request(run_id: str, text: str = "hello", **fields: Any) -> run_pb2.RunRequest:
    """A request with one part of input."""
    return run_pb2.RunRequest(run_id=run_id, input=[InputPart(text=text)], **fields)


class Caller:
    """A channel of its own to one life of a server."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self.stub = RuntimeServiceStub(self.channel)
        self.health = health_pb2_grpc.HealthStub(self.channel)

    async def start(self, run_id: str, text: str = "hello", **fields: Any) -> pb.StartRunResponse:
        """Starts a run."""
        return await self.send(run_request(run_id, text, **fields))

    async def send(self, run: run_pb2.RunRequest) -> pb.StartRunResponse:
        """Starts a run with exactly this request."""
        return await self.stub.StartRun(pb.StartRunRequest(run=run), timeout=SECONDS)

    async def snapshot(self, run_id: str) -> run_pb2.RunSnapshot:
        """A run as it stands."""
        response = await self.stub.Snapshot(pb.SnapshotRequest(run_id=run_id), timeout=SECONDS)
        return response.run

    async def settled(self, run_id: str) -> run_pb2.RunSnapshot:
        """The run once it has ended or needs repair."""
        request = pb.WaitRequest(run_id=run_id, timeout=Duration(seconds=60))
        response = await self.stub.Wait(request, timeout=90)
        assert response.done, f"still {run_pb2.RunStatus.Name(response.run.status)} after a minute: {response.run}"
        return response.run

    async def cancel(self, run_id: str, *, grace: float | None = None, reason: str = "") -> pb.CancelResponse:
        """Asks a run to end."""
        request = pb.CancelRequest(run_id=run_id, reason=reason)
        if grace is not None:
            request.grace.FromMicroseconds(int(grace * 1_000_000))
        return await self.stub.Cancel(request, timeout=SECONDS)

    async def frames(self, run_id: str) -> list[event_pb2.EventFrame]:
        """Every event of the run, page by page."""
        frames: list[event_pb2.EventFrame] = []
        request = pb.ListEventsRequest(scope=pb.StreamScope(run_id=run_id))
        while True:
            page = await self.stub.ListEvents(request, timeout=SECONDS)
            frames += page.frames
            if not page.next_page_token:
                return frames
            request.page_token = page.next_page_token

    async def not_serving(self) -> None:
        """Returns once health says NOT_SERVING, or nobody answers any more."""
        watch = self.health.Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        try:
            async for answer in watch:
                if answer.status == health_pb2.HealthCheckResponse.NOT_SERVING:
                    return
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE, error
        finally:
            watch.cancel()


def error_info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    """The ErrorInfo of a failed call; an empty one when it has none."""
    info = error_details_pb2.ErrorInfo()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Is(info.DESCRIPTOR):
                    detail.Unpack(info)
    return info


def answer(snapshot: run_pb2.RunSnapshot) -> str:
    """The answer of a run that has completed."""
    assert snapshot.status == run_pb2.RUN_STATUS_COMPLETED, snapshot
    return snapshot.result.text

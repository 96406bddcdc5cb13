"""A runtime service that plays stories: real gRPC, made-up answers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from runwright._gen.runwright.v1 import error_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright._gen.runwright.v1.runtime_service_pb2_grpc import (
    RuntimeServiceServicer,
    add_RuntimeServiceServicer_to_server,
)

from tests.cli.story import RUN, Story, bookmark


class FakeRuntime(RuntimeServiceServicer):
    """Knows one run. `cuts[n]` is how many events the n-th subscription gives before the connection is lost."""

    def __init__(self, story: Story, run: run_pb2.RunSnapshot | None = None, cuts: tuple[int, ...] = ()) -> None:
        self.frames = story.frames
        self.run = run or run_pb2.RunSnapshot(run_id=RUN, status=run_pb2.RUN_STATUS_COMPLETED)
        self.cuts = list(cuts)
        self.ends = True  # whether a stream ends after the last event, as it does after a terminal one
        self.after: list[str] = []  # the cursor of each subscription
        self.deltas: list[bool] = []  # whether each subscription asked for them
        self.requests: list[Any] = []
        self.waits: list[bool | None] = []

    def StartRun(self, request: pb.StartRunRequest, context: grpc.ServicerContext) -> pb.StartRunResponse:
        """Always the one run, whatever the request says; the request is kept."""
        self.requests.append(request)
        return pb.StartRunResponse(run=self.run, created=True)

    def Snapshot(self, request: pb.SnapshotRequest, context: grpc.ServicerContext) -> pb.SnapshotResponse:
        """The run, or RUN_NOT_FOUND."""
        if request.run_id != RUN:
            message = f"There is no run {request.run_id}."
            fail(context, grpc.StatusCode.NOT_FOUND, error_pb2.ERROR_REASON_RUN_NOT_FOUND, message, "Check the run id.")
        return pb.SnapshotResponse(run=self.run)

    def Cancel(self, request: pb.CancelRequest, context: grpc.ServicerContext) -> pb.CancelResponse:
        """The run as it is; the request is kept."""
        self.requests.append(request)
        return pb.CancelResponse(run=self.run, barrier_seq=7)

    def ResolveEffect(
        self, request: pb.ResolveEffectRequest, context: grpc.ServicerContext
    ) -> pb.ResolveEffectResponse:
        """The run as it is, and the decision as somebody made it; the request is kept."""
        self.requests.append(request)
        decision = run_pb2.EffectResolution(
            effect_id=request.effect_id, attempt=request.attempt, resolution=request.resolution, resolved_by="ann"
        )
        return pb.ResolveEffectResponse(run=self.run, resolution=decision, resolved=True)

    def ReleaseRun(self, request: pb.ReleaseRunRequest, context: grpc.ServicerContext) -> pb.ReleaseRunResponse:
        """The run as it is; the request is kept."""
        self.requests.append(request)
        return pb.ReleaseRunResponse(run=self.run, released=True)

    def RemoveRun(self, request: pb.RemoveRunRequest, context: grpc.ServicerContext) -> pb.RemoveRunResponse:
        """The run as it is; the request is kept."""
        self.requests.append(request)
        return pb.RemoveRunResponse(run=self.run)

    def Wait(self, request: pb.WaitRequest, context: grpc.ServicerContext) -> pb.WaitResponse:
        """Plays `waits`: whether the run is done, or None for a server that stops; done when all are played."""
        self.requests.append(request)
        done = self.waits.pop(0) if self.waits else True
        if done is None:
            fail(context, grpc.StatusCode.UNAVAILABLE, error_pb2.ERROR_REASON_DRAINING, "The server stops.", "Again.")
        return pb.WaitResponse(run=self.run, done=done)

    def ListEvents(self, request: pb.ListEventsRequest, context: grpc.ServicerContext) -> pb.ListEventsResponse:
        """Pages of three."""
        left = self._after(request.page_token)
        more = left[2].cursor if len(left) > 3 else ""
        return pb.ListEventsResponse(frames=left[:3], next_page_token=more)

    def ListRuns(self, request: pb.ListRunsRequest, context: grpc.ServicerContext) -> pb.ListRunsResponse:
        """Three runs like the one, a page each, after an empty page; the requests are kept."""
        self.requests.append(pb.ListRunsRequest.FromString(request.SerializeToString()))
        number = int(request.page_token or 0)
        if number == 0:
            return pb.ListRunsResponse(next_page_token="1")
        run = run_pb2.RunSnapshot()
        run.CopyFrom(self.run)
        run.run_id = f"run-{number}"
        return pb.ListRunsResponse(runs=[run], next_page_token=str(number + 1) if number < 3 else "")

    def Subscribe(self, request: pb.SubscribeRequest, context: grpc.ServicerContext) -> Iterator[pb.SubscribeResponse]:
        """An opening bookmark and what comes after the cursor."""
        self.after.append(request.after_cursor)
        self.deltas.append(request.include_deltas)
        yield pb.SubscribeResponse(frames=[bookmark(request.after_cursor or "cursor-0", len(self.frames))])
        left = self._after(request.after_cursor)
        cut = self.cuts.pop(0) if self.cuts else None
        for frame in left[:cut]:
            if frame.sub_sequence and not request.include_deltas:
                continue
            yield pb.SubscribeResponse(frames=[frame])
        if cut is not None:
            fail(context, grpc.StatusCode.UNAVAILABLE, error_pb2.ERROR_REASON_DRAINING, "The server stops.", "Again.")
        if not self.ends:
            while context.is_active():
                yield pb.SubscribeResponse(frames=[bookmark(self.frames[-1].cursor, len(self.frames))])

    def _after(self, cursor: str) -> list[Any]:
        return self.frames[int(cursor.removeprefix("cursor-") or 0) :]


def fail(
    context: grpc.ServicerContext, code: grpc.StatusCode, reason: error_pb2.ErrorReason.ValueType, message: str, do: str
) -> NoReturn:
    """Ends a call as the server does: with the reason as ErrorInfo and AgentError in its details."""
    name = error_pb2.ErrorReason.Name(reason).removeprefix("ERROR_REASON_")
    info, error = AnyMessage(), AnyMessage()
    info.Pack(error_details_pb2.ErrorInfo(reason=name, domain="runwright"))
    error.Pack(error_pb2.AgentError(reason=reason, message=message, remedy=do))
    status = status_pb2.Status(code=code.value[0], message=message, details=[info, error])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, message)


@contextmanager
def serving(runtime: FakeRuntime) -> Iterator[str]:
    """Serves it on a free port; gives the address."""
    server = grpc.server(
        ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 32 * 1024 * 1024)]
    )
    add_RuntimeServiceServicer_to_server(runtime, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()

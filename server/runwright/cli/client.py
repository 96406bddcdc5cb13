"""The connection to a server: one method per call, failures as `Problem`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import grpc
import typer
from google.protobuf.duration_pb2 import Duration

from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.callback.v1.callback_registry_service_pb2_grpc import CallbackRegistryServiceStub
from runwright._gen.runwright.v1 import approval_service_pb2 as approval_pb
from runwright._gen.runwright.v1 import event_pb2, run_pb2
from runwright._gen.runwright.v1 import package_service_pb2 as package_pb
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright._gen.runwright.v1.approval_service_pb2_grpc import ApprovalServiceStub
from runwright._gen.runwright.v1.package_service_pb2_grpc import PackageServiceStub
from runwright._gen.runwright.v1.runtime_service_pb2_grpc import RuntimeServiceStub
from runwright.cli.connection import Connection
from runwright.cli.errors import Problem

UNARY_SECONDS = 30.0
SLOW_BYTES = 256 * 1024  # a second: what images on their way are given
PAGE_SIZE = 50
MOST_RUNS = 100
# Without pings a stream from a machine that has lost its power would wait for ever. The server takes one in 10 s.
KEEPALIVE_MS = 20_000
MOST_EVENTS = 1000
TROUBLES = (
    event_pb2.EVENT_KIND_MODEL_ATTEMPT_FAILED,
    event_pb2.EVENT_KIND_TOOL_FAILED,
    event_pb2.EVENT_KIND_TOOL_DENIED,
    event_pb2.EVENT_KIND_TOOL_RECOVERY_REQUIRED,
    event_pb2.EVENT_KIND_RETRY_SCHEDULED,
    event_pb2.EVENT_KIND_RECONCILE_ENDED,
    event_pb2.EVENT_KIND_TOOL_RESULT_RELEASED,  # one that is withheld or replaced
)
PERMISSIONS = (event_pb2.EVENT_KIND_APPROVAL_DECIDED, event_pb2.EVENT_KIND_GRANT_USED)
_OPTIONS = [
    # A page of events with inlined content of 64 KiB each is larger than the default of 4 MiB.
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_http_proxy", 0),
]

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class Client:
    """Calls one server. The connection is made with the first call."""

    def __init__(self, connection: Connection) -> None:
        self.server = connection.server
        self.options = connection.options
        self._connection = connection
        channel = connection.channel([*_OPTIONS, *_pings()])
        self._stub = RuntimeServiceStub(channel)
        self._approvals = ApprovalServiceStub(channel)
        self._packages = PackageServiceStub(channel)
        self._callbacks = CallbackRegistryServiceStub(channel)
        self._metadata = (("authorization", f"Bearer {connection.key}"),) if connection.key else ()

    @classmethod
    def of(cls, context: typer.Context) -> Client:
        """The client for the server that the command line names."""
        return cls(context.ensure_object(Connection))

    def start(self, run: run_pb2.RunRequest) -> pb.StartRunResponse:
        """Starts a run."""
        request = pb.StartRunRequest(run=run)
        return self._call(self._stub.StartRun, request, seconds=UNARY_SECONDS + request.ByteSize() / SLOW_BYTES)

    def snapshot(self, run_id: str) -> pb.SnapshotResponse:
        """A run as it stands."""
        return self._call(self._stub.Snapshot, pb.SnapshotRequest(run_id=run_id))

    def cancel(self, run_id: str, reason: str, grace: float | None) -> pb.CancelResponse:
        """Asks a run to end."""
        request = pb.CancelRequest(run_id=run_id, reason=reason)
        if grace is not None:
            request.grace.CopyFrom(_duration(grace))
        return self._call(self._stub.Cancel, request)

    def resolve(self, request: pb.ResolveEffectRequest) -> pb.ResolveEffectResponse:
        """Says what became of a call of unknown outcome."""
        return self._call(self._stub.ResolveEffect, request)

    def approvals(
        self, wanted: approval_pb.ListApprovalsRequest, limit: int
    ) -> Iterator[approval_pb.ListApprovalsResponse]:
        """The first `limit` approvals that are wanted, page by page; a page may be empty."""
        while limit > 0:
            wanted.page_size = min(limit, MOST_RUNS)
            page = self._call(self._approvals.ListApprovals, wanted)
            yield page
            if not page.next_page_token:
                return
            limit -= len(page.approvals)
            wanted.page_token = page.next_page_token

    def approval(self, approval_id: str) -> approval_pb.GetApprovalResponse:
        """An approval as it stands, with the arguments."""
        request = approval_pb.GetApprovalRequest(approval_id=approval_id, include_arguments=True)
        return self._call(self._approvals.GetApproval, request)

    def decide(self, decision: approval_pb.DecisionRequest) -> approval_pb.DecideApprovalResponse:
        """Decides on an approval."""
        return self._call(self._approvals.DecideApproval, approval_pb.DecideApprovalRequest(decision=decision))

    def decide_batch(self, decisions: Sequence[approval_pb.DecisionRequest]) -> approval_pb.BatchDecideResponse:
        """Decides on several, each for itself."""
        return self._call(self._approvals.BatchDecide, approval_pb.BatchDecideRequest(decisions=decisions))

    def watch_approvals(
        self, request: approval_pb.WatchApprovalsRequest
    ) -> Iterator[approval_pb.WatchApprovalsResponse]:
        """Approvals as they come and as something becomes of them."""
        return self._stream(self._approvals.WatchApprovals, request)

    def grants(self, wanted: approval_pb.ListGrantsRequest, limit: int) -> Iterator[approval_pb.ListGrantsResponse]:
        """The first `limit` grants that are wanted, page by page; a page may be empty."""
        while limit > 0:
            wanted.page_size = min(limit, MOST_RUNS)
            page = self._call(self._approvals.ListGrants, wanted)
            yield page
            if not page.next_page_token:
                return
            limit -= len(page.grants)
            wanted.page_token = page.next_page_token

    def revoke_grant(self, request: approval_pb.RevokeGrantRequest) -> approval_pb.RevokeGrantResponse:
        """Takes a grant back."""
        return self._call(self._approvals.RevokeGrant, request)

    def resume(self, request: pb.ResumeRequest) -> pb.ResumeResponse:
        """Has what a policy has deferred go on."""
        return self._call(self._stub.Resume, request)

    def release(self, run_id: str, reason: str) -> pb.ReleaseRunResponse:
        """Takes a held run up again."""
        return self._call(self._stub.ReleaseRun, pb.ReleaseRunRequest(run_id=run_id, reason=reason))

    def remove(self, run_id: str, reason: str) -> pb.RemoveRunResponse:
        """Removes a held run."""
        return self._call(self._stub.RemoveRun, pb.RemoveRunRequest(run_id=run_id, reason=reason))

    def wait(self, run_id: str, seconds: float) -> pb.WaitResponse:
        """A run, once it has ended or needs repair or the seconds are over."""
        request = pb.WaitRequest(run_id=run_id, timeout=_duration(seconds))
        return self._call(self._stub.Wait, request, seconds=seconds + UNARY_SECONDS)

    def pages(self, run_id: str, cursor: str) -> Iterator[pb.ListEventsResponse]:
        """Every page of a run's events after `cursor`, with the content they refer to."""
        request = pb.ListEventsRequest(page_token=cursor, page_size=PAGE_SIZE, view=pb.EVENT_VIEW_FULL)
        request.scope.run_id = run_id
        yield from self._pages(request)

    def said(self, run_id: str) -> Iterator[event_pb2.EventFrame]:
        """What the user said in a run and how it ended, with the content."""
        request = pb.ListEventsRequest(view=pb.EVENT_VIEW_FULL)
        request.scope.run_id = run_id
        request.filter.kinds.extend(
            (event_pb2.EVENT_KIND_TURN_STARTED, event_pb2.EVENT_KIND_RUN_COMPLETED, event_pb2.EVENT_KIND_RUN_FAILED)
        )
        for page in self._pages(request):
            yield from page.frames

    def _pages(self, request: pb.ListEventsRequest) -> Iterator[pb.ListEventsResponse]:
        while True:
            page = self._call(self._stub.ListEvents, request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def troubles(self, run_id: str) -> Iterator[event_pb2.EventFrame]:
        """Every event of a run that says that something did not go well, in order, with what it says."""
        frames = self._events(run_id, TROUBLES, pb.EVENT_VIEW_FULL)
        yield from (frame for frame in frames if frame.event.kind in TROUBLES and not _released(frame.event))

    def permissions(self, run_id: str) -> Iterator[event_pb2.EventFrame]:
        """Every event of a run that says who approved a call, themselves or by a grant, in order."""
        frames = self._events(run_id, PERMISSIONS, pb.EVENT_VIEW_UNSPECIFIED)
        yield from (frame for frame in frames if frame.event.kind in PERMISSIONS)

    def _events(
        self, run_id: str, kinds: Sequence[event_pb2.EventKind.ValueType], view: pb.EventView.ValueType
    ) -> Iterator[event_pb2.EventFrame]:
        request = pb.ListEventsRequest(page_size=MOST_EVENTS, filter=pb.EventFilter(kinds=kinds), view=view)
        request.scope.run_id = run_id
        while True:
            page = self._call(self._stub.ListEvents, request)
            yield from page.frames
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def info(self) -> pb.GetServerInfoResponse:
        """What the server can run, the packages of all pages together, and its limits."""
        found = self._call(self._stub.GetServerInfo, pb.GetServerInfoRequest())
        while found.next_page_token:
            page = self._call(self._stub.GetServerInfo, pb.GetServerInfoRequest(page_token=found.next_page_token))
            found.packages.extend(page.packages)
            found.next_page_token = page.next_page_token
        return found

    def callbacks(
        self, name: str = "", kind: callback_pb.CallbackKind.ValueType = callback_pb.CALLBACK_KIND_UNSPECIFIED
    ) -> callback_pb.ListCallbacksResponse:
        """Every registration of the namespace, or of one name in it: an executor's, unless the kind says otherwise."""
        request = callback_pb.ListCallbacksRequest(executor=name, kind=kind)
        listed = callback_pb.ListCallbacksResponse()
        while True:
            page = self._call(self._callbacks.ListCallbacks, request)
            listed.callbacks.extend(page.callbacks)
            if not page.next_page_token:
                return listed
            request.page_token = page.next_page_token

    def register(self, request: callback_pb.RegisterCallbackRequest) -> callback_pb.RegisterCallbackResponse:
        """Registers a callback, or renews it."""
        return self._call(self._callbacks.RegisterCallback, request)

    def unregister(self, callback_id: str) -> None:
        """Ends a registration."""
        self._call(self._callbacks.UnregisterCallback, callback_pb.UnregisterCallbackRequest(callback_id=callback_id))

    def put_package(self, request: package_pb.PutPackageRequest) -> package_pb.PutPackageResponse:
        """Puts a package."""
        return self._call(self._packages.PutPackage, request)

    def package(self, selector: run_pb2.PackageSelector) -> package_pb.GetPackageResponse:
        """A package, whole."""
        return self._call(self._packages.GetPackage, package_pb.GetPackageRequest(package=selector))

    def packages(self, package_id: str = "") -> package_pb.ListPackagesResponse:
        """Every package of the namespace, or those with an id."""
        request = package_pb.ListPackagesRequest(package_id=package_id)
        listed = package_pb.ListPackagesResponse()
        while True:
            page = self._call(self._packages.ListPackages, request)
            listed.packages.extend(page.packages)
            if not page.next_page_token:
                return listed
            request.page_token = page.next_page_token

    def tag_package(self, request: package_pb.TagPackageRequest) -> package_pb.TagPackageResponse:
        """Moves a tag."""
        return self._call(self._packages.TagPackage, request)

    def tag_history(self, tag: str) -> package_pb.ListTagHistoryResponse:
        """Where a tag points and has pointed."""
        request = package_pb.ListTagHistoryRequest(tag=tag)
        listed = package_pb.ListTagHistoryResponse()
        while True:
            page = self._call(self._packages.ListTagHistory, request)
            listed.moves.extend(page.moves)
            if not page.next_page_token:
                return listed
            request.page_token = page.next_page_token

    def resolve_package(self, request: package_pb.ResolvePackageRequest) -> package_pb.ResolvePackageResponse:
        """What a run of a package would be."""
        return self._call(self._packages.ResolvePackage, request)

    def runs(self, wanted: pb.RunFilter, limit: int) -> Iterator[pb.ListRunsResponse]:
        """The newest `limit` runs that are wanted, page by page; a page may be empty."""
        request = pb.ListRunsRequest(filter=wanted)
        while limit > 0:
            request.page_size = min(limit, MOST_RUNS)
            page = self._call(self._stub.ListRuns, request)
            yield page
            if not page.next_page_token:
                return
            limit -= len(page.runs)
            request.page_token = page.next_page_token

    def audit(self, limit: int) -> Iterator[pb.ListAuditEventsResponse]:
        """The newest `limit` audit events, page by page."""
        request = pb.ListAuditEventsRequest()
        while limit > 0:
            request.page_size = min(limit, MOST_RUNS)
            page = self._call(self._stub.ListAuditEvents, request)
            yield page
            if not page.next_page_token:
                return
            limit -= len(page.events)
            request.page_token = page.next_page_token

    def export(self, run_id: str) -> Iterator[pb.ExportRunResponse]:
        """Everything the journal holds of a run, as it is stored."""
        return self._stream(self._stub.ExportRun, pb.ExportRunRequest(run_id=run_id))

    def content(self, run_id: str, digest: str) -> Iterator[bytes]:
        """A content of a run, piece by piece, whatever its size."""
        for response in self.export(run_id):
            if response.content.digest == digest:
                yield response.content.data
                if response.content.last:
                    return

    def subscribe(self, run_id: str, cursor: str, *, deltas: bool) -> Iterator[pb.SubscribeResponse]:
        """A run's events after `cursor` with their content, until the run ends; with `deltas` text as it comes."""
        scope = pb.StreamScope(run_id=run_id)
        return self.subscribe_to(
            pb.SubscribeRequest(scope=scope, view=pb.EVENT_VIEW_FULL, include_deltas=deltas), cursor
        )

    def subscribe_to(self, stream: pb.SubscribeRequest, cursor: str) -> Iterator[pb.SubscribeResponse]:
        """Any stream; after `cursor` when there is one."""
        request = pb.SubscribeRequest()
        request.CopyFrom(stream)
        if cursor:
            request.after_cursor, request.live_only = cursor, False
        return self._stream(self._stub.Subscribe, request)

    def _stream(
        self, method: grpc.UnaryStreamMultiCallable[_Request, _Response], request: _Request
    ) -> Iterator[_Response]:
        call = method(request, metadata=self._metadata)
        try:
            yield from call
        except grpc.RpcError as error:
            raise self._problem(error) from None
        finally:
            call.cancel()

    def _problem(self, error: grpc.RpcError) -> Problem:
        problem = Problem.of(error, self.server)
        problem.connection = self._connection
        return problem

    def _call(
        self,
        method: grpc.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        seconds: float = UNARY_SECONDS,
    ) -> _Response:
        try:
            return method(request, timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._problem(error) from None


def _released(event: event_pb2.Event) -> bool:
    return event.tool_result_released.release == event_pb2.RESULT_RELEASE_RELEASED


def _pings() -> list[tuple[str, int]]:
    return [
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_MS // 2),
        ("grpc.http2.ping_timeout_ms", KEEPALIVE_MS // 2),
        ("grpc.http2.max_pings_without_data", 0),  # a stream only reads
    ]


def _duration(seconds: float) -> Duration:
    return Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))

"""The handlers of RuntimeService: a request is read, the runtime asked, its answer put into a response."""

from __future__ import annotations

from collections.abc import Mapping

from runwright import __version__
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.core.error_kinds import RetryClass
from runwright.core.errors import AgentError, invalid_request
from runwright.ports.audit import refused_resolution, refused_start
from runwright.runtime import AgentRuntime, RunSnapshot
from runwright.runtime.runtime import DEFAULT_GRACE_US
from runwright.transport.access import principal, trace_parent
from runwright.transport.exports import RunExports
from runwright.transport.limits import MAX_GRACE_SECONDS, MAX_REASON_BYTES, MAX_WAIT_SECONDS
from runwright.transport.method import BytesSender, MessageSender
from runwright.transport.package_list import put_packages
from runwright.transport.streams import EventStreams
from runwright.transport.usage import PAGE_BYTES
from runwright.wire import requests as wire
from runwright.wire import selections, snapshots
from runwright.wire.audit import audit_event
from runwright.wire.resolutions import put_resolution, resolution_request

DEFAULT_WAIT_US = 30_000_000


class RuntimeService:
    """`runwright.v1.RuntimeService` over an AgentRuntime."""

    def __init__(self, runtime: AgentRuntime, streams: EventStreams, limits: Mapping[str, int]) -> None:
        self._runtime = runtime
        self._streams = streams
        self._limits = limits
        self._exports = RunExports(runtime)

    async def StartRun(self, request: pb.StartRunRequest) -> pb.StartRunResponse:
        """Starts a run; durable before the reply."""
        try:
            handle, created = await self._runtime.start_run(
                wire.run_request(request),
                namespace=principal().namespace,
                principal=principal().name,
                trace_parent=trace_parent(),
                roles=sorted(role.value for role in principal().roles),
            )
        except AgentError as error:
            self._start_refused(request.run, error)
            raise
        response = pb.StartRunResponse(created=created)
        _put(response.run, await handle.snapshot())
        return response

    async def Cancel(self, request: pb.CancelRequest) -> pb.CancelResponse:
        """Asks a run to end."""
        _check_reason(request.reason)
        grace = DEFAULT_GRACE_US
        if request.HasField("grace"):
            grace = wire.duration_us("grace", request.grace, most_seconds=MAX_GRACE_SECONDS)
        cancelled = await self._runtime.cancel_run(
            request.run_id,
            reason=request.reason,
            grace_us=grace,
            namespace=principal().namespace,
            principal=principal().name,
        )
        response = pb.CancelResponse(barrier_seq=cancelled.barrier_seq)
        _put(response.run, cancelled.snapshot)
        return response

    async def ResolveEffect(self, request: pb.ResolveEffectRequest) -> pb.ResolveEffectResponse:
        """Says what became of a call of unknown outcome."""
        try:
            _check_reason(request.reason)
            resolved = await self._runtime.repair.resolve(
                request.run_id,
                resolution_request(request),
                namespace=principal().namespace,
                principal=principal().name,
            )
        except AgentError as error:
            if error.meaning.retry is not RetryClass.RETRYABLE:
                audit = self._runtime.ports.audit
                refused_resolution(audit, principal(), request.run_id, request.effect_id, error.reason.name)
            raise
        response = pb.ResolveEffectResponse(resolved=resolved.is_first)
        put_resolution(response.resolution, resolved.decision)
        _put(response.run, resolved.snapshot)
        return response

    async def Resume(self, request: pb.ResumeRequest) -> pb.ResumeResponse:
        """Has what a policy has deferred go on."""
        _check_reason(request.reason)
        run, resumed = await self._runtime.repair.resume(
            request.run_id,
            request.effect_id,
            request_id=request.request_id,
            reason=request.reason,
            principal=principal(),
        )
        response = pb.ResumeResponse(resumed=resumed)
        _put(response.run, run)
        return response

    async def ReleaseRun(self, request: pb.ReleaseRunRequest) -> pb.ReleaseRunResponse:
        """Takes a held run up again."""
        _check_reason(request.reason)
        run, released = await self._runtime.release_run(
            request.run_id, reason=request.reason, namespace=principal().namespace, principal=principal().name
        )
        response = pb.ReleaseRunResponse(released=released)
        _put(response.run, run)
        return response

    async def RemoveRun(self, request: pb.RemoveRunRequest) -> pb.RemoveRunResponse:
        """Removes a held run."""
        _check_reason(request.reason)
        response = pb.RemoveRunResponse()
        left = await self._runtime.remove_run(
            request.run_id, reason=request.reason, namespace=principal().namespace, principal=principal().name
        )
        _put(response.run, left)
        return response

    async def Snapshot(self, request: pb.SnapshotRequest) -> pb.SnapshotResponse:
        """A run as it stands."""
        response = pb.SnapshotResponse()
        _put(response.run, await self._runtime.run_snapshot(request.run_id, namespace=principal().namespace))
        return response

    async def ExportRun(self, request: pb.ExportRunRequest, sender: MessageSender) -> None:
        """Streams what the journal holds of a run, as it is stored."""
        await self._exports.export(request, sender)

    async def Subscribe(self, request: pb.SubscribeRequest, sender: BytesSender) -> None:
        """Streams the events of one run or of many, as raw frames."""
        await self._streams.subscribe(request, sender)

    async def Wait(self, request: pb.WaitRequest) -> pb.WaitResponse:
        """Waits for a run's end."""
        timeout = DEFAULT_WAIT_US
        if request.HasField("timeout"):
            timeout = wire.duration_us("timeout", request.timeout, most_seconds=MAX_WAIT_SECONDS)
        waited, done = await self._runtime.wait_run(request.run_id, timeout_us=timeout, namespace=principal().namespace)
        response = pb.WaitResponse(done=done)
        _put(response.run, waited)
        return response

    async def ListEvents(self, request: pb.ListEventsRequest) -> pb.ListEventsResponse:
        """One page of a stream's events."""
        return await self._streams.page(request)

    async def ListRuns(self, request: pb.ListRunsRequest) -> pb.ListRunsResponse:
        """One page of runs, newest first."""
        wanted, size = selections.run_filter(request.filter), wire.page_size(request.page_size)
        listed = await self._runtime.list_runs(
            wanted, page_token=request.page_token, limit=size, namespace=principal().namespace
        )
        response = pb.ListRunsResponse(next_page_token=listed.next_token)
        room = PAGE_BYTES
        for run, token in zip(listed.runs, ("", *listed.tokens), strict=False):
            message = run_pb2.RunSnapshot()
            _put(message, run)
            room -= message.ByteSize()
            if response.runs and room < 0:
                response.next_page_token = token  # after the run before
                break
            response.runs.append(message)
        return response

    async def ListAuditEvents(self, request: pb.ListAuditEventsRequest) -> pb.ListAuditEventsResponse:
        """One page of what happened outside of every run, newest first."""
        listed = await self._runtime.list_audit(
            page_token=request.page_token, limit=wire.page_size(request.page_size), namespace=principal().namespace
        )
        events = [audit_event(entry) for entry in listed.entries]
        return pb.ListAuditEventsResponse(events=events, next_page_token=listed.next_token)

    async def GetServerInfo(self, request: pb.GetServerInfoRequest) -> pb.GetServerInfoResponse:
        """Describes this server, and the packages of the caller's namespace."""
        response = pb.GetServerInfoResponse(
            version=__version__,
            incarnation=self._runtime.ports.journal.incarnation,
            providers=sorted(self._runtime.ports.providers),
            limits=self._limits,
        )
        put_packages(response, request, self._runtime.packages.of(principal().namespace), principal())
        return response

    def _start_refused(self, requested: run_pb2.RunRequest, error: AgentError) -> None:
        """Notes who was refused what, and why; not what the same request may get a moment later."""
        if error.meaning.retry is RetryClass.RETRYABLE:
            return
        selected = requested.package
        chosen = selected.fingerprint or selected.tag or selected.package_id
        by_policy = [error.metadata[key] for key in ("policy", "code", "rule") if error.metadata.get(key)]
        subjects = (requested.run_id, chosen, *by_policy)
        refused_start(self._runtime.ports.audit, principal(), subjects, error.reason.name)


def _check_reason(reason: str) -> None:
    if len(reason.encode()) > MAX_REASON_BYTES:
        raise invalid_request(
            "reason",
            f"at most {MAX_REASON_BYTES} bytes",
            "Shorten it; what is longer belongs where the reason points to.",
        )


def _put(message: run_pb2.RunSnapshot, snapshot: RunSnapshot) -> None:
    snapshots.put_snapshot(message, snapshot.state, snapshot.last_cursor, snapshot.result, snapshot.condition)

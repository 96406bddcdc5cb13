"""The client: starts runs, follows them, ends them."""

from __future__ import annotations

import asyncio
import functools
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self

from ._gen.runwright.callback.v1 import (
    Callback,
    CallbackRegistryServiceStub,
    RegisterCallbackRequest,
    UnregisterCallbackRequest,
)
from ._gen.runwright.v1 import (
    Budget,
    CancelRequest,
    EffectResolution,
    EffectState,
    EventFilter,
    EventFrame,
    EventView,
    GetServerInfoRequest,
    GetServerInfoResponse,
    InputData,
    InputPart,
    ListEventsRequest,
    ListRunsRequest,
    OnBusy,
    OpenEffect,
    PackageInfo,
    Resolution,
    ResolvedResult,
    ResolveEffectRequest,
    ResumeRequest,
    RunFilter,
    RunRequest,
    RunSnapshot,
    RunStatus,
    RuntimeServiceStub,
    SnapshotRequest,
    StartRunRequest,
    StreamScope,
    SubscribeRequest,
    WaitRequest,
)
from .approvals import ApprovalCalls
from .connection import Connection, Keepalive, Tls
from .contact import Contact
from .errors import RunwrightError
from .packages import PackageCalls, selector
from .standing import End
from .subscription import OnReconnect, Subscription

_WAIT_SECONDS = 60.0  # of one Wait; the server allows five minutes
_FIRST_WAIT_SECONDS = 1.0  # of the first, which also finds out whether anybody is there

Part = str | InputData | InputPart
Scope = str | StreamScope


@dataclass(frozen=True, slots=True)
class Started:
    """A run that was started; `created` is false when an earlier call with the same run id had started it."""

    run: RunSnapshot
    created: bool


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A run that was asked to end. After the event `barrier_seq` no new effect starts; 0: it ended without a cancel."""

    run: RunSnapshot
    barrier_seq: int


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a decision about a call came to: the decision on record; `resolved` is false when it was made before."""

    run: RunSnapshot
    decision: EffectResolution
    resolved: bool


@dataclass(frozen=True, slots=True)
class Resumed:
    """A run that a policy had deferred; `resumed` is false when nothing was deferred by that question (any more)."""

    run: RunSnapshot
    resumed: bool


@dataclass(frozen=True, slots=True)
class UnknownEffect:
    """A call whose outcome is unknown. `run.waiting_on` says whose executor it was sent to, and since when."""

    run: RunSnapshot
    effect: OpenEffect


class Client(ApprovalCalls, PackageCalls):
    """Calls to one server, for use in one event loop; `SyncClient` is the same without one.

    Every call may raise `RunwrightError` and nothing else of the transport's.
    `deadline` bounds a call in seconds, its repetitions included.
    """

    def __init__(self, connection: Connection, deadline: float) -> None:
        super().__init__(connection)
        self._open_approvals(connection)
        self.address = connection.peer.address  #: of the server, as it was given
        self.deadline = deadline  #: seconds that a call may take, its repetitions included
        self._runtime = RuntimeServiceStub(connection.channel)
        self._registry = CallbackRegistryServiceStub(connection.channel)

    @classmethod
    def connect(
        cls,
        address: str,
        *,
        key: str = "",
        tls: Tls | None = None,
        deadline: float = 10.0,
        keepalive: Keepalive | None = None,
    ) -> Self:
        """A client of the server at `host:port`. The connection is made with the first call."""
        return cls(Connection(address, key, tls, keepalive or Keepalive()), deadline)

    async def start(  # noqa: PLR0913  # the fields of a request, by name
        self,
        input: Part | Iterable[Part],
        *,
        run_id: str = "",
        session_id: str = "",
        turn_id: str = "",
        agent_id: str = "",
        package: str = "",
        budget: Budget | None = None,
        labels: Mapping[str, str] | None = None,
        on_busy: OnBusy = OnBusy.UNSPECIFIED,
        traceparent: str = "",
        deadline: float | None = None,
    ) -> Started:
        """Starts a run; when this returns, the run is on disk.

        `package` is an id, `@TAG` or a fingerprint. The run id is made here when there
        is none, so that a lost answer never starts a second run.
        """
        parts = [input] if isinstance(input, str | InputData | InputPart) else input
        run = RunRequest(
            run_id=run_id or str(uuid.uuid4()),
            session_id=session_id,
            turn_id=turn_id,
            agent_id=agent_id,
            package=selector(package),
            input=[_part(part) for part in parts],
            budget=budget,
            labels=dict(labels or {}),
            on_busy=on_busy,
        )
        answer = await self._connection.unary(
            self._runtime.start_run,
            StartRunRequest(run=run),
            deadline=deadline or self.deadline,
            safe=True,
            metadata={"traceparent": traceparent} if traceparent else None,
        )
        return Started(_run(answer.run), answer.created)

    async def snapshot(self, run_id: str, *, deadline: float | None = None) -> RunSnapshot:
        """The run as it stands."""
        request = SnapshotRequest(run_id=run_id)
        answer = await self._connection.unary(
            self._runtime.snapshot, request, deadline=deadline or self.deadline, safe=True
        )
        return _run(answer.run)

    async def cancel(
        self, run_id: str, reason: str = "", grace: float | None = None, *, deadline: float | None = None
    ) -> Cancelled:
        """Asks a run to end within `grace` seconds. Repeating it changes nothing."""
        request = CancelRequest(run_id=run_id, reason=reason, grace=None if grace is None else timedelta(seconds=grace))
        answer = await self._connection.unary(
            self._runtime.cancel, request, deadline=deadline or self.deadline, safe=True
        )
        return Cancelled(_run(answer.run), answer.barrier_seq)

    async def resolve_effect(  # noqa: PLR0913  # the fields of a decision, by name
        self,
        run_id: str,
        effect_id: str,
        attempt: int,
        resolution: Resolution,
        *,
        result: bytes | None = None,
        media_type: str = "",
        message: str = "",
        reason: str = "",
        request_id: str = "",
        deadline: float | None = None,
    ) -> Resolved:
        """Says what became of a call whose outcome is unknown, so that its run goes on; for repairers and admins.

        `result` is that of a call that HAPPENED, JSON unless `media_type` says otherwise; `message` is what the
        model is told of one that FAILED. The request id is made here when there is none, so that a lost answer never
        decides twice.
        """
        told = None if result is None and not media_type else ResolvedResult(data=result or b"", media_type=media_type)
        request = ResolveEffectRequest(
            run_id=run_id,
            effect_id=effect_id,
            attempt=attempt,
            request_id=request_id or str(uuid.uuid4()),
            resolution=resolution,
            result=told,
            message=message,
            reason=reason,
        )
        answer = await self._connection.unary(
            self._runtime.resolve_effect, request, deadline=deadline or self.deadline, safe=True
        )
        return Resolved(_run(answer.run), answer.resolution or EffectResolution(), answer.resolved)

    async def resume(
        self, run_id: str, effect_id: str, *, reason: str = "", request_id: str = "", deadline: float | None = None
    ) -> Resumed:
        """Has what a policy has deferred go on; for whoever started the run, and admins.

        `effect_id` is the question's, as `run.waiting_on` names it. The request id is made here when there is none.
        """
        request = ResumeRequest(
            run_id=run_id, effect_id=effect_id, request_id=request_id or str(uuid.uuid4()), reason=reason
        )
        answer = await self._connection.unary(
            self._runtime.resume, request, deadline=deadline or self.deadline, safe=True
        )
        return Resumed(_run(answer.run), answer.resumed)

    async def unknown_effects(self) -> AsyncGenerator[UnknownEffect]:
        """The calls whose outcome is unknown, of the newest runs first: what `resolve_effect` is for."""
        async for run in self.list(RunFilter(statuses=[RunStatus.REPAIR_NEEDED])):
            for effect in run.open_effects:
                if effect.state is EffectState.UNKNOWN:
                    yield UnknownEffect(run, effect)

    async def wait(self, run_id: str, timeout: float | None = None) -> RunSnapshot:
        """The run once it has ended, needs repair or is HELD, or as it stands after `timeout` seconds.

        `run.done` tells which. Goes on through disconnects and restarts of the server; one that has never answered is
        given up after the client's deadline.
        """
        loop, contact = asyncio.get_running_loop(), Contact(self.deadline)
        end = None if timeout is None else loop.time() + timeout
        while True:
            left = _WAIT_SECONDS if end is None else end - loop.time()
            seconds = min(max(left, 0.001), _WAIT_SECONDS if contact.is_made else _FIRST_WAIT_SECONDS)
            request = WaitRequest(run_id=run_id, timeout=timedelta(seconds=seconds))
            try:
                answer = await self._connection.unary(
                    self._runtime.wait, request, deadline=seconds + self.deadline, safe=False
                )
            except RunwrightError as error:
                pause = contact.lost(error, passes=error.retryable or error.code == "DEADLINE_EXCEEDED")
                if end is not None and loop.time() + pause >= end:
                    raise
                await asyncio.sleep(pause)
                continue
            contact.made()
            if answer.done or (end is not None and loop.time() >= end):
                return _run(answer.run)

    async def list(self, filter: RunFilter | None = None, *, page_size: int = 0) -> AsyncGenerator[RunSnapshot]:
        """Runs, newest first, page by page as they are asked for; without their results."""
        request = ListRunsRequest(page_size=page_size, filter=filter)
        while True:
            page = await self._connection.unary(self._runtime.list_runs, request, deadline=self.deadline, safe=True)
            for run in page.runs:
                yield run
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def list_events(
        self,
        scope: Scope,
        *,
        after: str = "",
        filter: EventFilter | None = None,
        view: EventView = EventView.SUMMARY,
        page_size: int = 0,
    ) -> AsyncGenerator[EventFrame]:
        """The events so far, in order, page by page as they are asked for."""
        request = ListEventsRequest(
            scope=_scope(scope), page_token=after, page_size=page_size, view=view, filter=filter
        )
        while True:
            page = await self._connection.unary(self._runtime.list_events, request, deadline=self.deadline, safe=True)
            for frame in page.frames:
                yield frame
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def subscribe(  # noqa: PLR0913 - options by name, as every client has them
        self,
        scope: Scope,
        *,
        after: str = "",
        live_only: bool = False,
        filter: EventFilter | None = None,
        view: EventView = EventView.SUMMARY,
        deltas: bool = False,
        until_done: bool = False,
        through_repair: bool = False,
        on_reconnect: OnReconnect | None = None,
    ) -> Subscription:
        """Follows a run (by its id) or a scope of many: see `Subscription`.

        `deltas` asks for the text of models while they answer. The stream of one run,
        read without a filter, ends with `RepairNeeded` when the run needs repair, unless
        it is to go `through_repair`; `until_done` just ends it as soon as `wait` would
        return: also when the run is HELD. `on_reconnect` is told whenever the stream was
        lost.
        """
        request = SubscribeRequest(
            scope=_scope(scope),
            after_cursor=after,
            live_only=live_only,
            view=view,
            filter=filter,
            include_deltas=deltas,
        )
        run_id = request.scope.run_id if request.scope is not None else None
        if until_done and (run_id is None or filter is not None or through_repair):
            raise ValueError("until_done: only of one run, without a filter, and not through_repair")
        done = functools.partial(self.wait, run_id) if until_done and run_id is not None else None
        tells = run_id is not None and filter is None and not through_repair
        stands = functools.partial(self.snapshot, run_id) if tells and run_id is not None else None
        end = End(done, stands, after, is_late=bool(after or live_only))
        return Subscription(self._connection, request, on_reconnect, self.deadline, end)

    async def server_info(self, *, deadline: float | None = None) -> GetServerInfoResponse:
        """What the server is: version, limits, and every package of the caller's namespace, of all pages."""
        request = GetServerInfoRequest()
        packages: list[PackageInfo] = []
        while True:
            info = await self._connection.unary(
                self._runtime.get_server_info, request, deadline=deadline or self.deadline, safe=True
            )
            packages += info.packages
            if not info.next_page_token:
                info.packages = packages
                return info
            request = GetServerInfoRequest(page_token=info.next_page_token)

    async def register_callback(self, request: RegisterCallbackRequest) -> Callback:
        """Registers a tool executor, or renews its lease; `ToolServer.register` does so for as long as it serves."""
        answer = await self._connection.unary(
            self._registry.register_callback, request, deadline=self.deadline, safe=True
        )
        return answer.callback or Callback()

    async def unregister_callback(self, callback_id: str) -> None:
        """Ends a registration."""
        request = UnregisterCallbackRequest(callback_id=callback_id)
        await self._connection.unary(self._registry.unregister_callback, request, deadline=self.deadline, safe=True)

    async def close(self) -> None:
        """Ends the connection and every call on it."""
        self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _run(run: RunSnapshot | None) -> RunSnapshot:
    return run or RunSnapshot()


def _part(part: Part) -> InputPart:
    if isinstance(part, str):
        return InputPart(text=part)
    return InputPart(data=part) if isinstance(part, InputData) else part


def _scope(scope: Scope) -> StreamScope:
    return StreamScope(run_id=scope) if isinstance(scope, str) else scope

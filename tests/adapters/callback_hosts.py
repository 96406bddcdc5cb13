"""Executors of hosts as real servers, and the port that dials them once they are registered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc_health.v1 import health as standard_health
from grpc_health.v1 import health_pb2, health_pb2_grpc
from msgspec.structs import replace
from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as pb
from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2_grpc as pb_grpc
from runwright.adapters.clock import SystemClock
from runwright.adapters.remote.dialer import Dialer
from runwright.adapters.remote.dialled_callbacks import DialledCallbacks
from runwright.adapters.remote.executors import DialledExecutors
from runwright.core.allow_list import LOOPBACK, AllowList
from runwright.core.callbacks import Callback, HealthKind
from runwright.core.ids import DEFAULT_NAMESPACE, RunId, RunKey
from runwright.ports.clock import Clock
from runwright.ports.tools import Place, PlaceRequest, ToolInvocation, ToolOutcome, ToolOutcomeKind

from tests.builders import SECOND, ListLog
from tests.runtime.watching import eventually

NAME = "desk"
SECRET = "tok-5cd1e8"
Answer = Callable[[Any], Awaitable[pb.ExecuteToolResponse]]


class Host(pb_grpc.ToolExecutorServiceServicer):
    """One executor. `accepts` is the only `authorization` it takes; None takes any."""

    def __init__(self, *, accepts: str | None = None, health: health_pb2_grpc.HealthServicer | None = None) -> None:
        self.requested: list[pb.ExecuteToolRequest] = []
        self.asked: list[pb.ReconcileToolRequest] = []
        self.shown: list[str] = []
        self.begun = asyncio.Event()
        self.gave_up = asyncio.Event()
        self.hold = asyncio.Event()
        self.hold.set()
        self.fails_with: grpc.StatusCode | None = None
        self.is_stopping = False
        self.health: standard_health.aio.HealthServicer | None = None
        self.port = 0
        self._accepts = accepts
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)], interceptors=[_Guard(self)])
        pb_grpc.add_ToolExecutorServiceServicer_to_server(self, self._server)
        if health is not None:
            health_pb2_grpc.add_HealthServicer_to_server(health, self._server)

    async def start(
        self,
        *,
        has_health: bool = False,
        tls: grpc.ServerCredentials | None = None,
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        """Serves on a free port, with or without a health service."""
        if has_health:
            self.health = standard_health.aio.HealthServicer()
            health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        at = f"{host}:{port}"
        self.port = self._server.add_secure_port(at, tls) if tls else self._server.add_insecure_port(at)
        await self._server.start()

    async def stop(self) -> None:
        """Ends it, and every call to it."""
        await self._server.stop(0)

    async def says(self, *, serving: bool) -> None:
        """What its health service answers from now on."""
        assert self.health is not None
        status = health_pb2.HealthCheckResponse
        await self.health.set("", status.SERVING if serving else status.NOT_SERVING)

    def accepts(self, authorization: str) -> bool:
        """True for a caller it knows."""
        self.shown.append(authorization)
        return self._accepts in (None, authorization)

    async def ExecuteTool(self, request: pb.ExecuteToolRequest, context: Any) -> pb.ExecuteToolResponse:
        """Answers with its own port."""
        self.requested.append(request)
        self.begun.set()
        try:
            await self.hold.wait()
        except asyncio.CancelledError:
            self.gave_up.set()
            raise
        if self.fails_with is not None:
            await context.abort(self.fails_with, "no")
        if self.is_stopping:
            return pb.ExecuteToolResponse(not_performed=pb.ToolNotPerformed(message="It is stopping."))
        return pb.ExecuteToolResponse(result=pb.ToolResult(data=str(self.port).encode()))

    async def ReconcileTool(self, request: pb.ReconcileToolRequest, context: Any) -> pb.ReconcileToolResponse:
        """Says that it has performed everything."""
        self.asked.append(request)
        return pb.ReconcileToolResponse(
            idempotency_key=request.idempotency_key,
            attempt=request.attempt,
            arguments_digest=request.arguments_digest,
            performed=pb.ToolResult(data=str(self.port).encode()),
        )


class _Guard(grpc.aio.ServerInterceptor):
    def __init__(self, host: Host) -> None:
        self._host = host

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        shown = dict(details.invocation_metadata).get("authorization", "")
        if self._host.accepts(shown):
            return await continuation(details)

        async def refuse(_: Any, context: Any) -> None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

        return grpc.unary_unary_rpc_method_handler(refuse)


def callback(host: Host | int, callback_id: str = "one", *, clock: Clock | None = None, **fields: Any) -> Callback:
    """A registration of a host at a port, leased for an hour."""
    port = host if isinstance(host, int) else host.port
    value = {
        "address": f"127.0.0.1:{port}",
        "namespace": DEFAULT_NAMESPACE,
        "owner": "tools",
        "name": NAME,
        **fields,
    }
    expires_at = (clock or SystemClock()).now() + 3600 * SECOND
    return Callback(callback_id=callback_id, **{"expires_at": expires_at, **value})


def invocation(number: int = 1, *, clock: Clock | None = None, **fields: Any) -> ToolInvocation:
    """An attempt of a call of its own."""
    call = ToolInvocation(
        namespace=DEFAULT_NAMESPACE,
        run_id="run-1",
        turn_id="t1",
        round=1,
        call_id=f"c1.{number}",
        attempt=1,
        idempotency_key=f"default/run-1/c1.{number}",
        tool="look",
        arguments_json=b"{}",
        arguments_digest="sha256:00",
        deadline=(clock or SystemClock()).now() + 20 * SECOND,
        package_fingerprint="sha256:p:11",
    )
    return replace(call, **fields)


@asynccontextmanager
async def dialling(
    *,
    allow: Sequence[str] = LOOPBACK,
    resolve: Any = None,
    clock: Clock | None = None,
    log: ListLog | None = None,
    configured: dict[str, str] | None = None,
) -> AsyncIterator[DialledExecutors]:
    """The port while the block runs."""
    dialer = Dialer(AllowList.parse(allow), log or ListLog(), resolve)
    callbacks = DialledCallbacks(dialer, clock or SystemClock())
    tools = DialledExecutors(configured or {}, clock or SystemClock(), callbacks)
    try:
        yield tools
    finally:
        await tools.close()


async def healthy(tools: DialledExecutors, *callbacks: Callback) -> None:
    """Opens them and returns once all were found healthy."""
    for each in callbacks:
        tools.callbacks.open(each)
    for each in callbacks:
        await found(tools, each, HealthKind.HEALTHY)


async def found(tools: DialledExecutors, wanted: Callback, kind: HealthKind) -> str:
    """Returns the detail of the finding once it is of that kind."""
    await eventually(lambda: tools.callbacks.health(wanted).kind is kind)
    return tools.callbacks.health(wanted).detail


async def executed(tools: DialledExecutors, call: ToolInvocation | None = None) -> ToolOutcome:
    """What came of an attempt."""
    return await performed(tools, NAME, call or invocation())


def wanted(executor: str, call: ToolInvocation | None = None) -> PlaceRequest:
    """What a place is wanted for."""
    call = call or invocation()
    return PlaceRequest(RunKey(call.namespace, RunId(call.run_id)), call.call_id, executor, call.tool)


async def place_at(tools: DialledExecutors, request: PlaceRequest) -> Place:
    """A place, once one is free. Cancelled, it holds none."""
    if place := tools.take_place(request):
        return place
    got: asyncio.Future[Place] = asyncio.get_running_loop().create_future()

    def granted(place: Place) -> None:
        if got.done():
            place.release()
        else:
            got.set_result(place)

    wait = tools.wait_for_place(request, granted)
    try:
        return await got
    finally:
        wait.leave()


async def performed(tools: DialledExecutors, executor: str, call: ToolInvocation) -> ToolOutcome:
    """What came of an attempt; it is not sent if it has no place when nobody can be reached any more."""
    request = wanted(executor, call)
    placing = asyncio.create_task(place_at(tools, request))
    try:
        await eventually(lambda: placing.done() or not tools.is_reachable(request))
    finally:
        if not placing.done():
            placing.cancel()
    if not placing.done():
        return ToolOutcome(ToolOutcomeKind.NOT_SENT)
    place = await placing
    try:
        async with asyncio.timeout(20):
            return await tools.execute(place, call)
    finally:
        place.release()


async def has_place(tools: DialledExecutors, call: ToolInvocation | None = None) -> None:
    """Returns once there is a place for the call, and gives it back."""
    (await place_at(tools, wanted(NAME, call))).release()

"""A server of tools, which the runtime dials: at a configured address, or registered under a lease."""

from __future__ import annotations

import asyncio
import hmac
import logging
import signal
import socket
import ssl
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpclib.const
import grpclib.server
from grpclib.const import Cardinality, Status
from grpclib.encoding.proto import ProtoCodec
from grpclib.exceptions import GRPCError

from ._gen.runwright.callback import v1 as pb
from .answers import Handler, answer, answered
from .authored import check_handler, registered_name, tool_name, tools_by_name
from .backoff import Backoff
from .client import Client
from .connection import Keepalive, Tls, split_address
from .contact import Contact
from .describing import Declaration, digests
from .errors import RunwrightError
from .reconciling import CannotSay, Reconciler, reconciled, response
from .tools import Effect, Tool, ToolCall
from .transport import Server, received
from .under_way import UnderWay

_log = logging.getLogger("runwright_client")

_Call = grpclib.server.Stream[pb.ExecuteToolRequest, pb.ExecuteToolResponse]
_Ask = grpclib.server.Stream[pb.ReconcileToolRequest, pb.ReconcileToolResponse]
_Description = grpclib.server.Stream[pb.DescribeToolsRequest, pb.DescribeToolsResponse]
_WORDS = {
    pb.CallbackKind.UNSPECIFIED: "executor",
    pb.CallbackKind.POLICY: "policy",
    pb.CallbackKind.APPROVAL_DISPATCHER: "dispatcher",
}
_KEYS = 65_536  # idempotency keys whose attempts are remembered


class ToolServer:
    """Performs the tool calls of runs.

    `tls` is the server's own certificate, and with `ca` whose clients it takes.
    With a `credential` only calls that carry it are performed: it is handed over
    when the server registers itself. `threads` bounds how many functions that
    are not async run at once.
    """

    def __init__(
        self, tools: Iterable[Tool[..., Any]] = (), *, tls: Tls | None = None, credential: str = "", threads: int = 16
    ) -> None:
        self.address = ""  #: where it serves, once it does
        self._tools: dict[str, Tool[..., Any] | Handler] = {**tools_by_name(tools, Tool)}
        self._reconcilers: dict[str, Reconciler] = {}
        self._under_way = UnderWay()
        self._declared: dict[str, Declaration] = {}  # of those that are no Tool
        self._tls = tls
        self._credential = credential
        self._thread_count = threads
        self._threads: ThreadPoolExecutor | None = None
        self._attempts: OrderedDict[str, int] = OrderedDict()
        self._server: Server | None = None
        self._calls: set[asyncio.Task[Any]] = set()
        self._is_stopping = False
        self._registrations: dict[str, tuple[Client, asyncio.Task[None]]] = {}

    def add(
        self,
        name: str,
        handler: Handler,
        *,
        description: str = "",
        effect: Effect | None = None,
        idempotent: bool | None = None,
        parameters: Mapping[str, Any] | None = None,
        reconcile: Reconciler | None = None,
    ) -> None:
        """Has `handler`, async or not, perform the tool of that name: it gets the arguments, parsed, and the call.

        The rest is what packages are written and compared by; `parameters` is the
        JSON schema of the arguments. What is left out is not said. `reconcile` gets
        the same as the handler, and says what became of a call that the runtime has lost
        sight of: it returns `Performed(result)`, `NotPerformed()` or `CannotSay()`.
        """
        tool_name(name)
        declared = Declaration(name, description, effect or "", idempotent, parameters, reconcile is not None)
        if not isinstance(handler, Tool):
            check_handler(name, handler)
        if name in self._tools:
            raise ValueError(f"ToolServer: two tools are named {name}")
        if self._registrations:
            raise RuntimeError(f"ToolServer: add {name} before the server is registered: nobody would call it")
        if reconcile is not None and isinstance(handler, Tool):
            handler.reconcile(reconcile)
        elif reconcile is not None:
            if idempotent or (idempotent is None and effect == "read"):
                raise ValueError(f"tool {name}: what may be repeated is sent again; nobody asks what became of it")
            self._reconcilers[name] = reconcile
        self._tools[name] = handler
        self._declared[name] = declared

    def declarations(self, executor: str) -> list[dict[str, Any]]:
        """What a package says of these tools, in its list `tools`; JSON is YAML. Without those that have no schema."""
        return [one.entry(executor) for one in self._known() if one.parameters is not None]

    def _known(self) -> list[Declaration]:
        # Now: a function that is asked about calls may have been written below the server.
        tools = self._tools.items()
        return [Declaration.of(tool) if isinstance(tool, Tool) else self._declared[name] for name, tool in tools]

    async def start(self, listen: str = "127.0.0.1:0") -> str:
        """Serves at `host:port` and returns the address; port 0 is any that is free.

        What is registered from then on, and when it ends, is logged, and shown on
        standard error unless logging is set up.
        """
        host, port = split_address(listen)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            sock = socket.create_server((host, port), family=family)
        except OSError as error:
            why = (error.strerror or str(error)).partition(" (while")[0].lower()
            raise OSError(error.errno, f"ToolServer cannot serve at {listen}: {why}") from error
        _show_log()
        self._is_stopping = False
        self._threads = ThreadPoolExecutor(self._thread_count, "runwright-tool")
        self._server = Server([self], codec=ProtoCodec())
        await self._server.start(sock=sock, ssl=self._tls.context(ssl.Purpose.CLIENT_AUTH) if self._tls else None)
        self.address = f"{listen.rpartition(':')[0]}:{sock.getsockname()[1]}"
        return self.address

    async def register(  # noqa: PLR0913 - its parameters are its options
        self,
        client: Client,
        executor: str,
        *,
        callback_id: str = "",
        address: str = "",
        lease: float = 60.0,
        max_calls: int = 0,
        ca: str | Path | None = None,
        server_name: str = "",
        schema_digests: bool = True,
    ) -> None:
        """Registers the address with the client's server, and renews that until `stop`.

        `address` is how the runtime reaches this server, if not where it serves,
        `max_calls` how many calls it may have here at once; 0: as many as the
        server thinks fit, which is 8. More than `threads` only if the tools are async.
        With TLS the runtime trusts `ca` (a PEM file; absent: public authorities)
        and expects `server_name` (absent: the host). It says which schema each tool
        has: calls of a package that has another are not sent here. Without
        `schema_digests` it does not say, and gets them all.
        """
        address = self._dialled(address)
        registered_name("name of an executor", executor)
        registered_name("id of a callback", callback_id or "a")
        served = self._served(schema_digests)
        ca_pem = Path(ca).read_bytes() if ca is not None else b""
        spec = pb.CallbackSpec(
            callback_id=callback_id or _new_id(executor),
            executor=executor,
            address=address,
            tls=pb.CallbackTls(ca_pem=ca_pem, server_name=server_name) if self._tls else None,
            max_calls_in_flight=max_calls,
            **served,
        )
        request = pb.RegisterCallbackRequest(spec=spec, credential=self._credential, lease=timedelta(seconds=lease))
        registered = await client.register_callback(request)
        seconds = (registered.lease or timedelta(seconds=lease)).total_seconds()
        renewing = asyncio.create_task(_renew(client, request, seconds / 3))
        self._registrations[spec.callback_id] = (client, renewing)
        what = f"{_WORDS[spec.kind]} {executor}" + (f": {', '.join(spec.tools)}" if spec.tools else "")
        _log.info("registered with %s as %s; called at %s", client.address, what, address)

    async def serve_for(self, client: Client, executor: str, *, listen: str = "127.0.0.1:0", **options: Any) -> None:
        """Starts, registers (`options` as for `register`) and serves until it is cancelled; then stops.

        A server that cannot be reached is tried again, and given up after the client's
        deadline. What it registers, and when it ends, is logged, and shown on standard
        error unless logging is set up.
        """
        options["callback_id"] = options.get("callback_id") or _new_id(executor)
        contact = Contact(client.deadline, first_pause=0.5)
        try:
            if not self.address:
                await self.start(listen)
            while not self._registrations:
                try:
                    await self.register(client, executor, **options)
                except RunwrightError as error:
                    pause = contact.lost(error, passes=error.retryable)
                    _log.warning("not registered yet: %s", error)
                    await asyncio.sleep(pause)
            await asyncio.get_running_loop().create_future()
        finally:
            await self.stop()

    def run(
        self,
        server: str,
        executor: str,
        *,
        key: str = "",
        tls: Tls | None = None,
        deadline: float = 10.0,
        keepalive: Keepalive | None = None,
        **options: Any,
    ) -> None:
        """`serve_for` the runtime at `server`, until SIGINT or SIGTERM. A failure ends the process, with one line."""

        async def serve() -> None:
            async with Client.connect(server, key=key, tls=tls, deadline=deadline, keepalive=keepalive) as client:
                serving = asyncio.ensure_future(self.serve_for(client, executor, **options))
                for name in (signal.SIGINT, signal.SIGTERM):
                    with suppress(NotImplementedError):  # on Windows, where Ctrl-C raises KeyboardInterrupt
                        asyncio.get_running_loop().add_signal_handler(name, serving.cancel)
                with suppress(asyncio.CancelledError):
                    await serving

        try:
            asyncio.run(serve())
        except RunwrightError as error:
            raise SystemExit(f"runwright: {error}") from error

    async def stop(self, grace: float = 5.0) -> None:
        """Unregisters, lets the calls under way answer within `grace` seconds, begins none, and ends."""
        self._is_stopping = True
        while self._registrations:
            callback_id, (client, renewing) = self._registrations.popitem()
            renewing.cancel()
            try:
                await client.unregister_callback(callback_id)
                _log.info("unregistered %s from %s", callback_id, client.address)
            except RunwrightError as error:
                if error.reason != "CALLBACK_NOT_FOUND":  # which is what is wanted
                    _log.warning("%s stays registered until its lease is over: %s", callback_id, error)
        if self._calls and grace > 0:
            await asyncio.wait(self._calls, timeout=grace)
        if self._server is not None:
            await self._server.end()
            _log.info("stopped serving at %s", self.address)
        self._server, self.address = None, ""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _served(self, schema_digests: bool) -> dict[str, Any]:
        """What a registration says of its kind."""
        if not self._tools:
            raise ValueError("ToolServer: there is no tool to register: ToolServer([…]), or add(…)")
        digested = digests(self._known()) if schema_digests else []
        return {"tools": sorted(self._tools), "tool_digests": digested}

    def _dialled(self, address: str) -> str:
        """Where the runtime reaches this server."""
        if self._server is None:
            raise RuntimeError("ToolServer: start it before it is registered")
        address = address or self.address
        if split_address(address)[0] in ("0.0.0.0", "::"):  # what is refused
            raise ValueError(f"ToolServer: nobody can dial {address}: register(…, address=…) says where it is reached")
        return address

    def __mapping__(self) -> Mapping[str, grpclib.const.Handler]:
        service, unary = "/runwright.callback.v1.ToolExecutorService", Cardinality.UNARY_UNARY
        executes = (self._execute, unary, pb.ExecuteToolRequest, pb.ExecuteToolResponse)
        reconciles = (self._reconcile, unary, pb.ReconcileToolRequest, pb.ReconcileToolResponse)
        describes = (self._describe, unary, pb.DescribeToolsRequest, pb.DescribeToolsResponse)
        return {
            f"{service}/ExecuteTool": grpclib.const.Handler(*executes),
            f"{service}/ReconcileTool": grpclib.const.Handler(*reconciles),
            f"{service}/DescribeTools": grpclib.const.Handler(*describes),
        }

    def _authorize(self, stream: grpclib.server.Stream[Any, Any]) -> None:
        # Of two, which is right is nobody's guess: together they are wrong.
        shown = ",".join(map(str, stream.metadata.getall("authorization", []))) if stream.metadata is not None else ""
        if self._credential and not hmac.compare_digest(shown.encode(), f"Bearer {self._credential}".encode()):
            raise GRPCError(Status.UNAUTHENTICATED, "The call does not carry this executor's credential.")

    async def _describe(self, stream: _Description) -> None:
        self._authorize(stream)
        await received(stream, pb.DescribeToolsRequest)
        told = [one.described() for one in sorted(self._known(), key=lambda one: one.name)]
        await stream.send_message(pb.DescribeToolsResponse(tools=told))

    def _begin(self, stream: grpclib.server.Stream[Any, Any]) -> None:
        """Takes note of a call, and refuses whoever may not make one."""
        task = asyncio.current_task()
        assert task is not None
        self._calls.add(task)  # it ends when the answer has been handed to the system
        task.add_done_callback(self._calls.discard)
        self._authorize(stream)

    async def _execute(self, stream: _Call) -> None:
        self._begin(stream)
        request = await received(stream, pb.ExecuteToolRequest)
        tool = self._tools.get(request.tool)
        if tool is None:
            raise GRPCError(Status.UNIMPLEMENTED, f"There is no tool {request.tool} here.")
        if self._is_stopping:
            put_off = pb.ToolNotPerformed(message="This host is stopping.")
            await stream.send_message(pb.ExecuteToolResponse(not_performed=put_off))
            return
        if request.attempt < (seen := self._seen(request.idempotency_key, request.attempt)):
            raise GRPCError(Status.FAILED_PRECONDITION, f"Attempt {seen} of this call has been here.")
        call = _call(request)
        threads = self._under_way.threads(call.idempotency_key, self._threads)
        work = asyncio.create_task(answer(tool, request.arguments_json, call, threads))
        self._under_way.add(call.idempotency_key, work)
        await self._until_done(work, call)
        await stream.send_message(answered(work))

    async def _reconcile(self, stream: _Ask) -> None:
        self._begin(stream)
        request = await received(stream, pb.ReconcileToolRequest)
        tool = self._tools.get(request.tool)
        reconciler = tool.reconciler if isinstance(tool, Tool) else self._reconcilers.get(request.tool)
        if reconciler is None:
            raise GRPCError(Status.UNIMPLEMENTED, f"Nobody here says what became of calls of {request.tool}.")
        # The runtime has given the attempt up: should it still arrive, it comes too late.
        self._seen(request.idempotency_key, request.attempt + 1)
        call = _call(request)
        if request.idempotency_key in self._under_way or self._is_stopping:
            why = "This host is stopping." if self._is_stopping else "The call is still under way here."
            await stream.send_message(response(request, CannotSay(why), call))
            return
        work = asyncio.create_task(reconciled(reconciler, request, call, self._threads))
        await self._until_done(work, call)
        told = (
            response(request, CannotSay("Looking for it was cancelled."), call) if work.cancelled() else work.result()
        )
        await stream.send_message(told)

    async def _until_done(self, work: asyncio.Task[Any], call: ToolCall) -> None:
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError:  # the run was cancelled, the deadline passed, or the runtime is gone
            call.cancelled.set()
            work.cancel()
            raise

    def _seen(self, key: str, attempt: int) -> int:
        """Takes note that the attempt was here, and tells the highest one of the call."""
        highest = max(self._attempts.pop(key, 0), attempt)
        self._attempts[key] = highest
        if len(self._attempts) > _KEYS:
            self._attempts.popitem(last=False)
        return highest


def _call(request: pb.ExecuteToolRequest | pb.ReconcileToolRequest) -> ToolCall:
    return ToolCall(
        run_id=request.run_id,
        turn_id=request.turn_id,
        round=request.round,
        call_id=request.call_id,
        attempt=request.attempt,
        idempotency_key=request.idempotency_key,
        tool=request.tool,
        deadline=request.deadline,
        package_fingerprint=request.package_fingerprint,
    )


def _new_id(executor: str) -> str:
    named = registered_name("name of an executor", executor)
    return f"{named[:90]}.{uuid.uuid4().hex}"  # an id has at most 128 characters


def _show_log() -> None:
    """On standard error, for a program that has not set up logging."""
    if not _log.hasHandlers():
        shown = logging.StreamHandler()
        shown.setFormatter(logging.Formatter("runwright: %(message)s"))
        _log.addHandler(shown)
        _log.setLevel(logging.INFO)


async def _renew(client: Client, request: pb.RegisterCallbackRequest, interval: float) -> None:
    backoff = Backoff(0.5)
    pause = interval
    while True:
        await asyncio.sleep(pause)
        try:
            await client.register_callback(request)
            if pause != interval:
                _log.info("registered again with %s", client.address)
            backoff.reset()
            pause = interval
        except RunwrightError as error:
            _log.warning("the registration could not be renewed: %s", error)
            pause = min(interval, backoff.seconds(error.retry_after)) if error.retryable else interval

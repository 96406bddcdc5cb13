"""A real server on a real socket, its clients, and what a refused call says."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.callback.v1.callback_registry_service_pb2_grpc import CallbackRegistryServiceStub
from runwright._gen.runwright.v1 import content_pb2, error_pb2, event_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright._gen.runwright.v1.package_service_pb2_grpc import PackageServiceStub
from runwright._gen.runwright.v1.runtime_service_pb2_grpc import RuntimeServiceStub
from runwright.adapters.memory import MemoryCallbacks
from runwright.adapters.remote.dialer import ClientCertificate, Dialer
from runwright.adapters.remote.dialled_callbacks import DialledCallbacks
from runwright.adapters.remote.dispatchers import DialledDispatchers
from runwright.adapters.remote.executors import DialledExecutors
from runwright.adapters.remote.policies import DialledPolicies
from runwright.adapters.sqlite import SqliteJournal
from runwright.core.allow_list import LOOPBACK, AllowList
from runwright.core.callback_kinds import CallbackKind
from runwright.core.name_owners import NameOwners
from runwright.runtime import AgentRuntime
from runwright.runtime.callbacks.registration_rules import RegistrationRules
from runwright.runtime.callbacks.registry import CallbackRegistry
from runwright.transport.calls import CallTimes
from runwright.transport.connections import ConnectionLimits
from runwright.transport.server import RuntimeServer

from tests.builders import Bench

SERVICE = "/runwright.v1.RuntimeService/"
LIMIT = 64 * 1024 * 1024  # what a test client takes in one message
CALL_SECONDS = 60.0


@dataclass
class Served:
    """A runtime behind its server, and the first client."""

    bench: Bench
    runtime: AgentRuntime
    server: RuntimeServer
    port: int
    registry: CallbackRegistry
    dialer: DialledExecutors
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    def channel(self, *options: tuple[str, int]) -> grpc.aio.Channel:
        """A connection of its own."""
        own = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", LIMIT), *options)
        self.channels.append(grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", options=own))
        return self.channels[-1]

    @property
    def stub(self) -> RuntimeServiceStub:
        """A client."""
        return RuntimeServiceStub(self.channels[0] if self.channels else self.channel())

    @property
    def packages(self) -> PackageServiceStub:
        """The service of packages, over a connection that stays open."""
        return PackageServiceStub(self.channel())

    @property
    def callbacks(self) -> CallbackRegistryServiceStub:
        """A client of the registry of callbacks."""
        return CallbackRegistryServiceStub(self.channels[0] if self.channels else self.channel())

    async def start(self, run_id: str = "run-1", **fields: Any) -> run_pb2.RunSnapshot:
        """Starts a run of the default package."""
        request = pb.StartRunRequest(run=run_request(run_id, **fields))
        return (await self.stub.StartRun(request, timeout=CALL_SECONDS)).run

    async def ended(self, run_id: str = "run-1", **fields: Any) -> run_pb2.RunSnapshot:
        """Starts a run and waits until it has ended or needs repair."""
        await self.start(run_id, **fields)
        return (await self.stub.Wait(pb.WaitRequest(run_id=run_id), timeout=CALL_SECONDS)).run

    async def frames(self, run_id: str = "run-1", view: int = 0) -> list[event_pb2.EventFrame]:
        """Everything Subscribe sends of a run, until its end."""
        call = self.stub.Subscribe(subscription(run_id, view=view), timeout=CALL_SECONDS)
        return [frame async for response in call for frame in response.frames]

    async def close(self) -> None:
        """Ends clients, runs and server."""
        for channel in self.channels:
            await channel.close()
        self.runtime.stop_streams()
        await self.runtime.drain(0)
        await self.server.stop(0)
        await self.registry.close()
        await self.dialer.close()
        if self.bench.remote_policies is not None:
            await self.bench.remote_policies.close()
        if self.bench.dispatchers is not None:
            await self.bench.dispatchers.close()


async def serve(
    bench: Bench,
    *,
    stall_seconds: float = 30.0,
    times: CallTimes | None = None,
    connections: ConnectionLimits | None = None,
    journal: Any = None,
    authenticator: Any = None,
    tls: Any = None,
    owners: Mapping[CallbackKind, NameOwners] | None = None,
) -> Served:
    """Serves the bench's runtime on a free port."""
    dialer = bench.tools if isinstance(bench.tools, DialledExecutors) else dialling(bench)
    if bench.remote_policies is None and dialer.callbacks is not None:
        bench.remote_policies = DialledPolicies(dialer.callbacks, bench.clock)
    if bench.dispatchers is None and dialer.callbacks is not None:
        bench.dispatchers = DialledDispatchers(dialer.callbacks, bench.clock, log=bench.log)
    runtime = bench.runtime(journal=journal)
    store = bench.journal.callbacks() if isinstance(bench.journal, SqliteJournal) else MemoryCallbacks()
    rules = RegistrationRules(owners or {}, authenticator)
    registry = CallbackRegistry(
        store=store, dialer=dialer.callbacks, clock=bench.clock, log=bench.log, rules=rules, audit=runtime.ports.audit
    )
    server = RuntimeServer(
        runtime,
        times=times or CallTimes(stall=stall_seconds),
        authenticator=authenticator,
        callbacks=registry,
        connections=connections,
    )
    port = server.bind("127.0.0.1:0", tls)
    await registry.load()
    await runtime.recover()
    await server.start()
    return Served(bench, runtime, server, port, registry, dialer)


def dialling(bench: Bench, *allow: str, certificate: ClientCertificate | None = None) -> DialledExecutors:
    """What dials callbacks at loopback addresses and at those that are named."""
    dialer = Dialer(AllowList.parse([*LOOPBACK, *allow]), bench.log, certificate=certificate)
    return DialledExecutors({}, bench.clock, DialledCallbacks(dialer, bench.clock))


def registration(callback_id: str = "one", *, credential: str = "", lease: int | None = None, **spec: Any) -> Any:
    """A request of RegisterCallback."""
    value = {"callback_id": callback_id, "executor": "tools", "address": "127.0.0.1:1", **spec}
    request = callback_pb.RegisterCallbackRequest(spec=callback_pb.CallbackSpec(**value), credential=credential)
    if lease is not None:
        request.lease.FromSeconds(lease)
    return request


def run_request(run_id: str = "run-1", **fields: Any) -> run_pb2.RunRequest:
    """A request with one part of input, unless the fields say otherwise."""
    value = {"input": [content_pb2.InputPart(text="What is there?")], **fields}
    return run_pb2.RunRequest(run_id=run_id, **value)


def scope(run_id: str = "run-1") -> pb.StreamScope:
    """The scope of one run."""
    return pb.StreamScope(run_id=run_id)


def subscription(run_id: str = "run-1", **fields: Any) -> pb.SubscribeRequest:
    """A subscription to one run."""
    return pb.SubscribeRequest(scope=scope(run_id), **fields)


@dataclass(frozen=True)
class Refusal:
    """A failed call, as its client sees it."""

    code: grpc.StatusCode
    text: str
    details: dict[str, Any]

    @property
    def info(self) -> error_details_pb2.ErrorInfo:
        """The machine's half of the error."""
        return self.detail(error_details_pb2.ErrorInfo())

    @property
    def error(self) -> error_pb2.AgentError:
        """The whole error."""
        return self.detail(error_pb2.AgentError())

    def detail(self, message: Any) -> Any:
        packed = self.details[message.DESCRIPTOR.full_name]
        assert packed.Unpack(message)
        return message


def refusal_of(failed: grpc.RpcError) -> Refusal:
    """What a failed call says. Fails when it does not say it in the agreed form."""
    metadata = dict(failed.trailing_metadata())  # type: ignore[attr-defined]
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    code = failed.code()  # type: ignore[attr-defined]
    assert status.code == code.value[0]
    return Refusal(code, failed.details(), {any_.TypeName(): any_ for any_ in status.details})  # type: ignore[attr-defined]


async def refused(call: Awaitable[Any]) -> Refusal:
    """How the server refuses a call, unary or streaming."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as failed:
        return refusal_of(failed)
    raise AssertionError("the call was not refused")


async def raw_call(channel: grpc.aio.Channel, method: str, data: bytes | Message, *, streams: bool = False) -> bytes:
    """Calls a method with bytes as they are; returns the last response's bytes."""
    sent = data if isinstance(data, bytes) else data.SerializeToString()
    if not streams:
        return await channel.unary_unary(method)(sent, timeout=CALL_SECONDS)
    responses = [response async for response in channel.unary_stream(method)(sent, timeout=CALL_SECONDS)]
    return responses[-1]

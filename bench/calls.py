"""Calls with raw bytes: a client that neither encodes nor decodes, so that both sides of a ratio cost it the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import grpc
from google.protobuf.duration_pb2 import Duration
from runwright._gen.runwright.v1 import content_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from bench.parts import Installation

SERVICE = "/runwright.v1.RuntimeService/"
RAW = "/bench.Raw/"
PRODUCT = "/bench.Product/"
Unary: TypeAlias = Callable[[bytes], Awaitable[bytes]]
_OPTIONS = [("grpc.max_receive_message_length", -1)]


@asynccontextmanager
async def channel(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """A connected channel."""
    async with grpc.aio.insecure_channel(address, options=_OPTIONS) as made:
        await made.channel_ready()
        yield made


def unary(to: grpc.aio.Channel, path: str, installed: Installation | None = None) -> Unary:
    """A unary method, bytes in and out, with the key of the installation."""
    method: Any = to.unary_unary(path)
    metadata = installed.metadata if installed else None
    return lambda request: method(request, metadata=metadata)


def stream(to: grpc.aio.Channel, path: str, request: bytes, installed: Installation | None = None) -> Any:
    """A server stream of bytes."""
    method: Any = to.unary_stream(path)
    return method(request, metadata=installed.metadata if installed else None)


def start_run(package_id: str, run_id: str = "") -> bytes:
    """A StartRun request. Without a session: in one, each run would see the turns of all before it."""
    selector = run_pb2.PackageSelector(package_id=package_id)
    requested = [content_pb2.InputPart(text="Where is the lamp, and who has seen it last?")]
    return pb.StartRunRequest(
        run=run_pb2.RunRequest(run_id=run_id, package=selector, input=requested)
    ).SerializeToString()


def of_run(run_id: str, after_cursor: str = "") -> bytes:
    """A Subscribe request for one run."""
    scope = pb.StreamScope(run_id=run_id)
    return pb.SubscribeRequest(scope=scope, after_cursor=after_cursor).SerializeToString()


async def snapshot(to: grpc.aio.Channel, installed: Installation, run_id: str) -> run_pb2.RunSnapshot:
    """A run as it stands."""
    requested = pb.SnapshotRequest(run_id=run_id).SerializeToString()
    return pb.SnapshotResponse.FromString(await unary(to, SERVICE + "Snapshot", installed)(requested)).run


async def start_and_wait(to: grpc.aio.Channel, installed: Installation, package_id: str) -> str:
    """Starts a run and waits for its end. Returns its id; raises when it did not complete."""
    started = await unary(to, SERVICE + "StartRun", installed)(start_run(package_id))
    run_id = pb.StartRunResponse.FromString(started).run.run_id
    requested = pb.WaitRequest(run_id=run_id, timeout=Duration(seconds=120)).SerializeToString()
    waited = pb.WaitResponse.FromString(await unary(to, SERVICE + "Wait", installed)(requested))
    if waited.run.status != run_pb2.RUN_STATUS_COMPLETED:
        raise RuntimeError(f"the run did not complete: {waited}")
    return run_id


async def timed(call: Callable[[], Awaitable[object]], *, number: int, workers: int) -> list[float]:
    """Seconds of each of `number` calls, made by so many workers at once; the last entry is the whole."""
    left = iter(range(number))
    each: list[float] = []

    async def work() -> None:
        for _ in left:
            began = time.perf_counter()
            await call()
            each.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(workers)))
    return [*each, time.perf_counter() - began]

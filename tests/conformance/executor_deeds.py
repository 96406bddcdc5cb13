"""What the runner does with executors: registers them, and asks them as the server would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as registry_pb
from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as tool_pb
from runwright._gen.runwright.callback.v1.callback_registry_service_pb2_grpc import CallbackRegistryServiceStub
from runwright._gen.runwright.callback.v1.tool_executor_service_pb2_grpc import ToolExecutorServiceStub
from runwright._gen.runwright.v1 import package_pb2 as package_pb
from runwright.core.callbacks import MAX_PER_NAMESPACE

from tests.conformance.stage import Stage
from tests.transport.known import Metadata, bearer

CALL_SECONDS = 20.0


async def register(stage: Stage, args: Mapping[str, Any]) -> None:
    """Registers an executor at any address, as its host would, with a `key` where the server has keys."""
    spec = registry_pb.CallbackSpec(**{key: args[key] for key in ("callback_id", "executor", "address")})
    request = registry_pb.RegisterCallbackRequest(spec=spec)
    await _registry(stage).RegisterCallback(request, timeout=CALL_SECONDS, metadata=_metadata(args))


async def unregister(stage: Stage, args: Mapping[str, Any]) -> None:
    """Ends a registration."""
    request = registry_pb.UnregisterCallbackRequest(callback_id=args["callback_id"])
    await _registry(stage).UnregisterCallback(request, timeout=CALL_SECONDS, metadata=_metadata(args))


async def list_registrations(stage: Stage, args: Mapping[str, Any]) -> Any:
    """Who is registered for an executor, as what, with the lease in seconds, and how many calls each takes."""
    request = registry_pb.ListCallbacksRequest(executor=args["executor"])
    listed = await _registry(stage).ListCallbacks(request, timeout=CALL_SECONDS)
    return {
        "registrations": [
            {
                "callback_id": one.spec.callback_id,
                "kind": registry_pb.CallbackKind.Name(one.spec.kind),
                "address": one.spec.address,
                "lease_seconds": one.lease.seconds,
                "max_calls": one.spec.max_calls_in_flight,
                "tool_digests": {each.tool: each.schema_digest for each in one.spec.tool_digests},
                "unused_tools": {each.tool: each.package_fingerprint for each in one.unused_tools},
            }
            for one in listed.callbacks
        ]
    }


async def fill_registry(stage: Stage, args: Mapping[str, Any]) -> None:
    """As many registrations as a namespace may have, or with `empty` none of them any more."""
    for number in range(MAX_PER_NAMESPACE):
        one = {"callback_id": f"filler-{number}", "executor": "filler", "address": "127.0.0.1:9"}
        await (unregister if args.get("empty") else register)(stage, one)


async def execute_tool(_: Stage, args: Mapping[str, Any]) -> Any:
    """Asks a program's tools directly, as the server does: the outcome, or the status of a failed call."""
    fields = {key: args[key] for key in ("tool", "call_id", "attempt", "idempotency_key", "run_id") if key in args}
    request = tool_pb.ExecuteToolRequest(arguments_json=args.get("arguments_json", "{}").encode(), **fields)
    async with grpc.aio.insecure_channel(args["address"]) as channel:
        try:
            answer = await ToolExecutorServiceStub(channel).ExecuteTool(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            return {"code": error.code().name, "details": error.details()}
    if answer.HasField("error"):
        return {"error": answer.error.message}
    return {"result": answer.result.data.decode(), "media_type": answer.result.media_type}


async def reconcile_tool(_: Stage, args: Mapping[str, Any]) -> Any:
    """Asks a program's tools what became of a call, as the server does: the answer, or the status of a failed ask."""
    fields = {key: args[key] for key in ("tool", "call_id", "attempt", "idempotency_key", "ask") if key in args}
    digest = args.get("arguments_digest", "sha256:00")
    request = tool_pb.ReconcileToolRequest(arguments_json=b"{}", arguments_digest=digest, **fields)
    async with grpc.aio.insecure_channel(args["address"]) as channel:
        try:
            answer = await ToolExecutorServiceStub(channel).ReconcileTool(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            return {"code": error.code().name, "details": error.details()}
    about = {name: getattr(answer, name) for name in ("idempotency_key", "attempt", "arguments_digest")}
    outcome = answer.WhichOneof("outcome")
    said = answer.performed.data.decode() if outcome == "performed" else getattr(answer, outcome).message
    return {**about, "outcome": outcome, "said": said}


async def describe_tools(_: Stage, args: Mapping[str, Any]) -> Any:
    """What a program's tools say of themselves, their schemas as they came."""
    async with grpc.aio.insecure_channel(args["address"]) as channel:
        request = tool_pb.DescribeToolsRequest()
        answer = await ToolExecutorServiceStub(channel).DescribeTools(request, timeout=CALL_SECONDS)
    return {
        "tools": [
            {
                "name": tool.name,
                "description": tool.description,
                "effect": package_pb.EffectClass.Name(tool.effect),
                "idempotent": tool.idempotent if tool.HasField("idempotent") else "not said",
                "schema": tool.parameters_schema_json.decode(),
                "digest": tool.schema_digest,
            }
            for tool in answer.tools
        ]
    }


def _registry(stage: Stage) -> CallbackRegistryServiceStub:
    return CallbackRegistryServiceStub(stage.server.call.channel)


def _metadata(args: Mapping[str, Any]) -> Metadata:
    return bearer(args["key"]) if "key" in args else ()

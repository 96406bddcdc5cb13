"""What the runner itself does to a server, its connections, its keys and its journal: the `do` of a step."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as registry_pb
from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as tool_pb
from runwright._gen.runwright.callback.v1.callback_registry_service_pb2_grpc import CallbackRegistryServiceStub
from runwright._gen.runwright.callback.v1.tool_executor_service_pb2_grpc import ToolExecutorServiceStub
from runwright.adapters.keys import KeysFile, read_keys, write_keys
from runwright.core.callbacks import MAX_PER_NAMESPACE

from tests.adapters.models.fake_vendor import Answer
from tests.conformance.normal import transcript
from tests.conformance.proxy import Cut
from tests.conformance.stage import Stage
from tests.transport.known import add_key

CALL_SECONDS = 20.0
Deed = Callable[[Stage, Mapping[str, Any]], Awaitable[Any]]


async def kill_server(stage: Stage, _: Mapping[str, Any]) -> Any:
    """SIGKILL; returns once the process is gone."""
    stage.server.kill()
    return {"exit_code": await stage.server.ended()}


async def start_server(stage: Stage, _: Mapping[str, Any]) -> None:
    """Another life behind the same address."""
    await stage.restart()


async def terminate_server(stage: Stage, _: Mapping[str, Any]) -> None:
    """SIGTERM; returns once health says that it does not serve."""
    stage.server.terminate()
    await stage.server.call.not_serving()


async def server_ended(stage: Stage, _: Mapping[str, Any]) -> Any:
    """Waits for the process to end by itself."""
    return {"exit_code": await stage.server.ended()}


async def cut(stage: Stage, args: Mapping[str, Any]) -> Any:
    """Cuts what is connected now; `how` is rst, fin or half."""
    proxy = stage.proxies[args.get("proxy", "server")]
    return {"cut": proxy.cut(args.get("how", "rst"))}


async def plan_cuts(stage: Stage, args: Mapping[str, Any]) -> None:
    """Cuts the connections to come: `cuts` one by one, or `count` of them after `bytes` drawn by `seed`."""
    cuts = [Cut(**one) for one in args.get("cuts", ())]
    if "seed" in args:
        draw = random.Random(args["seed"])
        low, high = args["bytes"]
        hows = ("rst", "fin", "half")
        cuts += [Cut(how=draw.choice(hows), after_bytes=draw.randint(low, high)) for _ in range(args["count"])]
    stage.proxy.plan(*cuts)


async def proxy_counts(stage: Stage, _: Mapping[str, Any]) -> Any:
    """How many connections there were through the proxy so far, and how many were cut."""
    return {"connections": stage.proxy.connections, "cuts": stage.proxy.cuts}


async def open_proxy(stage: Stage, args: Mapping[str, Any]) -> Any:
    """A further proxy, in front of what a program serves."""
    return {"address": await stage.open_proxy(args["name"], args["to"])}


async def add_key_to_file(stage: Stage, args: Mapping[str, Any]) -> Any:
    """A key that the server takes from now on."""
    return {"key": add_key(stage.keys_file, args["role"], name=args["name"])}


async def revoke_key(stage: Stage, args: Mapping[str, Any]) -> None:
    """The entries of that name are gone from the keys file."""
    left = tuple(entry for entry in read_keys(stage.keys_file).keys if entry.name != args["name"])
    write_keys(stage.keys_file, KeysFile(keys=left))


async def other_journal(stage: Stage, _: Mapping[str, Any]) -> None:
    """The next life of a server that has ended begins without a past."""
    stage.other_journal()


async def copy_journal(stage: Stage, _: Mapping[str, Any]) -> None:
    """Keeps a copy of the whole data directory of a server that has ended."""
    stage.copy_journal()


async def put_back_journal(stage: Stage, _: Mapping[str, Any]) -> None:
    """The copy in the place of the data directory of a server that has ended."""
    shutil.rmtree(stage.server.data)
    shutil.copytree(stage.folder / "copied-data", stage.server.data)


async def spoil_journal(stage: Stage, args: Mapping[str, Any]) -> None:
    """Stored bytes of one run are no event any more, and what is derived from them is gone."""
    database = sqlite3.connect(stage.server.data / "journal.db")
    run = (args["run_id"],)
    database.execute("UPDATE events SET data = x'ff' WHERE run_id = ? AND seq = 3", run)
    database.execute("UPDATE runs SET snapshot = x'00' WHERE run_id = ?", run)
    database.commit()
    database.close()


async def register(stage: Stage, args: Mapping[str, Any]) -> None:
    """Registers an executor at any address, as its host would."""
    spec = registry_pb.CallbackSpec(**{key: args[key] for key in ("callback_id", "executor", "address")})
    await _registry(stage).RegisterCallback(registry_pb.RegisterCallbackRequest(spec=spec), timeout=CALL_SECONDS)


async def unregister(stage: Stage, args: Mapping[str, Any]) -> None:
    """Ends a registration."""
    request = registry_pb.UnregisterCallbackRequest(callback_id=args["callback_id"])
    await _registry(stage).UnregisterCallback(request, timeout=CALL_SECONDS)


async def list_registrations(stage: Stage, args: Mapping[str, Any]) -> Any:
    """Who is registered for an executor, with the lease in seconds."""
    request = registry_pb.ListCallbacksRequest(executor=args["executor"])
    listed = await _registry(stage).ListCallbacks(request, timeout=CALL_SECONDS)
    return {
        "registrations": [
            {"callback_id": one.spec.callback_id, "address": one.spec.address, "lease_seconds": one.lease.seconds}
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


async def vendor_answers(stage: Stage, args: Mapping[str, Any]) -> None:
    """What the model vendor says next."""
    assert stage.vendor is not None
    stage.vendor.answers[:] = [Answer({"error": {}}, status=args["status"])]


async def take_transcript(_: Stage, args: Mapping[str, Any]) -> Any:
    """The durable events of a run without what is its own."""
    return {"transcript": transcript(args["frames"], args["run_id"])}


async def join_lists(_: Stage, args: Mapping[str, Any]) -> Any:
    """Frames that were read one after the other, as one list."""
    return {"frames": [frame for part in args["parts"] for frame in part]}


def _registry(stage: Stage) -> CallbackRegistryServiceStub:
    return CallbackRegistryServiceStub(stage.server.call.channel)


ABLE: dict[str, Deed] = {
    deed.__name__: deed
    for deed in (
        *(kill_server, start_server, terminate_server, server_ended, cut, plan_cuts, proxy_counts, open_proxy),
        *(revoke_key, other_journal, copy_journal, put_back_journal, spoil_journal, take_transcript, join_lists),
        *(register, unregister, list_registrations, fill_registry, execute_tool, vendor_answers),
    )
} | {"add_key": add_key_to_file}

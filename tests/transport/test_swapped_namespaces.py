"""Ids and cursors of another namespace, put into every text field of every method: nothing is read, nothing changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.v1 import approval_pb2, content_pb2, run_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as approval_pb
from runwright._gen.runwright.v1 import package_service_pb2 as package_pb
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.parts import HeldTool
from tests.transport.bodies import methods
from tests.transport.conftest import Serve
from tests.transport.known import Metadata, add_key, authenticator, bearer
from tests.transport.serving import CALL_SECONDS, Served, registration, run_request, scope, subscription

SECRET = "the-word-of-team-a"
ANSWERS = {
    grpc.StatusCode.OK,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.DEADLINE_EXCEEDED,  # a stream of runs that are not there yet
    grpc.StatusCode.FAILED_PRECONDITION,  # a run of its own that is not held
    grpc.StatusCode.ABORTED,  # a tag that points elsewhere
    grpc.StatusCode.ALREADY_EXISTS,  # a request id that its own call before had
    grpc.StatusCode.PERMISSION_DENIED,  # a word that is no address this server may dial
}
STREAM_SECONDS = 0.5


def _document(team: str, **fields: Any) -> str:
    return json.dumps(b.package(id=f"package-{team}", **fields).model_dump(mode="json"))


_DECISION = approval_pb.DecisionRequest(
    approval_id="run-b/a1.1.1",
    digest=f"sha256:runwright-approval-v1:{'0' * 64}",
    verdict=approval_pb2.APPROVAL_VERDICT_DENY,
    request_id="decision-1",
)
OWN: Mapping[str, Message] = {
    "StartRun": pb.StartRunRequest(run=run_request("")),
    "Cancel": pb.CancelRequest(run_id="run-b", reason="enough"),
    "ResolveEffect": pb.ResolveEffectRequest(
        run_id="run-b", effect_id="c1.1", attempt=1, request_id="decision-1", resolution=run_pb2.RESOLUTION_TRY_AGAIN
    ),
    "Resume": pb.ResumeRequest(run_id="run-b", effect_id="p1.1.1", request_id="resume-1"),
    "ReleaseRun": pb.ReleaseRunRequest(run_id="run-b", reason="enough"),
    "RemoveRun": pb.RemoveRunRequest(run_id="run-b", reason="enough"),
    "Snapshot": pb.SnapshotRequest(run_id="run-b"),
    "Wait": pb.WaitRequest(run_id="run-b", timeout=Duration(nanos=1000)),
    "Subscribe": subscription("run-b", view=pb.EVENT_VIEW_FULL),
    "ExportRun": pb.ExportRunRequest(run_id="run-b"),
    "ListEvents": pb.ListEventsRequest(scope=scope("run-b"), view=pb.EVENT_VIEW_FULL),
    "ListRuns": pb.ListRunsRequest(),
    "GetServerInfo": pb.GetServerInfoRequest(),
    "ListAuditEvents": pb.ListAuditEventsRequest(),
    "PutPackage": package_pb.PutPackageRequest(document=_document("b"), tag="tag-b"),
    "GetPackage": package_pb.GetPackageRequest(package=run_pb2.PackageSelector(package_id="package-b")),
    "ListPackages": package_pb.ListPackagesRequest(),
    "TagPackage": package_pb.TagPackageRequest(tag="tag-b", fingerprint=b.package(id="package-b").fingerprint()),
    "ListTagHistory": package_pb.ListTagHistoryRequest(tag="tag-b"),
    "ValidatePackage": package_pb.ValidatePackageRequest(document=_document("b")),
    "ResolvePackage": package_pb.ResolvePackageRequest(),
    "ListApprovals": approval_pb.ListApprovalsRequest(),
    "GetApproval": approval_pb.GetApprovalRequest(approval_id="run-b/a1.1.1", include_arguments=True),
    "WatchApprovals": approval_pb.WatchApprovalsRequest(),
    "DecideApproval": approval_pb.DecideApprovalRequest(decision=_DECISION),
    "BatchDecide": approval_pb.BatchDecideRequest(decisions=[_DECISION]),
    "ListGrants": approval_pb.ListGrantsRequest(),
    "RevokeGrant": approval_pb.RevokeGrantRequest(grant_id="run-b/g1.1.1"),
    "RegisterCallback": registration("callback-b"),
    "UnregisterCallback": callback_pb.UnregisterCallbackRequest(callback_id="callback-b"),
    "ListCallbacks": callback_pb.ListCallbacksRequest(),
}


def text_fields(message: Descriptor) -> Iterator[tuple[str, ...]]:
    """The paths of all fields that can hold an id or a cursor."""
    for field in message.fields:
        if field.message_type is None and field.type == FieldDescriptor.TYPE_STRING:
            yield (field.name,)
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            yield from ((field.name, *rest) for rest in text_fields(field.message_type))


def with_text(body: Message, path: tuple[str, ...], value: str) -> Message:
    """The body with the value in one of its fields."""
    changed = type(body)()
    changed.CopyFrom(body)
    holder: Any = changed
    for name in path[:-1]:
        field = holder.DESCRIPTOR.fields_by_name[name]
        holder = getattr(holder, name).add() if field.is_repeated else getattr(holder, name)
    if holder.DESCRIPTOR.fields_by_name[path[-1]].is_repeated:
        getattr(holder, path[-1]).append(value)
    else:
        setattr(holder, path[-1], value)
    return changed


async def answer(
    channel: grpc.aio.Channel, method: MethodDescriptor, body: Message, key: Metadata
) -> tuple[grpc.StatusCode, bytes]:
    """What a call answers, and all the bytes that came."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    came = b""
    try:
        if method.server_streaming:
            stream = channel.unary_stream(path)(body.SerializeToString(), timeout=STREAM_SECONDS, metadata=key)
            async for response in stream:
                came += response
        else:
            unary = channel.unary_unary(path)
            came = await unary(body.SerializeToString(), timeout=CALL_SECONDS, metadata=key)
    except grpc.aio.AioRpcError as failed:
        return failed.code(), came + (failed.details() or "").encode()
    return grpc.StatusCode.OK, came


def batched(requested: list[Any], size: int) -> Iterator[list[Any]]:
    """In pieces, one after the other."""
    for first in range(0, len(requested), size):
        yield requested[first : first + size]


async def everything(served: Served, key: Metadata) -> list[bytes]:
    """All that a namespace can see of itself: its events, and its runs."""
    listing = pb.ListEventsRequest(scope=pb.StreamScope(all=pb.AllRuns()), view=pb.EVENT_VIEW_FULL)
    events = await served.stub.ListEvents(listing, timeout=CALL_SECONDS, metadata=key)
    runs = await served.stub.ListRuns(pb.ListRunsRequest(), timeout=CALL_SECONDS, metadata=key)
    registered = await served.callbacks.ListCallbacks(
        callback_pb.ListCallbacksRequest(), timeout=CALL_SECONDS, metadata=key
    )
    specs = [(each.spec, each.expires_at) for each in registered.callbacks]
    packages = await served.packages.ListPackages(package_pb.ListPackagesRequest(), timeout=CALL_SECONDS, metadata=key)
    parts = (*events.frames, *runs.runs, *packages.packages, *(part for spec in specs for part in spec))
    return [part.SerializeToString() for part in parts]


async def foreign_words(served: Served, key: Metadata) -> list[str]:
    """What team A could have let slip: its ids, and a cursor or page token of each kind."""
    stub, options = served.stub, {"timeout": CALL_SECONDS, "metadata": key}
    snapshot = (await stub.Snapshot(pb.SnapshotRequest(run_id="run-a"), **options)).run
    cursors = [snapshot.last_cursor]
    for stream in (pb.StreamScope(run_id="run-a"), pb.StreamScope(session_id="session-a"), _all()):
        page = await stub.ListEvents(pb.ListEventsRequest(scope=stream, page_size=1), **options)
        cursors.append(page.next_page_token)
    runs = await stub.ListRuns(pb.ListRunsRequest(page_size=1), **options)
    assert all((*cursors, runs.next_page_token))
    callbacks = await served.callbacks.ListCallbacks(callback_pb.ListCallbacksRequest(page_size=1), **options)
    assert callbacks.next_page_token
    packages = await served.packages.ListPackages(package_pb.ListPackagesRequest(page_size=2), **options)
    history = await served.packages.ListTagHistory(
        package_pb.ListTagHistoryRequest(tag="tag-a", page_size=1), **options
    )
    tokens = [page.next_page_token for page in (runs, callbacks, packages, history)]
    assert all(tokens)
    fingerprint = packages.packages[-1].fingerprint
    return ["run-a", "session-a", "callback-a", "package-a", "tag-a", "request-a", fingerprint, *cursors, *tokens]


def _all() -> pb.StreamScope:
    return pb.StreamScope(all=pb.AllRuns())


async def test_nothing_of_another_namespace_is_read_or_changed(serve: Serve, tmp_path: Path) -> None:
    tool = HeldTool()
    served = await serve(b.Bench(tools=FunctionTools({"look": tool})), authenticator=_keys(tmp_path))
    team_a, team_b = _bearers(tmp_path)
    secret = {"input": [content_pb2.InputPart(text=SECRET)], "session_id": "session-a", "labels": {"of": SECRET}}
    for run_id in ("run-a0", "run-a"):
        started = pb.StartRunRequest(run=run_request(run_id, **secret))
        await served.stub.StartRun(started, timeout=CALL_SECONDS, metadata=team_a)
    await served.stub.StartRun(pb.StartRunRequest(run=run_request("run-b")), timeout=CALL_SECONDS, metadata=team_b)
    for callback_id in ("callback-a", "callback-a2"):
        request = registration(callback_id, address="127.0.0.1:2", tools=["look"], credential=SECRET, lease=3600)
        await served.callbacks.RegisterCallback(request, timeout=CALL_SECONDS, metadata=team_a)
    for says in ("one", SECRET):
        document = _document("a", agent={"id": "helper", "instructions": says})
        request_id = "request-a" if says == SECRET else ""
        put = package_pb.PutPackageRequest(document=document, tag="tag-a", request_id=request_id)
        await served.packages.PutPackage(put, timeout=CALL_SECONDS, metadata=team_a)
    await served.packages.PutPackage(OWN["PutPackage"], timeout=CALL_SECONDS, metadata=team_b)
    while tool.running < 3:  # noqa: ASYNC110 - the runs go on by themselves
        await asyncio.sleep(0)
    before = await everything(served, team_a)
    words = await foreign_words(served, team_a)

    requested = [
        (method, path, word, with_text(_body(method), path, word))
        for method in methods()
        for path, word in product(text_fields(method.input_type), words)
    ]
    # Last, because they make runs and registrations of those very ids, team B's own.
    requested.sort(key=lambda one: one[0].name in ("StartRun", "RegisterCallback"))
    channel = served.channel()
    answers = []
    for batch in batched(requested, 64):
        answers += await asyncio.gather(*(answer(channel, method, body, team_b) for method, _, _, body in batch))

    message = [
        (method.name, path, word, code) for (method, path, word, _), (code, _) in zip(requested, answers, strict=True)
    ]
    assert [one for one in message if one[-1] not in ANSWERS] == []
    leaks = [one for one, (_, came) in zip(message, answers, strict=True) if SECRET.encode() in came]
    assert leaks == []
    assert await everything(served, team_a) == before, "team A's runs stand where they stood"
    lists = ("StartRun", "ListApprovals", "ListGrants")
    by_id = {code for name, path, word, code in message if path == ("run_id",) and name not in lists}
    assert by_id <= {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT}
    tool.let_go.set()


def test_every_method_has_a_body_of_its_own() -> None:
    assert {method.name for method in methods()} == OWN.keys()


def _body(method: MethodDescriptor) -> Message:
    body = OWN[method.name]
    assert isinstance(body, message_factory.GetMessageClass(method.input_type))
    return body


def _keys(folder: Path) -> Any:
    for team in ("a", "b"):
        (folder / team).write_text(add_key(folder / "keys.json", "admin", f"team-{team}"))
    return authenticator(folder / "keys.json")


def _bearers(folder: Path) -> list[Metadata]:
    return [bearer((folder / team).read_text()) for team in ("a", "b")]

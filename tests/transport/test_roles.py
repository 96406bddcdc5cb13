"""Who may call what, written down a second time and held against every method with every role."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2
from runwright.core.principal import Role
from runwright.transport.methods import METHODS

from tests.transport.conftest import Serve
from tests.transport.known import bearer, keys_for
from tests.transport.serving import CALL_SECONDS, refused

PACKAGES, APPROVALS = "/runwright.v1.PackageService/", "/runwright.v1.ApprovalService/"
RUNTIME, CALLBACKS = "/runwright.v1.RuntimeService/", "/runwright.callback.v1.CallbackRegistryService/"
HEALTH = "/grpc.health.v1.Health/"
STREAMING = ("Subscribe", "ExportRun", "Watch", "WatchApprovals", "ServerReflectionInfo")
EVERYBODY = "admin approver author caller dispatcher executor observer policy repairer"
MAY = {
    RUNTIME + "StartRun": "admin caller",
    RUNTIME + "Cancel": "admin caller",
    RUNTIME + "ResolveEffect": "admin repairer",
    RUNTIME + "Resume": "admin caller",
    RUNTIME + "ReleaseRun": "admin",
    RUNTIME + "RemoveRun": "admin",
    RUNTIME + "Snapshot": "admin approver caller observer repairer",
    RUNTIME + "ExportRun": "admin approver caller observer repairer",
    RUNTIME + "Subscribe": "admin approver caller observer repairer",
    RUNTIME + "Wait": "admin approver caller observer repairer",
    RUNTIME + "ListEvents": "admin approver caller observer repairer",
    RUNTIME + "ListRuns": "admin approver caller observer repairer",
    RUNTIME + "ListAuditEvents": "admin",
    RUNTIME + "GetServerInfo": EVERYBODY,
    PACKAGES + "PutPackage": "admin author",
    PACKAGES + "GetPackage": "admin author caller",
    PACKAGES + "ListPackages": "admin approver author caller observer repairer",
    PACKAGES + "TagPackage": "admin author",
    PACKAGES + "ListTagHistory": "admin approver author caller observer repairer",
    PACKAGES + "ValidatePackage": "admin author",
    PACKAGES + "ResolvePackage": "admin author caller",
    APPROVALS + "ListApprovals": "admin approver observer",
    APPROVALS + "GetApproval": "admin approver observer",
    APPROVALS + "WatchApprovals": "admin approver observer",
    APPROVALS + "DecideApproval": "admin approver",
    APPROVALS + "BatchDecide": "admin approver",
    APPROVALS + "ListGrants": "admin approver observer",
    APPROVALS + "RevokeGrant": "admin approver",
    CALLBACKS + "RegisterCallback": "admin dispatcher executor policy",
    CALLBACKS + "UnregisterCallback": "admin dispatcher executor policy",
    CALLBACKS + "ListCallbacks": "admin caller dispatcher executor observer policy repairer",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": EVERYBODY,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": EVERYBODY,
}
WITHOUT_KEY = {HEALTH + "Check", HEALTH + "Watch", HEALTH + "List"}


async def code_of(channel: grpc.aio.Channel, path: str, key: str | None) -> grpc.StatusCode:
    """The status that a call gets first: of a stream that stays open that it was let in."""
    metadata = bearer(key) if key else ()
    if path.endswith("ServerReflectionInfo"):
        known = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
        call = channel.stream_stream(path)(iter([known]), timeout=CALL_SECONDS, metadata=metadata)
    elif path.endswith(STREAMING):
        call = channel.unary_stream(path)(b"", timeout=CALL_SECONDS, metadata=metadata)
    else:
        call = channel.unary_unary(path)(b"", timeout=CALL_SECONDS, metadata=metadata)
        return await call.code()
    try:
        return grpc.StatusCode.OK if await call.read() is not grpc.aio.EOF else await call.code()
    except grpc.aio.AioRpcError as failed:
        return failed.code()
    finally:
        call.cancel()


def test_every_method_is_in_the_table() -> None:
    assert MAY.keys() | WITHOUT_KEY == {method.path for method in METHODS}


@pytest.mark.parametrize("path", MAY)
async def test_a_method_is_open_to_its_roles_and_to_no_other(serve: Serve, tmp_path: Path, path: str) -> None:
    keys, known = keys_for(tmp_path, *(role.value for role in Role))
    served = await serve(authenticator=known)
    channel = served.channel()

    codes = {role.value: await code_of(channel, path, key) for role, key in zip(Role, keys, strict=True)}

    denied = {role for role, code in codes.items() if code is grpc.StatusCode.PERMISSION_DENIED}
    assert denied == {role.value for role in Role} - set(MAY[path].split())
    assert grpc.StatusCode.UNAUTHENTICATED not in codes.values()
    assert await code_of(channel, path, None) is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("path", sorted(WITHOUT_KEY))
async def test_health_needs_no_key(serve: Serve, tmp_path: Path, path: str) -> None:
    _, known = keys_for(tmp_path, "caller")
    served = await serve(authenticator=known)

    assert await code_of(served.channel(), path, None) is grpc.StatusCode.OK


async def test_an_executor_reads_no_run(serve: Serve, tmp_path: Path) -> None:
    [key], known = keys_for(tmp_path, "executor")
    served = await serve(authenticator=known)

    refusal = await refused(served.channel().unary_unary(RUNTIME + "Snapshot")(b"", metadata=bearer(key)))

    assert refusal.info.reason == "ROLE_MISSING"
    assert "executor" not in refusal.info.metadata["role"]

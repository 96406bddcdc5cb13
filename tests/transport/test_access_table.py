"""Every role at every method: who is let in, row by row, written down a second time and tried over the wire."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from runwright.core.principal import Role
from runwright.transport.methods import METHODS

from tests.transport.conftest import Serve
from tests.transport.known import authenticator, bearer, keys_for
from tests.transport.serving import CALL_SECONDS, refusal_of

EVERYBODY = {"author", "caller", "observer", "approver", "executor", "policy", "dispatcher", "repairer", "admin"}
PACKAGES, APPROVALS = "/runwright.v1.PackageService", "/runwright.v1.ApprovalService"
READERS = {"caller", "observer", "approver", "repairer", "admin"}
TABLE = {
    "/runwright.v1.RuntimeService/StartRun": {"caller", "admin"},
    "/runwright.v1.RuntimeService/Cancel": {"caller", "admin"},
    "/runwright.v1.RuntimeService/ResolveEffect": {"repairer", "admin"},
    "/runwright.v1.RuntimeService/Resume": {"caller", "admin"},
    "/runwright.v1.RuntimeService/ReleaseRun": {"admin"},
    "/runwright.v1.RuntimeService/RemoveRun": {"admin"},
    "/runwright.v1.RuntimeService/Snapshot": READERS,
    "/runwright.v1.RuntimeService/ExportRun": READERS,
    "/runwright.v1.RuntimeService/Subscribe": READERS,
    "/runwright.v1.RuntimeService/Wait": READERS,
    "/runwright.v1.RuntimeService/ListEvents": READERS,
    "/runwright.v1.RuntimeService/ListRuns": READERS,
    "/runwright.v1.RuntimeService/ListAuditEvents": {"admin"},
    "/runwright.v1.RuntimeService/GetServerInfo": EVERYBODY,
    f"{PACKAGES}/PutPackage": {"author", "admin"},
    f"{PACKAGES}/GetPackage": {"author", "caller", "admin"},
    f"{PACKAGES}/ListPackages": READERS | {"author"},
    f"{PACKAGES}/TagPackage": {"author", "admin"},
    f"{PACKAGES}/ListTagHistory": READERS | {"author"},
    f"{PACKAGES}/ValidatePackage": {"author", "admin"},
    f"{PACKAGES}/ResolvePackage": {"author", "caller", "admin"},
    f"{APPROVALS}/ListApprovals": {"approver", "observer", "admin"},
    f"{APPROVALS}/GetApproval": {"approver", "observer", "admin"},
    f"{APPROVALS}/WatchApprovals": {"approver", "observer", "admin"},
    f"{APPROVALS}/DecideApproval": {"approver", "admin"},
    f"{APPROVALS}/BatchDecide": {"approver", "admin"},
    f"{APPROVALS}/ListGrants": {"approver", "observer", "admin"},
    f"{APPROVALS}/RevokeGrant": {"approver", "admin"},
    "/runwright.callback.v1.CallbackRegistryService/RegisterCallback": {"executor", "policy", "dispatcher", "admin"},
    "/runwright.callback.v1.CallbackRegistryService/UnregisterCallback": {"executor", "policy", "dispatcher", "admin"},
    "/runwright.callback.v1.CallbackRegistryService/ListCallbacks": EVERYBODY - {"approver", "author"},
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": EVERYBODY,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": EVERYBODY,
}
STREAMS = ("Subscribe", "ExportRun", "WatchApprovals")


def test_the_table_has_every_method_that_asks_for_a_key() -> None:
    assert {method.path for method in METHODS if method.roles is not None} == TABLE.keys()
    assert {role.value for role in Role} == EVERYBODY


async def answer(channel: grpc.aio.Channel, method: str, key: str) -> grpc.aio.AioRpcError | None:
    """How a call with an empty body fails, if it does; what it says does not matter here."""
    options = {"timeout": CALL_SECONDS, "metadata": bearer(key)}
    try:
        if method.endswith("ServerReflectionInfo"):
            call = channel.stream_stream(method)(iter([b""]), **options)  # type: ignore[arg-type]
            await call.read()
        elif method.endswith(STREAMS):
            async for _ in channel.unary_stream(method)(b"", **options):  # type: ignore[arg-type]
                break
        else:
            await channel.unary_unary(method)(b"", **options)  # type: ignore[arg-type]
    except grpc.aio.AioRpcError as failed:
        return failed
    return None


@pytest.mark.parametrize("method", TABLE)
async def test_each_role_may_do_what_its_row_says_and_nothing_else(serve: Serve, tmp_path: Path, method: str) -> None:
    roles = sorted(EVERYBODY)
    keys, _ = keys_for(tmp_path, *roles)
    served = await serve(authenticator=authenticator(tmp_path / "keys.json"))
    channel = served.channel()

    let_in = set()
    for role, key in zip(roles, keys, strict=True):
        failed = await answer(channel, method, key)
        if failed is None or failed.code() is not grpc.StatusCode.PERMISSION_DENIED:
            let_in.add(role)
        else:
            assert refusal_of(failed).info.reason == "ROLE_MISSING"

    assert let_in == TABLE[method]


@pytest.mark.parametrize("method", TABLE)
async def test_no_method_of_the_table_answers_without_a_key(serve: Serve, tmp_path: Path, method: str) -> None:
    keys_for(tmp_path, "admin")
    served = await serve(authenticator=authenticator(tmp_path / "keys.json"))

    failed = await answer(served.channel(), method, "rwk_1_wrong")

    assert failed is not None
    assert failed.code() is grpc.StatusCode.UNAUTHENTICATED

"""Whose the names of callbacks are, on the wire: the same for executors, policies and dispatchers of approvals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as pb
from runwright._gen.runwright.v1 import approval_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as runtime_pb
from runwright.adapters.memory.audit import MemoryAudit
from runwright.core.audit import AuditKind
from runwright.core.callback_kinds import KINDS, CallbackKind
from runwright.core.name_owners import NameOwners
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.approving import asking
from tests.transport.conftest import Serve
from tests.transport.dispatcher_hosts import NAME, DispatcherHost, register, told
from tests.transport.known import add_key, authenticator, bearer
from tests.transport.serving import CALL_SECONDS, Served, refused, registration, run_request

KIND = pytest.mark.parametrize("kind", CallbackKind, ids=lambda kind: kind.name.lower())
OURS = NameOwners({"tools": ("ours",)})


class Keys:
    """A keys file in which several principals may register callbacks of one kind, and one of them anything."""

    def __init__(self, file: Path, kind: CallbackKind) -> None:
        role = KINDS[kind].role.value
        self.file, self.kind = file, kind
        self.ours, self.theirs = (add_key(file, role, name=name) for name in ("ours", "theirs"))
        self.admin = add_key(file, "admin", name="root")
        self.elsewhere = add_key(file, role, "team-b", name="theirs")

    async def serve(self, serve: Serve, owners: dict[CallbackKind, NameOwners] | None = None, **parts: Any) -> Served:
        """A server that knows them, with that word of the operator's on names."""
        bench = b.Bench(**parts)
        bench.audit = MemoryAudit(bench.clock)
        return await serve(bench, authenticator=authenticator(self.file), owners=owners)

    async def register(self, served: Served, callback_id: str, key: str, name: str = "tools") -> pb.Callback:
        """Registers a callback of the kind."""
        request = registration(callback_id, executor=name, kind=pb.CallbackKind.ValueType(self.kind.value))
        call = served.callbacks.RegisterCallback(request, timeout=CALL_SECONDS, metadata=bearer(key))
        return (await call).callback


@pytest.fixture
def keys(tmp_path: Path, kind: CallbackKind) -> Iterator[Keys]:
    """The keys of a test that is about one kind."""
    yield Keys(tmp_path / "keys.json", kind)


@KIND
async def test_a_name_that_the_operator_gives_somebody_is_registered_by_nobody_else(serve: Serve, keys: Keys) -> None:
    served = await keys.serve(serve, {keys.kind: OURS})
    setting = f"{KINDS[keys.kind].word}_owners"

    for key, who in ((keys.theirs, "theirs"), (keys.admin, "root")):
        refusal = await refused(keys.register(served, "first", key))
        assert (refusal.code, refusal.info.reason) == (grpc.StatusCode.PERMISSION_DENIED, "CALLBACK_TAKEN")
        assert dict(refusal.info.metadata) == {"callback_id": "first", "executor": "tools", "field": "spec.executor"}
        assert f"belongs to others, by the server's {setting}" in refusal.text
        assert f"name {who} there" in refusal.error.remedy
    answer = await keys.register(served, "first", keys.ours)

    assert answer.owner == "ours"


@KIND
async def test_a_name_that_is_given_to_nobody_is_whose_lease_is_the_first(serve: Serve, keys: Keys) -> None:
    served = await keys.serve(serve, {keys.kind: NameOwners({"shelf": ("ours",), "team-c/tools": ("ours",)})})

    await keys.register(served, "one", keys.theirs)
    refusal = await refused(keys.register(served, "two", keys.ours))

    assert refusal.info.reason == "CALLBACK_TAKEN"
    assert "holds a lease under it" in refusal.text
    assert f"say in {KINDS[keys.kind].word}_owners whose it is" in refusal.error.remedy


@KIND
async def test_a_name_may_be_given_in_one_namespace_alone(serve: Serve, keys: Keys) -> None:
    served = await keys.serve(serve, {keys.kind: NameOwners({"tools": ("ours",), "team-b/tools": ("theirs",)})})

    answer = await keys.register(served, "one", keys.elsewhere)
    refusal = await refused(keys.register(served, "one", keys.theirs))

    assert (answer.owner, refusal.info.reason) == ("theirs", "CALLBACK_TAKEN")


@KIND
async def test_what_is_said_of_the_names_of_other_kinds_counts_for_them_alone(serve: Serve, keys: Keys) -> None:
    others = {kind: OURS for kind in CallbackKind if kind is not keys.kind}
    served = await keys.serve(serve, others)

    answer = await keys.register(served, "one", keys.theirs)

    assert answer.owner == "theirs"


@KIND
async def test_a_registration_whose_name_is_given_to_somebody_else_ends(serve: Serve, keys: Keys) -> None:
    served = await keys.serve(serve)
    await keys.register(served, "one", keys.theirs)

    await served.registry.replace_names({keys.kind: OURS})

    listed = await served.callbacks.ListCallbacks(pb.ListCallbacksRequest(), metadata=bearer(keys.admin))
    assert [each.spec.callback_id for each in listed.callbacks] == []
    assert (await refused(keys.register(served, "one", keys.theirs))).info.reason == "CALLBACK_TAKEN"
    assert (await keys.register(served, "one", keys.ours)).owner == "ours"
    assert served.bench.audit is not None
    page = await served.bench.audit.page(["default"], before=None, limit=9)
    ended = [each for each in page.entries if each.kind is AuditKind.REGISTRATION_REFUSED]
    assert ("theirs", "CALLBACK_TAKEN", ("one",)) in [(each.principal, each.reason, each.subjects) for each in ended]


async def test_whoever_lost_the_name_of_a_dispatcher_is_told_nothing_more(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    ours, theirs = (bearer(add_key(file, "dispatcher", name=name)) for name in ("ours", "theirs"))
    caller = bearer(add_key(file, "caller"))
    approval = {"sets": [{"roles": ["approver"]}], "expires": "1h", "dispatchers": [NAME]}
    tools = FunctionTools(dict.fromkeys(("look", "send"), b.look))
    bench = b.real_time_bench(packages=(asking(approval=approval),), tools=tools)
    served = await serve(bench, authenticator=authenticator(file))
    stranger, owner = DispatcherHost(), DispatcherHost()
    for host in (stranger, owner):
        await host.start()
    await register(served, stranger, metadata=theirs)
    start = runtime_pb.StartRunRequest(run=run_request())
    await served.stub.StartRun(start, timeout=CALL_SECONDS, metadata=caller)
    await told(stranger, 1)

    await served.registry.replace_names({CallbackKind.APPROVAL_DISPATCHER: NameOwners({NAME: ("ours",)})})
    await register(served, owner, callback_id="chat-2", metadata=ours)
    await served.stub.Cancel(runtime_pb.CancelRequest(run_id="run-1"), timeout=CALL_SECONDS, metadata=caller)
    await told(owner, 1)

    assert stranger.methods == ["dispatch"]
    [(method, notification)] = owner.told
    assert (method, notification.approval.state) == ("withdraw", approval_pb2.APPROVAL_STATE_WITHDRAWN)
    for host in (stranger, owner):
        await host.stop()

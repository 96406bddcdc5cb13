"""Callbacks of every kind behind mutual TLS, over real sockets: what the server shows of itself, and to whom."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as pb
from runwright._gen.runwright.v1 import approval_pb2, run_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as approvals_pb
from runwright._gen.runwright.v1.approval_service_pb2_grpc import ApprovalServiceStub
from runwright.adapters.clock import SystemClock
from runwright.adapters.remote.dialer import ClientCertificate
from runwright.core.callback_kinds import KINDS, CallbackKind
from runwright.core.package import RuntimePackage
from runwright.core.policy_rules import PolicySpec

from tests import builders as b
from tests.adapters.callback_hosts import Host
from tests.runtime.approving import asking
from tests.transport.conftest import Serve
from tests.transport.dispatcher_hosts import NAME, DispatcherHost, decides, told
from tests.transport.mutual_tls import Authority
from tests.transport.policy_hosts import PolicyHost, says
from tests.transport.serving import CALL_SECONDS, Served, dialling, registration


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that the hosts trust."""
    return Authority(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Another one."""
    return Authority(tmp_path_factory.mktemp("theirs"))


async def serving(serve: Serve, package: RuntimePackage, shown: ClientCertificate | None) -> Served:
    """A server that dials, and shows this."""
    bench = b.Bench(clock=SystemClock(), packages=(package,))
    bench.tools = dialling(bench, certificate=shown)
    return await serve(bench)


async def register(served: Served, host: Any, authority: Authority, name: str, kind: CallbackKind) -> None:
    """Registers a host that serves with TLS."""
    spec = {"executor": name, "address": f"127.0.0.1:{host.port}", "tls": authority.tls}
    request = registration(KINDS[kind].word, kind=pb.CallbackKind.ValueType(kind.value), **spec)
    await served.callbacks.RegisterCallback(request, timeout=CALL_SECONDS)


async def health(served: Served, *kinds: int) -> str:
    """Why the only callback cannot be called, once its health is one of these."""
    async with asyncio.timeout(CALL_SECONDS):
        while True:
            [found] = (await served.callbacks.ListCallbacks(pb.ListCallbacksRequest())).callbacks
            if found.health in kinds:
                return found.health_detail
            await asyncio.sleep(0.02)


TOLD = {"sets": [{"roles": ["approver"]}], "expires": "1h", "dispatchers": [NAME]}


async def test_an_executor_a_policy_and_a_dispatcher_behind_mutual_tls_serve_a_run(
    serve: Serve, ours: Authority
) -> None:
    package = asking(approval=TOLD)
    remote = PolicySpec.model_validate({"remote": "compliance", "stages": ["pre_tool"]})
    package = package.model_copy(update={"policies": (*package.policies, remote)})
    executor, policy, dispatcher = Host(), PolicyHost(says("ALLOW")), DispatcherHost(decides("APPROVE"))
    served = await serving(serve, package, ours.shown)
    for host, name, kind in (
        (executor, "tools", CallbackKind.TOOL_EXECUTOR),
        (policy, "compliance", CallbackKind.POLICY),
        (dispatcher, NAME, CallbackKind.APPROVAL_DISPATCHER),
    ):
        await host.start(tls=ours.server)
        await register(served, host, ours, name, kind)

    run = await served.ended()
    await told(dispatcher, 2)

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert dispatcher.methods == ["dispatch", "update"]
    assert ([each.tool for each in executor.requested], len(policy.asked)) == (["send"], 1)
    for host in (executor, policy, dispatcher):
        await host.stop()


@pytest.mark.parametrize("is_shown", [False, True])
async def test_a_dispatcher_gets_nothing_of_a_server_that_it_does_not_know_and_the_approval_stays_listed(
    serve: Serve, ours: Authority, theirs: Authority, is_shown: bool
) -> None:
    host = DispatcherHost(decides("APPROVE"))
    await host.start(tls=ours.server)
    served = await serving(serve, asking(approval=TOLD), theirs.shown if is_shown else None)
    await register(served, host, ours, NAME, CallbackKind.APPROVAL_DISPATCHER)

    detail = await health(served, pb.CALLBACK_HEALTH_UNHEALTHY)
    await served.start()
    listed = await ApprovalServiceStub(served.channel()).ListApprovals(approvals_pb.ListApprovalsRequest())

    assert "TLS" in detail or "UNAVAILABLE" in detail
    assert [each.state for each in listed.approvals] == [approval_pb2.APPROVAL_STATE_PENDING]
    assert host.told == []
    await host.stop()


async def test_a_certificate_that_is_renewed_is_shown_where_the_one_before_was_refused(
    serve: Serve, ours: Authority, theirs: Authority
) -> None:
    host = DispatcherHost(decides("APPROVE"))
    await host.start(tls=ours.server)
    served = await serving(serve, asking(approval=TOLD), theirs.shown)
    await register(served, host, ours, NAME, CallbackKind.APPROVAL_DISPATCHER)
    await health(served, pb.CALLBACK_HEALTH_UNHEALTHY)

    assert served.dialer.callbacks is not None
    served.dialer.callbacks.dialer.certificate = ours.shown
    await health(served, pb.CALLBACK_HEALTH_HEALTHY)
    await served.start()
    await told(host, 1)

    assert host.methods[0] == "dispatch"
    await host.stop()


def test_the_key_is_never_printed(ours: Authority) -> None:
    assert "KEY" not in repr(ours.shown)

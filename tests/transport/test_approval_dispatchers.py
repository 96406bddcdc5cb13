"""Dispatchers of approvals over real sockets: told what waits, and what became of it; some decide in their answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.v1 import approval_pb2, event_pb2, run_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as approvals_pb
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright._gen.runwright.v1.approval_service_pb2_grpc import ApprovalServiceStub
from runwright.adapters.key_approvers import KeyApprovers
from runwright.adapters.memory.audit import MemoryAudit
from runwright.core.audit import AuditKind
from runwright.core.executor_names import ExecutorNames
from runwright.core.package import RuntimePackage
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.approving import asking
from tests.transport.conftest import Serve
from tests.transport.dispatcher_hosts import NAME, Answer, DispatcherHost, acknowledges, decides, register, told
from tests.transport.known import Metadata, add_key, authenticator, bearer
from tests.transport.serving import CALL_SECONDS, Served, run_request

StartHost = Callable[..., Awaitable[DispatcherHost]]
TOLD = {"sets": [{"roles": ["approver"]}], "expires": "1h", "dispatchers": [NAME]}


@pytest.fixture
async def host_of() -> AsyncIterator[StartHost]:
    """Starts hosts that end with the test."""
    hosts: list[DispatcherHost] = []

    async def start(answer: Answer = acknowledges) -> DispatcherHost:
        hosts.append(DispatcherHost(answer))
        await hosts[-1].start()
        return hosts[-1]

    yield start
    for host in hosts:
        await host.stop()


async def served_with(serve: Serve, package: RuntimePackage, **parts: Any) -> tuple[Served, FunctionTools]:
    """A server of the package, and the tools with their ledger."""
    tools = FunctionTools(dict.fromkeys(("look", "send"), b.look))
    return await serve(b.real_time_bench(packages=(package,), tools=tools, **parts)), tools


def kinds(frames: list[event_pb2.EventFrame]) -> list[str]:
    """The kinds of the events, without their prefix."""
    return [event_pb2.EventKind.Name(frame.event.kind).removeprefix("EVENT_KIND_") for frame in frames]


async def test_a_dispatcher_that_approves_in_its_answer_lets_the_run_go_on(serve: Serve, host_of: StartHost) -> None:
    host = await host_of(decides("APPROVE", note="seen"))
    served, tools = await served_with(serve, asking(approval=TOLD))
    await register(served, host)

    run = await served.ended()

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert [call.tool for call in tools.ledger] == ["send"]
    [(method, first), (after, update)] = host.told
    assert (method, first.effect_id, first.attempt, first.revision) == ("dispatch", "n1.1.1.1", 1, 1)
    assert first.approval.arguments_content.text == '{"to":"bob"}'
    assert (after, update.reference, update.approval.decision.decided_by) == ("update", "message-1", "local")
    order = kinds(await served.frames())
    asked, started, dispatched, decided, sent = (
        order.index(kind)
        for kind in (
            "APPROVAL_REQUESTED",
            "APPROVAL_DISPATCH_STARTED",
            "APPROVAL_DISPATCHED",
            "APPROVAL_DECIDED",
            "TOOL_STARTED",
        )
    )
    assert asked < started < dispatched < decided < sent


async def keyed(
    serve: Serve, host: DispatcherHost, folder: Path, *roles: str, **approval: Any
) -> tuple[Served, FunctionTools, dict[str, Metadata]]:
    """A server with keys, and a dispatcher with the key of `bot`; a run of `cal`'s has asked, and that one knows."""
    keys = {
        "cal": bearer(add_key(folder / "keys.json", "caller", name="cal")),
        "ann": bearer(add_key(folder / "keys.json", "approver", name="ann")),
        "bot": bearer(add_key(folder / "keys.json", "dispatcher", name="bot", roles={"dispatcher", *roles})),
    }
    known = authenticator(folder / "keys.json")
    tools = FunctionTools(dict.fromkeys(("look", "send"), b.look))
    bench = b.real_time_bench(packages=(asking(approval={**TOLD, **approval}),), tools=tools)
    bench.approvers = KeyApprovers(known, ExecutorNames({"tools": ["hal"]}))
    bench.audit = MemoryAudit(bench.clock)
    served = await serve(bench, authenticator=known)
    await register(served, host, metadata=keys["bot"])
    request = pb.StartRunRequest(run=run_request("run-1"))
    await served.stub.StartRun(request, timeout=CALL_SECONDS, metadata=keys["cal"])
    await told(host, 1)
    return served, tools, keys


async def shown(served: Served, key: Metadata) -> approval_pb2.Approval:
    """The approval, once a result of telling is on record."""
    request = approvals_pb.GetApprovalRequest(approval_id="run-1/a1.1.1")
    async with asyncio.timeout(CALL_SECONDS):
        while True:
            found = (await ApprovalServiceStub(served.channel()).GetApproval(request, metadata=key)).approval
            if any(each.result for each in found.dispatches):
                return found


async def test_by_a_dispatcher_speaking_for_somebody_else(serve: Serve, host_of: StartHost, tmp_path: Path) -> None:
    host = await host_of(decides("APPROVE", on_behalf_of="ann"))
    served, tools, keys = await keyed(serve, host, tmp_path, "approver", sets=[{"principals": ["ann"]}])

    found = await shown(served, keys["ann"])

    assert found.state == approval_pb2.APPROVAL_STATE_PENDING
    [dispatch] = found.dispatches
    assert (dispatch.principal, dispatch.refusal) == ("bot", "approver_set")
    assert tools.ledger == []
    assert served.bench.audit is not None
    page = await served.bench.audit.page(["default"], before=None, limit=9)
    refused = [entry for entry in page.entries if entry.kind is AuditKind.APPROVAL_REFUSED]
    assert [(entry.principal, entry.reason, entry.subjects) for entry in refused] == [
        ("bot", "APPROVER_NOT_ALLOWED", ("run-1/a1.1.1", "approver_set"))
    ]


async def test_a_dispatcher_that_is_an_approver_decides_with_its_own_key(
    serve: Serve, host_of: StartHost, tmp_path: Path
) -> None:
    host = await host_of(decides("APPROVE"))
    served, tools, keys = await keyed(serve, host, tmp_path, "approver")

    run = (await served.stub.Wait(runtime_pb(), timeout=CALL_SECONDS, metadata=keys["cal"])).run

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert [call.tool for call in tools.ledger] == ["send"]
    assert host.told[1][1].approval.decision.decided_by == "bot"


async def test_one_that_cannot_be_understood_is_no_acknowledgement(serve: Serve, host_of: StartHost) -> None:
    host = await host_of()
    served, _ = await served_with(serve, asking(approval=TOLD))
    await register(served, host)
    host.answer_with = b"\xff\xff\xff"

    await served.start()
    await told(host, 2)

    found = await shown(served, ())
    [dispatch] = found.dispatches
    assert dispatch.result == approval_pb2.APPROVAL_DISPATCH_RESULT_UNREADABLE
    assert found.state == approval_pb2.APPROVAL_STATE_PENDING


async def test_whoever_waits_sees_who_was_told(serve: Serve, host_of: StartHost) -> None:
    served, _ = await served_with(serve, asking(approval={**TOLD, "dispatchers": [NAME, "tickets"]}))
    await register(served, await host_of())

    await served.start()
    async with asyncio.timeout(CALL_SECONDS):
        while True:
            request = pb.SnapshotRequest(run_id="run-1")
            waits = (await served.stub.Snapshot(request, timeout=CALL_SECONDS)).run.waiting_on
            if waits and "dispatchers told: chat; not told yet: tickets" in waits[0].unblocked_by:
                break
    listed = callback_pb.ListCallbacksRequest(kind=callback_pb.CALLBACK_KIND_APPROVAL_DISPATCHER, executor=NAME)
    [callback] = (await served.callbacks.ListCallbacks(listed, timeout=CALL_SECONDS)).callbacks
    assert callback.spec.kind == callback_pb.CALLBACK_KIND_APPROVAL_DISPATCHER


async def test_whoever_watches_hears_what_becomes_of_what_a_dispatcher_is_told(
    serve: Serve, host_of: StartHost
) -> None:
    approves = asyncio.Event()

    async def answer(notification: Any) -> dict[str, Any]:
        await approves.wait()
        answered: dict[str, Any] = decides("APPROVE")(notification)  # type: ignore[assignment]
        return answered

    host = await host_of(answer)
    served, _ = await served_with(serve, asking(approval=TOLD))
    await register(served, host)
    call = ApprovalServiceStub(served.channel()).WatchApprovals(approvals_pb.WatchApprovalsRequest())
    await served.start()
    await told(host, 1)
    approves.set()

    heard: list[int] = []
    async with asyncio.timeout(CALL_SECONDS):
        while approval_pb2.APPROVAL_STATE_APPROVED not in heard:
            update = await call.read()
            if update.HasField("approval"):
                heard.append(update.approval.state)
    call.cancel()

    # What a dispatcher was told changes no approval, and is no news of one.
    assert heard[-2:] == [approval_pb2.APPROVAL_STATE_PENDING, approval_pb2.APPROVAL_STATE_APPROVED]
    assert len(heard) <= 3, "once when it is asked for, perhaps once more as what is pending, and the decision"


def runtime_pb() -> pb.WaitRequest:
    """Asks for the end of the run."""
    return pb.WaitRequest(run_id="run-1")

"""Dispatchers that the operator has told of every approval, over real sockets: beside those that a package names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from runwright._gen.runwright.v1 import approval_pb2, run_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as approvals_pb
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright._gen.runwright.v1.approval_service_pb2_grpc import ApprovalServiceStub
from runwright.adapters.key_approvers import KeyApprovers
from runwright.adapters.operator_policies import read_operator_policies
from runwright.core.executor_names import ExecutorNames
from runwright.core.package import RuntimePackage
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.approving import WRITES, asking, of_the_run
from tests.runtime.watching import eventually
from tests.transport.conftest import Serve
from tests.transport.dispatcher_hosts import NAME, Answer, DispatcherHost, acknowledges, decides, register, told
from tests.transport.known import Metadata, add_key, authenticator, bearer
from tests.transport.serving import CALL_SECONDS, Served, refused, run_request

StartHost = Callable[..., Awaitable[DispatcherHost]]
FILE = "format: runwright-policies-v0\n"


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


class Operator:
    """Whoever writes the file of policies of a server."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "policies.yaml"

    def says(self, served: Served, text: str) -> None:
        """Puts a file into force, as a start and SIGHUP do."""
        self.file.write_text(FILE + text)
        served.runtime.ports.policies.replace_operator_rules(read_operator_policies(self.file))


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """The operator of the test's server."""
    return Operator(tmp_path)


async def serving(serve: Serve, package: RuntimePackage, **parts: Any) -> Served:
    """A server of the package."""
    tools = FunctionTools(dict.fromkeys(("look", "send"), b.look))
    return await serve(b.real_time_bench(packages=(package,), tools=tools), **parts)


async def approval(served: Served, approval_id: str = "run-1/a1.1.1", key: Metadata = ()) -> approval_pb2.Approval:
    """The approval."""
    request = approvals_pb.GetApprovalRequest(approval_id=approval_id)
    return (await ApprovalServiceStub(served.channel()).GetApproval(request, metadata=key)).approval


def missed(served: Served) -> list[object]:
    """The dispatchers of which the log says that none is there."""
    return [line.fields["dispatcher"] for line in served.bench.log.lines if "no dispatcher" in line.event]


async def decide(served: Served, verdict: str) -> None:
    """Somebody decides, who was told by nobody."""
    asked = await approval(served)
    number = approval_pb2.ApprovalVerdict.Value(f"APPROVAL_VERDICT_{verdict}")
    fields = {"approval_id": asked.approval_id, "digest": asked.digest, "request_id": "decision-1"}
    decision = approvals_pb.DecisionRequest(verdict=number, **fields)
    request = approvals_pb.DecideApprovalRequest(decision=decision)
    await ApprovalServiceStub(served.channel()).DecideApproval(request)


async def test_an_approval_is_told_by_those_of_the_package_and_of_the_operator_each_once(
    serve: Serve, host_of: StartHost, operator: Operator
) -> None:
    served = await serving(serve, asking(approval={**WRITES, "dispatchers": [NAME]}))
    operator.says(served, f'dispatchers: {{"*": [audit, {NAME}], default: [pager]}}\n')
    hosts = {name: await host_of() for name in (NAME, "audit", "pager")}
    for name, host in hosts.items():
        await register(served, host, name, callback_id=name)

    await served.start()
    for host in hosts.values():
        await told(host, 1)
    found = await approval(served)
    await decide(served, "DENY")
    for host in hosts.values():
        await told(host, 2)

    assert sorted(each.dispatcher for each in found.dispatches) == ["audit", NAME, "pager"]
    assert [host.methods for host in hosts.values()] == [["dispatch", "update"]] * 3
    effects = [host.told[0][1].effect_id for host in hosts.values()]
    assert effects == ["n1.1.1.1", "n1.1.1.2", "n1.1.1.3"]


@pytest.mark.parametrize("stage", ["run_start", "output"])
async def test_starts_and_answers_are_told_by_the_operators_too(
    serve: Serve, host_of: StartHost, operator: Operator, stage: str
) -> None:
    host = await host_of(decides("APPROVE"))
    served = await serving(serve, of_the_run(stage))
    operator.says(served, f'dispatchers: {{"*": [{NAME}]}}\n')
    await register(served, host)

    run = await served.ended()

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert host.methods == ["dispatch", "update"]


async def test_a_rule_of_the_operators_that_asks_is_told_by_the_operators_dispatchers(
    serve: Serve, host_of: StartHost, operator: Operator
) -> None:
    host = await host_of(decides("APPROVE"))
    served = await serving(serve, b.package(b.asks("look"), b.says("done"), tools=(b.tool("look"),)))
    operator.says(served, f'namespaces: {{"*": [{{rules: [{{then: ask}}]}}]}}\ndispatchers: {{default: [{NAME}]}}\n')
    await register(served, host)

    run = await served.ended()

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert host.told[0][1].approval.rule.startswith("operator.policies")


async def test_one_that_is_not_there_stops_nothing_and_is_told_when_it_registers(
    serve: Serve, host_of: StartHost, operator: Operator
) -> None:
    served = await serving(serve, asking())
    operator.says(served, 'dispatchers: {"*": [pager, audit]}\n')
    for run_id in ("run-2", "run-1"):
        await served.start(run_id)
        async with asyncio.timeout(CALL_SECONDS):
            while True:
                request = pb.SnapshotRequest(run_id=run_id)
                waits = (await served.stub.Snapshot(request, timeout=CALL_SECONDS)).run.waiting_on
                if waits and "not told yet: pager, audit" in waits[0].unblocked_by:
                    break
    await eventually(lambda: len(missed(served)) >= 2)
    pager = await host_of()
    await register(served, pager, "pager", callback_id="pager")
    await told(pager, 2)

    await decide(served, "APPROVE")
    ended = (await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS)).run

    assert ended.status == run_pb2.RUN_STATUS_COMPLETED
    assert pager.methods == ["dispatch", "dispatch", "update"]
    assert sorted(missed(served)) == ["audit", "pager"], "each is on the log, once"


async def test_what_is_pending_keeps_whom_it_is_told_by_and_what_is_asked_later_has_those_of_then(
    serve: Serve, host_of: StartHost, operator: Operator
) -> None:
    served = await serving(serve, asking())
    hosts = {name: await host_of() for name in ("pager", "audit")}
    for name, host in hosts.items():
        await register(served, host, name, callback_id=name)
    operator.says(served, 'dispatchers: {"*": [pager]}\n')
    await served.start()
    await told(hosts["pager"], 1)

    operator.says(served, 'dispatchers: {"*": [audit]}\n')
    await served.start("run-2")
    await told(hosts["audit"], 1)
    await decide(served, "DENY")
    await told(hosts["pager"], 2)

    assert [each.approval.run_id for _, each in hosts["pager"].told] == ["run-1", "run-1"]
    assert {each.approval.run_id for _, each in hosts["audit"].told} == {"run-2"}
    assert {each.dispatcher for each in (await approval(served, "run-2/a1.1.1")).dispatches} == {"audit"}


class Keyed:
    """A server with keys: `cal` starts, `ann` approves, `bot` is registered as the operator's dispatcher."""

    def __init__(self, folder: Path, *roles: str) -> None:
        file = folder / "keys.json"
        self.cal = bearer(add_key(file, "caller", name="cal"))
        self.ann = bearer(add_key(file, "approver", name="ann"))
        self.bot = bearer(add_key(file, "dispatcher", name="bot", roles={"dispatcher", *roles}))
        self.elsewhere = bearer(add_key(file, "caller", "team-b", name="eve"))
        self.known = authenticator(file)

    async def serve(self, serve: Serve, package: RuntimePackage, host: DispatcherHost, operator: Operator) -> Served:
        """The server, with its dispatcher."""
        tools = FunctionTools(dict.fromkeys(("look", "send"), b.look))
        bench = b.real_time_bench(packages=(package,), tools=tools)
        bench.approvers = KeyApprovers(self.known, ExecutorNames({"tools": ["hal"]}))
        served = await serve(bench, authenticator=self.known)
        operator.says(served, f"dispatchers: {{default: [{NAME}]}}\n")
        await register(served, host, metadata=self.bot)
        return served


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        ({"sets": [{"principals": ["ann"]}]}, "approver_set"),
        ({"sets": [{"roles": ["approver"]}], "four_eyes": True}, "dispatcher"),
    ],
)
async def test_one_that_speaks_for_somebody_else_or_decides_with_four_eyes_decides_nothing(
    serve: Serve, host_of: StartHost, operator: Operator, tmp_path: Path, asked: dict[str, Any], refusal: str
) -> None:
    keyed, host = Keyed(tmp_path, "approver"), await host_of(decides("APPROVE", on_behalf_of="ann"))
    served = await keyed.serve(serve, asking(approval={**asked, "expires": "1h"}), host, operator)
    start = pb.StartRunRequest(run=run_request())
    await served.stub.StartRun(start, timeout=CALL_SECONDS, metadata=keyed.cal)
    await told(host, 1)

    async with asyncio.timeout(CALL_SECONDS):
        while True:
            found = await approval(served, key=keyed.ann)
            if any(each.result for each in found.dispatches):
                break

    assert found.state == approval_pb2.APPROVAL_STATE_PENDING
    assert [(each.principal, each.refusal) for each in found.dispatches] == [("bot", refusal)]


async def test_a_run_that_would_ask_nobody_is_refused_whomever_the_operator_has_told(
    serve: Serve, host_of: StartHost, operator: Operator, tmp_path: Path
) -> None:
    keyed, host = Keyed(tmp_path), await host_of(decides("APPROVE"))
    served = await keyed.serve(serve, asking(approval={"sets": [{"principals": ["nobody"]}]}), host, operator)

    start = pb.StartRunRequest(run=run_request())
    refusal = await refused(served.stub.StartRun(start, timeout=CALL_SECONDS, metadata=keyed.cal))

    assert refusal.info.reason == "APPROVER_MISSING"
    assert host.told == []

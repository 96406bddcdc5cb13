"""A served run that waits for somebody to decide, and decisions about its call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runwright._gen.runwright.v1 import approval_pb2, run_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as approval_pb
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright._gen.runwright.v1.approval_service_pb2_grpc import ApprovalServiceStub
from runwright.adapters.key_approvers import KeyApprovers
from runwright.adapters.keys import KeyFileAuthenticator
from runwright.core.executor_names import ExecutorNames
from runwright.core.ids import DEFAULT_NAMESPACE
from runwright.core.kinds import EventKind
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.approving import ID, Sent, asking
from tests.runtime.watching import reached
from tests.transport.known import Metadata, add_key, authenticator, bearer
from tests.transport.serving import CALL_SECONDS, Served

APPROVE, DENY = approval_pb2.APPROVAL_VERDICT_APPROVE, approval_pb2.APPROVAL_VERDICT_DENY
DELEGATE = approval_pb2.APPROVAL_VERDICT_DELEGATE
ABORT, EDIT = approval_pb2.APPROVAL_VERDICT_ABORT_RUN, approval_pb2.APPROVAL_VERDICT_APPROVE_WITH_EDITS


def asking_bench(known: KeyFileAuthenticator | None = None, sent: Sent | None = None, **approval: Any) -> b.Bench:
    """A bench whose runs wait for an approval of their only call."""
    package = asking(approval={"sets": [{"roles": ["approver"]}], "expires": "1h", **approval})
    bench = b.Bench(tools=FunctionTools({"send": sent or Sent(), "look": b.look}), packages=(package,))
    if known is not None:
        bench.approvers = KeyApprovers(known, ExecutorNames())
    return bench


class People:
    """A keys file with a caller, two approvers, an observer, an approver who performs, and one elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "keys.json"
        self.caller = self._key("caller", "cal")
        self.ann, self.bob = self._key("approver", "ann"), self._key("approver", "bob")
        self.olga = self._key("observer", "olga")
        self.hal = self._key("approver", "hal", roles={"approver", "executor"})
        self.eve = self._key("approver", "eve", namespace="other")
        self.known = authenticator(self.file)

    def _key(self, role: str, name: str, namespace: str = "default", **fields: Any) -> Metadata:
        return bearer(add_key(self.file, role, namespace, name=name, **fields))


def stub(served: Served) -> ApprovalServiceStub:
    """A client."""
    return ApprovalServiceStub(served.channels[0] if served.channels else served.channel())


async def waiting(served: Served, key: Metadata = (), run_id: str = "run-1", package_id: str = "") -> None:
    """Starts a run, and returns once it waits."""
    package = {"package_id": package_id} if package_id else None
    request = pb.StartRunRequest(run=run_pb2.RunRequest(run_id=run_id, input=[{"text": "Send"}], package=package))
    await served.stub.StartRun(request, timeout=CALL_SECONDS, metadata=key)
    await reached(served.runtime, EventKind.APPROVAL_REQUESTED, run_id)


async def pending(served: Served, key: Metadata = (), approval_id: str = ID) -> approval_pb2.Approval:
    """The approval as somebody sees it, with the arguments."""
    request = approval_pb.GetApprovalRequest(approval_id=approval_id, include_arguments=True)
    return (await stub(served).GetApproval(request, timeout=CALL_SECONDS, metadata=key)).approval


async def decision(served: Served, verdict: int = APPROVE, **fields: Any) -> approval_pb.DecisionRequest:
    """A decision about the call; an approval of what is pending unless the fields say otherwise."""
    said = {"approval_id": ID, "request_id": "d-1", "verdict": verdict, **fields}
    if "digest" not in said:
        found = await served.runtime.approvals.look_up(DEFAULT_NAMESPACE, said["approval_id"])
        said["digest"] = found.asked.digest if found else f"sha256:runwright-approval-v1:{'0' * 64}"
    return approval_pb.DecisionRequest(**said)


async def decide(served: Served, key: Metadata = (), verdict: int = APPROVE, **fields: Any) -> Any:
    """DecideApproval."""
    request = approval_pb.DecideApprovalRequest(decision=await decision(served, verdict, **fields))
    return await stub(served).DecideApproval(request, timeout=CALL_SECONDS, metadata=key)

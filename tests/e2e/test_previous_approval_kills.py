"""The call that was approved last, over a kill -9 right behind the approval, and behind the next question."""

from __future__ import annotations

from pathlib import Path

from runwright._gen.runwright.v1 import approval_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright._gen.runwright.v1 import previous_approval_pb2 as previous_pb
from runwright._gen.runwright.v1 import runtime_service_pb2 as runtime_pb
from runwright._gen.runwright.v1.approval_service_pb2_grpc import ApprovalServiceStub

from tests.e2e.client import SECONDS, run_request
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor
from tests.e2e.test_approval_edit_kills import Killed, asking, decide, until_listed
from tests.transport.known import Metadata, add_key, bearer


async def previous(killed: Killed, key: Metadata, approval_id: str) -> previous_pb.PreviousApproval:
    """What an approval is compared with."""
    request = pb.GetApprovalRequest(approval_id=approval_id, include_arguments=True)
    found = await killed.call(
        lambda call: ApprovalServiceStub(call.channel).GetApproval(request, timeout=SECONDS, metadata=key)
    )
    return found.approval.previous


async def test_the_last_approved_call_is_known_after_a_kill_behind_its_approval_and_behind_the_next_question(
    make_server: MakeServer, executor: Executor, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.json"
    caller, observer = (bearer(add_key(keys, role, name=role)) for role in ("caller", "observer"))
    ann = bearer(add_key(keys, "approver", name="ann"))
    server = make_server(asking(), options=("--keys", str(keys)))
    await server.start()
    killed = Killed(server, observer)
    compared = {}

    for run_id, kind in ("run-1", "approval_decided"), ("run-2", "approval_requested"):
        killing = killed.at(run_id, lambda event, kind=kind: event.HasField(kind))  # type: ignore[misc]
        start = runtime_pb.StartRunRequest(run=run_request(run_id, session_id="s"))
        await killed.call(lambda call, start=start: call.stub.StartRun(start, timeout=SECONDS, metadata=caller))  # type: ignore[misc]
        asked = await until_listed(killed, run_id, ann)
        editing = pb.DecisionRequest(
            approval_id=asked.approval_id,
            digest=asked.digest,
            request_id="d-1",
            verdict=approval_pb2.APPROVAL_VERDICT_APPROVE_WITH_EDITS,
            arguments_json=b'{"to": "eve"}',
        )
        if run_id == "run-2":
            await killing
            compared["pending"] = await previous(killed, ann, asked.approval_id)
        await decide(killed, ann, editing)
        await killing
        compared[run_id] = await previous(killed, ann, asked.approval_id)

    assert compared["run-1"].comparison == previous_pb.APPROVAL_COMPARISON_FIRST
    assert compared["pending"] == compared["run-2"], "also once it was decided"
    assert (compared["run-2"].approval_id, compared["run-2"].decided_by) == ("run-1/a1.1.1", "ann")
    assert [(each.before, each.after) for each in compared["run-2"].changes] == [('"eve"', '"ann"')]
    assert server.life == 3

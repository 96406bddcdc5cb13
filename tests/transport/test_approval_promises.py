"""What an approval is not good for, over a socket: each is refused with its reason, runs nothing, and is on record.

docs/approvals.md lists these by name; `tests/docs/test_named_tests.py` holds the list.
"""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import grpc
import pytest
from runwright._gen.runwright.v1 import approval_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as approval_pb
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.adapters.key_approvers import KeyApprovers
from runwright.adapters.keys import KeysFile, read_keys, write_keys
from runwright.adapters.memory.audit import MemoryAudit
from runwright.core.executor_names import ExecutorNames
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.approving import ID, Sent, asking
from tests.transport.conftest import Serve
from tests.transport.known import Metadata
from tests.transport.pending_approvals import DENY, People, decide, decision, pending, stub, waiting
from tests.transport.serving import CALL_SECONDS, Refusal, Served, refused

TO_BOB = {"tool": "send", "arguments": {"to": "bob"}}
TO_EVE = {"tool": "send", "arguments": {"to": "eve"}}
PENDING, APPROVED = approval_pb2.APPROVAL_STATE_PENDING, approval_pb2.APPROVAL_STATE_APPROVED
SECOND = "run-1/a1.2.1"


class Scene:
    """A server whose run-1 waits for an approval, the people around it, what was sent, and the audit."""

    def __init__(self, folder: Path) -> None:
        self.people = People(folder)
        self.sent = Sent()
        self.bench = b.Bench(tools=FunctionTools({"send": self.sent, "look": b.look}))
        self.bench.approvers = KeyApprovers(self.people.known, ExecutorNames())
        self.bench.audit = self.audit = MemoryAudit(self.bench.clock)
        self.served: Served

    async def begin(self, serve: Serve, *calls: b.Fields, **approval: Any) -> Served:
        """Serves, and has run-1 wait."""
        spec = {"sets": [{"roles": ["approver"]}], "expires": "1h", **approval}
        self.bench.packages = (asking(*(calls or (TO_BOB,)), approval=spec),)
        self.served = await serve(self.bench, authenticator=self.people.known)
        await waiting(self.served, self.people.caller)
        return self.served

    async def refuses(self, call: Awaitable[Any], reason: str, who: str, about: str = ID) -> Refusal:
        """Holds that a decision is refused for that reason, that nothing was sent, and that it is on record."""
        before = len(self.sent.calls)
        refusal = await refused(call)
        assert refusal.info.reason == reason
        assert len(self.sent.calls) == before
        entries = (await self.audit.page(("default", "other"), before=None, limit=9)).entries
        said = {(entry.kind.name, entry.principal, entry.reason, entry.subjects[:1]) for entry in entries}
        assert ("APPROVAL_REFUSED", who, reason, (about,)) in said
        return refusal

    async def settled(self, run_id: str = "run-1", key: Metadata = ()) -> Any:
        """The run once it has ended."""
        request = pb.WaitRequest(run_id=run_id)
        return await self.served.stub.Wait(request, timeout=CALL_SECONDS, metadata=key or self.people.caller)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Before it is served."""
    return Scene(tmp_path)


async def test_approved_then_changed(serve: Serve, scene: Scene) -> None:
    """What was looked at is not what is pending: the digest is of other arguments."""
    served = await scene.begin(serve, TO_BOB, TO_EVE)
    looked_at = (await pending(served, scene.people.bob, SECOND)).digest

    await scene.refuses(decide(served, scene.people.bob, digest=looked_at), "APPROVAL_DIGEST_MISMATCH", "bob")

    assert (await pending(served, scene.people.bob)).state == PENDING


async def test_replayed_for_the_next_identical_call(serve: Serve, scene: Scene) -> None:
    """The same tool with the same arguments has the same digest, and is another call."""
    served = await scene.begin(serve, TO_BOB, TO_BOB)
    first = await decide(served, scene.people.bob)
    again = await decide(served, scene.people.bob)

    await scene.refuses(decide(served, scene.people.bob, request_id="d-2"), "APPROVAL_ALREADY_DECIDED", "bob")

    assert (first.decided, again.decided) == (True, False)
    assert (await pending(served, scene.people.bob, SECOND)).state == PENDING
    assert scene.sent.calls in ([], [{"to": "bob"}]), "at most the one that was approved"


async def test_late_by_one_millisecond(serve: Serve, scene: Scene) -> None:
    served = await scene.begin(serve)
    expires_at = (await pending(served, scene.people.bob)).expires_at.ToMicroseconds()
    clock = scene.bench.manual_clock
    clock.advance(expires_at - clock.now() + 1000)

    await scene.refuses(decide(served, scene.people.bob), "APPROVAL_EXPIRED", "bob")

    await scene.settled()
    assert scene.sent.calls == []


async def test_a_duplicate(serve: Serve, scene: Scene) -> None:
    """Sent again it is answered with the decision on record; as another request it is refused."""
    served = await scene.begin(serve)
    first = await decide(served, scene.people.bob)
    again = await decide(served, scene.people.bob)
    await scene.settled()

    refusal = await scene.refuses(decide(served, scene.people.ann), "APPROVAL_ALREADY_DECIDED", "ann")

    assert (first.decided, again.decided) == (True, False)
    assert first.approval.decision == again.approval.decision
    assert (refusal.info.metadata["decided_by"], refusal.info.metadata["verdict"]) == ("bob", "APPROVE")
    assert scene.sent.calls == [{"to": "bob"}]


async def test_of_another_run(serve: Serve, scene: Scene) -> None:
    served = await scene.begin(serve)
    await waiting(served, scene.people.caller, "run-2")

    await decide(served, scene.people.bob, approval_id="run-2/a1.1.1")
    await scene.settled("run-2")
    nowhere = decide(served, scene.people.bob, approval_id="run-3/a1.1.1")
    await scene.refuses(nowhere, "APPROVAL_NOT_FOUND", "bob", "run-3/a1.1.1")

    assert (await pending(served, scene.people.bob)).state == PENDING
    assert scene.sent.calls == [{"to": "bob"}], "of run-2"


async def test_of_another_namespace(serve: Serve, scene: Scene) -> None:
    served = await scene.begin(serve)

    await scene.refuses(decide(served, scene.people.eve), "APPROVAL_NOT_FOUND", "eve")

    assert (await pending(served, scene.people.bob)).state == PENDING


async def test_self_given(serve: Serve, scene: Scene) -> None:
    """By whoever performs the call; and, where four eyes are asked for, by whoever started the run."""
    served = await scene.begin(serve)

    refusal = await scene.refuses(decide(served, scene.people.hal), "APPROVER_NOT_ALLOWED", "hal")

    assert refusal.info.metadata["rule"] == "executor"
    assert (await pending(served, scene.people.bob)).state == PENDING


async def test_by_a_revoked_key(serve: Serve, scene: Scene) -> None:
    served = await scene.begin(serve)
    wanted = await decision(served)
    keys = [entry for entry in read_keys(scene.people.file).keys if entry.name != "bob"]
    write_keys(scene.people.file, KeysFile(keys=tuple(keys)))

    request = approval_pb.DecideApprovalRequest(decision=wanted)
    refusal = await refused(stub(served).DecideApproval(request, timeout=CALL_SECONDS, metadata=scene.people.bob))

    assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
    entries = (await scene.audit.page(("default", ""), before=None, limit=9)).entries
    assert "UNAUTHENTICATED" in {entry.kind.name for entry in entries}
    assert (await pending(served, scene.people.ann)).state == PENDING
    assert scene.sent.calls == []


async def test_with_a_wrong_digest(serve: Serve, scene: Scene) -> None:
    served = await scene.begin(serve)
    wrong = f"sha256:runwright-approval-v1:{'0' * 64}"

    await scene.refuses(decide(served, scene.people.bob, digest=wrong), "APPROVAL_DIGEST_MISMATCH", "bob")

    assert (await pending(served, scene.people.bob)).state == PENDING


async def test_after_a_cancel(serve: Serve, scene: Scene) -> None:
    served = await scene.begin(serve)
    await served.stub.Cancel(pb.CancelRequest(run_id="run-1"), timeout=CALL_SECONDS, metadata=scene.people.caller)
    await scene.settled()

    await scene.refuses(decide(served, scene.people.bob), "APPROVAL_WITHDRAWN", "bob")

    assert scene.sent.calls == []


async def test_of_a_batch_of_a_hundred_ninety_are_done_and_ten_explained(serve: Serve, scene: Scene) -> None:
    served = await scene.begin(serve)
    runs = [f"run-{number}" for number in range(1, 101)]
    for run_id in runs[1:]:
        await waiting(served, scene.people.caller, run_id)
    decisions = [await decision(served, approval_id=f"{run_id}/a1.1.1", request_id=run_id) for run_id in runs]
    expected = ["decided"] * 100
    for at in (3, 14, 25):
        decisions[at].digest, expected[at] = f"sha256:runwright-approval-v1:{'0' * 64}", "APPROVAL_DIGEST_MISMATCH"
    for at in (36, 47):
        decisions[at].approval_id, expected[at] = f"nobody-{at}/a1.1.1", "APPROVAL_NOT_FOUND"
    for at in (58, 69):
        decisions[at].note, expected[at] = "x" * 1025, "INVALID_REQUEST"
    await served.stub.Cancel(pb.CancelRequest(run_id=runs[80]), timeout=CALL_SECONDS, metadata=scene.people.caller)
    await scene.settled(runs[80])
    expected[80] = "APPROVAL_WITHDRAWN"
    for at in (91, 92):
        await decide(served, scene.people.ann, DENY, approval_id=f"{runs[at]}/a1.1.1")
        expected[at] = "APPROVAL_ALREADY_DECIDED"

    request = approval_pb.BatchDecideRequest(decisions=decisions)
    answer = await stub(served).BatchDecide(request, timeout=CALL_SECONDS, metadata=scene.people.bob)

    said = [result.error.reason_name or result.WhichOneof("result") for result in answer.results]
    assert said == expected
    assert said.count("decided") == 90
    assert [result.approval_id for result in answer.results] == [each.approval_id for each in decisions]
    done = [result.decided for result in answer.results if result.HasField("decided")]
    assert all(each.decided and each.approval.state == APPROVED for each in done)
    assert all(result.error.message for result in answer.results if not result.HasField("decided"))
    for run_id in runs:
        if (answer.results[runs.index(run_id)]).HasField("decided"):
            await scene.settled(run_id)
    assert len(scene.sent.calls) == 90

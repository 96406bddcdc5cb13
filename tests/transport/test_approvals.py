"""ApprovalService over a socket: who sees what, who may decide, and what is on record of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import grpc
from runwright._gen.runwright.v1 import approval_pb2, run_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as approval_pb
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.adapters.keys import KeysFile, read_keys, write_keys
from runwright.adapters.memory.audit import MemoryAudit
from runwright.core.kinds import EventKind

from tests.runtime.approving import ID, Sent, of_the_run
from tests.runtime.watching import reached
from tests.transport.conftest import Serve
from tests.transport.known import Metadata
from tests.transport.pending_approvals import (
    ABORT,
    APPROVE,
    DENY,
    EDIT,
    People,
    asking_bench,
    decide,
    decision,
    pending,
    stub,
    waiting,
)
from tests.transport.serving import CALL_SECONDS, Served, refused

START, ANSWER = "run-1/a0.1", "run-1/a1.1"


async def test_an_approval_shows_everything_that_a_decision_rests_on(serve: Serve, tmp_path: Path) -> None:
    people = People(tmp_path)
    served = await serve(asking_bench(people.known), authenticator=people.known)
    await waiting(served, people.caller)

    shown = await pending(served, people.bob)
    snapshot = await served.stub.Snapshot(
        pb.SnapshotRequest(run_id="run-1"), timeout=CALL_SECONDS, metadata=people.caller
    )

    assert (shown.approval_id, shown.run_id, shown.effect_id, shown.tool) == (ID, "run-1", "c1.1", "send")
    assert (shown.state, shown.kind) == (approval_pb2.APPROVAL_STATE_PENDING, approval_pb2.APPROVAL_KIND_TOOL_CALL)
    assert (shown.agent_id, shown.started_by, shown.executor) == ("helper", "cal", "tools")
    assert (shown.approval, shown.rule, shown.code) == ("writes", "policies.1.rules.0", "writes")
    assert shown.arguments_content.text == '{"to":"bob"}'
    assert [list(each.roles) for each in shown.sets] == [["approver"]]
    assert shown.separation == approval_pb2.APPROVAL_SEPARATION_ENFORCED
    assert shown.expires_at.seconds - shown.requested_at.seconds == 3600
    assert (list(shown.highlight), shown.reversible, list(shown.lineage)) == (["/to"], True, ["run-1"])
    assert shown.summary == 'Send to "bob"'
    assert list(shown.allowed_verdicts)[:2] == [APPROVE, DENY]
    [known] = snapshot.run.pending_approvals
    assert (known.approval_id, known.digest, known.tool) == (ID, shown.digest, "send")
    assert (known.arguments, known.expires_at) == (shown.arguments, shown.expires_at)
    assert list(known.approvers.roles) == ["approver"]
    assert snapshot.run.status == run_pb2.RUN_STATUS_WAITING
    assert [wait.kind for wait in snapshot.run.waiting_on] == [run_pb2.WAIT_KIND_APPROVAL]


async def test_who_decided_comes_from_the_key_and_stands_with_the_intent(serve: Serve, tmp_path: Path) -> None:
    people = People(tmp_path)
    served = await serve(asking_bench(people.known), authenticator=people.known)
    await waiting(served, people.caller)

    first = await decide(served, people.bob, note="ticket 7", on_behalf_of="the board")
    wait = pb.WaitRequest(run_id="run-1")
    ended = await served.stub.Wait(wait, timeout=CALL_SECONDS, metadata=people.caller)
    again = await decide(served, people.bob, note="ticket 7", on_behalf_of="the board")

    assert (first.decided, again.decided) == (True, False)
    assert first.approval.decision == again.approval.decision
    made = first.approval.decision
    assert (made.decided_by, made.note, made.on_behalf_of) == ("bob", "ticket 7", "the board")
    assert ended.run.result.text == 'told "sent"'
    request = pb.ListEventsRequest(scope=pb.StreamScope(run_id="run-1"))
    frames = (await served.stub.ListEvents(request, timeout=CALL_SECONDS, metadata=people.olga)).frames
    [started] = [frame.event.tool_started for frame in frames if frame.event.HasField("tool_started")]
    assert (started.approval_id, started.approved_by, started.approval_digest) == ("a1.1.1", "bob", made.digest)


async def test_a_revoked_key_decides_nothing(serve: Serve, tmp_path: Path) -> None:
    people = People(tmp_path)
    served = await serve(asking_bench(people.known), authenticator=people.known)
    await waiting(served, people.caller)
    keys = [entry for entry in read_keys(people.file).keys if entry.name != "bob"]
    write_keys(people.file, KeysFile(keys=tuple(keys)))

    refusal = await refused(decide(served, people.bob))

    assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
    assert (await pending(served, people.ann)).state == approval_pb2.APPROVAL_STATE_PENDING


async def test_whoever_may_not_decide_is_refused_by_rule_and_audited(serve: Serve, tmp_path: Path) -> None:
    people = People(tmp_path)
    bench = asking_bench(people.known)
    bench.audit = audit = MemoryAudit(bench.clock)
    served = await serve(bench, authenticator=people.known)
    await waiting(served, people.caller)

    performs = await refused(decide(served, people.hal))
    elsewhere = await refused(decide(served, people.eve))
    observes = await refused(decide(served, people.olga))
    starts = await refused(decide(served, people.caller))

    assert (performs.code, performs.info.metadata["rule"]) == (grpc.StatusCode.PERMISSION_DENIED, "executor")
    assert elsewhere.info.reason == "APPROVAL_NOT_FOUND"
    assert {observes.info.reason, starts.info.reason} == {"ROLE_MISSING"}
    assert (await pending(served, people.bob)).state == approval_pb2.APPROVAL_STATE_PENDING
    kept = (await audit.page(("default", "other"), before=None, limit=9)).entries
    said = {(entry.kind.name, entry.principal, entry.reason, entry.subjects) for entry in kept}
    assert ("APPROVAL_REFUSED", "hal", "APPROVER_NOT_ALLOWED", (ID, "executor")) in said
    assert ("APPROVAL_REFUSED", "eve", "APPROVAL_NOT_FOUND", (ID,)) in said


async def test_approvals_are_seen_by_those_they_concern(serve: Serve, tmp_path: Path) -> None:
    people = People(tmp_path)
    bench = asking_bench(people.known, sets=[{"principals": ["ann"], "for": "10m"}, {"principals": ["hal"]}])
    served = await serve(bench, authenticator=people.known)
    await waiting(served, people.caller)

    async def listed(key: object, **wanted: object) -> list[str]:
        request = approval_pb.ListApprovalsRequest(**wanted)  # type: ignore[arg-type]
        found = await stub(served).ListApprovals(request, timeout=CALL_SECONDS, metadata=key)  # type: ignore[arg-type]
        return [approval.approval_id for approval in found.approvals]

    assert await listed(people.ann) == await listed(people.hal) == await listed(people.olga) == [ID]
    assert await listed(people.ann, mine=True) == [ID]
    assert await listed(people.hal, mine=True) == [], "it is not their turn, and they perform it"
    assert await listed(people.bob) == await listed(people.eve) == []
    hidden = await refused(
        stub(served).GetApproval(
            approval_pb.GetApprovalRequest(approval_id=ID), timeout=CALL_SECONDS, metadata=people.bob
        )
    )
    assert hidden.info.reason == "APPROVAL_NOT_FOUND"


async def test_pages_of_approvals_have_a_bound_and_a_way_on(serve: Serve) -> None:
    served = await serve(asking_bench())
    for number in range(5):
        await waiting(served, run_id=f"run-{number}")

    found, token = list[str](), ""
    while True:
        request = approval_pb.ListApprovalsRequest(page_size=2, page_token=token)
        page = await stub(served).ListApprovals(request, timeout=CALL_SECONDS)
        found += [approval.run_id for approval in page.approvals]
        assert len(page.approvals) <= 2
        token = page.next_page_token
        if not token:
            break
    wrong = approval_pb.ListApprovalsRequest(page_token="garbage")

    assert found == [f"run-{number}" for number in range(5)]
    refusal = await refused(stub(served).ListApprovals(wrong, timeout=CALL_SECONDS))
    assert refusal.info.metadata["field"] == "page_token"


async def test_of_a_batch_each_decision_stands_for_itself(serve: Serve) -> None:
    served = await serve(asking_bench())
    for number in range(10):
        await waiting(served, run_id=f"run-{number}")
    batch = [await decision(served, approval_id=f"run-{n}/a1.1.1", request_id=f"d-{n}") for n in range(10)]
    batch[3].digest = f"sha256:runwright-approval-v1:{'0' * 64}"
    batch[7].approval_id = "run-70/a1.1.1"

    answer = await stub(served).BatchDecide(approval_pb.BatchDecideRequest(decisions=batch), timeout=CALL_SECONDS)

    said = [result.error.reason_name or result.WhichOneof("result") for result in answer.results]
    expected = ["decided"] * 10
    expected[3], expected[7] = "APPROVAL_DIGEST_MISMATCH", "APPROVAL_NOT_FOUND"
    assert said == expected
    assert all(result.decided.approval.state == approval_pb2.APPROVAL_STATE_APPROVED for result in answer.results[:3])
    for too_many in ([], batch * 11):
        request = approval_pb.BatchDecideRequest(decisions=too_many)
        refusal = await refused(stub(served).BatchDecide(request, timeout=CALL_SECONDS))
        assert refusal.info.metadata["field"] == "decisions"


async def updates(call: object, count: int) -> list[approval_pb.WatchApprovalsResponse]:
    """The next updates that carry an approval, and the cursor of what came between."""
    found: list[approval_pb.WatchApprovalsResponse] = []
    async with asyncio.timeout(CALL_SECONDS):
        while len(found) < count:
            response = await call.read()  # type: ignore[attr-defined]
            if response.HasField("approval"):
                found.append(response)
    return found


async def test_whoever_watches_hears_what_is_pending_and_what_becomes_of_it(serve: Serve) -> None:
    served = await serve(asking_bench())
    await waiting(served)
    call = stub(served).WatchApprovals(approval_pb.WatchApprovalsRequest())
    [before] = await updates(call, 1)

    await waiting(served, run_id="run-2")
    [new] = await updates(call, 1)
    await decide(served, verdict=DENY)
    [denied] = await updates(call, 1)
    call.cancel()
    after = stub(served).WatchApprovals(approval_pb.WatchApprovalsRequest(after_cursor=new.cursor))
    [again] = await updates(after, 1)
    after.cancel()

    assert (before.approval.approval_id, before.approval.state) == (ID, approval_pb2.APPROVAL_STATE_PENDING)
    assert new.approval.approval_id == "run-2/a1.1.1"
    assert (denied.approval.approval_id, denied.approval.state) == (ID, approval_pb2.APPROVAL_STATE_DENIED)
    assert (again.approval, again.cursor) == (denied.approval, denied.cursor)


async def test_somebody_else_hears_nothing_of_what_does_not_concern_them(serve: Serve, tmp_path: Path) -> None:
    people = People(tmp_path)
    served = await serve(asking_bench(people.known, sets=[{"principals": ["ann"]}]), authenticator=people.known)
    await waiting(served, people.caller)
    calls = [
        stub(served).WatchApprovals(approval_pb.WatchApprovalsRequest(), metadata=key)
        for key in (people.bob, people.eve)
    ]
    heard = [await call.read() for call in calls]
    await decide(served, people.ann)
    await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS, metadata=people.caller)
    heard += [await calls[0].read()]  # the cursor that passes what is hidden

    assert not any(response.HasField("approval") for response in heard)
    for call in calls:
        call.cancel()


async def test_what_was_edited_is_what_the_executor_gets_and_is_on_record(serve: Serve, tmp_path: Path) -> None:
    people = People(tmp_path)
    sent = Sent()
    served = await serve(asking_bench(people.known, sent), authenticator=people.known)
    await waiting(served, people.caller)
    asked = await pending(served, people.bob)

    edited = {"arguments_json": b'{"to": "eve"}'}
    bad = await refused(decide(served, people.bob, EDIT, arguments_json=b"[]"))
    first = await decide(served, people.bob, EDIT, **edited)
    again = await decide(served, people.bob, EDIT, **edited)
    wait = pb.WaitRequest(run_id="run-1")
    ended = await served.stub.Wait(wait, timeout=CALL_SECONDS, metadata=people.caller)

    assert (bad.code, bad.info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "APPROVAL_EDIT_INVALID")
    assert (first.decided, again.decided, ended.run.result.text) == (True, False, 'told "sent"')
    shown = await pending(served, people.bob)
    made = shown.decision
    assert made.verdict == approval_pb2.APPROVAL_VERDICT_APPROVE_WITH_EDITS
    assert (made.digest, shown.digest) == (asked.digest, asked.digest)
    assert (shown.arguments_content.text, made.edited_arguments_content.text) == ('{"to":"bob"}', '{"to":"eve"}')
    assert sent.calls == [{"to": "eve"}]
    request = pb.ListEventsRequest(scope=pb.StreamScope(run_id="run-1"))
    frames = (await served.stub.ListEvents(request, timeout=CALL_SECONDS, metadata=people.olga)).frames
    [started] = [frame.event.tool_started for frame in frames if frame.event.HasField("tool_started")]
    assert (started.approval_digest, started.arguments_digest) == (made.edited_digest, made.edited_arguments.digest)


async def test_a_start_and_an_answer_are_approved_and_nothing_of_the_answer_is_read_before(
    serve: Serve, tmp_path: Path
) -> None:
    people = People(tmp_path)
    bench = asking_bench(people.known)
    bench.packages = (of_the_run("run_start", "output", answer="the secret plan"),)
    served = await serve(bench, authenticator=people.known)
    start = pb.StartRunRequest(run=run_pb2.RunRequest(run_id="run-1", input=[{"text": "What is the plan?"}]))

    started = (await served.stub.StartRun(start, timeout=CALL_SECONDS, metadata=people.caller)).run
    of_start = await pending(served, people.bob, START)
    await decide(served, people.bob, approval_id=START)
    await reached(served.runtime, EventKind.APPROVAL_REQUESTED, times=2)
    held = await _read(served, people.caller)
    of_answer = await pending(served, people.bob, ANSWER)
    await decide(served, people.ann, approval_id=ANSWER, request_id="d-2")
    published = await _read(served, people.caller)

    assert started.status == run_pb2.RUN_STATUS_WAITING
    [waits] = started.pending_approvals
    assert (waits.approval_id, waits.kind) == (START, approval_pb2.APPROVAL_KIND_RUN_START)
    assert (waits.arguments, waits.digest) == (of_start.arguments, of_start.digest)
    assert (of_start.kind, of_start.tool) == (approval_pb2.APPROVAL_KIND_RUN_START, "")
    assert json.loads(of_start.arguments_content.text)["input"] == ["What is the plan?"]
    assert list(of_start.allowed_verdicts) == [APPROVE, DENY, ABORT]
    assert of_answer.kind == approval_pb2.APPROVAL_KIND_OUTPUT
    assert of_answer.arguments_content.text == "the secret plan"
    # As a content; the package's script has it, too.
    assert 'text: "the secret plan"' not in held
    assert 'data: "the secret plan"' not in held
    assert published.count('text: "the secret plan"') == 2
    assert published.count('data: "the secret plan"') == 1


async def _read(served: Served, key: Metadata) -> str:
    """All that a reader of the run gets: as it stands, its events in full, and its export."""
    snapshot = await served.stub.Snapshot(pb.SnapshotRequest(run_id="run-1"), timeout=CALL_SECONDS, metadata=key)
    request = pb.ListEventsRequest(scope=pb.StreamScope(run_id="run-1"), view=pb.EVENT_VIEW_FULL)
    frames = await served.stub.ListEvents(request, timeout=CALL_SECONDS, metadata=key)
    export = served.stub.ExportRun(pb.ExportRunRequest(run_id="run-1"), timeout=CALL_SECONDS, metadata=key)
    return f"{snapshot} {frames} {[part async for part in export]}"

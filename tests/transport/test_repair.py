"""ResolveEffect over a socket: who may, what is answered, and what is on record of it."""

from __future__ import annotations

from pathlib import Path

from runwright._gen.runwright.v1 import event_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.adapters.memory.audit import MemoryAudit

from tests.transport.conftest import Serve
from tests.transport.known import bearer, keys_for
from tests.transport.serving import CALL_SECONDS, refused
from tests.transport.unknown_calls import decision, in_repair, losing


async def test_a_decision_is_answered_with_the_run_and_what_is_on_record(serve: Serve) -> None:
    served = await serve(losing())
    await in_repair(served)
    happened = decision(resolution=run_pb2.RESOLUTION_HAPPENED, reason="seen in the ledger")
    happened.result.data = b'"written"'

    first = await served.stub.ResolveEffect(happened, timeout=CALL_SECONDS)
    ended = await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS)
    again = await served.stub.ResolveEffect(happened, timeout=CALL_SECONDS)

    assert (first.resolved, again.resolved) == (True, False)
    assert first.resolution == again.resolution
    assert (first.resolution.effect_id, first.resolution.attempt) == ("c1.1", 1)
    assert (first.resolution.resolved_by, first.resolution.reason) == ("local", "seen in the ledger")
    assert ended.run.status == run_pb2.RUN_STATUS_COMPLETED
    assert ended.run.result.text == 'told "written"'
    [event] = [f.event for f in await served.frames() if f.event.kind == event_pb2.EVENT_KIND_EFFECT_RESOLVED]
    assert (event.effect_id, event.attempt, event.effect_resolved.request_id) == ("c1.1", 1, "d-1")
    assert event.time == first.resolution.time


async def test_a_run_says_by_what_it_is_freed_until_somebody_does(serve: Serve) -> None:
    served = await serve(losing())
    await in_repair(served)

    waiting = (await served.stub.Snapshot(pb.SnapshotRequest(run_id="run-1"), timeout=CALL_SECONDS)).run.waiting_on
    await served.stub.ResolveEffect(decision(), timeout=CALL_SECONDS)
    ended = await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS)

    assert [wait.kind for wait in waiting] == [run_pb2.WAIT_KIND_REPAIR]
    assert "runwright effects resolve run-1 c1.1 --attempt 1 --as" in waiting[0].unblocked_by
    assert "ResolveEffect" in waiting[0].unblocked_by
    assert list(ended.run.waiting_on) == []


async def test_who_decided_comes_from_the_key_and_refusals_are_audited(serve: Serve, tmp_path: Path) -> None:
    (caller, repairer), known = keys_for(tmp_path, "caller", "repairer")
    bench = losing()
    bench.audit = audit = MemoryAudit(bench.clock)
    served = await serve(bench, authenticator=known)
    await served.stub.StartRun(
        pb.StartRunRequest(run=run_pb2.RunRequest(run_id="run-1", input=[{"text": "Write"}])),
        timeout=CALL_SECONDS,
        metadata=bearer(caller),
    )
    options = {"timeout": CALL_SECONDS, "metadata": bearer(repairer)}
    await served.stub.Wait(pb.WaitRequest(run_id="run-1"), **options)

    stale = await refused(served.stub.ResolveEffect(decision(attempt=7), **options))
    decided = await served.stub.ResolveEffect(decision(), **options)

    assert stale.info.reason == "EFFECT_ATTEMPT_STALE"
    assert decided.resolution.resolved_by
    entries = (await audit.page(("default", ""), before=None, limit=10)).entries
    [entry] = [entry for entry in entries if entry.kind.name == "RESOLUTION_REFUSED"]
    assert (entry.principal, entry.reason) == (decided.resolution.resolved_by, "EFFECT_ATTEMPT_STALE")
    assert entry.subjects == ("run-1", "c1.1")


async def test_a_resolution_nobody_knows_is_refused_by_name(serve: Serve) -> None:
    served = await serve(losing())
    await in_repair(served)

    refusal = await refused(served.stub.ResolveEffect(decision(resolution=0), timeout=CALL_SECONDS))

    assert refusal.info.metadata["field"] == "resolution"
    assert "RESOLUTION_TRY_AGAIN" in refusal.info.metadata["expected"]

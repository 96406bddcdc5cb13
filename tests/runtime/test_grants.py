"""Grants: what somebody permitted for later answers in their place, as often and as long as they said, and no more."""

from __future__ import annotations

from runwright.core import records as r
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunStatus

from tests import builders as b
from tests.runtime.approving import separated
from tests.runtime.granting import ID, TO_BOB, begun, given, grant, granting
from tests.runtime.watching import events, kinds, records_of, stood_still


async def test_the_next_call_runs_without_asking_under_a_grant_for_these_arguments(bench: b.Bench) -> None:
    runtime, sent = begun(separated(bench), granting(TO_BOB, TO_BOB))
    await runtime.start_run(b.request(), principal="cal")

    await given(runtime, grant())

    ended = await stood_still(runtime)
    assert ended.status is RunStatus.COMPLETED
    assert sent.calls == [{"to": "bob"}, {"to": "bob"}]
    assert (await kinds(bench.journal)).count(EventKind.APPROVAL_REQUESTED) == 1
    [issued] = await records_of(bench.journal, r.GrantIssued)
    [used] = await records_of(bench.journal, r.GrantUsed)
    assert (used.grant, used.call_id) == (issued.grant, "c2.1")
    assert (issued.grant.grant_id, issued.grant.issuer, issued.grant.uses) == (ID, "bob", 5)
    on_record = [event for event in await events(bench.journal) if event.kind is EventKind.GRANT_ISSUED]
    assert used.issued_hash == on_record[0].hash
    assert on_record[0].seq == issued.grant.issued_seq
    first, second = await records_of(bench.journal, r.ToolStarted)
    assert (first.approval_id, first.grant_id) == ("a1.1.1", "")
    assert (second.approval_id, second.grant_id, second.approved_by) == ("", ID, "bob")
    assert second.approval_digest == used.digest == first.approval_digest

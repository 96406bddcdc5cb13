"""examples/verify_effects.py: from an export alone it says who allowed what, and finds what nobody allowed.

Exports are forged as somebody would who knows their form: events are changed, and the chain is made anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf import json_format
from runwright._gen.runwright.v1 import approval_pb2, policy_pb2
from runwright._gen.runwright.v1 import event_pb2 as pb
from runwright._gen.runwright.v1.runtime_service_pb2 import ExportRunResponse
from runwright.core.approvals import ApprovalVerdict
from runwright.core.kinds import EventKind
from runwright.wire.references import event_refs

from tests import builders as b
from tests.cli.test_verify import EXAMPLE as WHOLE
from tests.cli.test_verify import lines_of
from tests.runtime.approving import ANN, asking, decide, of_the_run, person, separated, waiting
from tests.runtime.granting import ANY, RUN, TO_BOB, TO_EVE, begun, given, grant, granting
from tests.runtime.watching import reached, stood_still

EXAMPLE = Path(__file__).parents[2] / "examples" / "verify_effects.py"
CALLS = ({"tool": "send", "arguments": {"to": "ann"}}, {"tool": "look", "arguments": {}})
ANN_ALONE = {"sets": [{"principals": ["ann"]}], "expires": "1h"}
NOT_ENFORCED = approval_pb2.APPROVAL_SEPARATION_NOT_ENFORCED
Events = list[pb.Event]
Forge = Callable[[Events], None]


async def export(*calls: b.Fields, verdict: ApprovalVerdict = ApprovalVerdict.APPROVE) -> list[str]:
    """The lines of an export of a run whose writing call ann decided on."""
    bench = separated(b.Bench(), ANN, person("eve"))
    runtime, _ = await waiting(bench, asking(*(calls or CALLS), approval=ANN_ALONE), principal="cal")
    said = {"message": "I did it."} if verdict is ApprovalVerdict.RESPOND else {}
    await decide(runtime, verdict, who=ANN, **said)
    await stood_still(runtime)
    return await lines_of(bench, "run-1")


def verified(tmp_path: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What the example says does not hold; empty when all of it does."""
    file = tmp_path / "run.jsonl"
    file.write_text("".join(line + "\n" for line in lines))
    return judged(file, monkeypatch)


def judged(file: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the example ends with about a file."""
    monkeypatch.syspath_prepend(str(EXAMPLE.parent))
    monkeypatch.setattr(sys, "argv", ["verify_effects.py", str(file)])
    try:
        runpy.run_path(str(EXAMPLE))
    except SystemExit as ended:
        return str(ended.code)
    return ""


def forged(lines: list[str], forge: Forge) -> list[str]:
    """The export with other events, in a chain that fits them, and with what they mention alone."""
    parts = [json_format.Parse(line, ExportRunResponse()) for line in lines]
    header, exported = parts[0].header, [part for part in parts if part.HasField("event")]
    events = [pb.Event.FromString(part.event.data) for part in exported]
    forge(events)
    link = hashlib.sha256("\0".join(("runwright-chain-v1", header.namespace, header.run_id)).encode()).digest()
    made = []
    for position, event in enumerate(events, start=1):
        event.seq, event.run_id = position, event.run_id or header.run_id
        part = ExportRunResponse()
        part.event.data, part.event.position, part.event.previous_hash = event.SerializeToString(), position, link
        part.event.hash = link = hashlib.sha256(link + part.event.data).digest()
        made.append(part)
    header.events, header.head_hash = len(made), link
    shown = [part.event.data for part in made if not WHOLE["is_held"](WHOLE["Message"](part.event.data))]
    mentioned = {ref.digest for data in shown for ref in event_refs(data)}
    contents = [part for part in parts if part.HasField("content") and part.content.digest in mentioned]
    found = [parts[0], *made, *contents]
    return [json_format.MessageToJson(part, preserving_proto_field_name=True, indent=None) for part in found]


def of(events: Events, kind: EventKind, call: str = "c1.1") -> pb.Event:
    """The event of a kind about a call."""
    return next(event for event in events if event.kind == kind.value and event.effect_id == call)


def drop(kind: EventKind, call: str = "c1.1") -> Forge:
    """An event was left out."""
    return lambda events: events.remove(of(events, kind, call))


def other_arguments_in_the_intent(events: Events) -> None:
    look = of(events, EventKind.TOOL_STARTED, "c1.2").tool_started
    of(events, EventKind.TOOL_STARTED).tool_started.arguments_digest = look.arguments_digest


def other_arguments_everywhere(events: Events) -> None:
    """Those of the other call, whose content is in the export."""
    other = of(events, EventKind.TOOL_REQUESTED, "c1.2").tool_requested.arguments
    of(events, EventKind.TOOL_REQUESTED).tool_requested.arguments.CopyFrom(other)
    of(events, EventKind.APPROVAL_REQUESTED).approval_requested.arguments.CopyFrom(other)
    of(events, EventKind.TOOL_STARTED).tool_started.arguments_digest = other.digest


def other_digest_in_the_decision(events: Events) -> None:
    of(events, EventKind.APPROVAL_DECIDED).approval_decided.digest = f"sha256:runwright-approval-v1:{'0' * 64}"


def other_digest_everywhere(events: Events) -> None:
    other = f"sha256:runwright-approval-v1:{'0' * 64}"
    of(events, EventKind.APPROVAL_REQUESTED).approval_requested.digest = other
    of(events, EventKind.APPROVAL_DECIDED).approval_decided.digest = other
    of(events, EventKind.TOOL_STARTED).tool_started.approval_digest = other


def spent_twice(events: Events) -> None:
    """The other call says that it was covered, too."""
    spent = of(events, EventKind.TOOL_STARTED).tool_started
    again = of(events, EventKind.TOOL_STARTED, "c1.2")
    again.tool_started.approval_id, again.tool_started.approved_by = spent.approval_id, spent.approved_by
    again.tool_started.approval_digest = spent.approval_digest
    events.remove(again)
    events.remove(of(events, EventKind.TOOL_COMPLETED, "c1.2"))
    events.insert(events.index(of(events, EventKind.TOOL_STARTED)) + 1, again)


def performed_by_whoever_approved(events: Events) -> None:
    of(events, EventKind.TOOL_COMPLETED).tool_completed.executor_identity.principal = "ann"


def denied(events: Events) -> None:
    decided = of(events, EventKind.APPROVAL_DECIDED).approval_decided
    decided.verdict = approval_pb2.APPROVAL_VERDICT_DENY


def late_by_a_nanosecond(events: Events) -> None:
    asked = of(events, EventKind.APPROVAL_REQUESTED).approval_requested
    of(events, EventKind.APPROVAL_DECIDED).time.CopyFrom(asked.expires_at)


def somebody_else_in_the_intent(events: Events) -> None:
    of(events, EventKind.TOOL_STARTED).tool_started.approved_by = "eve"


def somebody_who_was_not_asked(events: Events) -> None:
    of(events, EventKind.APPROVAL_DECIDED).approval_decided.decided_by = "eve"
    of(events, EventKind.TOOL_STARTED).tool_started.approved_by = "eve"


def whoever_started_the_run(events: Events) -> None:
    asked = of(events, EventKind.APPROVAL_REQUESTED).approval_requested
    asked.four_eyes = True
    for event in events:
        event.principal = "ann"


def decided_after_the_intent(events: Events) -> None:
    decided = of(events, EventKind.APPROVAL_DECIDED)
    events.remove(decided)
    events.insert(events.index(of(events, EventKind.TOOL_STARTED)) + 1, decided)


def decided_twice(events: Events) -> None:
    decided = of(events, EventKind.APPROVAL_DECIDED)
    events.insert(events.index(decided), decided)


def withdrawn_before(events: Events) -> None:
    decided = of(events, EventKind.APPROVAL_DECIDED)
    withdrawn = pb.Event(kind=pb.EVENT_KIND_APPROVAL_WITHDRAWN, effect_id="c1.1", time=decided.time)
    withdrawn.approval_withdrawn.approval_id = decided.approval_decided.approval_id
    events.insert(events.index(decided), withdrawn)


def superseded_after(events: Events) -> None:
    decided = of(events, EventKind.APPROVAL_DECIDED)
    superseded = pb.Event(kind=pb.EVENT_KIND_APPROVAL_SUPERSEDED, effect_id="c1.1", time=decided.time)
    superseded.approval_superseded.approval_id = decided.approval_decided.approval_id
    events.insert(events.index(decided) + 1, superseded)


def asked_for_but_not_given(events: Events) -> None:
    of(events, EventKind.POLICY_DECIDED, "c1.2").policy_decided.verdict = policy_pb2.POLICY_VERDICT_ASK


def without_its_approval(events: Events) -> None:
    started = of(events, EventKind.TOOL_STARTED).tool_started
    started.approval_id = started.approved_by = started.approval_digest = ""


def another_tool(events: Events) -> None:
    of(events, EventKind.TOOL_STARTED).tool_started.tool = "look"


def another_package(events: Events) -> None:
    for event in events:
        event.package_fingerprint = f"sha256:runwright-package-v0:{'0' * 64}"


def made_once_more(events: Events) -> None:
    started = of(events, EventKind.TOOL_STARTED)
    events.insert(events.index(started), started)


def made_again_at_the_end(events: Events) -> None:
    again = pb.Event.FromString(of(events, EventKind.TOOL_STARTED).SerializeToString())
    again.attempt = 2
    events.insert(events.index(of(events, EventKind.TOOL_COMPLETED)) + 1, again)


def other_arguments_than_allowed(events: Events) -> None:
    """Requested and sent, in place of what the rule allowed."""
    other = of(events, EventKind.TOOL_REQUESTED).tool_requested.arguments
    of(events, EventKind.TOOL_REQUESTED, "c1.2").tool_requested.arguments.CopyFrom(other)
    of(events, EventKind.TOOL_STARTED, "c1.2").tool_started.arguments_digest = other.digest


def of_another_run(events: Events) -> None:
    events[2].run_id = "run-2"


async def granted() -> list[str]:
    """The lines of an export of a run whose second call a grant answered for, which ann gave with the first."""
    bench = separated(b.Bench(), ANN, person("eve"))
    runtime, _ = begun(bench, granting(TO_BOB, TO_EVE, sets=[{"principals": ["ann"]}]))
    await runtime.start_run(b.request())
    await given(runtime, grant(RUN, ANY, uses=1), who=ANN)
    await stood_still(runtime)
    return await lines_of(bench, "run-1")


def used_again(events: Events) -> None:
    used = of(events, EventKind.GRANT_USED, "c2.1")
    events.insert(events.index(used), used)


def other_grant(events: Events) -> None:
    of(events, EventKind.GRANT_USED, "c2.1").grant_used.grant.uses = 9


def expired_grant(events: Events) -> None:
    used = of(events, EventKind.GRANT_USED, "c2.1")
    used.time.CopyFrom(used.grant_used.grant.until)


def grant_of_another_package(events: Events) -> None:
    for event in (of(events, EventKind.GRANT_ISSUED).grant_issued, of(events, EventKind.GRANT_USED, "c2.1").grant_used):
        event.grant.package_fingerprint = f"sha256:runwright-package-v0:{'0' * 64}"


def other_arguments_than_granted(events: Events) -> None:
    other = of(events, EventKind.TOOL_REQUESTED).tool_requested.arguments
    of(events, EventKind.TOOL_REQUESTED, "c2.1").tool_requested.arguments.CopyFrom(other)
    of(events, EventKind.TOOL_STARTED, "c2.1").tool_started.arguments_digest = other.digest


def grant_of_another_run(events: Events) -> None:
    of(events, EventKind.GRANT_USED, "c2.1").grant_used.grant.run_id = "run-2"


def grant_for_other_arguments(events: Events) -> None:
    exact = pb.Event.DESCRIPTOR.file.pool.FindEnumTypeByName("runwright.v1.GrantMatcher").values_by_number[1].number
    of(events, EventKind.GRANT_USED, "c2.1").grant_used.grant.matcher = exact


def tainted_call(events: Events) -> None:
    of(events, EventKind.TOOL_REQUESTED, "c2.1").tool_requested.tainted = True


def grant_by_somebody_else(events: Events) -> None:
    of(events, EventKind.APPROVAL_DECIDED).approval_decided.grant_id = ""


def performed_by_whoever_granted(events: Events) -> None:
    of(events, EventKind.TOOL_COMPLETED, "c2.1").tool_completed.executor_identity.principal = "ann"


def grant_for_another_tool(events: Events) -> None:
    """It was given so, too."""
    for event in (of(events, EventKind.GRANT_ISSUED).grant_issued, of(events, EventKind.GRANT_USED, "c2.1").grant_used):
        event.grant.tool = "look"


def another_issue(events: Events) -> None:
    of(events, EventKind.GRANT_USED, "c2.1").grant_used.issued_hash = bytes(32)


FORGED_GRANTS: dict[str, tuple[Forge, str]] = {
    "not used": (drop(EventKind.GRANT_USED, "c2.1"), "nobody granted c2.1 send, attempt 1"),
    "not issued": (drop(EventKind.GRANT_ISSUED), "run-1/g1.1.1 was not issued like this"),
    "issued by another event": (another_issue, "run-1/g1.1.1 was not issued like this"),
    "used once more": (used_again, "run-1/g1.1.1 is used up or expired"),
    "another grant": (other_grant, "run-1/g1.1.1 was not issued like this"),
    "expired": (expired_grant, "run-1/g1.1.1 is used up or expired"),
    "another package": (grant_of_another_package, "run-1/g1.1.1 is for other runs"),
    "another call": (other_arguments_than_granted, "c2.1 send, attempt 1 is something else"),
    "another run": (grant_of_another_run, "run-1/g1.1.1 is for other runs"),
    "other arguments": (grant_for_other_arguments, "run-1/g1.1.1 is for other calls"),
    "tainted": (tainted_call, "run-1/g1.1.1 is for other calls"),
    "given with no approval": (grant_by_somebody_else, "run-1/g1.1.1 was not issued like this"),
    "another tool": (grant_for_another_tool, "run-1/g1.1.1 is for other calls"),
    "performed by whoever gave it": (performed_by_whoever_granted, "ann approved c2.1, and performed it"),
}
FORGED: dict[str, tuple[Forge, str]] = {
    "dropped decision": (drop(EventKind.APPROVAL_DECIDED), "nobody approved c1.1 send, attempt 1"),
    "dropped question": (drop(EventKind.APPROVAL_REQUESTED), "nobody allowed c1.1"),
    "dropped rule": (drop(EventKind.POLICY_DECIDED, "c1.2"), "nobody allowed c1.2 look, attempt 1"),
    "dropped request": (drop(EventKind.TOOL_REQUESTED, "c1.2"), "c1.2 look, attempt 1 was not requested like this"),
    "changed arguments": (other_arguments_in_the_intent, "c1.1 send, attempt 1 was not requested like this"),
    "changed arguments everywhere": (other_arguments_everywhere, "c1.1 send, attempt 1 is something else"),
    "changed digest": (other_digest_in_the_decision, "the decision on a1.1.1 is about something else"),
    "changed digest everywhere": (other_digest_everywhere, "c1.1 send, attempt 1 is something else"),
    "spent twice": (spent_twice, "nobody allowed c1.2"),
    "performed by the approver": (performed_by_whoever_approved, "ann approved c1.1, and performed it"),
    "denied": (denied, "nobody approved c1.1"),
    "too late": (late_by_a_nanosecond, "the decision on a1.1.1 is about something else, or came too late"),
    "another approver in the intent": (somebody_else_in_the_intent, "c1.1 send, attempt 1 is something else"),
    "an approver who was not asked": (somebody_who_was_not_asked, "eve may not decide on a1.1.1"),
    "self-given": (whoever_started_the_run, "ann may not decide on a1.1.1"),
    "decided afterwards": (decided_after_the_intent, "nobody approved c1.1"),
    "decided twice": (decided_twice, "nobody approved c1.1"),
    "decided after the end": (withdrawn_before, "nobody approved c1.1"),
    "superseded": (superseded_after, "nobody approved c1.1"),
    "an ask that nobody answered": (asked_for_but_not_given, "nobody allowed c1.2"),
    "no approval named": (without_its_approval, "nobody allowed c1.1"),
    "another tool": (another_tool, "c1.1 look, attempt 1 was not requested like this"),
    "another package": (another_package, "c1.1 send, attempt 1 is something else"),
    "made once more": (made_once_more, "c1.1 send, attempt 1 was not requested like this, or is over"),
    "made once more behind its result": (made_again_at_the_end, "c1.1 send, attempt 2 was not requested like this"),
    "allowed with other arguments": (other_arguments_than_allowed, "nobody allowed c1.2 look, attempt 1"),
    "an event of another run": (of_another_run, "event 3 is of another run, or place"),
}


async def test_of_every_effect_it_says_who_allowed_it_and_what_was_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = await export()
    events = [json_format.Parse(line, ExportRunResponse()).event.data for line in lines if '"event"' in line]
    made = of([pb.Event.FromString(data) for data in events], EventKind.TOOL_STARTED)

    assert verified(tmp_path, lines, monkeypatch) == ""
    digest = made.tool_started.approval_digest
    assert capsys.readouterr().out.splitlines() == [
        "c1.2 look, attempt 1: allowed by package builtin:read-only",
        f"c1.1 send, attempt 1: asked for by package policies.1.rules.0, approved by ann over {digest},"
        f" spent by event {made.seq}",
    ]


@pytest.mark.parametrize("how", FORGED)
async def test_a_forged_export_is_found_out_by_what_nobody_allowed(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge, said = FORGED[how]

    found = verified(tmp_path, forged(await export(), forge), monkeypatch)

    assert said in found, found


async def test_of_a_call_that_a_grant_answered_for_it_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = verified(tmp_path, await granted(), monkeypatch)

    said = capsys.readouterr().out.splitlines()
    assert (found, len(said)) == ("", 2), said
    assert said[1].startswith(
        "c2.1 send, attempt 1: asked for by package policies.1.rules.0, granted by ann as run-1/g1.1.1"
    )


@pytest.mark.parametrize("how", FORGED_GRANTS)
async def test_a_forged_export_is_found_out_by_what_nobody_granted(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge, said = FORGED_GRANTS[how]

    found = verified(tmp_path, forged(await granted(), forge), monkeypatch)

    assert said in found, found


async def edited() -> list[str]:
    """The lines of an export of a run whose call ann approved with another address."""
    bench = separated(b.Bench(), ANN, person("eve"))
    runtime, _ = await waiting(bench, asking(TO_BOB, approval=ANN_ALONE), principal="cal")
    await decide(runtime, ApprovalVerdict.APPROVE_WITH_EDITS, who=ANN, arguments_json=b'{"to":"eve"}')
    await stood_still(runtime)
    return await lines_of(bench, "run-1")


def other_edits(events: Events) -> None:
    decided = of(events, EventKind.APPROVAL_DECIDED).approval_decided
    decided.edited_digest = f"sha256:runwright-approval-v1:{'0' * 64}"


def not_as_edited(events: Events) -> None:
    requested = of(events, EventKind.TOOL_REQUESTED).tool_requested
    of(events, EventKind.TOOL_STARTED).tool_started.arguments_digest = requested.arguments.digest


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (lambda _: None, ""),
        (other_edits, "c1.1 send, attempt 1 is something else"),
        (not_as_edited, "c1.1 send, attempt 1 was not requested like this"),
    ],
)
async def test_of_an_edited_call_the_digest_is_that_of_the_edits(
    forge: Forge, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = verified(tmp_path, forged(await edited(), forge), monkeypatch)

    assert found.startswith(said) and bool(found) == bool(said), found
    assert said or "approved by ann over" in capsys.readouterr().out


def unasked(approval: str) -> Forge:
    """Nobody was asked, and nobody decided."""

    def forge(events: Events) -> None:
        about = ("approval_requested", "approval_decided")
        events[:] = [event for event in events if approval not in [getattr(event, name).approval_id for name in about]]

    return forge


def undecided(approval: str) -> Forge:
    """Nobody decided."""
    return lambda events: events.remove(next(e for e in events if e.approval_decided.approval_id == approval))


def another_answer(events: Events) -> None:
    """The request was published in place of the answer."""
    events[-1].run_completed.result.CopyFrom(events[0].run_started.request)


def another_request(events: Events) -> None:
    """The run was started with what it answers."""
    events[0].run_started.request.CopyFrom(events[-1].run_completed.result)


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (lambda _: None, ""),
        (undecided("a0.1"), "nobody approved the start"),
        (undecided("a1.1"), "nobody approved the answer"),
        (unasked("a0.1"), "nobody allowed the start"),
        (unasked("a1.1"), "nobody allowed the answer"),
        (another_answer, "the decision on a1.1 is about something else"),
        (another_package, "the package in the export is not the run's"),
        (another_request, "the decision on a0.1 is about something else"),
    ],
)
async def test_a_run_whose_start_or_answer_nobody_approved_did_not_go_on(
    forge: Forge, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = separated(b.Bench())
    bench.packages = (of_the_run("run_start", "output"),)
    runtime = bench.runtime()
    await runtime.start_run(b.request(), principal="cal")
    for times, approval in enumerate(("a0.1", "a1.1"), start=1):
        await reached(runtime, EventKind.APPROVAL_REQUESTED, times=times)
        await decide(runtime, approval_id=f"run-1/{approval}", request_id=approval)
    await stood_still(runtime)

    found = verified(tmp_path, forged(await lines_of(bench, "run-1"), forge), monkeypatch)

    assert found.startswith(said) and bool(found) == bool(said), found
    lines = [line.partition(" over ")[0] for line in capsys.readouterr().out.splitlines()]
    assert said or lines == [
        f"the {what}: asked for by package policies.0.rules.{rule}, approved by bob"
        for rule, what in enumerate(("start", "answer"))
    ]


def with_somebody_beside(events: Events) -> None:
    of(events, EventKind.APPROVAL_DELEGATED).approval_delegated.approvers.principals.append("eve")


def by_somebody_whose_turn_it_is_not(events: Events) -> None:
    of(events, EventKind.APPROVAL_DELEGATED).approval_delegated.delegated_by = "eve"


def to_somebody_not_listed(events: Events) -> None:
    of(events, EventKind.APPROVAL_DELEGATED).approval_delegated.delegated_to = "eve"


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (lambda _: None, ""),
        (drop(EventKind.APPROVAL_DELEGATED), "dan may not decide on a1.1.1"),
        (with_somebody_beside, "ann had no such delegate"),
        (by_somebody_whose_turn_it_is_not, "eve had no such delegate"),
        (to_somebody_not_listed, "ann had no such delegate"),
    ],
)
async def test_a_delegate_may_approve_and_nobody_who_is_not_listed(
    forge: Forge, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dan = person("dan")
    bench = separated(b.Bench(), ANN, dan)
    runtime, _ = await waiting(bench, asking(TO_BOB, approval={**ANN_ALONE, "delegates": ["dan"]}), principal="cal")
    await decide(runtime, ApprovalVerdict.DELEGATE, who=ANN, delegate_to="dan")
    await decide(runtime, who=dan, request_id="of-dan")
    await stood_still(runtime)

    found = verified(tmp_path, forged(await lines_of(bench, "run-1"), forge), monkeypatch)

    assert found == said
    assert said or "approved by dan over" in capsys.readouterr().out


def replaced_since(events: Events) -> None:
    """A policy is said to have put the other call's arguments in place of what was approved."""
    other = of(events, EventKind.TOOL_REQUESTED, "c1.2").tool_requested.arguments
    started = of(events, EventKind.TOOL_STARTED)
    replaced = pb.Event(kind=pb.EVENT_KIND_SUBJECT_REPLACED, effect_id="c1.1", time=started.time)
    replaced.package_fingerprint = started.package_fingerprint
    replaced.subject_replaced.stage = policy_pb2.POLICY_STAGE_PRE_TOOL
    replaced.subject_replaced.replacement.CopyFrom(other)
    events.insert(events.index(started), replaced)
    started.tool_started.arguments_digest = other.digest


def without_its_intent(events: Events) -> None:
    events.remove(of(events, EventKind.TOOL_STARTED, "c1.2"))


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (replaced_since, "c1.1 send, attempt 1 is something else"),
        (without_its_intent, "c1.2 was done with no intent"),
    ],
)
async def test_what_was_done_is_what_was_approved_and_has_an_intent(
    forge: Forge, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert verified(tmp_path, forged(await export(), forge), monkeypatch) == said


async def test_an_answer_in_place_of_a_call_is_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = await export(CALLS[0], verdict=ApprovalVerdict.RESPOND)

    assert verified(tmp_path, lines, monkeypatch) == ""
    assert "c1.1, answered in its place: asked for by package" in capsys.readouterr().out
    assert verified(tmp_path, forged(lines, denied), monkeypatch).startswith("nobody approved c1.1")


async def test_an_export_that_is_not_whole_is_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = await export()
    events = [number for number, line in enumerate(lines) if '"event"' in line]
    changed = json.loads(lines[events[3]])
    changed["event"]["data"] = json.loads(lines[events[4]])["event"]["data"]

    for left_out in events[:-1]:
        found = verified(tmp_path, [line for at, line in enumerate(lines) if at != left_out], monkeypatch)
        assert found.endswith("does not follow the one before")
    cut = [line for at, line in enumerate(lines) if at != events[-1]]
    assert verified(tmp_path, cut, monkeypatch).endswith("events with another end")
    contents = [number for number, line in enumerate(lines) if '"content"' in line]
    assert "is missing" in verified(tmp_path, lines[: contents[-1]], monkeypatch)
    lines[events[3]] = json.dumps(changed)
    assert verified(tmp_path, lines, monkeypatch).endswith("was changed")


@pytest.mark.parametrize("verdict", [ApprovalVerdict.DENY, ApprovalVerdict.ABORT_RUN])
async def test_where_somebody_said_no_nothing_was_done(
    verdict: ApprovalVerdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = await export(CALLS[0], verdict=verdict)

    assert (verified(tmp_path, lines, monkeypatch), capsys.readouterr().out) == ("", "")


@pytest.mark.parametrize(
    ("written", "line"),
    [
        (b"", 1),
        (b"Dear auditor,\nall is well.\n", 1),
        (b'{"answer": 42}\n', 1),
        (b'[{"header": {}}]\n', 1),
        (bytes(range(256)), 1),
        (None, 1),  # no file at all
        (b'{"header": {"format": 1}}\n\x00\xff\n', 2),
    ],
)
def test_what_is_no_export_is_named_by_file_and_line(
    written: bytes | None,
    line: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "run.jsonl"
    if written is not None:
        file.write_bytes(written)

    assert judged(file, monkeypatch) == "2"
    said = capsys.readouterr().err
    assert said.startswith(f"{file}, line {line}: not an export (") and said.count("\n") == 1


def test_a_directory_is_no_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judged(tmp_path, monkeypatch) == "2"
    assert f"{tmp_path}, line 1: not an export (IsADirectoryError" in capsys.readouterr().err


async def test_an_export_that_ends_inside_a_line_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = await export()
    lines[-1] = lines[-1][:40]

    assert verified(tmp_path, lines, monkeypatch) == "2"
    assert f"run.jsonl, line {len(lines)}: not an export (" in capsys.readouterr().err


async def test_where_nobody_was_told_from_anybody_else_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verified(tmp_path, forged(await export(), decided_without_keys), monkeypatch) == ""
    assert verified(tmp_path, forged(await granted(), used_without_keys), monkeypatch) == ""

    allowed, approved, before, used = capsys.readouterr().out.splitlines()
    assert ", approved by ann (separation NOT_ENFORCED: " in approved
    assert ", granted by ann as run-1/g1.1.1 (separation NOT_ENFORCED: " in used
    assert "separation" not in allowed + before


def decided_without_keys(events: Events) -> None:
    of(events, EventKind.APPROVAL_DECIDED).approval_decided.separation = NOT_ENFORCED


def used_without_keys(events: Events) -> None:
    of(events, EventKind.GRANT_USED, "c2.1").grant_used.separation = NOT_ENFORCED


async def test_an_event_that_no_server_writes_ends_it_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    file.write_text("".join(line + "\n" for line in forged(await export(), lambda e: e[1].ClearField(body_of(e[1])))))

    ended = await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLE), str(file), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, error = await ended.communicate()

    assert (ended.returncode, error.count(b"\n")) == (1, 1), error
    assert error.startswith(b"event 2 is none that a server writes: ")


def body_of(event: pb.Event) -> str:
    return event.WhichOneof("body") or ""


async def approved_twice() -> list[str]:
    """The lines of an export of a run that asks for the same call twice, and ann approves each."""
    bench = separated(b.Bench(), ANN, person("eve"))
    runtime, _ = begun(bench, granting(TO_BOB, TO_BOB, sets=[{"principals": ["ann"]}]))
    await runtime.start_run(b.request())
    for times, approval in enumerate(("a1.1.1", "a2.1.1"), start=1):
        await reached(runtime, EventKind.APPROVAL_REQUESTED, times=times)
        await decide(runtime, who=ANN, approval_id=f"run-1/{approval}", request_id=approval)
    await stood_still(runtime)
    return await lines_of(bench, "run-1")


def replayed_for_the_next_identical_call(events: Events) -> None:
    """Nobody decided on the second call: it is said to have been asked for, and covered, by the first approval."""
    events.remove(of(events, EventKind.APPROVAL_DECIDED, "c2.1"))
    of(events, EventKind.APPROVAL_REQUESTED, "c2.1").approval_requested.approval_id = "a1.1.1"
    of(events, EventKind.TOOL_STARTED, "c2.1").tool_started.approval_id = "a1.1.1"


async def test_an_approval_is_for_no_identical_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = await approved_twice()

    assert verified(tmp_path, lines, monkeypatch) == ""
    replayed = forged(lines, replayed_for_the_next_identical_call)
    assert verified(tmp_path, replayed, monkeypatch) == "nobody approved c2.1 send, attempt 1"


def test_it_is_a_hundred_lines_and_has_no_code_of_the_server() -> None:
    lines = EXAMPLE.read_text().splitlines()
    imported = {line.split()[1] for line in lines if line.strip().startswith(("import ", "from "))}

    assert len(lines) <= 100
    assert max(map(len, lines)) <= 120
    assert imported <= {*sys.stdlib_module_names, "betterproto2", "runwright_client", "verify_export"}
    assert "__import__" not in EXAMPLE.read_text() and "importlib" not in imported

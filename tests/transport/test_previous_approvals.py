"""GetApproval over a socket: how a call differs from the one that was approved before it."""

from __future__ import annotations

from pathlib import Path

from runwright._gen.runwright.v1 import approval_service_pb2 as approval_pb
from runwright._gen.runwright.v1 import previous_approval_pb2 as previous_pb
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.adapters.key_approvers import KeyApprovers
from runwright.core.executor_names import ExecutorNames
from runwright.core.kinds import EventKind
from runwright.core.package import RuntimePackage
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.approving import Sent, of_the_run
from tests.runtime.sending_calls import ASKS, FIRST, SECOND, sending
from tests.runtime.watching import reached
from tests.transport.conftest import Serve
from tests.transport.known import Metadata
from tests.transport.pending_approvals import EDIT, People, decide, pending, stub, waiting
from tests.transport.serving import CALL_SECONDS, Served

COMPARED, FIRST_CALL = previous_pb.APPROVAL_COMPARISON_COMPARED, previous_pb.APPROVAL_COMPARISON_FIRST
ADDED, CHANGED = previous_pb.ARGUMENT_CHANGE_KIND_ADDED, previous_pb.ARGUMENT_CHANGE_KIND_CHANGED
TO_BOB, TO_EVE = {"text": "a", "to": "bob", "n": 1}, {"cc": "dan", "text": "b", "to": "eve", "n": 1}


async def serving(serve: Serve, people: People, *packages: RuntimePackage) -> Served:
    """A server of these packages for these people."""
    bench = b.Bench(tools=FunctionTools({"send": Sent()}), packages=packages)
    bench.approvers = KeyApprovers(people.known, ExecutorNames())
    return await serve(bench, authenticator=people.known)


async def asked(served: Served, key: Metadata, run_id: str, session_id: str) -> str:
    """Starts a run of a session; the id of its approval once it waits for that."""
    request = pb.StartRunRequest(run=run_pb2.RunRequest(run_id=run_id, session_id=session_id, input=[{"text": "Send"}]))
    await served.stub.StartRun(request, timeout=CALL_SECONDS, metadata=key)
    await reached(served.runtime, EventKind.APPROVAL_REQUESTED, run_id)
    return f"{run_id}/a1.1.1"


async def test_a_call_is_shown_with_what_differs_from_the_last_one_that_was_approved(
    serve: Serve, tmp_path: Path
) -> None:
    people = People(tmp_path)
    served = await serving(serve, people, sending(TO_BOB, TO_EVE))
    await waiting(served, people.caller)

    first = (await pending(served, people.bob, FIRST)).previous
    made = (await decide(served, people.bob)).approval.decision
    await reached(served.runtime, EventKind.APPROVAL_REQUESTED, times=2)
    second = (await pending(served, people.ann, SECOND)).previous

    assert (first.comparison, list(first.changes), first.approval_id) == (FIRST_CALL, [], "")
    assert (second.comparison, second.approval_id, second.has_more) == (COMPARED, FIRST, False)
    assert (second.decided_by, second.decided_at) == ("bob", made.time)
    found = [(each.pointer, each.kind, each.before, each.after, each.highlighted) for each in second.changes]
    assert found == [
        ("/to", CHANGED, '"bob"', '"eve"', True),
        ("/cc", ADDED, "", '"dan"', False),
        ("/text", CHANGED, '"a"', '"b"', False),
    ]


async def test_a_later_run_of_the_session_is_compared_with_what_was_approved_as_it_was_edited(
    serve: Serve, tmp_path: Path
) -> None:
    people = People(tmp_path)
    served = await serving(serve, people, sending({"to": "bob"}))
    first = await asked(served, people.caller, "run-1", "s")
    await decide(served, people.bob, EDIT, arguments_json=b'{"to": "dan"}')
    second = await asked(served, people.caller, "run-2", "s")
    elsewhere = await asked(served, people.caller, "run-3", "another")

    shown = (await pending(served, people.bob, second)).previous
    decided = (await pending(served, people.bob, first)).previous
    other = (await pending(served, people.bob, elsewhere)).previous

    assert (shown.comparison, shown.approval_id) == (COMPARED, first)
    assert [(each.before, each.after) for each in shown.changes] == [('"dan"', '"bob"')]
    assert decided.comparison == FIRST_CALL, "it is not compared with itself"
    assert other.comparison == FIRST_CALL, "it is of another session"


async def test_of_an_approval_that_the_reader_does_not_see_nothing_is_shown(serve: Serve, tmp_path: Path) -> None:
    people = People(tmp_path)
    rules = ({"when": 'args.to == "bob"', "then": "ask", "approval": "mine"}, ASKS)
    served = await serving(serve, people, sending({"to": "bob"}, {"to": "eve"}, rules=rules))
    await waiting(served, people.caller)
    await decide(served, people.ann)
    await reached(served.runtime, EventKind.APPROVAL_REQUESTED, times=2)

    hidden = (await pending(served, people.bob, SECOND)).previous
    shown = (await pending(served, people.olga, SECOND)).previous

    assert hidden == previous_pb.PreviousApproval(comparison=previous_pb.APPROVAL_COMPARISON_NOT_VISIBLE)
    assert (shown.comparison, shown.approval_id, shown.decided_by) == (COMPARED, FIRST, "ann")


async def test_hostile_arguments_are_compared_within_bounds_and_as_they_are(serve: Serve, tmp_path: Path) -> None:
    people = People(tmp_path)
    wide = {f"k{number}": number for number in range(8000)}
    before = {"to": "bob", "to\u202e": "bob", "a/b": {"~": 9007199254740991}, "deep": nested(1), "wide": wide}
    now = {"to": "bob", "to\u202e": "eve", "a/b": {"~": 9007199254740990}, "deep": nested(2), "wide": [wide]}
    served = await serving(serve, people, sending(before, now))
    await waiting(served, people.caller)
    await decide(served, people.bob)
    await reached(served.runtime, EventKind.APPROVAL_REQUESTED, times=2)

    shown = await pending(served, people.bob, SECOND)

    found = {each.pointer: (each.before, each.after) for each in shown.previous.changes}
    assert shown.arguments_content.omitted
    assert list(found) == ["/a~1b/~0", "/deep" + "/n" * 20, "/to\u202e", "/wide"]
    assert found["/a~1b/~0"] == ("9007199254740991", "9007199254740990")
    assert found["/to\u202e"] == ('"bob"', '"eve"')
    assert [each.after_cut for each in shown.previous.changes] == [False, False, False, True]
    assert shown.previous.ByteSize() < 4096


async def test_nothing_is_compared_where_no_arguments_are_read_or_no_call_is_approved(
    serve: Serve, tmp_path: Path
) -> None:
    people = People(tmp_path)
    served = await serving(serve, people, of_the_run("run_start"), sending(TO_BOB, id="sending"))
    await waiting(served, people.caller, package_id="helper-package")
    await waiting(served, people.caller, "run-2", package_id="sending")

    start = await pending(served, people.bob, "run-1/a0.1")
    listing = stub(served).ListApprovals(approval_pb.ListApprovalsRequest(), timeout=CALL_SECONDS, metadata=people.bob)
    without = approval_pb.GetApprovalRequest(approval_id="run-2/a1.1.1")
    got = await stub(served).GetApproval(without, timeout=CALL_SECONDS, metadata=people.bob)

    assert not start.HasField("previous")
    assert [each.HasField("previous") for each in (await listing).approvals] == [False, False]
    assert not got.approval.HasField("previous")


def nested(leaf: int) -> dict[str, object]:
    """A value twenty levels deep."""
    value: dict[str, object] = {"n": leaf}
    for _ in range(19):
        value = {"n": value}
    return value

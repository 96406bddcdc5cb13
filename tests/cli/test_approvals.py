"""`runwright approvals`: what waits for somebody, and how somebody decides on exactly that."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from runwright._gen.runwright.v1 import approval_pb2, error_pb2, run_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright._gen.runwright.v1.approval_service_pb2_grpc import (
    ApprovalServiceServicer,
    add_ApprovalServiceServicer_to_server,
)
from runwright._gen.runwright.v1.runtime_service_pb2_grpc import add_RuntimeServiceServicer_to_server
from runwright.cli.approval_table import table
from runwright.cli.approval_text import approval_lines
from runwright.cli.decisions import outcome_line
from runwright.cli.inbox.drawing import draw
from runwright.cli.inbox.state import Inbox
from runwright.cli.main import main

from tests.cli.fake_runtime import FakeRuntime, fail
from tests.cli.story import RUN, START, one_tool

Program = Callable[..., tuple[int, str, str]]
ID = f"{RUN}/a1.1.1"
DIGEST = f"sha256:runwright-approval-v1:{'0' * 64}"
SHOWN = f"""\
approval   {ID}
state      PENDING
call       c1.1 send\\u001b[31m, executor mailer, risk high
summary    Send it to "bob"
run        {RUN} of agent clerk, started by cal
asked by   policies.1.rules.0 (writes, package), approval writes
says       It cannot be undone.
tainted    the model had seen untrusted results: c1.2 fetch\\u001b[2J (event 14); and 4 more
reversible the package says that what the call does can be undone
lineage    {RUN}
asked at   2023-11-14 22:13:20Z
approvers  role approver until 2023-11-14 23:13:20Z (their turn now)
approvers  ann until 2023-11-15 06:13:20Z
expires    2023-11-15 06:13:20Z; then the model is told
verdicts   APPROVE, DENY
separation NOT ENFORCED: this server has no keys: everybody may decide, also whoever asks and whoever performs
digest     {DIGEST}
time left  over
arguments
{{"to":"bob\\u001b[2J"}}
"""


def an_approval() -> approval_pb2.Approval:
    """One that is pending, with all that can be said of it."""
    approval = approval_pb2.Approval(
        approval_id=ID,
        state=approval_pb2.APPROVAL_STATE_PENDING,
        run_id=RUN,
        agent_id="clerk",
        started_by="cal",
        effect_id="c1.1",
        tool="send\x1b[31m",
        executor="mailer",
        risk="high",
        digest=DIGEST,
        approval="writes",
        rule="policies.1.rules.0",
        code="writes",
        decider="package",
        message="It cannot be undone.",
        tainted=True,
        tainted_by=approval_pb2.Taint(
            calls=[approval_pb2.TaintingCall(effect_id="c1.2", tool="fetch\x1b[2J", seq=14)], more=4
        ),
        sets=[approval_pb2.ApproverSet(roles=["approver"]), approval_pb2.ApproverSet(principals=["ann"])],
        separation=approval_pb2.APPROVAL_SEPARATION_NOT_ENFORCED,
        lineage=[RUN],
        reversible=True,
        highlight=["/to", "/copies/0"],
        summary='Send it to "bob"',
        allowed_verdicts=[approval_pb2.APPROVAL_VERDICT_APPROVE, approval_pb2.APPROVAL_VERDICT_DENY],
    )
    approval.arguments_content.text = '{"to":"bob\x1b[2J"}'
    approval.requested_at.FromSeconds(1_700_000_000)
    approval.sets[0].until.FromSeconds(1_700_003_600)
    approval.sets[1].until.FromSeconds(1_700_028_800)
    approval.expires_at.FromSeconds(1_700_028_800)
    return approval


class FakeApprovals(ApprovalServiceServicer):
    """Knows one approval; requests are kept."""

    def __init__(self) -> None:
        self.approval = an_approval()
        self.requests: list[pb.DecisionRequest] = []
        self.wanted: list[pb.ListApprovalsRequest] = []
        self.after: list[str] = []
        self.refuses = b""

    def ListApprovals(self, request: pb.ListApprovalsRequest, context: grpc.ServicerContext) -> object:
        """It, on the second page."""
        self.wanted.append(pb.ListApprovalsRequest.FromString(request.SerializeToString()))
        if not request.page_token:
            return pb.ListApprovalsResponse(next_page_token="2")
        return pb.ListApprovalsResponse(approvals=[self.approval])

    def GetApproval(self, request: pb.GetApprovalRequest, context: grpc.ServicerContext) -> pb.GetApprovalResponse:
        """It, or APPROVAL_NOT_FOUND."""
        if request.approval_id != ID:
            reason = error_pb2.ERROR_REASON_APPROVAL_NOT_FOUND
            fail(context, grpc.StatusCode.NOT_FOUND, reason, "There is no such approval.", "Look at the list.")
        return pb.GetApprovalResponse(approval=self.approval)

    def DecideApproval(self, request: pb.DecideApprovalRequest, context: grpc.ServicerContext) -> object:
        """As somebody decided."""
        if self.refuses and self.refuses in request.decision.arguments_json:
            reason = error_pb2.ERROR_REASON_APPROVAL_EDIT_INVALID
            fail(context, grpc.StatusCode.INVALID_ARGUMENT, reason, "They are not accepted.", "Mend them.")
        self.requests.append(request.decision)
        decided = an_approval()
        decided.state = approval_pb2.APPROVAL_STATE_APPROVED
        decided.decision.decided_by = "ann"
        return pb.DecideApprovalResponse(approval=decided, decided=True)

    def WatchApprovals(self, request: pb.WatchApprovalsRequest, context: grpc.ServicerContext) -> Iterator[object]:
        """It, twice, with a lost connection between, and then the end of the patience of the one who reads."""
        self.after.append(request.after_cursor)
        if len(self.after) > 2:
            fail(context, grpc.StatusCode.NOT_FOUND, error_pb2.ERROR_REASON_RUN_REMOVED, "Enough.", "Go.")
        yield pb.WatchApprovalsResponse(cursor="cursor-0")
        yield pb.WatchApprovalsResponse(cursor=f"cursor-{len(self.after)}", approval=self.approval)
        fail(context, grpc.StatusCode.UNAVAILABLE, error_pb2.ERROR_REASON_DRAINING, "The server stops.", "Again.")


@contextmanager
def serving(approvals: FakeApprovals, runtime: FakeRuntime | None = None) -> Iterator[str]:
    """Serves it on a free port; gives the address."""
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    add_ApprovalServiceServicer_to_server(approvals, server)
    add_RuntimeServiceServicer_to_server(runtime or FakeRuntime(one_tool()), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Calls the program with words; gives its exit code, output and errors."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["runwright", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_what_is_pending_is_listed_with_who_decides_until_when(program: Program) -> None:
    approvals = FakeApprovals()
    with serving(approvals) as server:
        code, out, _ = program("--server", server, "approvals", "ls", "--mine", "--tool", "send")
        _, names, _ = program("--server", server, "approvals", "ls", "--state", "denied", "-o", "name")
        program("--server", server, "approvals", "ls", "--risk", "high", "--older-than", "60")

    assert (code, names) == (0, f"{ID}\n")
    heading, row = out.splitlines()
    assert heading.split() == ["APPROVAL", "STATE", "AGE", "LEFT", "TURN", "WHAT", "RISK", "AGENT", "SUMMARY"]
    assert row.startswith(f"{ID}  PENDING  ")
    assert row.endswith('  over  role approver  send\\u001b[31m  high  clerk  Send it to "bob"')
    assert (approvals.wanted[0].mine, approvals.wanted[0].tool) == (True, "send")
    assert list(approvals.wanted[2].states) == [approval_pb2.APPROVAL_STATE_DENIED]
    assert not approvals.wanted[2].HasField("requested_before")
    assert approvals.wanted[4].risk == "high"
    assert START < approvals.wanted[4].requested_before.seconds <= time.time() - 3600


def test_a_table_says_how_old_it_is_how_long_is_left_and_whose_turn_it_is_or_was() -> None:
    now, second, closed = 1_700_000_000.0 + 61, an_approval(), an_approval()
    second.current_set = 1
    closed.state = approval_pb2.APPROVAL_STATE_DENIED
    closed.decision.decided_by = "ann"

    _, *rows = table([an_approval(), second, closed], now)

    assert rows[0].split()[1:7] == ["PENDING", "1m01s", "58m59s", "(7h58m)", "role", "approver"]
    assert rows[1].split()[1:5] == ["PENDING", "1m01s", "7h58m", "ann"]
    assert rows[2].split()[1:6] == ["DENIED", "1m01s", "-", "by", "ann"]


@pytest.mark.parametrize(
    ("passed", "current", "column", "words"),
    [
        (61, 0, "58m59s (7h58m)", "58m59s in this turn, 7h58m until the end"),
        (3_600, 0, "0m00s (7h00m)", "0m00s in this turn, 7h00m until the end"),
        (3_601, 0, "over (6h59m)", "this turn is over, 6h59m until the end"),
        (61, 1, "7h58m", "7h58m"),  # nobody comes after the last ones
        (28_799, 1, "0m01s", "0m01s"),
        (28_801, 0, "over", "over"),
    ],
)
def test_the_time_left_is_that_of_the_turn_and_that_until_the_end_everywhere(
    passed: int, current: int, column: str, words: str
) -> None:
    approval, now = an_approval(), 1_700_000_000.0 + passed
    approval.current_set = current
    inbox = Inbox()
    inbox.take(approval)

    _, row = table([approval], now)
    screen = [line.text for line in draw(inbox, 200, 60, now).lines]

    assert f"  {column}  " in row
    assert screen[1].split("  send")[0].removeprefix("> ").strip() == column
    assert f"time left  {words}" in approval_lines(approval, now)
    assert f"time left  {words}" in screen


def test_of_what_is_closed_no_time_is_left() -> None:
    closed = an_approval()
    closed.state = approval_pb2.APPROVAL_STATE_DENIED

    _, row = table([closed], 1_700_000_061.0)

    assert row.split()[3] == "-"
    assert not [line for line in approval_lines(closed, 1_700_000_061.0) if line.startswith("time left")]


def test_everything_that_a_decision_rests_on_is_shown_and_harms_no_terminal(program: Program) -> None:
    with serving(FakeApprovals()) as server:
        code, out, _ = program("--server", server, "approvals", "show", ID)

    assert (code, out) == (0, SHOWN)


@pytest.mark.parametrize(
    ("words", "verdict", "message", "note"),
    [
        (("approve", ID, "--note", "ticket 7"), approval_pb2.APPROVAL_VERDICT_APPROVE, "", "ticket 7"),
        (("deny", ID, "--tell", "Not on a Friday."), approval_pb2.APPROVAL_VERDICT_DENY, "Not on a Friday.", ""),
        (
            ("respond", ID, "--tell", "I sent it myself."),
            approval_pb2.APPROVAL_VERDICT_RESPOND,
            "I sent it myself.",
            "",
        ),
        (("abort", ID, "--note", "astray"), approval_pb2.APPROVAL_VERDICT_ABORT_RUN, "", "astray"),
    ],
    ids=["approve", "deny", "respond", "abort"],
)
def test_a_decision_is_on_what_was_shown(
    program: Program, words: tuple[str, ...], verdict: int, message: str, note: str
) -> None:
    approvals = FakeApprovals()
    with serving(approvals) as server:
        code, out, _ = program("--server", server, "approvals", *words)
        program("--server", server, "approvals", *words)

    first, again = approvals.requests
    assert (code, first.approval_id, first.digest, first.verdict) == (0, ID, DIGEST, verdict)
    assert (first.message, first.note) == (message, note)
    assert first == again, "the same words are the same request"
    assert out == f"{SHOWN}{ID} is APPROVED, by ann\n"


@pytest.mark.parametrize("verb", ["deny", "respond"])
def test_what_is_told_can_stand_in_a_file_and_one_that_is_not_there_decides_nothing(
    program: Program, tmp_path: Path, verb: str
) -> None:
    approvals, file = FakeApprovals(), tmp_path / "told"
    file.write_text("Not on a Friday.")
    with serving(approvals) as server:
        program("--server", server, "approvals", verb, ID, "--tell", f"@{file}")
        code, _, error = program("--server", server, "approvals", verb, ID, "--tell", f"@{tmp_path / 'none'}")

    assert [request.message for request in approvals.requests] == ["Not on a Friday."]
    assert (code, "--tell" in error, "none" in error) == (2, True, True)


def test_an_edit_carries_the_arguments_of_the_command_line_or_of_a_file(program: Program, tmp_path: Path) -> None:
    approvals, file = FakeApprovals(), tmp_path / "edited.json"
    file.write_bytes(b'{"to": "eve"}')
    with serving(approvals) as server:
        code, out, _ = program("--server", server, "approvals", "edit", ID, "--args", '{"to": "ann"}')
        program("--server", server, "approvals", "edit", ID, "--args", f"@{file}")
        missing = program("--server", server, "approvals", "edit", ID, "--args", f"@{tmp_path / 'none'}")

    verdict = approval_pb2.APPROVAL_VERDICT_APPROVE_WITH_EDITS
    assert [request.arguments_json for request in approvals.requests] == [b'{"to": "ann"}', b'{"to": "eve"}']
    assert {(request.verdict, request.digest) for request in approvals.requests} == {(verdict, DIGEST)}
    assert (code, out) == (0, f"{SHOWN}{ID} is APPROVED, by ann\n")
    assert missing[0] == 2 and "does not exist" in missing[2] and "Nothing was decided" in missing[2]


def test_an_edit_opens_what_is_pending_in_the_editor_until_it_is_accepted(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    approvals, seen = FakeApprovals(), tmp_path / "seen"
    approvals.approval.arguments_content.text = '{"to":"bob"}'
    approvals.refuses = b"nobody"
    editor = tmp_path / "editor"
    editor.write_text(
        f'#!/bin/sh\ncat "$1" >> {seen}\nif grep -q nobody "$1"; then new=eve; else new=nobody; fi\n'
        'sed -i "s/bob/$new/; s/nobody/$new/" "$1"\n'
    )
    editor.chmod(0o755)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", str(editor))

    with serving(approvals) as server:
        code, out, err = program("--server", server, "approvals", "edit", ID)

    assert (code, out) == (0, f"{ID} is APPROVED, by ann\n")
    assert seen.read_text() == '{\n  "to": "bob"\n}\n{\n  "to": "nobody"\n}\n', "what is refused comes back"
    assert "APPROVAL_EDIT_INVALID" in err
    assert [request.arguments_json for request in approvals.requests] == [b'{\n  "to": "eve"\n}\n']


def test_an_edit_that_is_left_as_it_was_decides_nothing(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    approvals = FakeApprovals()
    approvals.approval.arguments_content.text = '{"to":"bob"}'
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "true")
    with serving(approvals) as server:
        code, _, err = program("--server", server, "approvals", "edit", ID)

    assert (code, approvals.requests) == (2, [])
    assert "Nothing was edited" in err


def test_a_delegation_names_who_is_to_decide_and_says_who_may_now(program: Program) -> None:
    approvals = FakeApprovals()
    with serving(approvals) as server:
        code, out, _ = program("--server", server, "approvals", "delegate", ID, "dan", "--note", "on leave")

    [request] = approvals.requests
    assert (request.verdict, request.delegate_to) == (approval_pb2.APPROVAL_VERDICT_DELEGATE, "dan")
    assert (request.note, request.digest) == ("on leave", DIGEST)
    assert (code, out) == (0, f"{SHOWN}{ID} is delegated to dan; it waits for role approver\n")


def test_who_delegated_to_whom_and_where_it_goes_next_is_shown(program: Program) -> None:
    approvals = FakeApprovals()
    approval = approvals.approval
    approval.delegates.extend(["dan", "eve"])
    delegation = approval.delegations.add(delegated_by="ann", delegated_to="dan", note="on leave", on_behalf_of="bo")
    delegation.time.FromSeconds(1_700_000_100)
    approval.escalates_at.FromSeconds(1_700_003_600)
    with serving(approvals) as server:
        _, out, _ = program("--server", server, "approvals", "show", ID)

    assert "delegated  to dan by ann on behalf of bo, 2023-11-14 22:15:00Z: on leave\n" in out
    assert "delegates  dan, eve\n" in out
    assert "escalates  2023-11-14 23:13:20Z, to ann\n" in out


def test_what_was_approved_instead_is_shown_beside_what_was_asked_for(program: Program) -> None:
    approvals = FakeApprovals()
    approvals.approval.decision.verdict = approval_pb2.APPROVAL_VERDICT_APPROVE_WITH_EDITS
    approvals.approval.decision.edited_arguments_content.text = '{"to":"eve"}'
    with serving(approvals) as server:
        _, out, _ = program("--server", server, "approvals", "show", ID)

    assert "decision   APPROVE_WITH_EDITS by" in out
    assert out.endswith('approved with\n{"to":"eve"}\n')


def test_a_decision_on_a_digest_of_before_is_sent_as_it_is(program: Program) -> None:
    approvals, looked_at = FakeApprovals(), f"sha256:runwright-approval-v1:{'1' * 64}"
    with serving(approvals) as server:
        _, out, _ = program("--server", server, "approvals", "approve", ID, "--digest", looked_at)

    assert approvals.requests[0].digest == looked_at
    assert out == f"{ID} is APPROVED, by ann\n", "nothing was looked at now"


def test_what_is_not_there_is_said_with_what_to_do(program: Program) -> None:
    with serving(FakeApprovals()) as server:
        code, _, err = program("--server", server, "approvals", "approve", f"{RUN}/a9.9.9")

    assert code == 5
    assert "There is no such approval." in err


def test_whoever_watches_goes_on_from_the_last_cursor(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runwright.cli.approval_feed.time.sleep", lambda _: None)
    approvals = FakeApprovals()
    with serving(approvals) as server:
        _, out, err = program("--server", server, "approvals", "watch")

    assert [line.split()[1] for line in out.splitlines()] == ["PENDING:", "PENDING:"]
    assert approvals.after == ["", "cursor-1", "cursor-2"]
    assert "reconnecting from the last cursor" in err


def test_explain_names_whose_turn_it_is_and_the_verbs(program: Program) -> None:
    run = run_pb2.RunSnapshot(run_id=RUN, status=run_pb2.RUN_STATUS_WAITING)
    run.waiting_on.add(
        kind=run_pb2.WAIT_KIND_APPROVAL, effect_id="c1.1", subject="a1.1.1", unblocked_by="a decision by role approver"
    )
    pending = run.pending_approvals.add(approval_id=ID, effect_id="c1.1", tool="send")
    pending.approvers.roles.append("approver")
    with serving(FakeApprovals(), FakeRuntime(one_tool(), run=run)) as server:
        _, out, _ = program("--server", server, "explain", RUN)

    assert "c1.1 waits for APPROVAL a1.1.1" in out
    assert "a decision by role approver" in out
    assert f"have somebody of role approver look at {ID} and decide:" in out
    for word in ("show", "approve", "edit", "deny"):
        assert f"approvals {word} {ID}" in out


@pytest.mark.parametrize("kind", [approval_pb2.APPROVAL_KIND_RUN_START, approval_pb2.APPROVAL_KIND_OUTPUT])
def test_of_a_start_or_an_answer_explain_names_the_verbs_that_are_decisions_on_it(
    program: Program, kind: approval_pb2.ApprovalKind.ValueType
) -> None:
    run = run_pb2.RunSnapshot(run_id=RUN, status=run_pb2.RUN_STATUS_WAITING)
    run.pending_approvals.add(approval_id=f"{RUN}/a0.1", kind=kind).approvers.roles.append("approver")
    with serving(FakeApprovals(), FakeRuntime(one_tool(), run=run)) as server:
        _, out, _ = program("--server", server, "explain", RUN)

    verbs = [line.split(" approvals ")[1].split()[0] for line in out.splitlines() if " approvals " in line]
    assert verbs == ["show", "approve", "deny"]


def test_the_arguments_that_decide_are_shown_first() -> None:
    approval = an_approval()
    approval.arguments_content.text = '{"a/b": {"~": 1}, "copies": ["ann", "\\u202ebob"], "to": "bob"}'
    approval.highlight[:] = ["/copies/1", "/a~1b/~0", "/copies/2", "/nowhere", "/to/x"]

    shown = [line for line in approval_lines(approval, 0.0) if line.startswith("look at")]

    assert shown == ['look at    /copies/1 "\\u202ebob"', "look at    /a~1b/~0 1"]


def test_of_an_edit_it_is_said_where_the_policies_say_whether_the_call_is_made() -> None:
    approval = an_approval()
    approval.state = approval_pb2.APPROVAL_STATE_APPROVED
    approval.decision.decided_by = "ann"
    as_it_is = outcome_line(pb.DecideApprovalResponse(approval=approval, decided=True))
    approval.decision.verdict = approval_pb2.APPROVAL_VERDICT_APPROVE_WITH_EDITS
    edited = outcome_line(pb.DecideApprovalResponse(approval=approval, decided=True))

    assert as_it_is == f"{ID} is APPROVED, by ann"
    assert edited == f"{as_it_is}; what the policies say of the edit: `runwright events {approval.run_id}`"

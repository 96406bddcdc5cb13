"""`runwright grants` and the grant of `approvals approve`: what somebody permits for later, and taking it back."""

from __future__ import annotations

import grpc
import pytest
from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright._gen.runwright.v1 import error_pb2, event_pb2, grant_pb2
from runwright.cli.grant_text import grant_event, grant_line

from tests.cli.fake_runtime import fail
from tests.cli.story import RUN
from tests.cli.test_approvals import ID, FakeApprovals, Program, program, serving

__all__ = ["program"]
GRANT = f"{RUN}/g1.1.1"


def a_grant(state: grant_pb2.GrantState.ValueType = grant_pb2.GRANT_STATE_OPEN) -> grant_pb2.GrantStatus:
    """One that answers, with all that can be said of it."""
    status = grant_pb2.GrantStatus(state=state, uses_left=4)
    grant = status.grant
    grant.grant_id, grant.approval_id, grant.run_id, grant.agent_id, grant.issuer = GRANT, ID, RUN, "clerk", "ann"
    grant.scope, grant.principal = grant_pb2.GRANT_SCOPE_AGENT_AND_PRINCIPAL, "cal"
    grant.matcher, grant.condition = grant_pb2.GRANT_MATCHER_CONSTRAINTS, 'args.to == "ann\x1b[2J"'
    grant.tool, grant.uses = "send", 5
    grant.until.FromSeconds(1_700_028_800)
    return status


class FakeGrants(FakeApprovals):
    """Offers grants, and knows one."""

    def __init__(self) -> None:
        super().__init__()
        self.approval.grants.scopes.extend([grant_pb2.GRANT_SCOPE_RUN, grant_pb2.GRANT_SCOPE_AGENT_AND_PRINCIPAL])
        self.approval.grants.matchers.extend([grant_pb2.GRANT_MATCHER_EXACT_ARGUMENTS, grant_pb2.GRANT_MATCHER_ANY])
        self.approval.grants.max_uses, self.approval.grants.max_time = 10, "8h"
        self.listed: list[pb.ListGrantsRequest] = []
        self.revoked: list[pb.RevokeGrantRequest] = []

    def ListGrants(self, request: pb.ListGrantsRequest, context: grpc.ServicerContext) -> object:
        """It, on the second page."""
        self.listed.append(pb.ListGrantsRequest.FromString(request.SerializeToString()))
        if not request.page_token:
            return pb.ListGrantsResponse(next_page_token="2")
        return pb.ListGrantsResponse(grants=[a_grant()])

    def RevokeGrant(self, request: pb.RevokeGrantRequest, context: grpc.ServicerContext) -> object:
        """It is taken back, once."""
        if request.grant_id != GRANT:
            reason = error_pb2.ERROR_REASON_GRANT_NOT_FOUND
            fail(context, grpc.StatusCode.NOT_FOUND, reason, "There is no such grant.", "Look at the list.")
        self.revoked.append(request)
        grant = a_grant(grant_pb2.GRANT_STATE_REVOKED)
        grant.revoked_by, grant.note = "ann", request.note
        return pb.RevokeGrantResponse(grant=grant, revoked=len(self.revoked) == 1)


def test_what_is_offered_is_shown(program: Program) -> None:
    with serving(FakeGrants()) as server:
        _, out, _ = program("--server", server, "approvals", "show", ID)

    assert "grants     run, agent_and_principal; exact_arguments, any; at most 10 uses, for at most 8h\n" in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ("--grant", "run", "--grant-uses", "5", "--grant-for", "2h"),
            grant_pb2.GrantRequest(
                scope=grant_pb2.GRANT_SCOPE_RUN,
                matcher=grant_pb2.GRANT_MATCHER_EXACT_ARGUMENTS,
                uses=5,
                valid_for="2h",
            ),
        ),
        (
            ("--grant", "agent_and_principal", "--grant-where", 'args.to == "ann"', "--grant-tainted"),
            grant_pb2.GrantRequest(
                scope=grant_pb2.GRANT_SCOPE_AGENT_AND_PRINCIPAL,
                matcher=grant_pb2.GRANT_MATCHER_CONSTRAINTS,
                condition='args.to == "ann"',
                uses=10,
                valid_for="8h",
                tainted=True,
            ),
        ),
        (
            ("--grant", "run", "--grant-any"),
            grant_pb2.GrantRequest(
                scope=grant_pb2.GRANT_SCOPE_RUN, matcher=grant_pb2.GRANT_MATCHER_ANY, uses=10, valid_for="8h"
            ),
        ),
    ],
    ids=["exact", "constraints", "any"],
)
@pytest.mark.parametrize("command", [("approve", ID), ("edit", ID, "--args", '{"to": "bob"}')], ids=lambda it: it[0])
def test_an_approval_is_given_with_the_grant_that_is_typed_and_else_with_what_is_offered(
    program: Program, command: tuple[str, ...], words: tuple[str, ...], expected: grant_pb2.GrantRequest
) -> None:
    approvals = FakeGrants()
    with serving(approvals) as server:
        program("--server", server, "approvals", *command, *words)
        program("--server", server, "approvals", *command, *words)

    first, again = approvals.requests
    assert first.grant == expected
    assert first == again, "the same words are the same request"


@pytest.mark.parametrize("words", [("--grant-any",), ("--grant", "run", "--grant-any", "--grant-where", "true")])
def test_words_about_grants_that_do_not_fit_together_are_refused(program: Program, words: tuple[str, ...]) -> None:
    approvals = FakeGrants()
    with serving(approvals) as server:
        code, _, err = program("--server", server, "approvals", "approve", ID, *words)

    assert code == 2
    assert "--grant" in err
    assert approvals.requests == []


def test_grants_are_listed_and_harm_no_terminal(program: Program) -> None:
    approvals = FakeGrants()
    with serving(approvals) as server:
        code, out, _ = program("--server", server, "grants", "ls", "--tool", "send", "--issuer", "ann")
        _, names, _ = program("--server", server, "grants", "ls", "--state", "revoked", "-o", "name")

    assert (code, names) == (0, f"{GRANT}\n")
    assert out == (
        f'{GRANT} OPEN: send where args.to == "ann[2J", for runs of clerk that cal starts, by ann; '
        "4 of 5 uses left until 2023-11-15 06:13:20Z\n"
    )
    assert (approvals.listed[0].tool, approvals.listed[0].issuer) == ("send", "ann")
    assert list(approvals.listed[2].states) == [grant_pb2.GRANT_STATE_REVOKED]


def test_a_grant_is_taken_back_once_and_said_so(program: Program) -> None:
    approvals = FakeGrants()
    with serving(approvals) as server:
        code, first, _ = program("--server", server, "grants", "revoke", GRANT, "--note", "not on a Friday")
        _, again, _ = program("--server", server, "grants", "revoke", GRANT)
        missing, _, err = program("--server", server, "grants", "revoke", f"{RUN}/g9.9.9")

    assert (code, first) == (0, f"{GRANT} is REVOKED\n")
    assert again.startswith(f"{GRANT} answered no more before: {GRANT} REVOKED: ")
    assert approvals.revoked[0].note == "not on a Friday"
    assert missing == 5
    assert "There is no such grant." in err


def test_whoever_reads_a_run_sees_what_a_grant_permitted() -> None:
    event = event_pb2.Event()
    event.grant_used.grant.CopyFrom(a_grant().grant)
    issued = event_pb2.Event()
    issued.grant_issued.grant.CopyFrom(a_grant().grant)
    superseded = event_pb2.Event()
    superseded.grant_superseded.grant_id = GRANT

    assert grant_event(event) == f"permitted by grant {GRANT} of ann, given with {ID}"
    assert "5 more uses until 2023-11-15 06:13:20Z" in grant_event(issued)
    assert GRANT in grant_event(superseded)


def test_every_scope_and_state_has_words() -> None:
    for scope in (grant_pb2.GRANT_SCOPE_RUN, grant_pb2.GRANT_SCOPE_SESSION, grant_pb2.GRANT_SCOPE_NAMESPACE):
        status = a_grant(grant_pb2.GRANT_STATE_USED_UP)
        status.grant.scope = scope
        status.grant.matcher = grant_pb2.GRANT_MATCHER_ANY
        assert "with any arguments" in grant_line(status)

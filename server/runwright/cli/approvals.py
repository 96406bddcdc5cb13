"""`runwright approvals`: what waits for somebody to decide, and the decisions."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from runwright import files
from runwright._gen.runwright.v1 import approval_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright.cli import edited_arguments, sanitize
from runwright.cli.approval_feed import approval_updates
from runwright.cli.approval_table import table
from runwright.cli.approval_text import approval_lines, ls_line
from runwright.cli.client import Client
from runwright.cli.errors import Problem
from runwright.cli.grant_options import (
    GrantAnyOption,
    GrantForOption,
    GrantOption,
    GrantOptions,
    GrantTaintedOption,
    GrantUsesOption,
    GrantWhereOption,
)
from runwright.cli.output import (
    Format,
    FormatOption,
    ListFormat,
    ListFormatOption,
    RunFormat,
    RunFormatOption,
    print_json,
    print_json_line,
    print_yaml,
)
from runwright.cli.send_decision import send_decision
from runwright.core.approval_requests import MAX_MESSAGE_BYTES, MAX_RESPONSE_BYTES

app = typer.Typer(
    name="approvals",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="What waits for somebody to decide: ls, show, approve, edit, deny, respond, delegate, abort, watch, inbox.",
)

ApprovalArgument = Annotated[str, typer.Argument(metavar="APPROVAL", help="Its id, such as first/a1.1.1.")]
NoteOption = Annotated[str, typer.Option(metavar="TEXT", help="For the record only.")]
BehalfOption = Annotated[
    str, typer.Option("--on-behalf-of", metavar="WHO", help="For the record: no authority comes of it.")
]
DigestOption = Annotated[
    str, typer.Option(metavar="DIGEST", help="What was looked at. [default: what is shown by this command]")
]


class StateOption(StrEnum):
    """Where approvals stand."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    SUPERSEDED = "superseded"
    RESPONDED = "responded"
    ABORTED = "aborted"


@app.command("ls")
def ls(  # noqa: PLR0913, PLR0917 - its parameters are its options
    context: typer.Context,
    state: Annotated[
        list[StateOption] | None, typer.Option(help="Standing there; may be repeated. [default: pending]")
    ] = None,
    mine: Annotated[bool, typer.Option("--mine", help="Those that this key may decide on now.")] = False,
    agent: Annotated[str, typer.Option(metavar="AGENT", help="Of this agent.")] = "",
    tool: Annotated[str, typer.Option(metavar="TOOL", help="Of calls of this tool.")] = "",
    risk: Annotated[str, typer.Option(metavar="RISK", help="Of calls of tools of this risk.")] = "",
    run: Annotated[str, typer.Option(metavar="RUN", help="Of this run.")] = "",
    older: Annotated[float, typer.Option("--older-than", min=0, metavar="MINUTES", help="Asked for so long ago.")] = 0,
    limit: Annotated[int, typer.Option(min=1, metavar="COUNT", help="At most so many.")] = 50,
    output: ListFormatOption = ListFormat.TABLE,
) -> None:
    """Lists what waits for somebody to decide, the oldest first.

    With --state it lists what was decided or ended otherwise, the newest first. With
    -o json and -o yaml it prints one ListApprovalsResponse.

    \b
    Example:
      runwright approvals ls --mine
      runwright approvals ls --state denied --state expired
    """
    states = [approval_pb2.ApprovalState.Value(f"APPROVAL_STATE_{each.name}") for each in state or ()]
    wanted = pb.ListApprovalsRequest(states=states, mine=mine, agent_id=agent, tool=tool, risk=risk, run_id=run)
    if older:
        wanted.requested_before.FromMilliseconds(int((time.time() - older * 60) * 1000))
    listed = pb.ListApprovalsResponse()
    for page in Client.of(context).approvals(wanted, limit):
        listed.approvals.extend(page.approvals)
        listed.next_page_token = page.next_page_token
    match output:
        case ListFormat.JSON:
            print_json(listed)
        case ListFormat.YAML:
            print_yaml(listed)
        case ListFormat.NAME:
            for approval in listed.approvals:
                print(sanitize.line(approval.approval_id))
        case ListFormat.TABLE:
            print("\n".join(table(listed.approvals, time.time())))
            if listed.next_page_token:
                typer.echo(f"There may be more; ask for them with --limit above {limit}.", err=True)


@app.command("show")
def show(context: typer.Context, approval: ApprovalArgument, output: RunFormatOption = RunFormat.TEXT) -> None:
    """Shows an approval with exactly what would run.

    \b
    Example:
      runwright approvals show first/a1.1.1
    """
    found = Client.of(context).approval(approval).approval
    match output:
        case RunFormat.JSON:
            print_json(found)
        case RunFormat.YAML:
            print_yaml(found)
        case RunFormat.NAME:
            print(sanitize.line(found.approval_id))
        case RunFormat.TEXT:
            print("\n".join(approval_lines(found, time.time())))


@app.command("approve")
def approve(  # noqa: PLR0913, PLR0917 - one parameter for each option
    context: typer.Context,
    approval: ApprovalArgument,
    note: NoteOption = "",
    on_behalf_of: BehalfOption = "",
    digest: DigestOption = "",
    grant: GrantOption = None,
    grant_where: GrantWhereOption = "",
    grant_any: GrantAnyOption = False,
    grant_uses: GrantUsesOption = 0,
    grant_for: GrantForOption = "",
    grant_tainted: GrantTaintedOption = False,
    output: FormatOption = Format.TEXT,
) -> None:
    """Has what is shown done: the call made, the run started, or its answer published.

    It shows what it approves first. Only one decision is taken; it is on record with
    who made it. The same words once more change nothing. It takes the role approver.
    With --grant such calls need nobody from now on, within what the package offers.

    \b
    Example:
      runwright approvals approve first/a1.1.1 --note "ticket 7"
      runwright approvals approve first/a1.1.1 --grant run --grant-uses 5
    """
    options = GrantOptions(grant, grant_where, grant_any, grant_uses, grant_for, grant_tainted)
    decision = pb.DecisionRequest(note=note, on_behalf_of=on_behalf_of, digest=digest)
    _put_grant(context, approval, options, decision)
    send_decision(Client.of(context), approval, approval_pb2.APPROVAL_VERDICT_APPROVE, decision, output)


@app.command("deny")
def deny(
    context: typer.Context,
    approval: ApprovalArgument,
    tell: Annotated[
        str, typer.Option(metavar="TEXT", help="What the model is told of it: TEXT, or what is in @FILE.")
    ] = "",
    note: NoteOption = "",
    on_behalf_of: BehalfOption = "",
    digest: DigestOption = "",
    output: FormatOption = Format.TEXT,
) -> None:
    """Has the call not made; the model is told so, and the run goes on.

    A run whose start or answer is denied fails.

    \b
    Example:
      runwright approvals deny first/a1.1.1 --tell "not on a Friday"
    """
    decision = pb.DecisionRequest(
        message=_read(tell, MAX_MESSAGE_BYTES), note=note, on_behalf_of=on_behalf_of, digest=digest
    )
    send_decision(Client.of(context), approval, approval_pb2.APPROVAL_VERDICT_DENY, decision, output)


@app.command("respond")
def respond(
    context: typer.Context,
    approval: ApprovalArgument,
    tell: Annotated[str, typer.Option(metavar="TEXT", help="The result of the call: TEXT, or what is in @FILE.")],
    note: NoteOption = "",
    on_behalf_of: BehalfOption = "",
    digest: DigestOption = "",
    output: FormatOption = Format.TEXT,
) -> None:
    """Answers in place of the tool: the call is not made, and TEXT is its result.

    \b
    Example:
      runwright approvals respond first/a1.1.1 --tell "I sent it myself."
    """
    decision = pb.DecisionRequest(
        message=_read(tell, MAX_RESPONSE_BYTES), note=note, on_behalf_of=on_behalf_of, digest=digest
    )
    send_decision(Client.of(context), approval, approval_pb2.APPROVAL_VERDICT_RESPOND, decision, output)


@app.command("abort")
def abort(
    context: typer.Context,
    approval: ApprovalArgument,
    note: NoteOption = "",
    on_behalf_of: BehalfOption = "",
    digest: DigestOption = "",
    output: FormatOption = Format.TEXT,
) -> None:
    """Has nothing of it done, and ends the run as failed.

    \b
    Example:
      runwright approvals abort first/a1.1.1 --note "the agent has gone astray"
    """
    decision = pb.DecisionRequest(note=note, on_behalf_of=on_behalf_of, digest=digest)
    send_decision(Client.of(context), approval, approval_pb2.APPROVAL_VERDICT_ABORT_RUN, decision, output)


@app.command("edit")
def edit(  # noqa: PLR0913, PLR0917 - one parameter for each option
    context: typer.Context,
    approval: ApprovalArgument,
    args: Annotated[
        str | None,
        typer.Option(
            metavar="JSON", help="The arguments: JSON, or what is in @FILE. [default: opens those pending in $EDITOR]"
        ),
    ] = None,
    note: NoteOption = "",
    on_behalf_of: BehalfOption = "",
    digest: DigestOption = "",
    grant: GrantOption = None,
    grant_where: GrantWhereOption = "",
    grant_any: GrantAnyOption = False,
    grant_uses: GrantUsesOption = 0,
    grant_for: GrantForOption = "",
    grant_tainted: GrantTaintedOption = False,
    output: FormatOption = Format.TEXT,
) -> None:
    """Has the call made with other arguments than it was asked for.

    They are checked against the tool's schema, and the policies are asked about them:
    what they deny is not made, and another approval that they ask for is pending then.
    Arguments that are refused come back into the editor; leaving them as they are
    decides nothing. With --grant such calls need nobody from now on, within what the
    package offers; "such" are those with the edited arguments, unless it says otherwise.

    \b
    Example:
      runwright approvals edit first/a1.1.1
      runwright approvals edit first/a1.1.1 --args '{"to": "ann"}' --note "the new address"
    """
    verdict = approval_pb2.APPROVAL_VERDICT_APPROVE_WITH_EDITS
    options = GrantOptions(grant, grant_where, grant_any, grant_uses, grant_for, grant_tainted)
    decision = pb.DecisionRequest(note=note, on_behalf_of=on_behalf_of, digest=digest)
    _put_grant(context, approval, options, decision)
    if args is not None:
        decision.arguments_json = edited_arguments.given(args)
        send_decision(Client.of(context), approval, verdict, decision, output)
        return
    shown = Client.of(context).approval(approval).approval
    decision.digest = decision.digest or shown.digest
    text = edited_arguments.pending(shown)
    while True:
        text = edited_arguments.written(text)
        decision.arguments_json = text.encode()
        try:
            send_decision(Client.of(context), approval, verdict, decision, output)
        except Problem as problem:
            if problem.reason != "APPROVAL_EDIT_INVALID":
                raise
            typer.echo(str(problem), err=True)
        else:
            return


@app.command("delegate")
def delegate(
    context: typer.Context,
    approval: ApprovalArgument,
    to: Annotated[str, typer.Argument(metavar="WHO", help="The name of a principal that the package lists.")],
    note: NoteOption = "",
    on_behalf_of: BehalfOption = "",
    digest: DigestOption = "",
    output: FormatOption = Format.TEXT,
) -> None:
    """Has somebody else decide, until the turn of the present approvers is over.

    You can still decide, and take it back so. No time of the approval changes.

    \b
    Example:
      runwright approvals delegate first/a1.1.1 dan --note "on leave until Monday"
    """
    decision = pb.DecisionRequest(note=note, on_behalf_of=on_behalf_of, digest=digest, delegate_to=to)
    send_decision(Client.of(context), approval, approval_pb2.APPROVAL_VERDICT_DELEGATE, decision, output)


@app.command("watch")
def watch(
    context: typer.Context,
    mine: Annotated[bool, typer.Option("--mine", help="Those of whose approver sets this key is in one.")] = False,
    cursor: Annotated[str, typer.Option("--from", metavar="CURSOR", help="Go on after this cursor.")] = "",
    output: FormatOption = Format.TEXT,
) -> None:
    """Prints what is pending, then each approval when something becomes of it.

    Goes on over lost connections. Ctrl-C leaves. With -o json it prints one
    WatchApprovalsResponse a line.

    \b
    Example:
      runwright approvals watch --mine
    """
    try:
        for update in approval_updates(Client.of(context), cursor, mine=mine, notice=_notice):
            if output is Format.JSON:
                print_json_line(update)
            elif update.HasField("approval"):
                print(ls_line(update.approval), flush=True)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@app.command("inbox")
def inbox(
    context: typer.Context,
    mine: Annotated[bool, typer.Option("--mine", help="Those of whose approver sets this key is in one.")] = False,
) -> None:
    """Shows what is pending on a screen, where it can be decided; ? shows the keys.

    It needs a terminal. What was not wholly on the screen is not approved.

    \b
    Example:
      runwright approvals inbox --mine
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        message = "standard input and standard output must be a terminal. `runwright approvals ls` lists in pipes"
        raise typer.BadParameter(message)
    # Not for every command: what draws the screen takes as long to load as all the rest.
    from runwright.cli.inbox.screen import InboxScreen  # noqa: PLC0415

    InboxScreen(Client.of(context), mine=mine).run()


def _notice(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _put_grant(context: typer.Context, approval: str, options: GrantOptions, decision: pb.DecisionRequest) -> None:
    options.check()
    if options.scope is not None:
        decision.grant.CopyFrom(options.request(Client.of(context).approval(approval).approval.grants))


def _read(tell: str, limit: int) -> str:
    if not tell.startswith("@"):
        return tell
    try:
        return files.read_file(Path(tell[1:]), limit).decode("utf-8", "replace")
    except files.UnreadableFileError as error:
        raise typer.BadParameter(f"{error.message}. {error.remedy}", param_hint="--tell") from None

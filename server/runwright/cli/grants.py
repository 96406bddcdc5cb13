"""`runwright grants`: what people have permitted for later, and taking it back."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright._gen.runwright.v1 import grant_pb2
from runwright.cli import names, sanitize
from runwright.cli.client import Client
from runwright.cli.grant_text import grant_line
from runwright.cli.output import Format, FormatOption, ListFormat, ListFormatOption, print_json, print_yaml

app = typer.Typer(
    name="grants",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="What people have permitted for later: ls, revoke.",
)


class StateOption(StrEnum):
    """Where grants stand."""

    OPEN = "open"
    USED_UP = "used_up"
    EXPIRED = "expired"
    REVOKED = "revoked"


@app.command("ls")
def ls(
    context: typer.Context,
    state: Annotated[
        list[StateOption] | None, typer.Option(help="Standing there; may be repeated. [default: open]")
    ] = None,
    tool: Annotated[str, typer.Option(metavar="TOOL", help="For calls of this tool.")] = "",
    agent: Annotated[str, typer.Option(metavar="AGENT", help="Of this agent.")] = "",
    run: Annotated[str, typer.Option(metavar="RUN", help="Issued in this run.")] = "",
    issuer: Annotated[str, typer.Option(metavar="WHO", help="Issued by them.")] = "",
    limit: Annotated[int, typer.Option(min=1, metavar="COUNT", help="At most so many.")] = 50,
    output: ListFormatOption = ListFormat.TABLE,
) -> None:
    """Lists the grants that answer, the one that lasts longest first.

    With --state it lists those of other states, the newest first. With -o json and
    -o yaml it prints one ListGrantsResponse.

    \b
    Example:
      runwright grants ls --tool send
      runwright grants ls --state revoked --state expired
    """
    states = [grant_pb2.GrantState.Value(f"GRANT_STATE_{each.name}") for each in state or ()]
    wanted = pb.ListGrantsRequest(states=states, tool=tool, agent_id=agent, run_id=run, issuer=issuer)
    listed = pb.ListGrantsResponse()
    for page in Client.of(context).grants(wanted, limit):
        listed.grants.extend(page.grants)
        listed.next_page_token = page.next_page_token
    match output:
        case ListFormat.JSON:
            print_json(listed)
        case ListFormat.YAML:
            print_yaml(listed)
        case ListFormat.NAME:
            for status in listed.grants:
                print(sanitize.line(status.grant.grant_id))
        case ListFormat.TABLE:
            for status in listed.grants:
                print(grant_line(status))
            if listed.next_page_token:
                typer.echo(f"There may be more; ask for them with --limit above {limit}.", err=True)


@app.command("revoke")
def revoke(
    context: typer.Context,
    grant: Annotated[str, typer.Argument(metavar="GRANT", help="Its id, such as first/g1.1.1.")],
    note: Annotated[str, typer.Option(metavar="TEXT", help="For the record only.")] = "",
    output: FormatOption = Format.TEXT,
) -> None:
    """Takes a grant back: from now on somebody is asked again.

    Calls that it has let pass are made. It takes the key that issued it, or the role
    admin. One that answers no more is left as it is.

    \b
    Example:
      runwright grants revoke first/g1.1.1 --note "not on a Friday"
    """
    response = Client.of(context).revoke_grant(pb.RevokeGrantRequest(grant_id=grant, note=note))
    if output is Format.JSON:
        print_json(response)
        return
    status = response.grant
    if response.revoked:
        print(sanitize.line(f"{grant} is {names.grant_state(status.state)}"))
    else:
        print(sanitize.line(f"{grant} answered no more before: {grant_line(status)}"))

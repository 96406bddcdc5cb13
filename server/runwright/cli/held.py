"""`runwright held`: runs that the server does not drive, and the ways out."""

from __future__ import annotations

from typing import Annotated

import typer

from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.cli import names, sanitize
from runwright.cli.client import Client
from runwright.cli.inspect_run import RunArgument
from runwright.cli.output import ListFormat, ListFormatOption, print_json, print_yaml

app = typer.Typer(
    name="held",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Runs that are not driven: ls, release, cancel, remove.",
)
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the record.")]
_HELD = pb.RunFilter(statuses=[run_pb2.RUN_STATUS_HELD])


@app.command("ls")
def ls(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, metavar="COUNT", help="At most so many.")] = 50,
    output: ListFormatOption = ListFormat.TABLE,
) -> None:
    """Lists held runs, newest first, and below each why it is held.

    \b
    Example:
      runwright held ls
    """
    listed = pb.ListRunsResponse()
    for page in Client.of(context).runs(_HELD, limit):
        listed.runs.extend(page.runs)
        listed.next_page_token = page.next_page_token
    match output:
        case ListFormat.JSON:
            print_json(listed)
        case ListFormat.YAML:
            print_yaml(listed)
        case ListFormat.NAME:
            for run in listed.runs:
                print(sanitize.line(run.run_id))
        case ListFormat.TABLE:
            for run in listed.runs:
                print("\n".join(lines(run)))


@app.command("release")
def release(context: typer.Context, run_id: RunArgument, reason: ReasonOption = "") -> None:
    """Takes a held run up again; it is held again if that fails.

    \b
    Example:
      runwright held release first --reason "the disk was exchanged"
    """
    response = Client.of(context).release(run_id, reason)
    run = response.run
    if run.status == run_pb2.RUN_STATUS_HELD:
        print(f"run {sanitize.line(run_id)} is held again: {names.failure(run.error)}")
    elif response.released:
        print(f"run {sanitize.line(run_id)} is no longer held: {names.status(run.status)}")
    else:
        print(f"run {sanitize.line(run_id)} was not held: {names.status(run.status)}")


@app.command("cancel")
def cancel(context: typer.Context, run_id: RunArgument, reason: ReasonOption = "") -> None:
    """Ends a held run whose events are intact, without anything being sent.

    The same as `runwright cancel`. Open calls that must not be repeated are
    recorded as unknown.

    \b
    Example:
      runwright held cancel first --reason "it ends the server"
    """
    run = Client.of(context).cancel(run_id, reason, None).run
    print(f"run {sanitize.line(run_id)}: {names.status(run.status)}")


@app.command("remove")
def remove(
    context: typer.Context,
    run_id: RunArgument,
    reason: ReasonOption = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Removes a held run: events and contents go, an outline is left.

    For runs that cannot be read. What is intact can be saved before by
    `runwright events` or `runwright export`.

    \b
    Example:
      runwright held remove first --yes --reason "restored from a backup"
    """
    if not yes:
        typer.confirm(f"Remove what is stored of run {sanitize.line(run_id)}? It cannot be brought back", abort=True)
    run = Client.of(context).remove(run_id, reason).run
    print(f"run {sanitize.line(run_id)} is removed: {names.status(run.status)}")


def lines(run: run_pb2.RunSnapshot) -> list[str]:
    """A held run for people: who, since when, why."""
    since = "".join(f" since {names.clock(wait.since)}" for wait in run.waiting_on[:1])
    cause = "".join(wait.subject for wait in run.waiting_on[:1])
    return [
        sanitize.line(f"{run.run_id} {cause}{since}, agent {run.agent_id or '-'}, last event #{run.last_seq}"),
        f"  {names.failure(run.error)}",
    ]

"""`runwright ls`: the runs of a server, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.cli import names, sanitize
from runwright.cli.changes import runs_and_changes
from runwright.cli.client import Client
from runwright.cli.errors import ExitCode, Problem
from runwright.cli.output import ListFormat, ListFormatOption, WatchOption, print_json, print_yaml
from runwright.core.near import did_you_mean

_STATUSES = {name.removeprefix("RUN_STATUS_"): number for name, number in run_pb2.RunStatus.items() if number}
_HEADINGS = ("RUN", "STATUS", "STARTED", "TOOK", "AGENT", "SESSION")


def ls(
    context: typer.Context,
    status: Annotated[
        list[str] | None, typer.Option(metavar="STATUS", help="Standing there, such as RUNNING; may be repeated.")
    ] = None,
    agent: Annotated[str, typer.Option(metavar="AGENT", help="Of this agent.")] = "",
    session: Annotated[str, typer.Option(metavar="SESSION", help="Of this session.")] = "",
    limit: Annotated[int, typer.Option(min=1, metavar="COUNT", help="At most so many.")] = 50,
    watch: WatchOption = False,
    output: ListFormatOption = ListFormat.TABLE,
) -> None:
    """Lists runs, newest first.

    With -o json it prints them as one ListRunsResponse, whose next_page_token
    is set when there are more. With --watch it then prints a run whenever its
    status is another, with -o json and -o yaml as a message of its own.

    \b
    Example:
      runwright ls --status RUNNING --status WAITING
      runwright ls --session morning -o json
      runwright ls --watch
    """
    wanted = pb.RunFilter(statuses=_numbers(status or ()), agent_id=agent, session_id=session)
    if watch:
        _watch(Client.of(context), wanted, limit, output)
        return
    listed = pb.ListRunsResponse()
    for page in Client.of(context).runs(wanted, limit):
        listed.runs.extend(page.runs)
        listed.next_page_token = page.next_page_token
    _print(listed, output)
    if agent and not listed.runs:
        typer.echo(_no_run_of(agent, Client.of(context)), err=True)
    if output is ListFormat.TABLE and listed.next_page_token:
        typer.echo(f"There may be more; ask for them with --limit above {limit}.", err=True)


def table(runs: Sequence[run_pb2.RunSnapshot]) -> list[str]:
    """A line for each run below one of headings, in columns as wide as they need to be."""
    cells = [_HEADINGS, *(_cells(run) for run in runs)]
    widths = _widths(cells)
    return [_line(row, widths) for row in cells]


def _print(listed: pb.ListRunsResponse, output: ListFormat) -> None:
    match output:
        case ListFormat.JSON:
            print_json(listed)
        case ListFormat.YAML:
            print_yaml(listed)
        case ListFormat.NAME:
            for run in listed.runs:
                print(sanitize.line(run.run_id))
        case ListFormat.TABLE:
            print("\n".join(table(listed.runs)))


def _watch(client: Client, wanted: pb.RunFilter, limit: int, output: ListFormat) -> None:
    listed = pb.ListRunsResponse()
    changes = runs_and_changes(client, wanted, limit)
    try:
        while (run := next(changes)) is not None:
            listed.runs.append(run)
        _print(listed, output)
        widths = _widths([_HEADINGS, *(_cells(run) for run in listed.runs)])
        for changed in changes:
            assert changed is not None, "None comes once, after the list"
            match output:
                case ListFormat.JSON:
                    print_json(changed)
                case ListFormat.YAML:
                    print("---")
                    print_yaml(changed)
                case ListFormat.NAME:
                    print(sanitize.line(changed.run_id), flush=True)
                case ListFormat.TABLE:
                    print(_line(_cells(changed), widths), flush=True)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _widths(cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(row[column]) for row in cells) for column in range(len(_HEADINGS))]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _cells(run: run_pb2.RunSnapshot) -> tuple[str, ...]:
    last = run.ended_at if run.HasField("ended_at") else run.updated_at
    took = names.elapsed(names.seconds(last) - names.seconds(run.started_at))
    started = run.started_at.ToDatetime().strftime("%Y-%m-%d %H:%M:%SZ")
    row = (run.run_id, names.status(run.status), started, took, run.agent_id, run.session_id or "-")
    return tuple(sanitize.line(cell) for cell in row)


def _no_run_of(agent: str, client: Client) -> str:
    """That there is no run of an agent, and which agent may have been meant; not every key may know them."""
    try:
        known = [package.package.agent.agent_id for package in client.info().packages]
    except Problem:
        known = []
    remedy = did_you_mean(agent, known) or ("" if agent in known or not known else f"Agents: {', '.join(known)}.")
    return sanitize.line(f"No run of agent {agent}. {remedy}")


def _numbers(value: Sequence[str]) -> list[run_pb2.RunStatus.ValueType]:
    unknown = [name for name in value if name.upper() not in _STATUSES]
    if unknown:
        known = ", ".join(f"'{name}'" for name in _STATUSES)
        raise typer.BadParameter(f"'{unknown[0]}' is not one of {known}", param_hint="--status")
    return [_STATUSES[name.upper()] for name in value]

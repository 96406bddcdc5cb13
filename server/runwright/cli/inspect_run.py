"""`runwright get`, `events` and `cancel`: one look at a run, or one word to it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.cli import names, sanitize
from runwright.cli.changes import snapshots
from runwright.cli.client import Client
from runwright.cli.errors import ExitCode
from runwright.cli.output import Format, FormatOption, RunFormat, RunFormatOption, WatchOption, print_json, print_yaml
from runwright.cli.result import write_result
from runwright.cli.snapshot_text import snapshot_lines
from runwright.cli.standard_streams import terminal_width
from runwright.cli.view import PlainView

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.")]


def get(
    context: typer.Context,
    run_id: RunArgument,
    watch: WatchOption = False,
    result: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the answer there and nothing else, byte by byte; - is standard output."
        ),
    ] = None,
    output: RunFormatOption = RunFormat.TEXT,
) -> None:
    """Prints a run as it stands.

    With --watch it prints it again whenever it has moved on, until it has ended.
    With --result it writes the whole answer, however large, to a new file.

    \b
    Example:
      runwright run --id first "What is in this directory?"
      runwright get first
      runwright get first --result answer.txt
    """
    client = Client.of(context)
    if result is not None:
        write_result(client, run_id, result)
        return
    if not watch:
        _print(client.snapshot(run_id), output)
        return
    try:
        for number, response in enumerate(snapshots(client, run_id)):
            if number and output in (RunFormat.TEXT, RunFormat.YAML):
                print("---")
            _print(response, output)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _print(response: pb.SnapshotResponse, output: RunFormat) -> None:
    match output:
        case RunFormat.JSON:
            print_json(response)
        case RunFormat.YAML:
            print_yaml(response)
        case RunFormat.NAME:
            print(sanitize.line(response.run.run_id), flush=True)
        case RunFormat.TEXT:
            print("\n".join(snapshot_lines(response.run)), flush=True)


def events(
    context: typer.Context,
    run_id: RunArgument,
    cursor: Annotated[str, typer.Option("--from", metavar="CURSOR", help="Begin after this cursor.")] = "",
    output: FormatOption = Format.TEXT,
) -> None:
    """Lists the events of a run so far.

    One line each, then a cursor to go on from (on standard error). With -o json
    it prints all of them as one ListEventsResponse.

    \b
    Example:
      runwright run --id first "What is in this directory?"
      runwright events first
    """
    pages = Client.of(context).pages(run_id, cursor)
    if output is Format.JSON:
        print_json(pb.ListEventsResponse(frames=[frame for page in pages for frame in page.frames]))
        return
    view = PlainView(print, terminal_width(sys.stdout))
    for page in pages:
        for frame in page.frames:
            view.take(frame)
    if view.tree.cursor:
        print(sanitize.line(f"cursor: {view.tree.cursor}"), file=sys.stderr)


def cancel(
    context: typer.Context,
    run_id: RunArgument,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    grace: Annotated[
        float | None,
        typer.Option(min=0, max=600, metavar="SECONDS", help="Seconds for open calls to answer. [default: 10]"),
    ] = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Asks a run to end. Nothing new is begun after the event that is printed.

    Exit code 0 says that the run ends or has ended, not how.

    \b
    Example:
      runwright run --no-watch --id first "What is in this directory?"
      runwright cancel first --reason "no longer needed"
    """
    response = Client.of(context).cancel(run_id, reason, grace)
    if output is Format.JSON:
        print_json(response)
        return
    status = names.status(response.run.status)
    if response.barrier_seq:
        print(f"run {run_id} is {status}; nothing new begins after event #{response.barrier_seq}")
    elif response.run.status in (run_pb2.RUN_STATUS_COMPLETED, run_pb2.RUN_STATUS_FAILED):
        print(f"run {run_id} had ended before: {status}")
    else:
        print(f"run {run_id} is {status}")

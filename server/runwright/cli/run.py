"""`runwright run`: starts a run and, unless told otherwise, stays with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from runwright._gen.runwright.v1 import content_pb2, package_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.adapters.ids import RandomIds
from runwright.cli import names, outcome, sanitize
from runwright.cli.ask_in_run import watch_and_ask
from runwright.cli.client import Client
from runwright.cli.commands import command
from runwright.cli.input_parts import parts_of
from runwright.cli.line_terminal import LineTerminal
from runwright.cli.output import Format, FormatOption, print_json
from runwright.cli.standard_streams import terminal_width
from runwright.cli.view import PlainView, QuietView, view_for
from runwright.cli.watch import watch_run

_MOST = 2**32 - 1
_DECIDE = "Leave it out, and decide with `runwright approvals`."


def run(  # noqa: PLR0913, PLR0917 - one parameter for each option
    context: typer.Context,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to ask the agent.", show_default=False)] = "",
    run_id: Annotated[
        str, typer.Option("--id", help="Id of the run; the same id and request never start a second run.")
    ] = "",
    package: Annotated[str, typer.Option(help="Package that answers: id, @TAG or fingerprint.")] = "",
    session: Annotated[str, typer.Option(help="Id of the session; the run sees its earlier turns.")] = "",
    input: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file of text, after TEXT; - is standard input.")
    ] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", exists=True, dir_okay=False, help="An image to show the agent beside TEXT; repeat for more."
        ),
    ] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="K=V", help="A label; repeat for more.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, max=_MOST, metavar="N", help="Limit of model requests.")] = None,
    tool_calls: Annotated[int | None, typer.Option(min=1, max=_MOST, metavar="N", help="Limit of tool calls.")] = None,
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Stay and show the run.")] = True,
    approve: Annotated[
        bool, typer.Option("--approve", help="Ask here for what the run wants approved; takes the role approver.")
    ] = False,
    output: FormatOption = Format.TEXT,
) -> None:
    """Starts a run, shows it while it goes on and prints the answer.

    The answer goes to standard output, everything else to standard error. With
    --approve it shows what the run wants approved, in this terminal, and asks;
    Ctrl-C leaves, and the run goes on waiting. With --no-watch it prints the run's
    id and leaves. With -o json it prints one response: the run's snapshot, or with
    --no-watch that of StartRun.
    Exit code: 0 completed, 1 failed, 2 usage, 3 cancelled, 4 needs repair, 5 call failed.

    \b
    Example:
      runwright run --id first "What is in this directory?"
      git diff | runwright run --input - "What does this change?"
      runwright run --approve "Write a report."
    """
    if approve:
        _check_terminal(output, watch=watch)
    parts = parts_of(text, input, image or [])
    request = new_request(parts, run_id or RandomIds().run_id(), session, label or [])
    if package:
        request.package.CopyFrom(names.selector(package))
    if rounds or tool_calls:
        request.budget.CopyFrom(package_pb2.Budget(rounds=rounds or 0, tool_calls=tool_calls or 0))
    client = Client.of(context)
    started = client.start(request)
    if approve:
        _stay_and_ask(client, started)
    elif watch:
        _stay(client, started, output)
    elif output is Format.JSON:
        print_json(started)
    else:
        print(sanitize.line(started.run.run_id))
        _note(f"{_begun(started)}; to watch it: {command(client.options, 'watch', started.run.run_id)}")


def _stay(client: Client, started: pb.StartRunResponse, output: Format) -> None:
    run_id = started.run.run_id
    if output is Format.JSON:
        snapshot = watch_run(client, run_id, "", QuietView(), deltas=False)
        print_json(client.snapshot(run_id))
        raise typer.Exit(outcome.exit_code(snapshot))
    _note(_begun(started))
    snapshot = watch_run(client, run_id, "", view_for(sys.stderr))
    outcome.report(snapshot, client, answer=_answer, note=_note)
    raise typer.Exit(outcome.exit_code(snapshot))


def _check_terminal(output: Format, *, watch: bool) -> None:
    """Raises BadParameter where nobody could be asked; no run is started then."""
    if output is Format.JSON or not watch:
        what = "-o json" if output is Format.JSON else "--no-watch"
        raise typer.BadParameter(f"asks in the terminal, which {what} does not. {_DECIDE}", param_hint="--approve")
    if not LineTerminal.is_there():
        message = f"asks in the terminal; standard input and standard error must be one. {_DECIDE}"
        raise typer.BadParameter(message, param_hint="--approve")


def _stay_and_ask(client: Client, started: pb.StartRunResponse) -> None:
    _note(_begun(started))
    # Lines, and no tree that is redrawn: a question stays where it was asked.
    view = PlainView(_note, terminal_width(sys.stderr))
    snapshot = watch_and_ask(client, started.run.run_id, view, LineTerminal())
    outcome.report(snapshot, client, answer=_answer, note=_note)
    raise typer.Exit(outcome.exit_code(snapshot))


def new_request(
    parts: Iterator[content_pb2.InputPart], run_id: str, session: str, labels: list[str]
) -> run_pb2.RunRequest:
    """The request for an input. Raises BadParameter for what is no Unicode."""
    try:
        return run_pb2.RunRequest(
            run_id=run_id,
            session_id=session,
            input=list(parts),
            labels=parse_labels(labels),
        )
    except UnicodeEncodeError:
        raise typer.BadParameter("must be valid UTF-8", param_hint="TEXT, --id, --session or --label") from None


def parse_labels(labels: list[str]) -> dict[str, str]:
    """`k=v` words as a mapping. Further `=` are part of the value; a key comes once."""
    parsed: dict[str, str] = {}
    for label in labels:
        key, equals, value = label.partition("=")
        if not (key and equals):
            raise typer.BadParameter(f"{label!r} is not of the form K=V", param_hint="--label")
        if key in parsed:
            raise typer.BadParameter(f"{key!r} is given twice", param_hint="--label")
        parsed[key] = value
    return parsed


def _begun(started: pb.StartRunResponse) -> str:
    return f"run {started.run.run_id} " + ("started" if started.created else "was started before")


def _answer(text: str) -> None:
    _note("")
    print(text)


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

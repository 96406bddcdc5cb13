"""`runwright watch`: a run as it goes on, over lost connections, until it ends or needs somebody."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Annotated

import typer

from runwright._gen.runwright.v1 import run_pb2
from runwright.cli import outcome
from runwright.cli.client import Client
from runwright.cli.commands import command
from runwright.cli.errors import ExitCode, Problem
from runwright.cli.follow import follow
from runwright.cli.output import Format, FormatOption
from runwright.cli.view import JsonView, View, view_for

_HELD = run_pb2.RUN_STATUS_HELD
_UNCHANGED = (run_pb2.RUN_STATUS_REPAIR_NEEDED, _HELD)


def watch(
    context: typer.Context,
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.")],
    cursor: Annotated[str, typer.Option("--from", metavar="CURSOR", help="Go on after this cursor.")] = "",
    output: FormatOption = Format.TEXT,
    deltas: Annotated[
        bool | None,
        typer.Option("--deltas/--no-deltas", help="Text of models as it comes. [default: with -o text]"),
    ] = None,
) -> None:
    """Shows a run while it goes on: turn, rounds, tool calls, text as it comes.

    With -o json it prints one frame a line, and deltas only with --deltas.
    Reconnects by itself and goes on where it was. Ctrl-C leaves; the run goes on.
    Exit code: 0 completed, 1 failed, 3 cancelled, 4 needs repair, 5 call failed.

    \b
    Example:
      runwright run --no-watch --id first "What is in this directory?"
      runwright watch first
    """
    client = Client.of(context)
    if output is Format.JSON:
        run = watch_run(client, run_id, cursor, JsonView(_print, _note), deltas=deltas is True)
        outcome.report(run, client, answer=None, note=_note)
    else:
        run = watch_run(client, run_id, cursor, view_for(sys.stdout), deltas=deltas is not False)
        outcome.report(run, client, answer=lambda text: print("\n" + text), note=print)
    raise typer.Exit(outcome.exit_code(run))


def _print(line: str) -> None:
    print(line, flush=True)


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def watch_run(
    client: Client,
    run_id: str,
    cursor: str,
    view: View,
    *,
    deltas: bool = True,
    wait: Callable[[float], None] = time.sleep,
) -> run_pb2.RunSnapshot:
    """Shows a run in `view` until it has ended or needs repair, and returns it as it then stands.

    On Ctrl-C it prints how to come back and exits; the run is not cancelled.
    """
    view.tree.run_id, view.tree.cursor = run_id, cursor
    try:
        with view.showing():
            snapshot = followed(client, run_id, cursor, view, wait, deltas=deltas)
    except KeyboardInterrupt:
        words = ["watch", run_id, *(["--from", view.tree.cursor] if view.tree.cursor else [])]
        print(f"\nleft; the run goes on. To come back:\n  {command(client.options, *words)}", file=sys.stderr)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    return snapshot


def followed(
    client: Client,
    run_id: str,
    cursor: str,
    view: View,
    wait: Callable[[float], None] = time.sleep,
    *,
    deltas: bool = False,
) -> run_pb2.RunSnapshot:
    """Lets `view` take in what comes after `cursor` until the run has ended or needs repair."""
    frames = follow(lambda after: client.subscribe(run_id, after, deltas=deltas), cursor, notice=view.notice, wait=wait)
    # Somebody who comes back with a cursor may have seen before why the run stands still.
    ask = bool(cursor)
    for frame in frames:
        view.take(frame)
        # A run that is held has no event that says so; its stream has bookmarks while nothing happens.
        if ask or view.tree.stuck or not frame.HasField("event"):
            snapshot = _unchanged(client, run_id, frame.cursor)
            if snapshot is not None:
                frames.close()
                return snapshot
        ask = False
    return view.tree.outcome or client.snapshot(run_id).run


def _unchanged(client: Client, run_id: str, cursor: str) -> run_pb2.RunSnapshot | None:
    """The run, if it needs repair or is held and `cursor` is the end of what there is to see of it."""
    try:
        run = client.snapshot(run_id).run
    except Problem as problem:
        if problem.passing:
            return None  # the stream is lost as well, and asks again when it is back
        raise
    under_way = any(effect.state == run_pb2.EFFECT_STATE_RUNNING for effect in run.open_effects)
    at_its_end = run.last_cursor == cursor and run.status in _UNCHANGED and not (under_way and run.status != _HELD)
    return run if at_its_end else None

"""`runwright wait`: comes back when a run has ended or needs somebody."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Annotated

import typer

from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.cli import outcome
from runwright.cli.client import Client
from runwright.cli.commands import command
from runwright.cli.errors import ExitCode, Problem
from runwright.cli.follow import delay
from runwright.cli.output import Format, FormatOption, print_json

LONGEST_CALL_SECONDS = 60.0  # one call; a longer wait is made of several


def wait(
    context: typer.Context,
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.")],
    timeout: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="How long at most. [default: as long as it takes]")
    ] = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Waits until a run has ended, needs repair or is held, and prints the answer.

    Goes on waiting while the server restarts. The answer goes to standard
    output, everything else to standard error. The run is never cancelled.
    Exit code: 0 completed, 1 failed, 3 cancelled, 4 needs repair or is
    held, 5 call failed, 6 the time is over and the run goes on.

    \b
    Example:
      runwright run --no-watch --id first "What is in this directory?"
      runwright wait first --timeout 60
    """
    client = Client.of(context)
    try:
        response = wait_run(client, run_id, timeout)
    except KeyboardInterrupt:
        _note(f"left; the run goes on. To come back:\n  {command(client.options, 'wait', run_id)}")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if output is Format.JSON:
        print_json(response)
    elif response.done:
        outcome.report(response.run, client, answer=print, note=_note)
    else:
        _note(f"run {response.run.run_id} goes on; to watch it: {command(client.options, 'watch', run_id)}")
    raise typer.Exit(outcome.exit_code(response.run) if response.done else ExitCode.STILL_RUNNING)


def wait_run(
    client: Client,
    run_id: str,
    timeout: float | None,
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> pb.WaitResponse:
    """Waits for a run over as many calls as it takes, and over restarts of the server once it has answered.

    Raises what the first call fails with, and what does not pass by waiting.
    """
    until = None if timeout is None else clock() + timeout
    answered, failures = False, 0
    while True:
        left = LONGEST_CALL_SECONDS if until is None else max(0.0, until - clock())
        try:
            response = client.wait(run_id, min(LONGEST_CALL_SECONDS, left))
        except Problem as problem:
            if not (answered and problem.passing) or left == 0:
                raise
            pause(min(delay(failures), left))
            failures += 1
            continue
        answered, failures = True, 0
        if response.done or (until is not None and clock() >= until):
            return response


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

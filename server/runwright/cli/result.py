"""The answer of a run, byte by byte, into a file or to standard output."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from runwright._gen.runwright.v1 import run_pb2
from runwright.adapters.private_files import created
from runwright.cli import names, outcome
from runwright.cli.client import Client
from runwright.cli.errors import ExitCode
from runwright.cli.standard_streams import raw

_OPEN = (run_pb2.RUN_STATUS_RUNNING, run_pb2.RUN_STATUS_WAITING, run_pb2.RUN_STATUS_CANCELLING)


def write_result(client: Client, run_id: str, file: Path) -> None:
    """Writes the answer to a new file, for you alone, or with `-` to standard output.

    Exits with the code of how the run ended when it has no answer, and 6 when it goes on.
    """
    run = client.snapshot(run_id).run
    if not run.HasField("result"):
        why = outcome.removed(run) if run.HasField("removed_at") else f"it is {names.status(run.status)}"
        typer.echo(f"run {run_id} has no answer: {why}", err=True)
        failed = outcome.exit_code(run) or ExitCode.FAILED
        raise typer.Exit(ExitCode.STILL_RUNNING if run.status in _OPEN else failed)
    answer = outcome.answer_bytes(run, client)
    if file == Path("-"):
        _print(answer)
        return
    try:
        with created(file) as written:
            written.buffer.write(answer)
    except FileExistsError:
        message = f"{file} is there already: name another file, or remove it"
        raise typer.BadParameter(message, param_hint="--result") from None


def _print(answer: bytes) -> None:
    if sys.stdout.isatty():
        print(outcome.shown(answer))  # it may steer a terminal
        return
    stream = raw(sys.stdout)
    stream.flush()
    stream.buffer.write(answer)
    stream.buffer.flush()

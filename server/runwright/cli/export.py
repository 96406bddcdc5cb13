"""`runwright export` and `runwright verify`: a run's journal in a file, and the proof that it is whole."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf import json_format

from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.adapters.private_files import created
from runwright.cli import sanitize
from runwright.cli.client import Client
from runwright.cli.errors import ExitCode, Problem
from runwright.cli.output import json_line
from runwright.cli.verify import UNPROVEN, faults_of
from runwright.files import unreadable

BROKEN = 1


def export(
    context: typer.Context,
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to make, for you alone. [default: stdout]")
    ] = None,
) -> None:
    """Writes everything the journal holds of a run, as JSON lines.

    \b
    Example:
      runwright export first -o first.jsonl
    """
    lines = (json_line(response) + "\n" for response in Client.of(context).export(run_id))
    if output is None:
        sys.stdout.writelines(lines)
        return
    first = next(lines, "")  # a refused call leaves no file behind
    try:
        with created(output) as file:
            file.write(first)
            file.writelines(lines)
    except FileExistsError:
        message = f"{output} is there already. Name another file, or remove it."
        raise typer.BadParameter(message, param_hint="--output") from None


def verify(file: Annotated[Path, typer.Argument(help="What `export` wrote.")]) -> None:
    """Checks an export without a server: the chain, its end, and every content's digest.

    \b
    Example:
      runwright verify first.jsonl
    """
    try:
        faults = list(faults_of(_elements(file)))
    except OSError as error:
        trouble = unreadable(file, error)
        raise Problem("FILE_UNUSABLE", f"{trouble.message}.", trouble.remedy, exit_code=ExitCode.USAGE) from None
    except ValueError:
        message, remedy = f"{file} is not an export.", "Name a file that `runwright export RUN -o FILE` wrote."
        raise Problem("FILE_UNUSABLE", message, remedy, exit_code=ExitCode.USAGE) from None
    for fault in faults:
        typer.echo(f"BROKEN  {sanitize.line(fault)}")  # what it names is as the file says it
    if faults:
        raise typer.Exit(BROKEN)
    typer.echo("whole: the chain holds and every content matches its digest")
    typer.echo(f"not proven by it: {UNPROVEN}")


def _elements(file: Path) -> Iterator[pb.ExportRunResponse | None]:
    """What the lines hold; None for one that cannot be read."""
    with file.open("rb") as lines:
        for line in lines:
            try:
                yield json_format.Parse(line, pb.ExportRunResponse())
            except (json_format.ParseError, UnicodeDecodeError, RecursionError):
                yield None

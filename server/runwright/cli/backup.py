"""`runwright backup` and `runwright restore`: copies of a journal, and journals made from copies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runwright.cli.errors import ExitCode, Problem
from runwright.core.errors import AgentError
from runwright.files import unreadable


def backup(
    data: Annotated[Path, typer.Option(help="Data directory; a server may be using it.")],
    to: Annotated[Path, typer.Option(help="File to write; must not exist.")],
) -> None:
    """Copies the journal as of one commit, while the server goes on.

    \b
    Example:
      runwright backup --data .runwright/data --to journal.backup
    """
    from runwright.adapters.sqlite.inspecting.backup import back_up  # noqa: PLC0415 - other commands need no SQLite

    try:
        head = back_up(data, to)
    except (AgentError, OSError) as error:
        raise _refusal(error) from None
    typer.echo(f"backed up {data} to {to}: everything up to position {head}")


def restore(
    backup_file: Annotated[Path, typer.Argument(metavar="FILE", help="What `backup` wrote.")],
    data: Annotated[Path, typer.Option(help="Data directory to make; must hold no journal.")],
) -> None:
    """Makes a data directory from a backup. Cursors of the old journal are refused there.

    \b
    Example:
      runwright restore journal.backup --data .runwright/restored
    """
    from runwright.adapters.sqlite.inspecting.backup import restore as make  # noqa: PLC0415 - other commands need no SQLite

    try:
        head = make(backup_file, data)
    except (AgentError, OSError) as error:
        raise _refusal(error) from None
    typer.echo(f"restored {data} from {backup_file}: everything up to position {head}, under a new identity")
    typer.echo("calls that were under way at the time of the backup are treated as after a crash", err=True)


def _refusal(error: AgentError | OSError) -> Problem:
    if isinstance(error, AgentError):
        return Problem.refused(error)
    trouble = unreadable(Path(str(error.filename)), error)
    message, remedy = f"{trouble.message}.", trouble.remedy
    if isinstance(error, FileExistsError):
        message, remedy = f"{error.filename}: {error.strerror}.", "Name another path, or move away what is there."
    return Problem("FILE_UNUSABLE", message, remedy, exit_code=ExitCode.USAGE)

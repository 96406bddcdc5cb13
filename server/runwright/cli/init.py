"""`runwright init`: a package and a typed tool to begin with."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from runwright.cli import sanitize
from runwright.cli.beginnings import BEGINNINGS, Language
from runwright.cli.commands import command
from runwright.cli.errors import ExitCode, Problem

_CLIENTS = Path(__file__).resolve().parents[3] / "clients"  # of the checkout that this program runs from, if it does


def init(
    directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to write; made if missing.")] = Path(),
    language: Annotated[
        Language, typer.Option("--language", "-l", help="Of the program that serves the tool.")
    ] = Language.PYTHON,
) -> None:
    """Writes a package and a program that serves its tool, and says how to run both.

    Nothing that is there is written over.

    \b
    Example:
      runwright init words --language go
    """
    beginning = BEGINNINGS[language]
    there = [name for name in beginning.files if (directory / name).exists()]
    if there:
        message = f"{directory} has {', '.join(there)} already."
        raise Problem("USAGE", message, "Name another folder: runwright init DIR.", exit_code=ExitCode.USAGE)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in beginning.files.items():
            with (directory / name).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        message = f"{directory} cannot be written: {error.strerror}."
        raise Problem("USAGE", message, "Name a folder that you may write.", exit_code=ExitCode.USAGE) from None
    client = shlex.quote(str(_CLIENTS / language)) if _CLIENTS.is_dir() else f"CHECKOUT/clients/{language}"
    print(sanitize.line(f"wrote {', '.join(beginning.files)} in {directory}"))
    print("\nIn that folder, each in a terminal of its own:\n")
    print(f"  {command((), 'serve', '--data', 'data', '--package', 'package.yaml', is_elsewhere=True)}")
    print("  " + sanitize.line(" && ".join(beginning.commands).replace("{client}", client)))
    print(f"  {command((), 'run', 'How many words are longer than three letters?', is_elsewhere=True)}")

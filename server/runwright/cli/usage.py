"""Command lines that cannot be understood, in one line each: what is wrong, where, and what to write instead."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer

from runwright.cli.errors import ExitCode, Problem
from runwright.core.near import did_you_mean

_NOT_ONE_OF = re.compile(r"'(?P<given>[^']*)' is not one of (?P<known>.+)", re.DOTALL)


def usage_problem(error: typer.TyperException, words: Sequence[str]) -> Problem:
    """What the parser says of a command line, as a problem. `words` is the command line without the program."""
    context: Any = getattr(error, "ctx", None)  # the parser's classes are not exported
    message = error.format_message().strip()
    option = getattr(error, "option_name", None)
    if isinstance(option, str) and message.startswith("No such option"):
        text, remedy = f"{_command(context)} has no option {option}.", _for_option(context, option, words)
    else:
        text, remedy = _plain(message)
        if (found := _NOT_ONE_OF.search(message)) is not None:
            remedy = (
                did_you_mean(found["given"], re.findall(r"'([^']*)'", found["known"])).strip() or "Give one of them."
            )
        elif "unexpected extra argument" in message:
            remedy = "Put a text of several words into quotes." if _takes_text(context) else ""
    return Problem("USAGE", text, remedy or _help(context), exit_code=ExitCode.USAGE)


def shows_help(error: typer.TyperException) -> bool:
    """Shows the help of a group that was called without a command. False for anything else."""
    text = error.format_message()
    if not text.startswith("Usage:"):
        return False
    print(text, file=sys.stderr)
    return True


def _plain(message: str) -> tuple[str, str]:
    """The parser's words, or a command's own, as a sentence about the option, and what stands behind it."""
    message = message.replace("Value error, ", "")
    found = re.fullmatch(r"Invalid value for (?P<where>.+?): (?P<said>.+)", message, re.DOTALL)
    if found is not None:
        message = f"{found['where'].replace(chr(39), '')}: {found['said']}"
    text, _, remedy = message.rstrip(".").partition(". ")
    return f"{text}.", f"{remedy}{'' if remedy.endswith('?') else '.'}" if remedy else ""


def _for_option(context: Any, option: str, words: Sequence[str]) -> str:
    """Where an option belongs that this command does not have."""
    bare = option.partition("=")[0]
    if (near := did_you_mean(bare, _options(context.command) if context is not None else ())) != "":
        return near.strip()
    if context is None:
        return ""
    root = context.find_root().command
    behind = next((word for word in words if word in getattr(root, "commands", {})), "")
    if context.command is root and behind and bare in _options(root.commands[behind]):
        return f"{bare} belongs behind the command: {root.name} {behind} {bare} …"
    if bare in _options(root):
        return f"{_command(context)} calls no server: leave {bare} out."
    return _help(context)


def _takes_text(context: Any) -> bool:
    return context is None or any(parameter.name == "text" for parameter in context.command.params)


def _options(command: Any) -> Iterable[str]:
    return [name for parameter in command.params for name in parameter.opts if name.startswith("-")]


def _command(context: Any) -> str:
    return str(context.command_path) if context is not None else "runwright"


def _help(context: Any) -> str:
    return f"`{_command(context)} --help` shows how it is called."

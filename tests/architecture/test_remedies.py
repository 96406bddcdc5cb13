"""What is said to somebody who made a mistake: every error has a remedy of its own, and what it names is there."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from runwright.cli.main import app
from runwright.core.errors import MEANINGS
from typer.main import get_command

from tests.architecture.source import Source, dotted, sources

ROOT = Path(__file__).parents[2]
# What says nothing: it could stand behind any error.
GENERIC = re.compile(
    r"\b(field|value|path|option|setting|file) that is named\b|\bCorrect (it|the (field|file|path|value))\b"
    r"|\bCheck (it|the (field|input|request|documentation))\.|^(Try|Do) something else\b|\bFix (it|the)\b",
    re.IGNORECASE,
)
COMMAND = re.compile(r"`runwright ([a-z]+)(?: ([a-z]+))?")
OPTION = re.compile(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*(?![\w-])")
EXTRA = re.compile(r"runwright\[([a-z{}]+)\]")
# Options of other programs that remedies name.
FOREIGN = {"--user"}


def strings(source: Source) -> Iterator[str]:
    """Every text in the code of a file, the parts of f-strings joined, docstrings left out."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(source.tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def message() -> list[tuple[str, str]]:
    """Every text of the server and the command line, with its file."""
    return [(source.path, text) for source in sources() for text in strings(source)]


def commands() -> dict[str, set[str]]:
    """Every command with the commands of its group."""
    root = get_command(app)
    return {name: set(getattr(command, "commands", {})) for name, command in root.commands.items()}  # type: ignore[attr-defined]


def options() -> set[str]:
    """Every option of every command."""
    root = get_command(app)
    found = {name for parameter in root.params for name in parameter.opts}
    for command in root.commands.values():  # type: ignore[attr-defined]
        for one in (command, *getattr(command, "commands", {}).values()):
            found |= {name for parameter in one.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return found | {"--help"}


def test_no_text_is_a_remedy_that_could_stand_behind_any_error() -> None:
    assert [(path, text) for path, text in message() if GENERIC.search(text)] == []


def test_an_error_whose_reason_has_no_remedy_brings_its_own() -> None:
    without = {reason.name for reason, meaning in MEANINGS.items() if not meaning.remedy}
    found = [
        f"{source.path}:{node.lineno}"
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and dotted(node.func) == "AgentError"
        and node.args
        and dotted(node.args[0]).rpartition(".")[2] in without
        and not any(keyword.arg == "remedy" for keyword in node.keywords)
    ]

    assert without == {"INVALID_REQUEST", "PACKAGE_INVALID"}
    assert found == []


def test_what_a_field_must_be_is_said_in_one_place() -> None:
    outside = [
        source.path
        for source in sources()
        if source.path != "core/errors.py"
        and any(
            isinstance(node, ast.Call) and node.args and dotted(node.args[0]).endswith("ErrorReason.INVALID_REQUEST")
            for node in ast.walk(source.tree)
        )
    ]

    assert outside == []


def test_every_near_miss_comes_from_one_place() -> None:
    assert [source.path for source in sources() if "get_close_matches" in source.text] == ["core/near.py"]


def test_every_command_that_a_text_names_is_there() -> None:
    known = commands()
    missing = [
        (path, found[0])
        for path, text in message()
        for found in COMMAND.finditer(text)
        if found[1] not in known or (known[found[1]] and found[2] and found[2] not in known[found[1]])
    ]

    assert missing == []


def test_every_option_that_a_text_names_is_there() -> None:
    known = options() | FOREIGN
    missing = [(path, option) for path, text in message() for option in OPTION.findall(text) if option not in known]

    assert missing == []


def test_every_extra_that_a_text_names_is_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {(path, extra) for path, text in message() for extra in EXTRA.findall(text) if extra != "{}"}

    assert {extra for _, extra in named} <= set(extras)


@pytest.mark.parametrize(
    "text", ["Correct the field that is named.", "Correct the file.", "Check it.", "Correct it there."]
)
def test_such_a_text_would_be_found(text: str) -> None:
    assert GENERIC.search(text)


def test_the_commands_are_looked_at() -> None:
    assert {"serve", "held", "keys"} <= set(commands())
    assert {"--server", "--package", "--role"} <= options()

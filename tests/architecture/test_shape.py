"""Files and functions of a size that can be read at one go, with names and sentences that say what they are."""

from __future__ import annotations

import ast
import re
from statistics import median, quantiles

from tests.architecture.source import Function, Source, functions, sources

LONGEST_FILE = 400
MEDIAN_FILE = 150
LONGEST_FUNCTION = 60
MOST_FUNCTIONS = 40  # 95 of 100 are at most this long
MOST_POSITIONAL = 6  # self included
SAY_NOTHING = {"utils", "util", "common", "helpers", "helper", "manager", "base", "misc"}


def length(function: Function) -> int:
    """Lines from `def` to the end."""
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def test_no_file_is_too_long() -> None:
    assert {source.path: source.lines for source in sources() if source.lines > LONGEST_FILE} == {}


def test_most_files_are_short() -> None:
    assert median(source.lines for source in sources()) <= MEDIAN_FILE


def test_no_function_is_too_long() -> None:
    found = {
        f"{source.path}:{function.name}": length(function)
        for source in sources()
        for function in functions(source)
        if length(function) > LONGEST_FUNCTION
    }

    assert found == {}


def test_most_functions_are_short() -> None:
    lengths = [length(function) for source in sources() for function in functions(source)]

    assert quantiles(lengths, n=20)[-1] <= MOST_FUNCTIONS


def test_functions_take_few_positional_arguments() -> None:
    found = [
        f"{source.path}:{function.name}"
        for source in sources()
        if not source.is_in("cli")  # a command's parameters are its options
        for function in functions(source)
        if len(function.args.posonlyargs) + len(function.args.args) > MOST_POSITIONAL
    ]

    assert found == []


def public(body: list[ast.stmt], where: str) -> list[tuple[str, ast.AST]]:
    """The public functions and classes of a body, and those of its public classes."""
    found: list[tuple[str, ast.AST]] = []
    for node in body:
        if not isinstance(node, ast.ClassDef | Function) or node.name.startswith("_"):
            continue
        found.append((f"{where}:{node.name}", node))
        if isinstance(node, ast.ClassDef):
            found += public(node.body, f"{where}:{node.name}")
    return found


def docstring(node: ast.AST) -> str:
    """The docstring; empty when there is none."""
    assert isinstance(node, ast.ClassDef | Function | ast.Module)
    return ast.get_docstring(node) or ""


def is_stub(node: ast.AST) -> bool:
    """True for a body of nothing but `...`, as protocols have it."""
    return isinstance(node, Function) and ast.unparse(node.body[-1]) == "..." and len(node.body) == 1


def test_everything_public_says_what_it_is() -> None:
    silent = [
        name
        for source in sources()
        for name, node in public(source.tree.body, source.path)
        if not docstring(node) and not is_stub(node)
    ]

    assert silent == []


def test_every_file_says_what_it_is() -> None:
    assert [source.path for source in sources() if not docstring(source.tree)] == []


def test_a_docstring_begins_with_a_sentence() -> None:
    found = [
        name
        for source in sources()
        for name, node in [(source.path, source.tree), *public(source.tree.body, source.path)]
        if (text := docstring(node)) and not re.search(r"[.:?`]$", text.split("\n\n")[0].strip())
    ]

    assert found == []


def test_no_file_has_a_name_that_says_nothing() -> None:
    def stem(source: Source) -> str:
        return source.path.rpartition("/")[2].removesuffix(".py")

    assert [source.path for source in sources() if stem(source) in SAY_NOTHING] == []

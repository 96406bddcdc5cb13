"""The server's source, parsed: what the tests of its shape look at."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2] / "server" / "runwright"
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One file, by its path inside the package."""

    path: str
    text: str
    tree: ast.Module

    @property
    def lines(self) -> int:
        """How long it is."""
        return len(self.text.splitlines())

    def is_in(self, *places: str) -> bool:
        """True for a file that is one of the places, or lies below one of them."""
        return any(self.path == place or self.path.startswith(place + "/") for place in places)


@cache
def sources() -> tuple[Source, ...]:
    """Every file that people write; generated code is left out."""
    paths = sorted(path for path in ROOT.rglob("*.py") if "_gen" not in path.parts)
    return tuple(
        Source(path.relative_to(ROOT).as_posix(), text := path.read_text(encoding="utf-8"), ast.parse(text))
        for path in paths
    )


def functions(source: Source) -> Iterator[Function]:
    """Every function of a file, methods and inner ones too."""
    return (node for node in ast.walk(source.tree) if isinstance(node, Function))


def imports(source: Source) -> set[str]:
    """The modules a file imports, by their full names; `from a import b` counts as a and as a.b."""
    names: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def dotted(node: ast.AST) -> str:
    """`a.b.c` for an attribute of an attribute of a name; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def mentions(source: Source) -> set[str]:
    """Every dotted name in the code of a file, comments and docstrings left out."""
    return {name for node in ast.walk(source.tree) if (name := dotted(node))}


def calls(source: Source) -> set[str]:
    """Every dotted name that is called."""
    return {name for node in ast.walk(source.tree) if isinstance(node, ast.Call) and (name := dotted(node.func))}

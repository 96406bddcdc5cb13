"""No module imports itself by way of others, imports for the type checker included."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping

from tests.architecture.source import Source, sources

PACKAGE = "runwright"


def module_of(source: Source) -> str:
    """The full name of a file's module; a package's is that of its `__init__`."""
    parts = source.path.removesuffix(".py").split("/")
    return ".".join([PACKAGE, *(parts[:-1] if parts[-1] == "__init__" else parts)])


def imported(name: str, modules: Collection[str]) -> str:
    """The module that a full name leads to: itself, or the one that has the name in it; empty for another package's."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name if name.startswith(PACKAGE) else ""


def at_import(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports made when a module is imported, or read by the type checker: not those in functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from at_import(node)


def edges(files: Collection[Source]) -> dict[str, set[str]]:
    """Which modules each module imports, `from a import b` as a.b where that is a module."""
    modules = {module_of(source) for source in files}
    found: dict[str, set[str]] = {}
    for source in files:
        own = module_of(source)
        names: set[str] = set()
        for node in at_import(source.tree):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            else:
                assert node.level == 0, f"{source.path} imports by a relative name"
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
        found[own] = {target for name in names if (target := imported(name, modules)) and target != own}
    return found


def reached(graph: Mapping[str, Collection[str]], start: str) -> set[str]:
    """Every module that one imports, or that those import, and so on."""
    found: set[str] = set()
    left = [start]
    while left:
        fresh = set(graph.get(left.pop(), ())) - found
        found |= fresh
        left += fresh
    return found


def cycles(graph: Mapping[str, Collection[str]]) -> list[list[str]]:
    """The groups of modules that reach one another."""
    reach = {module: reached(graph, module) for module in graph}
    groups = {
        frozenset(other for other in reach[module] if module in reach[other])
        for module in graph
        if module in reach[module]
    }
    return sorted(sorted(group) for group in groups)


def files(texts: Mapping[str, str]) -> list[Source]:
    """Files of these texts, by their paths."""
    return [Source(path, text, ast.parse(text)) for path, text in texts.items()]


def test_no_modules_import_one_another() -> None:
    assert cycles(edges(sources())) == []


def test_a_cycle_is_found_however_it_is_imported() -> None:
    found = files(
        {
            "a.py": "from runwright import b",
            "b.py": "import runwright.c.d",
            "c/d.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from runwright.a import Thing",
            "e.py": "from runwright.a import Thing",
        }
    )

    assert cycles(edges(found)) == [["runwright.a", "runwright.b", "runwright.c.d"]]


def test_a_package_that_imports_what_imports_from_it_is_a_cycle() -> None:
    found = files({"p/__init__.py": "from runwright.p.q import Thing", "p/q.py": "from runwright.p import other"})

    assert cycles(edges(found)) == [["runwright.p", "runwright.p.q"]]


def test_an_import_inside_a_function_closes_no_cycle() -> None:
    found = files({"a.py": "import runwright.b", "b.py": "def later() -> None:\n    import runwright.a"})

    assert cycles(edges(found)) == []

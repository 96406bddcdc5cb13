"""What the server imports is what it declares: in an installation of its own nothing else is there."""

from __future__ import annotations

import re
import sys
import tomllib
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

from tests.architecture.source import Source, imports, sources

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
# What is installed only on demand may be imported only by adapters, which are loaded when they are configured.
EXTRAS = tuple(name for name in PROJECT["optional-dependencies"] if name != "dev")
# What a declared distribution says that it brings along.
BRINGS = {
    "opentelemetry-sdk": ["opentelemetry-api"],
    "pydantic": ["pydantic-core"],
    "pydantic-ai-slim": ["anthropic", "httpx2", "openai"],
}


@cache
def modules_of(requirement: str) -> frozenset[str]:
    """The top-level modules that come with what is required."""
    name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
    record = distribution(name).read_text("RECORD")
    assert record is not None, f"{name} is not installed from a wheel"
    own = {re.split(r"[/,]", line, maxsplit=1)[0].removesuffix(".py") for line in record.splitlines()}
    return frozenset(own).union(*(modules_of(each) for each in BRINGS.get(name, [])))


@cache
def declared(extras: tuple[str, ...]) -> frozenset[str]:
    """The top-level modules that come with the project's dependencies and those of extras."""
    wanted = [*PROJECT["dependencies"], *(each for name in extras for each in PROJECT["optional-dependencies"][name])]
    return frozenset(sys.stdlib_module_names).union({"runwright"}, *(modules_of(each) for each in wanted))


def undeclared(source: Source) -> set[str]:
    """The top-level modules that a file imports and may not count on."""
    return {name.split(".")[0] for name in imports(source)} - declared(EXTRAS if source.is_in("adapters") else ())


def test_nothing_is_imported_that_is_not_declared() -> None:
    found = {source.path: missing for source in sources() if (missing := undeclared(source))}

    assert found == {}

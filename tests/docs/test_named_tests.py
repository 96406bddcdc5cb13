"""Pages that name tests: each of them is there."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.docs.blocks import pages
from tests.e2e.server_process import ROOT

_NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
NAMED = sorted({(page, *found) for page in pages() for found in _NAMED.findall((ROOT / page).read_text())})
# What the pages promise to name, whatever else they say: the words of the table's first column.
PROMISES = (
    "of a call that was changed since",
    "replayed for the next identical call",
    "late by a millisecond",
    "a duplicate",
    "of another run",
    "of another namespace",
    "self-given",
    "by a revoked key",
    "with a wrong digest",
    "after a cancel",
    "after the package changed (a grant)",
    "by a dispatcher speaking for somebody else",
)


@cache
def functions_of(file: str) -> set[str]:
    """The tests of a file."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    parsed = ast.parse((ROOT / "tests" / file).read_text())
    return {node.name for node in parsed.body if isinstance(node, functions) and node.name.startswith("test_")}


@pytest.mark.parametrize(("page", "file", "name"), NAMED)
def test_a_test_that_a_page_names_is_there(page: str, file: str, name: str) -> None:
    assert name in functions_of(file), f"{page} names a test that is not there"


@pytest.mark.parametrize("promise", PROMISES)
def test_every_promise_has_a_row_with_its_test(promise: str) -> None:
    rows = [line for line in (ROOT / "docs/approvals.md").read_text().splitlines() if line.startswith(f"| {promise} |")]

    assert len(rows) == 1
    assert _NAMED.search(rows[0]), "the row names its test"


def test_every_row_of_the_threats_names_a_test() -> None:
    rows = [line for line in (ROOT / "docs/threats.md").read_text().splitlines() if line.startswith("| ")]
    claims = [row for row in rows if "| what holds |" not in row]

    assert len(claims) >= 30
    assert [row for row in claims if not _NAMED.search(row)] == []

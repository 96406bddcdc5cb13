"""Sentences of the pages that name figures, kinds and files are held against what they are about."""

from __future__ import annotations

import re

import pytest
from runwright.adapters.sqlite.opening.schema import SCHEMA_VERSION
from runwright.core.audit import AuditKind
from runwright.core.images import IMAGE_TYPES, MAX_IMAGE_BYTES, MAX_IMAGES_BYTES
from runwright.core.package import ContextPolicy
from runwright.core.request import MAX_INPUT_BYTES
from runwright.transport.connections import MAX_MESSAGE_BYTES, MAX_START_BYTES
from runwright.transport.usage import ADDRESS, CONNECTION, EXPORTS, MIB, PRINCIPAL, REFLECTION_STREAMS, SERVER

from tests.docs.blocks import pages
from tests.e2e.server_process import ROOT

PAGES = {page: (ROOT / page).read_text() for page in (*pages(), "ARCHITECTURE.md", "CONTRIBUTING.md")}


def words(page: str) -> str:
    """A page as one line."""
    return " ".join(PAGES[page].split())


def test_every_kind_of_audit_entry_is_in_the_table() -> None:
    table = PAGES["docs/storage.md"].partition("## Audit")[2]
    rows = {kind for row in re.findall(r"^\| ([A-Z_, ]+) \|", table, re.MULTILINE) for kind in row.split(", ")}

    assert rows == {kind.name for kind in AuditKind}


def test_no_page_says_that_every_refused_call_is_audited() -> None:
    assert [page for page in PAGES if re.search(r"(?i)\brefused calls\b", PAGES[page])] == []


def test_the_number_of_cases_is_that_of_the_list() -> None:
    cases = sum(
        len(re.findall(r"^name: ", file.read_text(), re.MULTILINE))
        for file in (ROOT / "tests/conformance/cases").glob("*.yaml")
    )

    assert re.findall(r"list of (\d+) cases", words("README.md")) == [str(cases)]


def test_the_limits_that_pages_name_are_those_that_hold() -> None:
    operations, models, storage = words("docs/operations.md"), words("docs/models.md"), words("docs/storage.md")
    table = PAGES["docs/operations.md"].partition("## Limits")[2]
    large = next(line for line in table.splitlines() if "large requests" in line)

    assert [int(found) for found in re.findall(r"(\d+) MiB", large)] == [
        each.request_bytes // MIB for each in (CONNECTION, PRINCIPAL, SERVER)
    ]
    assert ADDRESS.request_bytes == 0
    assert f"at most {MAX_MESSAGE_BYTES // 1024} KiB" in operations
    assert f"may have {MAX_START_BYTES // MIB} MiB" in operations
    assert f"exports {EXPORTS.principal} and {EXPORTS.server}" in operations
    assert f"streams {REFLECTION_STREAMS.principal} for each principal" in operations
    message = f"at most {MAX_IMAGE_BYTES // MIB} MiB each and {MAX_IMAGES_BYTES // MIB} MiB together"
    assert f"{message}, beside {MAX_INPUT_BYTES // 1024} KiB of text" in models
    assert all(kind in models for kind in IMAGE_TYPES)
    assert f"schema version {SCHEMA_VERSION} " in storage or f"schema version {SCHEMA_VERSION} |" in storage
    assert f"session_bytes: {ContextPolicy().session_bytes}" in words("docs/sessions.md")


def test_files_that_pages_lead_to_are_there() -> None:
    for page, text in PAGES.items():
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
            assert ((ROOT / page).parent / link).exists(), f"{page} leads to {link}"


def test_files_that_architecture_names_are_there() -> None:
    found = {
        str(path.relative_to(ROOT))
        for top in ("server", "proto", "examples", "tests")
        for path in (ROOT / top).rglob("*.*")
    }
    named = re.findall(r"`((?:\w+/)*\w+\.(?:py|proto))`", PAGES["ARCHITECTURE.md"] + PAGES["CONTRIBUTING.md"])

    assert len(named) > 100
    assert [name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in found)] == []


@pytest.mark.parametrize(
    "word",
    [
        "policy", "intent", "tried again", "kind of event", "new RPC", "new provider", "new store",
        "namespace", "hash chain", "deltas", "schema", "call waits for an approval", "hook would run",
    ],
)  # fmt: skip
def test_architecture_answers_where_it_is(word: str) -> None:
    rows = [row.split("|") for row in PAGES["ARCHITECTURE.md"].splitlines() if row.startswith("| ")]
    answers = [answer for _, question, answer, *_ in rows if word in question or f"a {word}" in answer]

    assert any(re.search(r"`[\w/]+(\.py|/)`", answer) for answer in answers)

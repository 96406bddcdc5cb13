"""`runwright doctor`: looks at everything a server relies on, one line a check."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import asdict

from runwright.cli import sanitize
from runwright.cli.checks.certificate import check_certificate
from runwright.cli.checks.check import Check, Status, warn
from runwright.cli.checks.directory import check_directory
from runwright.cli.checks.journal import check_holder, check_journal
from runwright.cli.checks.surroundings import check_executors, check_findings, what_is_right
from runwright.cli.checks.versions import check_versions
from runwright.cli.settings_options import takes_settings
from runwright.core.space import LeastSpace
from runwright.examination import examine
from runwright.settings import Loaded


class Form(StrEnum):
    """How the checks are printed."""

    TEXT = "text"
    JSON = "json"


@takes_settings
def doctor(
    loaded: Loaded, output: Annotated[Form, typer.Option("--output", "-o", help="Form to print.")] = Form.TEXT
) -> None:
    """Checks versions, data directory, journal, credentials, packages, executors.

    One line for each check: ok, warn or FAIL, what was found, what to do. Takes
    the flags of `serve`. The journal is only read, also while a server runs; the
    disk is measured with a file that is removed again.
    Exit code: 0, or 1 when a check fails.

    \b
    Example:
      runwright doctor --data .runwright/data
    """
    found: list[Check] = []
    for check in checks(loaded):
        found.append(check)
        if output is Form.TEXT:
            print(_line(check), flush=True)
    if output is Form.JSON:
        print(json.dumps([asdict(check) for check in found], indent=2))
    if any(check.status is Status.FAIL for check in found):
        raise typer.Exit(1)


def checks(loaded: Loaded) -> Iterator[Check]:
    """Every check, in the order in which a server would meet what it is about."""
    yield from check_versions()
    examined = examine(loaded)
    yield from check_findings(examined)
    yield from what_is_right(loaded, examined)
    data = loaded.value("data")
    if isinstance(data, Path):
        least, bound = _least(loaded), loaded.value("journal_max_bytes")
        yield from check_directory(data, least)
        if data.is_dir():
            yield check_holder(data)
            yield from check_journal(data, bound if isinstance(bound, int) else None, least)
    else:
        yield warn("data directory", "none is named", "Name one with --data or --config to have it checked.")
    yield from _certificates(loaded)
    executors = loaded.value("executors")
    yield from check_executors(executors if isinstance(executors, dict) else {})


def _certificates(loaded: Loaded) -> Iterator[Check]:
    for name, taken in (("tls_cert", "by itself"), ("tls_client_ca", "by itself"), ("callback_cert", "on SIGHUP")):
        path = loaded.value(name)
        if isinstance(path, Path):
            yield from check_certificate(path, datetime.now(UTC), taken)


def _least(loaded: Loaded) -> LeastSpace:
    free_bytes, percent = loaded.value("warn_free_bytes"), loaded.value("warn_free_percent")
    known = isinstance(free_bytes, int) and isinstance(percent, float)
    return LeastSpace(free_bytes, percent) if known else LeastSpace()  # type: ignore[arg-type]


def _line(check: Check) -> str:
    remedy = f" -> {check.remedy}" if check.remedy else ""
    return f"{check.status:<4} {check.name:<15} {sanitize.line(check.found + remedy)}"

"""Findings as lines: the same sentences wherever a server's settings are looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from runwright.cli import sanitize
from runwright.examination import Examined


class Remedied(Protocol):
    """Something that is wrong, in a sentence, and what to do about it."""

    @property
    def message(self) -> str:
        """One sentence."""

    @property
    def remedy(self) -> str:
        """What to do."""


def finding_lines(examined: Examined) -> Iterator[str]:
    """Every finding in one line, first what keeps a server from starting."""
    for finding in sorted(examined.findings, key=lambda finding: not finding.blocks):
        yield f"{'error' if finding.blocks else 'warning'}: {finding_text(finding)}"


def finding_text(finding: Remedied) -> str:
    """A finding in one line, with what to do."""
    return sanitize.line(f"{finding.message} {finding.remedy}")

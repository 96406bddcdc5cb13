"""Writes docs/states.md from the two tables of core/transitions.py; `--check` fails when it is stale."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TypeVar

from runwright.core.kinds import EventKind
from runwright.core.outcomes import CallPhase, RunPhase
from runwright.core.transitions import CALL_TRANSITIONS, RUN_TRANSITIONS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "states.md"
HEAD = """# States

What a run and a call can be, and which record takes them there. A record that is not in these diagrams for the phase
that it meets is refused (`core/transitions.py`). This page is generated from that table by `scripts/state_diagrams.py`.
"""
RUN = """
## Phases of a run

WAITING and REPAIR_NEEDED are no phases: they are derived from a RUNNING run's open effects when somebody asks
(`core/machine/holds.py`), and HELD is what this server says of a run that it does not drive.
"""
CALL = """
## Phases of a call
"""
Phase = TypeVar("Phase", bound=Enum)


def diagram(table: Mapping[tuple[Phase, EventKind], Phase], start: Phase) -> str:
    """A table as a mermaid state diagram, what leaves the phase as it is below it."""
    changes: dict[tuple[str, str], list[str]] = defaultdict(list)
    stays: dict[str, list[str]] = defaultdict(list)
    for (before, kind), after in table.items():
        if before is after:
            stays[before.name].append(kind.name)
        else:
            changes["[*]" if before is start else before.name, after.name].append(kind.name)
    ends = {after.name for after in table.values()} - {before.name for before, _ in table}
    lines = [f"    {before} --> {after}: {', '.join(kinds)}" for (before, after), kinds in changes.items()]
    lines += [f"    {end} --> [*]" for end in sorted(ends)]
    rows = "".join(f"| {phase} | {', '.join(kinds)} |\n" for phase, kinds in stays.items())
    body = "\n".join(["stateDiagram-v2", *lines])
    return f"\n```mermaid\n{body}\n```\n\n| in this phase | goes on in it |\n|---|---|\n{rows}"


def page() -> str:
    """The page's text."""
    run, call = diagram(RUN_TRANSITIONS, RunPhase.NEW), diagram(CALL_TRANSITIONS, CallPhase.NONE)
    return HEAD + RUN + run + CALL + call


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page())
    elif not PAGE.exists() or PAGE.read_text() != page():
        raise SystemExit("docs/states.md is stale, run `make gen`")

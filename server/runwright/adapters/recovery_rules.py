"""What every recovery log does alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from runwright.core.ids import RunKey
from runwright.core.quarantine import Stage, Suspect, counted


def begun(known: Mapping[RunKey, Suspect], open_runs: Sequence[RunKey], now: int) -> list[Suspect]:
    """The open runs as a start finds them, `known` being what the last one left."""
    left = {each.run: each for each in counted([known[run] for run in open_runs if run in known], now)}
    return [_begins(left[run]) if run in left else Suspect(run, Stage.IN_HAND) for run in open_runs]


def passed(before: Suspect) -> Suspect:
    """A suspect after its trial."""
    if before.stage < Stage.ON_TRIAL:
        return before
    return replace(before, stage=Stage.IN_HAND, trials=0, against=0, alone=0)


def _begins(before: Suspect) -> Suspect:
    is_held_back = before.tries or before.quarantined_at
    return replace(before, stage=Stage.WAITING if is_held_back else Stage.IN_HAND)

"""Which runs may be what ends the server: counted over starts, so that one run is found and the others are not blamed.

A run is taken up by a start; the start ends cleanly or not. After an end that was not clean, runs that were in hand are
suspects, and the next start takes suspects up one after the other. Reasons: docs/adr/0014.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import IntEnum

from msgspec import Struct
from msgspec.structs import replace

from runwright.core.ids import RunKey

TRIES = 3  # unclean ends with the run in hand
ALONE = 2  # the run was the one on trial, and others had passed
TRIALS = 64  # at most, for suspects whom nothing but their presence speaks against
TRIALS_US = 16_000_000  # for all of them together, while few ends were unclean
SHORTEST_US, LONGEST_US = 250_000, 2_000_000
MOST_US = 30_000_000
DOUBLES_EVERY = 4  # unclean ends: what ends the server later than a trial lasts is found by longer ones


class Stage(IntEnum):
    """How far a start has got with a run."""

    WAITING = 0  # not taken up yet
    IN_HAND = 1
    ON_TRIAL = 2  # the last to be taken up, beside others, or before any other has passed
    ALONE = 3  # the last to be taken up, by itself, after others have passed


class Suspect(Struct, frozen=True):
    """An open run over several starts. `quarantined_at` is microseconds, 0 for a run that is not quarantined."""

    run: RunKey
    stage: Stage = Stage.WAITING
    tries: int = 0
    trials: int = 0
    alone: int = 0
    quarantined_at: int = 0


def counted(known: Collection[Suspect], now: int) -> list[Suspect]:
    """The suspects after a start that did not end cleanly."""
    free = [each for each in known if not each.quarantined_at]
    only = len(free) == 1
    return [each if each.quarantined_at else _counted(each, now, only=only) for each in known]


def _counted(before: Suspect, now: int, *, only: bool) -> Suspect:
    if before.stage is Stage.WAITING:
        return before
    after = replace(
        before,
        tries=before.tries + 1,
        trials=before.trials + (before.stage >= Stage.ON_TRIAL),
        alone=before.alone + (only or before.stage is Stage.ALONE),
    )
    guilty = after.tries >= TRIES and after.alone >= ALONE
    return replace(after, quarantined_at=now) if guilty else after


def trials(suspects: Sequence[Suspect]) -> list[list[Suspect]]:
    """In what order and company suspects are taken up.

    Those that were on trial when a start ended come last and, if they are few,
    by themselves; among equals those that were taken up less often come first.
    """
    groups: list[list[Suspect]] = []
    for count in sorted({each.trials for each in suspects}):
        alike = sorted((each for each in suspects if each.trials == count), key=lambda each: each.tries)
        size = -(-len(alike) // TRIALS)
        groups += [alike[first : first + size] for first in range(0, len(alike), size)]
    return groups


def trial_us(suspects: Sequence[Suspect], count: int) -> int:
    """How long each of `count` trials lasts at most, in microseconds."""
    first = max(SHORTEST_US, min(LONGEST_US, TRIALS_US // max(1, count)))
    ends = max((each.tries for each in suspects), default=0)
    return int(min(first << min(ends // DOUBLES_EVERY, 16), MOST_US))

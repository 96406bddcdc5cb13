"""Which runs may be what ends the server: counted over starts, so that one run is found and the others are not blamed.

A run is taken up by a start; the start ends cleanly or not. After an end that was not clean, runs that were in hand are
suspects, and the next start takes suspects up one after the other. Reasons: docs/adr/0015.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import IntEnum

from msgspec import Struct
from msgspec.structs import replace

from runwright.core.ids import RunKey

TRIES = 3  # unclean ends with the run in hand
ALONE = 2  # of them in a row that tell against it, with every other run having an alibi or having passed
AGAINST = 3  # of them in all, without a passed trial in between: where several runs end the server, none is in a row
TRIALS = 64  # at most, for suspects whom nothing but their presence speaks against
TRIALS_US = 16_000_000  # for all of them together
SHORTEST_US, LONGEST_US = 250_000, 500_000
# Only the beginning of a trial tells against a run: a kill from outside comes at any time. After more unclean ends a
# longer beginning does, for runs that end the server a while after they are taken up.
TELLS_US = 100_000
DOUBLES_EVERY = 6


class Stage(IntEnum):
    """How far a start has got with a run."""

    WAITING = 0  # not taken up yet
    IN_HAND = 1
    ON_TRIAL = 2  # the last to be taken up, which tells nothing: beside others, before any has passed, or long ago
    ALONE = 3  # the last to be taken up, by itself, a moment ago


class Suspect(Struct, frozen=True):
    """An open run over several unclean ends. `quarantined_at` is microseconds, 0 for a run that is not quarantined.

    `tries` were with the run in hand, `trials` with the run on trial; `told` spoke
    against it, and so did the last `alone` ones.
    """

    run: RunKey
    stage: Stage = Stage.WAITING
    tries: int = 0
    trials: int = 0
    against: int = 0
    alone: int = 0
    quarantined_at: int = 0


def counted(known: Collection[Suspect], now: int) -> list[Suspect]:
    """The suspects after a start that did not end cleanly."""
    free = [each for each in known if not each.quarantined_at]
    only = len(free) == 1
    return [each if each.quarantined_at else _counted(each, now, only=only) for each in known]


def _counted(before: Suspect, now: int, *, only: bool) -> Suspect:
    if before.stage is Stage.WAITING:
        return replace(before, alone=0)  # this end was certainly not its doing
    tells = only or before.stage is Stage.ALONE
    after = replace(
        before,
        tries=before.tries + 1,
        trials=before.trials + (before.stage >= Stage.ON_TRIAL),
        against=before.against + tells,
        alone=before.alone + tells,
    )
    guilty = after.tries >= TRIES and (after.alone >= ALONE or after.against >= AGAINST)
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


def trial_us(count: int) -> int:
    """How long each of so many trials lasts at most, in microseconds."""
    return max(SHORTEST_US, min(LONGEST_US, TRIALS_US // max(1, count)))


def tells_us(suspects: Sequence[Suspect]) -> int:
    """How much of the beginning of a trial tells against a run, in microseconds."""
    ends = max((each.tries for each in suspects), default=0)
    return TELLS_US << min(ends // DOUBLES_EVERY, 16)


def tells(group: Sequence[Suspect], suspects: Sequence[Suspect], passed: int) -> bool:
    """True when an end of the server tells against the group that is on trial after so many others have passed.

    Before any has passed it may come from outside as well, unless there is nobody left who could pass.
    """
    return len(group) == 1 and (passed > 0 or all(each.trials for each in suspects if each not in group))

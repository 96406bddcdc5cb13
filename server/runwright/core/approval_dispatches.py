"""Dispatches: how far each dispatcher has been told of each approval. The values, and what is to be told next.

A dispatcher is told how an approval stands, not what happened to it: what changes while it is away, or while an attempt
is under way, is told as one. `revision` counts the states of the approval that were to be told, `told` is the last one
that the dispatcher has acknowledged. A dispatch that is closed and told is gone, once nothing can become of its
approval any more: what was approved can be superseded until the call is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from msgspec import Struct

from runwright.core.ids import EffectId, effect_id, parse_effect_id
from runwright.core.units import Micros

NOTICE_EFFECT = "n"
MAX_DISPATCHERS = 4  # of one approval, by its package, and as many by the operator
MAX_REFERENCE_BYTES = 256
MAX_FAILURES = 24  # of telling one thing: about three hours, see `retry_wait_us`
_FIRST_WAIT_US = 1_000_000
_LONGEST_WAIT_US = 600_000_000


class ApprovalNotice(Enum):
    """What a dispatcher is told. The numbers are those of `runwright.v1.ApprovalNotice`."""

    DISPATCH = 1
    UPDATE = 2
    WITHDRAW = 3

    __hash__ = object.__hash__


class DispatchResult(Enum):
    """What came of an attempt. The numbers are those of `runwright.v1.ApprovalDispatchResult`."""

    ACKNOWLEDGED = 1
    NOT_SENT = 2
    LOST = 3
    TIMED_OUT = 4
    UNREADABLE = 5
    ABANDONED = 6

    __hash__ = object.__hash__


class Dispatch(Struct, frozen=True):
    """How far one dispatcher has been told of one approval. Times are microseconds.

    `is_open`: the latest attempt is under way, at telling `notice` as of `sent`; else another one may wait for
    `not_before` and a dispatcher of the name, since `since`. `may_know`: an attempt has, or may have, reached one.
    `closing` is what is told at the end; None while the approval is pending. `given_up` is the last revision that
    nobody could be told: there is no other attempt at it.
    """

    effect_id: EffectId
    approval_id: str
    dispatcher: str
    revision: int = 1
    told: int = 0
    given_up: int = 0
    closing: ApprovalNotice | None = None
    attempt: int = 0
    is_open: bool = False
    notice: ApprovalNotice = ApprovalNotice.DISPATCH
    sent: int = 0
    failures: int = 0
    not_before: Micros = 0
    since: Micros = 0
    may_know: bool = False
    reference: str = ""

    @property
    def waits(self) -> bool:
        """True when another attempt waits for its time, or for a dispatcher that is there."""
        return not self.is_open and self.not_before > 0

    @property
    def is_wanted(self) -> bool:
        """True when an attempt is to begin now."""
        return not self.is_open and not self.waits and not self.is_settled

    @property
    def is_settled(self) -> bool:
        """True when there is nothing to tell, or nobody could be told."""
        return self.revision <= max(self.told, self.given_up)

    @property
    def is_over(self) -> bool:
        """True when the approval is closed, and everybody who may know of it was told, or could not be."""
        return self.closing is not None and not self.is_open and (self.is_settled or not self.may_know)

    @property
    def next_notice(self) -> ApprovalNotice:
        """What is told next."""
        if self.closing is not None:
            return self.closing
        return ApprovalNotice.UPDATE if self.told else ApprovalNotice.DISPATCH

    def changed(self, closing: ApprovalNotice | None) -> Dispatch | None:
        """After a change of the approval; None when nobody has to be told any more, because nobody knows of it."""
        if closing is not None and not (self.is_open or self.may_know):
            return None
        # Whoever may know of it hears at once that nothing is to be decided any more.
        not_before = self.not_before if closing is None else 0
        return self.__replace__(revision=self.revision + 1, closing=closing, failures=0, not_before=not_before)


def all_dispatchers(of_package: Sequence[str], of_operator: Sequence[str]) -> tuple[str, ...]:
    """Who is told of an approval: whom its package names, then whom the operator names beside them, each once."""
    return tuple(dict.fromkeys((*of_package, *of_operator)))


def dispatch_effect_id(approval_id: str, number: int) -> EffectId:
    """The id of telling the `number`-th dispatcher (from 1) of an approval: `n3.2.1.1` of `a3.2.1`."""
    return effect_id(NOTICE_EFFECT, *parse_effect_id(EffectId(approval_id)).numbers, number)


def retry_wait_us(failures: int) -> Micros:
    """Microseconds after the `failures`-th failure (from 1) of telling one thing: 1 s doubling up to 10 minutes."""
    return int(min(_FIRST_WAIT_US * 2 ** min(failures - 1, 16), _LONGEST_WAIT_US))

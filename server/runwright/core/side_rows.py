"""Side rows: what an append writes beside its events, and what must hold for all of it to stand.

An *entry* is how something of a run is found without reading events: what waits for an answer, what is due, what was
answered. A *counter* is what several runs use up together. Both are of one namespace, belong to the run whose append
wrote them last, and go when that run is removed. Neither says what happened: events do.

The rows of an append are worked off in their order, each seeing what those before it did, and stand all or none. So the
rows of several inputs are appended together by putting them one behind the other.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct


class PutEntry(Struct, frozen=True):
    """Writes the entry, in place of any other of that index and key.

    Entries of an index are read in the order of their keys, by code point: what they are to be listed by stands first
    in the key. `expires_at` is in microseconds, 0 for never; the journal has no clock and removes nothing by it, see
    `EntryIs`.
    """

    index: str
    key: str
    value: bytes = b""
    expires_at: int = 0


class DeleteEntry(Struct, frozen=True):
    """Deletes the entry, if it is there."""

    index: str
    key: str


class DeleteWhenSpent(Struct, frozen=True):
    """Deletes the entry, if it is there, once nothing is left of the counter, or there is no such counter."""

    index: str
    key: str
    counter: str


class SetCounter(Struct, frozen=True):
    """Says how much is left, 0 or more, whatever was."""

    counter: str
    left: int

    def __post_init__(self) -> None:
        if self.left < 0:
            raise ValueError(f"{self.left} cannot be left of {self.counter}")


class Spend(Struct, frozen=True):
    """Takes so much, 1 or more, from the counter. As a condition: the counter is there, and so much of it is left."""

    counter: str
    amount: int = 1

    def __post_init__(self) -> None:
        if self.amount < 1:
            raise ValueError(f"{self.amount} cannot be spent of {self.counter}")


class EntryIs(Struct, frozen=True):
    """A condition: the entry is there, with this value if one is named, and expires after `at` if that is named."""

    index: str
    key: str
    value: bytes | None = None
    at: int = 0


class NoEntry(Struct, frozen=True):
    """A condition: no such entry is there, not even one that has expired."""

    index: str
    key: str


Condition: TypeAlias = Spend | EntryIs | NoEntry
SideRow: TypeAlias = PutEntry | DeleteEntry | DeleteWhenSpent | SetCounter | Condition


class FailedCondition(Struct, frozen=True):
    """Why an append does not stand: the first of its side rows that did not hold, `number` counting them from 0."""

    condition: Condition
    number: int

"""What every journal does alike with side rows: works them off in their order, or names the condition that failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeAlias, TypeVar, assert_never

from msgspec import Struct, field
from msgspec.structs import replace

from runwright.core.ids import Namespace
from runwright.core.side_rows import (
    DeleteEntry,
    DeleteWhenSpent,
    EntryIs,
    FailedCondition,
    NoEntry,
    PutEntry,
    SetCounter,
    SideRow,
    Spend,
)

Owner = TypeVar("Owner")  # how a store knows the run that a row belongs to
EntryName: TypeAlias = tuple[Namespace, str, str]  # of which namespace and index, and its key
CounterName: TypeAlias = tuple[Namespace, str]


class EntryRow(Struct, Generic[Owner], frozen=True):
    """An entry as a store has it."""

    owner: Owner
    value: bytes
    expires_at: int


class CounterRow(Struct, Generic[Owner], frozen=True):
    """A counter as a store has it."""

    owner: Owner
    left: int


class Changes(Struct, Generic[Owner], frozen=True):
    """What is written of entries and counters; None for an entry that is deleted."""

    entries: dict[EntryName, EntryRow[Owner] | None] = field(default_factory=dict)
    counters: dict[CounterName, CounterRow[Owner]] = field(default_factory=dict)


class SideRowState(Generic[Owner]):
    """Entries and counters as they are, and what is about to be written over them.

    `entry` and `counter` ask the store, and raise what it says of one that cannot be read.
    """

    def __init__(
        self,
        entry: Callable[[EntryName], EntryRow[Owner] | None],
        counter: Callable[[CounterName], CounterRow[Owner] | None],
    ) -> None:
        self._entry = entry
        self._counter = counter
        self.changes: Changes[Owner] = Changes()

    def take(self, namespace: Namespace, owner: Owner, rows: Sequence[SideRow]) -> FailedCondition | None:
        """Adds what the rows of one append change, or nothing if one of them does not hold: that one."""
        made = SideRowState(self._entry_now, self._counter_now)
        for number, row in enumerate(rows):
            if not made._work_off(namespace, owner, row):
                assert isinstance(row, Spend | EntryIs | NoEntry), "nothing else can fail"
                return FailedCondition(row, number)
        self.changes.entries.update(made.changes.entries)
        self.changes.counters.update(made.changes.counters)
        return None

    def settle(self, namespace: Namespace, rows: Sequence[SideRow]) -> None:
        """Lets go of what the rows have deleted, for a store that has nothing but this."""
        for row in rows:
            if isinstance(row, DeleteEntry | DeleteWhenSpent):
                name = (namespace, row.index, row.key)
                if self.changes.entries.get(name) is None:
                    self.changes.entries.pop(name, None)

    def forget(self, owner: Owner) -> None:
        """Removes what belongs to a run, for such a store."""
        for name in [name for name, entry in self.changes.entries.items() if entry and entry.owner == owner]:
            del self.changes.entries[name]
        for counter in [name for name, counter in self.changes.counters.items() if counter.owner == owner]:
            del self.changes.counters[counter]

    def _work_off(self, namespace: Namespace, owner: Owner, row: SideRow) -> bool:
        match row:
            case PutEntry():
                new = EntryRow(owner, row.value, row.expires_at)
                self.changes.entries[namespace, row.index, row.key] = new
            case DeleteEntry():
                self.changes.entries[namespace, row.index, row.key] = None
            case DeleteWhenSpent():
                counter = self._counter_now((namespace, row.counter))
                if counter is None or not counter.left:
                    self.changes.entries[namespace, row.index, row.key] = None
            case SetCounter():
                self.changes.counters[namespace, row.counter] = CounterRow(owner, row.left)
            case Spend():
                known = self._counter_now((namespace, row.counter))
                if known is None or known.left < row.amount:
                    return False
                self.changes.counters[namespace, row.counter] = replace(known, left=known.left - row.amount)
            case EntryIs():
                return _is(self._entry_now((namespace, row.index, row.key)), row)
            case NoEntry():
                return self._entry_now((namespace, row.index, row.key)) is None
            case _:
                assert_never(row)
        return True

    def _entry_now(self, name: EntryName) -> EntryRow[Owner] | None:
        return self.changes.entries[name] if name in self.changes.entries else self._entry(name)

    def _counter_now(self, name: CounterName) -> CounterRow[Owner] | None:
        return self.changes.counters.get(name) or self._counter(name)


def _is(entry: EntryRow[Owner] | None, wanted: EntryIs) -> bool:
    if entry is None or wanted.value not in (None, entry.value):
        return False
    return not (wanted.at and entry.expires_at) or entry.expires_at > wanted.at

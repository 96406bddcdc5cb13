"""Reading side rows: what appends have written beside their events."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from runwright.core.errors import AgentError
from runwright.core.ids import Namespace, RunKey


class Entry(Struct, frozen=True):
    """An entry of an index, and the run whose append wrote it."""

    index: str
    key: str
    run: RunKey
    value: bytes
    expires_at: int


class SideRowReader(Protocol):
    """Entries and counters as of the last commit, checked as events are.

    Entries list approvals (`core/approval_rows.py`) and grants (`core/grant_rows.py`), whose uses counters count, to be
    spent under conditions. Of a condition that fails the run's driver makes a `ConditionFailed`, with the input whose
    records were under it, and puts that to `decide` once more.
    """

    async def named(self, namespace: Namespace, *names: tuple[str, str]) -> tuple[Entry | None, ...]:
        """The entries of these indexes and keys, in that order, all as of one commit; None where there is none.

        Raises JOURNAL_CORRUPT, naming the run of the entry where that can be told.
        """

    async def entries(
        self, namespace: Namespace, index: str, *, prefix: str = "", after: str = "", limit: int
    ) -> list[Entry | AgentError]:
        """At most `limit` entries whose key begins with the prefix and lies behind `after`, in the order of keys.

        One that is not as it was written is its error, in its place: it must neither be believed nor hide the others.
        """

    async def counter(self, namespace: Namespace, counter: str) -> int | None:
        """How much is left; None when there is no such counter. Raises JOURNAL_CORRUPT."""

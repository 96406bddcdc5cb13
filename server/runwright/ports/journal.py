"""The journal: where runs are written down before anything happens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from runwright.core.content import Content
from runwright.core.events import TERMINAL, EventKind
from runwright.core.ids import RunKey
from runwright.core.records import Record
from runwright.core.state import RunState

CHAIN_TAG = b"runwright-chain-v1"


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event as it is on disk.

    `data` is the exact bytes of a `runwright.v1.Event`, which readers get
    unchanged. `position` is dense over the whole journal, `seq` over the run,
    both from 1. `hash` is SHA-256(`previous_hash` || `data`), 32 bytes.
    """

    position: int
    seq: int
    kind: EventKind
    data: bytes
    previous_hash: bytes
    hash: bytes

    @property
    def is_terminal(self) -> bool:
        """True for the last event of a run."""
        return self.kind in TERMINAL


class Journal(Protocol):
    """An append-only store of runs. Every method may be called from the event loop's thread only.

    Failures are AgentError: JOURNAL_FULL, JOURNAL_BUSY, JOURNAL_CORRUPT.
    """

    @property
    def incarnation(self) -> str:
        """Identity of this journal, made with it: another journal has another."""

    @property
    def cursor_key(self) -> bytes:
        """32 secret bytes that live as long as the journal: the key of cursors."""

    @property
    def head(self) -> int:
        """Position of the last durable event of the whole journal; 0 when empty."""

    async def append(
        self, run: RunKey, records: Sequence[Record], *, after: int, contents: Sequence[Content], snapshot: RunState
    ) -> list[StoredEvent]:
        """Appends the records, stores the contents and replaces the run's snapshot row, atomically.

        `after` is the run's last sequence number (0 for a new run), else
        JOURNAL_CONFLICT and nothing is written. `snapshot` is the state after
        the records. On return all of it is durable. A cancelled caller does not
        undo an append that has been handed over.
        """

    async def tail(self, run: RunKey) -> tuple[RunState | None, list[Record]]:
        """The last snapshot row and the records after it. (None, []) for an unknown run."""

    async def messages(self, run: RunKey) -> list[Record]:
        """The run's records of the kinds in MESSAGE_BEARING, in order."""

    async def read(self, run: RunKey, *, after: int, limit: int) -> list[StoredEvent]:
        """At most `limit` events of the run with a position above `after`, in order."""

    async def last_position(self, run: RunKey) -> int:
        """Position of the run's last event; 0 for an unknown run."""

    async def open_runs(self) -> list[RunKey]:
        """Every run without a terminal event, oldest first."""

    async def content(self, run: RunKey, digests: Sequence[str]) -> dict[str, bytes]:
        """The stored bytes of these digests in the run's namespace; missing ones are left out."""

    async def close(self) -> None:
        """Finishes what was handed over and releases the store."""
